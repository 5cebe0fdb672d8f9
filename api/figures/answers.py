"""api.figures.answers"""

from collections.abc import Mapping
from typing import Any

from api.bars.adjust import tell_actions
from api.bars.series import Series
from api.figures.performance import measure_performance
from api.figures.returns import get_periods

NOTHING: Mapping[str, Any] = {}


def build_statistics(
    series: Series,
    benchmark: Series | None = None,
    interval: str = "1d",
    risk_free: float = 0.0,
    periods: int | None = None,
    more: Mapping[str, Any] = NOTHING,
) -> dict[str, Any]:
    figures = measure_performance(series, benchmark, interval, risk_free, periods)
    return {
        **describe(series, more),
        "periods": periods or get_periods(interval, series),
        **figures,
    }


def describe(series: Series, more: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """What the bars are; more: what is said of those shorter than a day."""
    told: dict[str, Any] = {
        "symbol": series.symbol,
        "interval": series.interval,
        **more,
        "adjustment": series.adjustment,
    }
    return told | tell_actions(series)
