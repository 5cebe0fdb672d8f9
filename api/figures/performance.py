"""Statistics of a price series. Simple returns, ddof 1; a year is 252 daily bars (of other
intervals: PERIODS_PER_YEAR) or 365.25 days.

Each function takes closes (float64, by day, or by instant of shorter bars) and gives a float, or
None where there are too few bars. Figures made of returns are None where a
close of the range is 0 or below.
Formulas: Bacon, Practical Portfolio Performance Measurement and Attribution.
"""

import math
from typing import Any

import numpy as np

from api.bars.series import Floats, Series
from api.figures.comparison import compare
from api.figures.drawdowns import Stamps, find_longest_drawdown, find_max_drawdown, show_stamp
from api.figures.ratios import (
    compute_calmar_ratio,
    compute_kurtosis,
    compute_sharpe_ratio,
    compute_skew,
    compute_sortino_ratio,
    find_expected_shortfall,
    find_value_at_risk,
)
from api.figures.returns import (
    are_positive,
    compute_close_returns,
    compute_deviation,
    compute_mean,
    get_periods,
    keep_finite,
    take_positive,
)
from api.figures.technicals import ATR_WINDOW, compute_last_atr

DAYS_A_YEAR = 365.25
MOST_JSON_INTEGER = 2**63 - 1


def summarize(
    series: Series, interval: str = "1d", periods_per_year: int | None = None
) -> dict[str, Any]:
    """All statistics of a series; every figure is None where there are too few bars."""
    if not len(series):
        return dict.fromkeys(EMPTY) | {"count": 0}
    with np.errstate(all="ignore"):  # sums beyond a float are not finite, in JSON null
        return summarize_bars(series, periods_per_year or get_periods(interval, series))


def summarize_bars(series: Series, periods_per_year: int) -> dict[str, Any]:
    closes, days = series.close, series.stamps
    priced = take_positive(closes)
    high, low = int(series.high.argmax()), int(series.low.argmin())
    return {
        "count": len(series),
        "first": show_stamp(days, 0),
        "last": show_stamp(days, -1),
        "open": series.open[0],
        "close": closes[-1],
        "high": series.high[high],
        "high_date": show_stamp(days, high),
        "low": series.low[low],
        "low_date": show_stamp(days, low),
        "mean_close": compute_mean(closes),
        "median_close": find_median(closes),
        "std_close": compute_deviation(closes, ddof=1) if len(closes) > 1 else None,
        **summarize_volume(series),
        "total_return": compute_total_return(priced),
        "cagr": compute_cagr(priced, days),
        "annual_volatility": compute_annual_volatility(priced, periods_per_year),
        **find_max_drawdown(priced, days),
        **find_extreme_days(priced, days),
    }


def measure_performance(
    series: Series,
    benchmark: Series | None = None,
    interval: str = "1d",
    risk_free: float = 0.0,
    periods_per_year: int | None = None,
) -> dict[str, Any]:
    """The figures of `summarize` and those of reward, risk, shape and against a benchmark.

    `risk_free` is a yearly rate, 0.03 for 3 %. `periods_per_year`, unless given, is that of the
    calendar, and against a benchmark that of the days both trade on (see get_periods). Every
    figure is an int, a finite float or an ISO date; None where there are too few bars for it or it
    is not defined. What each is made of: api.formulas. ValueError on a risk-free rate or an
    interval that is none.
    """
    periods = periods_per_year or get_periods(interval, series)
    basic = summarize(series, interval, periods)
    priced = take_positive(series.close)
    returns = compute_close_returns(priced)
    figures = {
        **basic,
        "sharpe_ratio": compute_sharpe_ratio(returns, risk_free, periods),
        "sortino_ratio": compute_sortino_ratio(returns, risk_free, periods),
        "calmar_ratio": compute_calmar_ratio(basic["cagr"], basic["max_drawdown"]),
        "skew": compute_skew(returns),
        "kurtosis": compute_kurtosis(returns),
        "value_at_risk": find_value_at_risk(returns),
        "expected_shortfall": find_expected_shortfall(returns),
        **find_longest_drawdown(priced, series.stamps),
        **count_moves(returns),
        "average_true_range": compute_average_true_range(series),
        "average_dollar_volume": compute_average_dollar_volume(series),
        **compare(series, benchmark, periods_per_year, risk_free, interval),
    }
    return {name: clean_figure(value) for name, value in figures.items()}


def clean_figure(value: Any) -> Any:
    return keep_finite(value) if isinstance(value, float) else value


def count_moves(returns: Floats) -> dict[str, int | None]:
    """Bars that closed above, and below, the bar before; those that closed the same are neither."""
    if not len(returns):
        return {"up_days": None, "down_days": None}
    return {"up_days": int((returns > 0).sum()), "down_days": int((returns < 0).sum())}


def compute_average_true_range(series: Series) -> float | None:
    """The last value of ATR 14, in the currency of the prices, reckoned from the first bar given.

    None with fewer than 15 bars.
    """
    if len(series) <= ATR_WINDOW:
        return None
    with np.errstate(all="ignore"):
        return compute_last_atr(series, ATR_WINDOW)


def compute_average_dollar_volume(series: Series) -> float | None:
    """Mean of close × volume, in the currency of the prices, of the bars that have a volume.

    None with a close of 0 or below: no money was paid there.
    """
    is_known = ~np.ma.getmaskarray(series.volume)
    if not is_known.any() or not are_positive(series.close):
        return None
    with np.errstate(all="ignore"):
        return compute_mean((series.close * series.volume.data)[is_known])


EMPTY = (
    *("count", "first", "last", "open", "close", "high", "high_date", "low", "low_date"),
    *("mean_close", "median_close", "std_close", "total_volume", "mean_volume"),
    *("total_return", "cagr", "annual_volatility"),
    *("max_drawdown", "peak_date", "trough_date"),
    *("best_day", "best_day_return", "worst_day", "worst_day_return"),
)


def compute_total_return(closes: Floats) -> float | None:
    """last close / first close - 1."""
    return float(closes[-1] / closes[0] - 1) if len(closes) > 1 else None


def compute_cagr(closes: Floats, days: Stamps) -> float | None:
    """Compound annual growth rate: (last / first) ^ (1 / years) - 1.

    None of a range shorter than a day: what it would grow to in a year is not worth saying.
    """
    span = float((days[-1] - days[0]) / np.timedelta64(1, "D")) if len(closes) > 1 else 0.0
    if span < 1:
        return None
    try:
        return math.pow(closes[-1] / closes[0], 1 / (span / DAYS_A_YEAR)) - 1
    except OverflowError:  # beyond a float
        return None


def compute_annual_volatility(closes: Floats, periods_per_year: int = 252) -> float | None:
    """Standard deviation of the returns × √periods; as empyrical.annual_volatility.

    None with fewer than 3 bars.
    """
    if len(closes) < 3:
        return None
    return compute_deviation(compute_close_returns(closes), ddof=1) * math.sqrt(periods_per_year)


def find_median(closes: Floats) -> float:
    """The middle one of one or more closes, or the mean of the two in the middle."""
    lower, upper = (len(closes) - 1) // 2, len(closes) // 2
    ordered = np.partition(closes, (lower, upper))
    return float(ordered[lower] + ordered[upper]) / 2


def find_extreme_days(closes: Floats, days: Stamps) -> dict[str, Any]:
    if len(closes) < 2:
        return dict.fromkeys(("best_day", "best_day_return", "worst_day", "worst_day_return"))
    returns = compute_close_returns(closes)
    best, worst = int(returns.argmax()), int(returns.argmin())
    return {
        "best_day": show_stamp(days, best + 1),
        "best_day_return": returns[best],
        "worst_day": show_stamp(days, worst + 1),
        "worst_day_return": returns[worst],
    }


def summarize_volume(series: Series) -> dict[str, Any]:
    """Over the bars that have a volume. A sum beyond 64 bits, unknown to JSON, is a float."""
    volumes = series.volume.compressed().tolist()
    total: float | None = sum(volumes) if volumes else None
    if total is not None and series.volume_decimals:
        total = round(math.fsum(volumes), series.volume_decimals)
    mean = total / len(volumes) if total is not None else None
    if total is not None and total > MOST_JSON_INTEGER:
        total = float(total)
    return {"total_volume": total, "mean_volume": mean}
