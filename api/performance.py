"""Statistics of a price series. Simple returns, ddof 1, a year is 252 bars or 365.25 days.

Each function takes closes (float64, by day) and gives a float, or None where there are too few
bars. Formulas: Bacon, Practical Portfolio Performance Measurement and Attribution.
"""

import math
from typing import Any

import numpy as np

from api.series import Days, Floats, Series

BARS_A_YEAR = 252
DAYS_A_YEAR = 365.25
MOST_JSON_INTEGER = 2**63 - 1


def summarize(series: Series) -> dict[str, Any]:
    """All statistics of a series; every figure is None where there are too few bars."""
    if not len(series):
        return dict.fromkeys(EMPTY) | {"count": 0}
    with np.errstate(all="ignore"):  # a price of 0 has no return: not finite, in JSON null
        return summarize_bars(series)


def summarize_bars(series: Series) -> dict[str, Any]:
    closes, days = series.close, series.days
    high, low = int(series.high.argmax()), int(series.low.argmin())
    return {
        "count": len(series),
        "first": str(days[0]),
        "last": str(days[-1]),
        "open": series.open[0],
        "close": closes[-1],
        "high": series.high[high],
        "high_date": str(days[high]),
        "low": series.low[low],
        "low_date": str(days[low]),
        "mean_close": closes.mean(),
        "median_close": np.median(closes),
        "std_close": closes.std(ddof=1) if len(closes) > 1 else None,
        **summarize_volume(series),
        "total_return": compute_total_return(closes),
        "cagr": compute_cagr(closes, days),
        "annual_volatility": compute_annual_volatility(closes),
        **find_max_drawdown(closes, days),
        **find_extreme_days(closes, days),
    }


EMPTY = (
    *("count", "first", "last", "open", "close", "high", "high_date", "low", "low_date"),
    *("mean_close", "median_close", "std_close", "total_volume", "mean_volume"),
    *("total_return", "cagr", "annual_volatility"),
    *("max_drawdown", "peak_date", "trough_date"),
    *("best_day", "best_day_return", "worst_day", "worst_day_return"),
)


def compute_returns(closes: Floats) -> Floats:
    """close / close before - 1; one fewer than closes."""
    return closes[1:] / closes[:-1] - 1


def compute_total_return(closes: Floats) -> float | None:
    """last close / first close - 1."""
    return float(closes[-1] / closes[0] - 1) if len(closes) > 1 else None


def compute_cagr(closes: Floats, days: Days) -> float | None:
    """Compound annual growth rate: (last / first) ^ (1 / years) - 1."""
    if len(closes) < 2:
        return None
    years = (days[-1] - days[0]).astype(int) / DAYS_A_YEAR
    try:
        return math.pow(closes[-1] / closes[0], 1 / years) - 1
    except (OverflowError, ValueError):  # beyond a float; from a price to a negative one
        return None


def compute_annual_volatility(closes: Floats) -> float | None:
    """Standard deviation of the returns × √252."""
    if len(closes) < 3:
        return None
    return float(compute_returns(closes).std(ddof=1) * math.sqrt(BARS_A_YEAR))


def find_max_drawdown(closes: Floats, days: Days) -> dict[str, Any]:
    """The deepest fall from a peak, as a return (0 or negative), with the days of both ends."""
    if len(closes) < 2:
        return {"max_drawdown": None, "peak_date": None, "trough_date": None}
    falls = closes / np.maximum.accumulate(closes) - 1
    trough = int(falls.argmin())
    if falls[trough] == 0:
        return {"max_drawdown": 0.0, "peak_date": None, "trough_date": None}
    peak = int(closes[: trough + 1].argmax())
    return {
        "max_drawdown": falls[trough],
        "peak_date": str(days[peak]),
        "trough_date": str(days[trough]),
    }


def find_extreme_days(closes: Floats, days: Days) -> dict[str, Any]:
    if len(closes) < 2:
        return dict.fromkeys(("best_day", "best_day_return", "worst_day", "worst_day_return"))
    returns = compute_returns(closes)
    best, worst = int(returns.argmax()), int(returns.argmin())
    return {
        "best_day": str(days[best + 1]),
        "best_day_return": returns[best],
        "worst_day": str(days[worst + 1]),
        "worst_day_return": returns[worst],
    }


def summarize_volume(series: Series) -> dict[str, Any]:
    """Over the bars that have a volume. A sum beyond 64 bits, unknown to JSON, is a float."""
    volumes = series.volume.compressed().tolist()
    total: float | None = sum(volumes) if volumes else None
    mean = total / len(volumes) if total is not None else None
    if total is not None and total > MOST_JSON_INTEGER:
        total = float(total)
    return {"total_volume": total, "mean_volume": mean}
