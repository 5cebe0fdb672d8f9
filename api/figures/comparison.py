"""Series beside each other, on their common days alone.

A bar without partner is left out before returns are made, so that a return spans the same days
in every series: after a gap in one, those of all run across it.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from api.bars.series import COLUMNS, Floats, Series, Timestamps
from api.figures.drawdowns import show_stamp
from api.figures.returns import (
    compute_close_returns,
    compute_returns,
    compute_spread,
    divide,
    get_periods,
    keep_finite,
    split_rate,
)

FIGURES = ("beta", "alpha", "correlation", "tracking_error")


def take_common_days(*series: Series) -> tuple[Series, ...]:
    """The same series, each with only the bars of days that all of them have."""
    common = find_common_days(*series)
    return tuple(take_days(one, common) for one in series)


def take_days(series: Series, days: Timestamps) -> Series:
    """The bars of some of its own days, which are sorted."""
    rows = series.timestamps.searchsorted(days)
    columns = {name: getattr(series, name) for name in COLUMNS}
    present = {name: column[rows] for name, column in columns.items() if column is not None}
    return replace(series, **present)


def find_common_days(*series: Series) -> Timestamps:
    return reduce(
        lambda a, b: np.intersect1d(a, b, assume_unique=True), [s.timestamps for s in series]
    )


def compare(
    series: Series,
    benchmark: Series | None,
    periods_per_year: int | None = None,
    risk_free: float = 0.0,
    interval: str = "1d",
) -> dict[str, float | None]:
    """beta, alpha, correlation and tracking error of a series against a benchmark.

    All None without benchmark. `periods_per_year` is by default that of the days both trade on.
    """
    if benchmark is None:
        return dict.fromkeys(FIGURES)
    periods_per_year = periods_per_year or get_periods(interval, series, benchmark)
    own, other = (compute_close_returns(s.close) for s in take_common_days(series, benchmark))
    return {
        "beta": compute_beta(own, other),
        "alpha": compute_alpha(own, other, risk_free, periods_per_year),
        "correlation": compute_correlation(own, other),
        "tracking_error": compute_tracking_error(own, other, periods_per_year),
    }


def compute_beta(returns: Floats, others: Floats) -> float | None:
    """cov(r, b) / var(b): how much r moves for a move of 1 of the benchmark.

    A risk-free rate does not change it. As empyrical.beta. None: fewer than 2 returns, or all of
    the benchmark's equal.
    """
    if len(returns) < 2:
        return None
    with np.errstate(all="ignore"):
        if not compute_spread(others):
            return None
        centred = others - others.mean()
        return divide(float((centred * returns).mean()), float(np.square(centred).mean()))


def compute_alpha(
    returns: Floats, others: Floats, risk_free: float = 0.0, periods_per_year: int = 252
) -> float | None:
    """Jensen's alpha a year, compounded: (1 + mean((r - f) - beta × (b - f))) ^ periods - 1.

    f is the annual risk-free rate de-compounded to a bar. Jensen (1968); as empyrical.alpha given
    f (quantstats multiplies by periods instead). None where beta is.
    """
    beta = compute_beta(returns, others)
    rate = split_rate(risk_free, periods_per_year)
    if beta is None:
        return None
    with np.errstate(all="ignore"):
        mean = float(((returns - rate) - beta * (others - rate)).mean())
        return keep_finite(float(np.power(1 + mean, periods_per_year)) - 1)


def compute_correlation(returns: Floats, others: Floats) -> float | None:
    """Pearson's, from -1 to 1. None: fewer than 2 returns, or all of one side equal."""
    if len(returns) < 2:
        return None
    with np.errstate(all="ignore"):
        if not (compute_spread(returns) and compute_spread(others)):
            return None
        _, correlation = correlate(np.array([returns, others]))
        return keep_finite(float(correlation[0, 1]))


def compute_tracking_error(
    returns: Floats, others: Floats, periods_per_year: int = 252
) -> float | None:
    """std(r - b, ddof 1) × √periods: annual, 0 where they move as one. Bacon.

    The divisor of empyrical.excess_sharpe, annualised. None: fewer than 2 returns.
    """
    if len(returns) < 2:
        return None
    with np.errstate(all="ignore"):
        spread = compute_spread(returns - others)
    return keep_finite(spread * math.sqrt(periods_per_year))


def compute_matrices(
    series: Sequence[Series], kind: str = "simple", periods_per_year: int | None = None
) -> dict[str, Any]:
    """Correlation and covariance (ddof 1) of the returns of one or more series.

    Both are lists of rows in the order of `series`; None where not defined: a series of equal
    returns has no correlation, fewer than 2 common returns have neither. Only days that all have
    count (pairwise days can give a matrix that no returns have), `count` is the number of returns
    on them, `left_out` the bars of each symbol on other days. Covariance is that of a bar's
    returns, or × `periods_per_year` where that is given: then annual.
    """
    common = take_common_days(*series)
    stamps = common[0].stamps
    returns = np.array([compute_returns(one, kind) for one in common])
    with np.errstate(all="ignore"):
        covariance, correlation = build_matrices(returns)
    return {
        "symbols": [one.symbol for one in series],
        "count": returns.shape[1],
        "first": show_stamp(stamps, 0) if len(stamps) else None,
        "last": show_stamp(stamps, -1) if len(stamps) else None,
        "left_out": [len(one) - len(stamps) for one in series],
        "correlation": blank_gaps(correlation),
        "covariance": blank_gaps(covariance * (periods_per_year or 1)),
    }


def build_matrices(returns: Floats) -> tuple[Floats, Floats]:
    """Covariance and correlation of rows of returns, NaN where not defined."""
    size, count = returns.shape
    if count < 2:
        nothing = np.full((size, size), np.nan)
        return nothing, nothing
    spreads = np.array([compute_spread(row) for row in returns])
    has_none = (spreads == 0)[:, None] | (spreads == 0)
    covariance, correlation = correlate(returns)
    return np.where(has_none, 0.0, covariance), np.where(has_none, np.nan, correlation)


def correlate(returns: Floats) -> tuple[Floats, Floats]:
    """Covariance (ddof 1) and correlation of rows of returns, at least 2 in each.

    Plain sums of products, where np.cov asks BLAS, whose last digit depends on the processor.
    """
    centred = returns - returns.mean(axis=1, keepdims=True)
    covariance = np.array([(centred * row).sum(axis=1) for row in centred])
    covariance /= returns.shape[1] - 1
    spreads = np.sqrt(np.diagonal(covariance))
    return covariance, np.clip(covariance / spreads[:, None] / spreads, -1, 1)


def blank_gaps(matrix: Floats) -> list[list[float | None]]:
    return [[keep_finite(value) for value in row] for row in matrix.tolist()]
