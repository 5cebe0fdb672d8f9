"""Bars shorter than a day, as routes ask for them: what a view makes of the minute store.

    months of stored bars → adjust → resample → the view's range

Month after month, until a page is full: so a page costs what it shows, however long the history.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from api.bars.intraday import INTERVAL_SECONDS, find_places
from api.bars.series import Series, Timestamps, join_series, keep_bars, take_slice
from api.bars.sessions import find_span
from api.bars.view import StoredSeries, View, derive_minutes, explain_nothing, show_bound
from api.cache.minute_actions import build_stored
from api.cache.minute_cache import MinuteCache
from api.faults import NoDatabase, NoMinutes, OnlyMinutes, Refused, Unknown
from api.models.terms import DayOfInstant
from api.problems import Problem
from api.store import Question, Snapshot
from api.store.minutes import Minutes
from api.store.minutes.views import Calendar, Instant, MinuteView

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteInstrument

T = TypeVar("T")

READ_AT_ONCE = 250_000  # stored bars of one question, about: each has the whole time limit
IN_A_THREAD = 20_000  # more bars are computed with beside the event loop
SECOND = np.timedelta64(1, "s")
NONE_YET = "There are no bars shorter than a day yet: run `make minutes`, or ask for interval=1d."
OF_NEXT = "after={}: take it from `next`, as 20130228T143000Z"


class Context(Protocol):
    """What one request reads from: see api.routes.context."""

    @property
    def snapshot(self) -> Snapshot | None: ...
    @property
    def minutes(self) -> Minutes: ...
    @property
    def minute_cache(self) -> MinuteCache: ...
    async def take_minute_view(self) -> MinuteView | None: ...
    async def take_view(self, view: View) -> StoredSeries: ...
    async def ask(self, question: Question[T]) -> T: ...
    async def reserve_bars(self, bars: int) -> None: ...
    async def compute(self, work: Callable[[], T]) -> T: ...


class Asked(NamedTuple):
    """What a view asks of one symbol: stored bars that begin from `start` on and before `before`.

    noted: of them, those to leave out; daily: what prices are adjusted by, where they are.
    """

    view: View
    minutes: MinuteView
    instrument: "MinuteInstrument"
    calendar: Calendar
    start: Instant
    before: Instant
    noted: Timestamps
    daily: StoredSeries | None = None

    @property
    def months(self) -> list[int]:
        """Of the sessions in the range that have bars, in the order of the view."""
        if self.start >= self.before:
            return []
        start = max(self.start, np.datetime64(self.instrument.first, "s"))
        last = self.calendar.find_month(self.before - SECOND)
        months = list(range(self.calendar.find_month(start), last + 1))
        return months[::-1] if self.view.order == "desc" else months

    @property
    def bars_a_month(self) -> float:
        """About so many are stored."""
        ends = self.instrument.first, self.instrument.last
        first, last = (np.datetime64(each, "M") for each in ends)
        return self.instrument.bars / (int((last - first).astype(np.int64)) + 1)


class MinuteBars(NamedTuple):
    """The bars of one symbol as a view asks for them, sorted by time.

    is_synthetic: they were made out of daily bars; left_out: how many for their notes; told: why
    there are none, where an instant leaves nothing.
    """

    series: Series
    is_synthetic: bool
    left_out: int = 0
    told: dict[str, object] = {}  # noqa: RUF012 (never written)


async def take_minutes(
    context: Context,
    view: View,
    symbol: str | None = None,
    most: int | None = None,
    after: date | None = None,
) -> MinuteBars:
    """The bars of a symbol (else the view's one) in the view's range, interval, hours and
    adjustment; of more than `most` at least one more than that, the first in the view's order, and
    none up to `after`.

    Unknown, NoMinutes, Refused, MinutesDown; Problem for a range that has no meaning.
    """
    asked = await build_asked(context, view, (symbol or view.symbols[0]).strip().upper(), after)
    parts: list[Series] = []
    for months in part_months(asked, most):
        parts.append(await take_part(context, asked, months))
        if most is not None and sum(map(len, parts)) > most:
            break
    if view.order == "desc":
        parts.reverse()
    series = join_series(parts) if parts else await take_part(context, asked, [])
    told = await tell_nothing(context, asked) if view.as_of and not len(series) else {}
    left_out = count_left_out(asked)
    return MinuteBars(series, asked.instrument.is_synthetic, left_out, told)


async def build_asked(
    context: Context, view: View, symbol: str, after: date | None, is_stored: bool = False
) -> Asked:
    """is_stored: the interval has to be that of the stored bars."""
    minutes = await context.take_minute_view()
    if minutes is None:
        raise NoMinutes(NONE_YET)
    instrument = await find_instrument(context, minutes, symbol, view.interval)
    if is_stored and instrument.interval != view.interval:
        raise Refused(
            f"interval={view.interval} is made of stored bars: of {symbol} ask for"
            f" interval={instrument.interval}"
        )
    if view.is_strict and instrument.interval != view.interval:
        raise Refused(
            f"quality=strict leaves out stored bars: of {symbol} ask for"
            f" interval={instrument.interval}"
        )
    calendar = await context.minute_cache.take_calendar(minutes, instrument.exchange)
    start, before = find_bounds(view, instrument, calendar, after)
    noted = np.array([], "datetime64[s]")
    if view.is_strict and start < before:
        noted = await context.minutes.ask(lambda: read_noted(minutes, instrument, start, before))
    one = view._replace(symbols=(symbol,))
    daily = await take_daily(context, one, instrument) if view.adjustment != "raw" else None
    return Asked(view, minutes, instrument, calendar, start, before, noted, daily)


async def find_instrument(
    context: Context, minutes: MinuteView, symbol: str, interval: str
) -> "MinuteInstrument":
    found = minutes.find_base(symbol, interval)
    if found is not None:
        return found
    if possible := minutes.list_intervals(symbol):
        raise Refused(
            f"interval={interval} cannot be made of the bars that are stored of {symbol}: possible"
            f" are {', '.join(possible)}, and 1d and longer of daily ones"
        )
    if context.snapshot is not None and symbol in context.snapshot.versions:
        raise NoMinutes(
            f"{symbol} has no bars shorter than a day: take interval=1d, or run `make minutes` with"
            " a source that has them."
        )
    names = list(minutes.instruments)
    raise Unknown(symbol, await context.minutes.ask(lambda: get_close_matches(symbol, names)))


def find_bounds(
    view: View,
    instrument: "MinuteInstrument",
    calendar: Calendar,
    after: date | None,
) -> tuple[Instant, Instant]:
    """The stamps of the view's bars as [start, before), as far as there are any."""
    bounds = [b.instant if isinstance(b, DayOfInstant) else b for b in (view.start, view.end)]
    try:
        start, before = find_span(calendar.sessions, *bounds)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    if start is not None and before is not None and start > before:
        ends = show_bound(view.start), show_bound(view.end)
        raise Problem(422, f"start {ends[0]} is after end {ends[1]}: swap them")
    least, most = (np.datetime64(each, "s") for each in (instrument.first, instrument.last))
    least -= np.timedelta64(INTERVAL_SECONDS[view.interval], "s")  # of the first bucket
    start = least if start is None else max(start, least)
    before = most + SECOND if before is None else min(before, most + SECOND)
    return pass_over(view, start, before, after)


def pass_over(
    view: View, start: Instant, before: Instant, after: date | None
) -> tuple[Instant, Instant]:
    """The bounds of what comes behind the bar that begins at `after`."""
    if after is None:
        return start, before
    if not isinstance(after, DayOfInstant) or after.instant.tzinfo is None:
        raise Problem(422, OF_NEXT.format(show_bound(after)))
    passed = np.datetime64(after.instant.replace(tzinfo=None), "s")
    if view.order == "desc":
        return start, min(before, passed)
    return max(start, passed + SECOND), before


def read_noted(
    minutes: MinuteView, instrument: "MinuteInstrument", start: Instant, before: Instant
) -> Timestamps:
    """The bars that have a note, each once."""
    bounds = start.astype(datetime), before.astype(datetime)
    table = minutes.snapshot.notes(instrument.symbol, instrument.interval, *bounds)
    return np.unique(table.column("timestamp").to_numpy().astype("datetime64[s]"))


async def take_daily(
    context: Context, view: View, instrument: "MinuteInstrument"
) -> StoredSeries | None:
    """What is known of a symbol's days: prices of minutes are adjusted by them."""
    try:
        return await context.take_view(view)
    except NoDatabase:
        return None
    except (Unknown, OnlyMinutes):
        symbol, as_of = view.symbols[0], view.as_of
        (actions,) = await context.ask(lambda reader: reader.read_adjusting([symbol], as_of))

    async def take_last(asked: View, most: int) -> Series:
        return (await take_minutes(context, asked, most=most)).series

    return await build_stored(view, instrument.interval, actions, take_last)


def part_months(asked: Asked, most: int | None) -> Iterator[list[int]]:
    """The months of one question after the other: as few as may fill a page, then more."""
    ratio = INTERVAL_SECONDS[asked.view.interval] / INTERVAL_SECONDS[asked.instrument.interval]
    largest = max(1, int(READ_AT_ONCE / max(asked.bars_a_month, 1)))
    count = largest
    if most is not None:
        count = min(largest, max(1, int(most * ratio / max(asked.bars_a_month, 1)) + 1))
    months = asked.months
    while months:
        yield months[:count]
        months, count = months[count:], min(largest, 2 * count)


async def take_part(context: Context, asked: Asked, months: Sequence[int]) -> Series:
    """The bars of some months, within the range."""
    await context.reserve_bars(int(asked.bars_a_month * len(months)))
    view, as_of = asked.minutes, asked.view.as_of
    if months:
        found = await context.minute_cache.take_months(
            view, asked.instrument, sorted(months), as_of
        )
        stored = join_series(found)
    else:
        stored = asked.minutes.build_empty(asked.instrument)
    until = await find_known_until(context, asked, stored, months)
    if len(stored) < IN_A_THREAD:
        return derive(asked, stored, until)
    return await context.compute(lambda: derive(asked, stored, until))


async def find_known_until(
    context: Context, asked: Asked, stored: Series, months: Sequence[int]
) -> Instant | None:
    """Till when stored bars tell; as known at an instant: whether there is more in the month after
    those that were read."""
    base = np.timedelta64(INTERVAL_SECONDS[asked.instrument.interval], "s")
    last = np.datetime64(asked.instrument.last, "s")
    as_of = asked.view.as_of
    if as_of is None:
        return last + base
    if not months or asked.calendar.find_month_begin(max(months) + 1) > last:
        return None
    following = [max(months) + 1]
    (more,) = await context.minute_cache.take_months(
        asked.minutes, asked.instrument, following, as_of
    )
    return last + base if len(more) else None


def derive(asked: Asked, stored: Series, until: Instant | None) -> Series:
    """Without what is to be left out, as the view wants it, within the range."""
    if len(asked.noted):
        stored = keep_bars(stored, ~np.isin(stored.timestamps, asked.noted))
    base, sessions = INTERVAL_SECONDS[asked.instrument.interval], asked.calendar.sessions
    series = derive_minutes(asked.view, stored, sessions, base, until, asked.daily)
    ends = np.array([asked.start, asked.before], "datetime64[s]")
    first, before = series.timestamps.searchsorted(ends).tolist()
    return take_slice(series, slice(first, before))


def count_left_out(asked: Asked) -> int:
    """The noted bars of the whole range, of the hours that were asked for."""
    if asked.view.hours == "extended" or not len(asked.noted):
        return len(asked.noted)
    places = find_places(asked.noted, asked.calendar.sessions)
    return int(places.counts[places.is_regular].sum())


async def tell_nothing(context: Context, asked: Asked) -> dict[str, object]:
    """Why an answer is empty, where there are bars now and an instant leaves none of them."""
    now = asked._replace(view=asked.view._replace(as_of=None))
    as_of = asked.view.as_of
    for months in part_months(now, most=1):
        if as_of and len(await take_part(context, now, months)):
            return explain_nothing(as_of)
    return {}


def tell_minutes(view: View, parts: Sequence[MinuteBars]) -> dict[str, Any]:
    """What an answer says of bars shorter than a day, beside what it says of all."""
    zones = {part.series.symbol: part.series.axis.zone or "UTC" for part in parts}
    alike = set(zones.values())
    return {
        "hours": view.hours,
        "timezone": alike.pop() if len(alike) == 1 else zones,
        "synthetic": any(part.is_synthetic for part in parts),
    }


def tell_clock(calendar: Calendar) -> str:
    """The zone by which instants without an offset are read."""
    return calendar.sessions.zone or "UTC"


def name_after(series: Series, row: int) -> str:
    """The start of one bar, as `after` is written: 20130228T143000Z."""
    instant: datetime = series.timestamps[row].astype("datetime64[s]").item()
    return f"{instant:%Y%m%dT%H%M%SZ}"


def cut_minutes(series: Series, limit: int, order: str) -> tuple[Series, str | None]:
    """The first `limit` bars of a sorted series in that order, newest first for desc, and what
    `after` is of those behind them."""
    if order == "desc":
        series = take_slice(series, np.s_[::-1])
    page = take_slice(series, slice(limit))
    return page, name_after(page, -1) if len(series) > limit else None
