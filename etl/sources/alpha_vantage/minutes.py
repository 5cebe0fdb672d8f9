"""What an answer to TIME_SERIES_INTRADAY means: bars of a minute by the clock that it names. Pure.

A stamp was the end of its bar until 2020 and is the start since 2023, and nothing in an answer says
which. Its hours tell: the vendor's day runs from 04:00 to 20:00, the regular one from 09:30 to
16:00, so the first minute of a day bears 04:00 or 09:30 as a start, and the last one 20:00 or 16:00
as an end.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from etl.base.errors import Malformed
from etl.calls.vendor import Call, Reply, Row
from etl.sources.alpha_vantage.answers import FIELDS, find_series, read_date, read_field
from etl.sources.alpha_vantage.plan import INTRADAY
from etl.sources.answers import printable, text

START, END = "start", "end"
USUAL_ZONE = "US/Eastern"
FIRST, LAST = "04:00:00", "20:00:00"
OPEN, CLOSE = "09:30:00", "16:00:00"
# What answers of the years before said of themselves.
OLD_WORDS = "prices and volumes"


def read_minutes(answer: Any, call: Call) -> Reply:
    """The bars; Malformed where none is of the month that was asked for."""
    series = find_series(answer, INTRADAY)
    days = [day for day in map(read_date, series) if day and is_of(day, call.month)]
    if not days:
        sent = max((day for day in map(read_date, series) if day), default=None)
        raise Malformed(f"{call.symbol}: the vendor sent bars of {sent}, not of {call.month:%Y-%m}")
    about: Row = {"zone": find_zone(answer, call.symbol), "stamp_is": tell_stamp(answer, series)}
    return Reply([read_row(call.symbol, at, bar, about) for at, bar in series.items()], max(days))


def is_of(day: date, month: date | None) -> bool:
    return month is not None and (day.year, day.month) == (month.year, month.month)


def read_row(symbol: str, at: str, bar: Mapping[str, Any], about: Row) -> Row:
    values = {name: read_field(bar, name) for name in FIELDS}
    return {"symbol": symbol, "timestamp": text(at), **values, **about}


def find_zone(answer: Any, symbol: str) -> str:
    zone = read_field(answer.get("Meta Data"), "time zone") or USUAL_ZONE
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Malformed(
            f"{symbol}: the vendor's stamps are by the clock of {printable(zone)[:40]!r}, which is"
            " no time zone that is known"
        ) from None
    return zone


def tell_stamp(answer: Any, stamps: Iterable[str]) -> str:
    """'start' or 'end'; where its hours do not tell, an answer is as they are since 2023."""
    times = {at[11:19] for at in stamps}
    if FIRST in times or LAST in times:
        return START if FIRST in times else END
    is_regular = all(OPEN <= time <= CLOSE for time in times)
    if is_regular and (OPEN in times) != (CLOSE in times):
        return START if OPEN in times else END
    said = read_field(answer.get("Meta Data"), "information") or ""
    return END if OLD_WORDS in said.lower() else START
