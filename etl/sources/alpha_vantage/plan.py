"""What there is to ask of Alpha Vantage, by its own names, and what a key may ask."""

from etl.calls.vendor import DAILY, DIVIDENDS, SPLITS, Limits
from etl.settings import Settings

BARS = "TIME_SERIES_DAILY"
DATASETS = {DAILY: BARS, SPLITS: "SPLITS", DIVIDENDS: "DIVIDENDS"}


def read_limits(settings: Settings) -> Limits:
    return Limits(
        settings.av_calls_per_day,
        settings.av_day_zone,
        settings.av_calls_per_second,
        settings.av_calls_per_minute,
    )


def name_plan(settings: Settings, dataset: str) -> str:
    """A free key gets the last 100 bars alone, so that full history is another question."""
    function = DATASETS[dataset]
    return f"{function} {settings.av_outputsize}" if function == BARS else function


def build_query(settings: Settings, symbol: str, dataset: str, key: str) -> dict[str, str]:
    query = {"function": DATASETS[dataset], "symbol": symbol}
    size = {"outputsize": settings.av_outputsize} if dataset == DAILY else {}
    return {**query, **size, "apikey": key}
