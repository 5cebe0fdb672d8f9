"""What there is to ask of Alpha Vantage, by its own names, and what a key may ask."""

from etl.calls.vendor import DAILY, DIVIDENDS, MINUTES, SPLITS, Limits, find_month, name_kind
from etl.settings import Settings

BARS = "TIME_SERIES_DAILY"
INTRADAY = "TIME_SERIES_INTRADAY"
DATASETS = {DAILY: BARS, SPLITS: "SPLITS", DIVIDENDS: "DIVIDENDS", MINUTES: INTRADAY}
# Minutes as traded, those before the open and after the close too.
ASK_MINUTES = {
    "interval": "1min",
    "extended_hours": "true",
    "adjusted": "false",
    "outputsize": "full",
}


def name_function(dataset: str) -> str:
    return DATASETS[name_kind(dataset)]


def read_limits(settings: Settings) -> Limits:
    return Limits(
        settings.av_calls_per_day,
        settings.av_day_zone,
        settings.av_calls_per_second,
        settings.av_calls_per_minute,
    )


def name_plan(settings: Settings, dataset: str) -> str:
    """A free key gets the last 100 bars alone, so that full history is another question."""
    function = name_function(dataset)
    return f"{function} {settings.av_outputsize}" if function == BARS else function


def build_query(settings: Settings, symbol: str, dataset: str, key: str) -> dict[str, str]:
    query = {"function": name_function(dataset), "symbol": symbol}
    size = {"outputsize": settings.av_outputsize} if dataset == DAILY else {}
    month = find_month(dataset)
    minutes = {"month": f"{month:%Y-%m}", **ASK_MINUTES} if month else {}
    return {**query, **size, **minutes, "apikey": key}
