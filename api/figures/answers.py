"""api.figures.answers"""

from typing import Any

from api.bars.adjust import tell_actions
from api.bars.series import Series
from api.figures.performance import measure_performance
from api.figures.returns import get_periods


def build_statistics(
    series: Series,
    benchmark: Series | None = None,
    interval: str = "1d",
    risk_free: float = 0.0,
    periods: int | None = None,
) -> dict[str, Any]:
    figures = measure_performance(series, benchmark, interval, risk_free, periods)
    return {**describe(series), "periods": periods or get_periods(interval, series), **figures}


def describe(series: Series) -> dict[str, Any]:
    told: dict[str, Any] = {
        "symbol": series.symbol,
        "interval": series.interval,
        "adjustment": series.adjustment,
    }
    return told | tell_actions(series)
