"""Figures over a moving window of returns: one value a bar, NaN where it is not defined."""

import math

import numpy as np

from api.bars.series import Floats, Series
from api.figures.comparison import find_common_days
from api.figures.returns import NOISE, are_positive, compute_close_returns, get_periods, split_rate
from api.figures.windows import reduce_windows, roll_max, roll_mean, roll_min, roll_std

FIGURES = ("return", "volatility", "sharpe", "beta")
MOST_WINDOW = 2520  # ten years of daily bars


def roll(
    series: Series,
    window: int,
    what: str,
    benchmark: Series | None = None,
    risk_free: float = 0.0,
    interval: str = "1d",
    periods_per_year: int | None = None,
) -> Floats:
    """For each bar the figure over the last `window` returns up to it: float64, as long as series.

    return: close / close `window` bars before - 1. volatility: std (ddof 1) × √periods. sharpe:
    as compute_sharpe_ratio. beta: as compute_beta against `benchmark`, a window of the common days
    alone, NaN on others. The first `window` bars have no value, nor has a window with a close of 0
    or below. ValueError on another figure, a
    window outside 1 (return) or 2 to 2520, and on beta without a benchmark.
    """
    check_roll(window, what, benchmark)
    periods = periods_per_year or get_periods(interval, series)
    if not len(series):
        return np.empty(0)
    with np.errstate(all="ignore"):
        if what == "beta" and benchmark is not None:
            return roll_beta(series, benchmark, window)
        if what == "return":
            values = roll_return(series.close, window)
        else:
            rate = split_rate(risk_free, periods) if what == "sharpe" else None
            values = roll_ratio(compute_close_returns(series.close), window, periods, rate)
    return blank_infinite(values)


def check_roll(window: int, what: str, benchmark: Series | None) -> None:
    if what not in FIGURES:
        raise ValueError(f"rolling {what!r}: it should be one of {', '.join(FIGURES)}")
    least = 1 if what == "return" else 2
    if not least <= window <= MOST_WINDOW:
        raise ValueError(f"window {window}: for {what} it should be from {least} to {MOST_WINDOW}")
    if what == "beta" and benchmark is None:
        raise ValueError("rolling beta needs a benchmark: name one")


def roll_return(closes: Floats, window: int) -> Floats:
    result = np.full(len(closes), np.nan)
    result[window:] = closes[window:] / closes[:-window] - 1
    if are_positive(closes):
        return result
    return np.where(roll_min(closes, window + 1) > 0, result, np.nan)


def roll_ratio(returns: Floats, window: int, periods: int, rate: float | None) -> Floats:
    """Volatility, or with the risk-free rate of a bar the Sharpe ratio."""
    spreads = roll_spread(returns, window)
    if rate is None:
        return prepend_gap(spreads * math.sqrt(periods))
    ratios = (roll_mean(returns, window) - rate) / np.where(spreads == 0, np.nan, spreads)
    return prepend_gap(ratios * math.sqrt(periods))


def roll_spread(returns: Floats, window: int) -> Floats:
    """compute_spread of each window."""
    spreads = roll_std(returns, window, ddof=1)
    return np.where(spreads <= NOISE * (1 + roll_max(np.abs(returns), window)), 0.0, spreads)


def roll_beta(series: Series, benchmark: Series, window: int) -> Floats:
    common = find_common_days(series, benchmark)
    rows = series.timestamps.searchsorted(common)
    own = compute_close_returns(series.close[rows])
    other = compute_close_returns(benchmark.close[benchmark.timestamps.searchsorted(common)])
    betas = reduce_windows(reduce_beta, window, own, other)
    result = np.full(len(series), np.nan)
    if len(common):
        has_spread = roll_spread(other, window) > 0
        result[rows] = prepend_gap(np.where(has_spread, betas, np.nan))
    return blank_infinite(result)


def reduce_beta(own: Floats, other: Floats) -> Floats:
    centred = other - other.mean(axis=0)
    # not np.einsum, whose order of adding depends on the processor
    betas: Floats = (centred * own).sum(axis=0) / np.square(centred).sum(axis=0)
    return betas


def prepend_gap(values: Floats) -> Floats:
    """One value a bar out of one a return."""
    return np.concatenate(([np.nan], values))


def blank_infinite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)
