"""Answers before routing: a range of a known symbol, with start and end alone.

The same bytes as the routes give, by the same functions; FastAPI's routing and validation cost
more than the answer. Whatever a route has anything to say to is left to it: an unknown symbol, a
day that is none, a page to be cut, rows for a thread.
"""

import re
from collections.abc import Awaitable, Callable
from datetime import date

from api.bars.series import FIELDS, find_range, take_slice
from api.bars.view import View, derive_range, derive_whole
from api.cache.memory import RawHeaders
from api.cache.minute_texts import MinuteTexts
from api.cache.series_cache import PLAIN, CachedSeries, SeriesCache
from api.encode.formats import JSON, Page, build_columns, describe_bars, wrap_rows
from api.encode.text import Prepared, encode_json, encode_rows, slice_rows
from api.encode.turns import ROWS_AT_ONCE
from api.faults import Fault
from api.figures.answers import build_statistics
from api.models.terms import INTRADAY
from api.problems import Problem
from api.store import Snapshot
from api.store.minutes.views import MinuteView

HEADERS: RawHeaders = [(b"content-type", JSON.encode())]
PATH = "/instruments/"
SLICED_AT_ONCE = 6_000  # rows of prepared text; more wait for room, in the route
FEW_DAYS = 180  # of a range that is written in less time than it is fetched in from elsewhere
LONGEST_SYMBOL = 32  # as models.Symbol
Days = tuple[date | None, date | None]
Made = tuple[bytes, RawHeaders]
Shortcut = Callable[[Snapshot, str, bytes], Awaitable[Made | None]]
MinuteShortcut = Callable[[MinuteView, str, bytes], Awaitable[Made | None]]
# A range of days of bars shorter than a day, as keys.py writes it: in the order of the model.
MINUTES = re.compile(
    rb"(?:start=(\d{4}-\d\d-\d\d)&)?(?:end=(\d{4}-\d\d-\d\d)&)?interval=(%b)(?:&hours=(extended))?"
    % "|".join(INTRADAY).encode()
)
MINUTES_AT_ONCE = 10_000  # rows of prepared text: a month of minutes


def build_shortcut(series_cache: SeriesCache, max_rows: int) -> Shortcut:
    """What AnswerCache asks before it routes a request."""

    def answer_bars(held: CachedSeries, days: Days) -> bytes | None:
        first, last = find_range(held.series, *days)
        prepared = series_cache.find_rows(held)
        if last - first > min(max_rows, SLICED_AT_ONCE if prepared else ROWS_AT_ONCE):
            return None
        if prepared:
            return cut_text(held, prepared, first, last)
        rows = encode_range(held, first, last)
        series_cache.count_encoded(held, last - first)
        return wrap_rows(describe_bars(held.series, last - first), rows)

    def answer_statistics(held: CachedSeries, days: Days) -> bytes | None:
        return encode_json(
            build_statistics(derive_range(View((), *days, adjustment="split"), held))
        )

    resources: dict[str, Callable[[CachedSeries, Days], bytes | None]] = {
        "ohlcv": answer_bars,
        "statistics": answer_statistics,
    }

    async def answer_at_once(
        snapshot: Snapshot, path: str, query: bytes
    ) -> tuple[bytes, RawHeaders] | None:
        symbol, _, resource = path.removeprefix(PATH).rpartition("/")
        if resource not in resources or not path.startswith(PATH):
            return None
        if "/" in symbol or len(symbol) > LONGEST_SYMBOL:  # no route has it
            return None
        days = read_days(query)
        if days is None or not series_cache.knows(snapshot, symbol.upper()):
            return None
        try:
            held = await series_cache.take(snapshot, symbol)
        except (Problem, Fault):  # the route asks again, and says so
            return None
        body = resources[resource](held, days)
        return (body, HEADERS) if body is not None else None

    return answer_at_once


def build_minute_shortcut(texts: MinuteTexts, max_rows: int) -> MinuteShortcut:
    """As `build_shortcut`, of bars shorter than a day whose text is ready."""
    most = min(max_rows, MINUTES_AT_ONCE)

    async def make(minutes: MinuteView, view: View) -> bytes | None:
        try:
            return await texts.make(minutes, view, min(max_rows, ROWS_AT_ONCE))
        except (Problem, Fault):  # the route asks again, and says so
            return None

    async def answer_at_once(minutes: MinuteView, path: str, query: bytes) -> Made | None:
        found = MINUTES.fullmatch(query)
        symbol, _, resource = path.removeprefix(PATH).rpartition("/")
        if found is None or resource != "ohlcv" or not path.startswith(PATH):
            return None
        start, end, interval, hours = (each.decode() if each else "" for each in found.groups())
        try:
            days = tuple(date.fromisoformat(each) if each else None for each in (start, end))
        except ValueError:
            return None
        if days[0] and days[1] and days[0] > days[1]:
            return None
        view = View((symbol.upper(),), days[0], days[1], interval, hours=hours or "regular")
        body = texts.cut(minutes, view, most)
        if body is None:
            body = await make(minutes, view)
        return (body, HEADERS) if body is not None else None

    return answer_at_once


def cut_text(held: CachedSeries, text: Prepared, first: int, last: int) -> bytes:
    """The answer that has the bars [first:last], as traded, out of the text of all."""
    return wrap_rows(describe_bars(held.series, last - first), slice_rows(text, first, last))


def encode_range(held: CachedSeries, first: int, last: int) -> bytes:
    """The rows [first:last] of the bars as traded."""
    part = take_slice(derive_whole(PLAIN, held), slice(first, last))
    return encode_rows(build_columns(Page((part,), FIELDS)), "json")


def is_short(path: str, query: bytes) -> bool:
    """Whether what is asked for are the bars of a few days, written in less time than a look into
    another process takes."""
    if not path.startswith(PATH) or not path.endswith("/ohlcv"):
        return False
    start, end = read_days(query) or (None, None)
    return start is not None and end is not None and (end - start).days < FEW_DAYS


def read_days(query: bytes) -> Days | None:
    """start and end of a query that has nothing else, each at most once; None of any other."""
    days: dict[bytes, date] = {}
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        if name not in (b"start", b"end") or name in days or len(value) != 10:
            return None
        if b"W" in value:  # 2012-W01-1 is ISO too, and no day here
            return None
        try:
            days[name] = date.fromisoformat(value.decode("ascii"))
        except ValueError:
            return None
    start, end = days.get(b"start"), days.get(b"end")
    return None if start and end and start > end else (start, end)
