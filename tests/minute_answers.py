"""Minutes as vendors send them: bars that tell their own stamp, in the shapes of three vendors."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from etl.market.sessions import list_closes

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
# Of each session: the first and last minute of the vendor's day and of the regular one.
TIMES = (time(4), time(9, 30), time(9, 31), time(15, 59), time(19, 59))
UNKNOWN = (
    "Invalid API call. Please retry or visit the documentation"
    " (https://www.alphavantage.co/documentation/) for TIME_SERIES_INTRADAY."
)


def list_starts(first: datetime, last: datetime, times: tuple[time, ...] = TIMES) -> list[datetime]:
    """Starts of bars from `first` to `last` (aware, inclusive), in UTC, ascending."""
    days = list_closes("XNYS", first.astimezone(NEW_YORK).date(), last.astimezone(NEW_YORK).date())
    starts = (datetime.combine(day, at, NEW_YORK) for day, _ in days for at in times)
    return [at.astimezone(UTC) for at in starts if first <= at <= last]


def tell_prices(start: datetime) -> tuple[float, float, float, float, int]:
    """open, high, low, close, volume, which tell the minute that a bar is of."""
    base = 100 + start.day + start.minute / 100
    return base, base + 2, base - 1, base + 0.5, start.hour * 60 + start.minute


def build_intraday(
    query: dict[str, str], now: datetime, listed: date, stamps: str, lag: timedelta
) -> dict[str, Any]:
    """Alpha Vantage's answer; an error where it is asked in another way than documented."""
    is_sound = query.get("interval") == "1min" and query.get("outputsize") == "full"
    is_sound &= query.get("extended_hours") == "true" and query.get("adjusted") == "false"
    try:
        month = datetime.strptime(query.get("month", ""), "%Y-%m").replace(tzinfo=NEW_YORK)
    except ValueError:
        is_sound, month = False, now
    after = (month + timedelta(days=32)).replace(day=1)
    first = max(month, datetime.combine(listed, time(), NEW_YORK))
    starts = list_starts(first, min(after - MINUTE, now - MINUTE - lag)) if is_sound else []
    if not starts:
        return {"Error Message": UNKNOWN}
    return as_intraday(query["symbol"], starts, stamps)


def as_intraday(symbol: str, starts: list[datetime], stamps: str = "start") -> dict[str, Any]:
    names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    series = {}
    for start in reversed(starts):
        *prices, volume = tell_prices(start)
        at = start + (MINUTE if stamps == "end" else timedelta())
        values = (*(f"{price:.4f}" for price in prices), str(volume))
        stamp = f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S}"
        series[stamp] = dict(zip(names, values, strict=True))
    meta = {
        "1. Information": "Intraday (1min) open, high, low, close prices and volume",
        "2. Symbol": symbol,
        "3. Last Refreshed": next(iter(series)),
        "4. Interval": "1min",
        "5. Output Size": "Full size",
        "6. Time Zone": "US/Eastern",
    }
    return {"Meta Data": meta, "Time Series (1min)": series}


def list_short(first: datetime, last: datetime) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Bars under the short names of Alpaca and Massive."""
    for start in list_starts(first, last):
        yield start, dict(zip("ohlcv", tell_prices(start), strict=True))
