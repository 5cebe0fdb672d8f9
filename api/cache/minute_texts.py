"""The JSON text of a session month of bars shorter than a day, with the place of each row.

Made of months that are asked for again; a new range inside them is then a slice of bytes, joined
from month to month. Plain views alone have one: all columns, as traded, oldest first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from api.bars.intraday import INTERVAL_SECONDS
from api.bars.series import Series, join_series, list_fields, take_slice
from api.bars.sessions import Instants
from api.bars.view import View, derive_minutes
from api.cache.memory import Memory
from api.cache.minute_cache import MinuteCache
from api.encode.formats import Page, build_columns, describe_bars, wrap_rows
from api.encode.text import Prepared, encode_rows, index_rows, slice_rows, write_bars
from api.encode.turns import Turns
from api.store.minutes.views import Calendar, MinuteView

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteInstrument

MOST_TOUCHED = 4096  # months of which it is known that they were asked for
FEW_MONTHS, FEW_BARS = 3, 50_000  # read and computed with before routing
FIRST_ORDINAL = date(1970, 1, 1).toordinal()
Days = tuple[date | None, date | None]


class Form(NamedTuple):
    """What is asked of a symbol beside a range; base: the stored bars that make it up."""

    instrument: "MinuteInstrument"
    interval: str
    hours: str

    def name(self, month: int) -> Hashable:
        kept = self.instrument.version, self.instrument.symbol, self.instrument.interval
        return *kept, month, self.interval, self.hours, "rows"

    def derive(self, stored: Series, calendar: Calendar) -> Series:
        """The bars of whole session months, as traded."""
        base = INTERVAL_SECONDS[self.instrument.interval]
        until = np.datetime64(self.instrument.last, "s") + np.timedelta64(base, "s")
        view = View((), interval=self.interval, hours=self.hours)
        return derive_minutes(view, stored, calendar.sessions, base, until, None)


class Text(NamedTuple):
    """days: the session of each row, since 1970, sorted; head: the series without its bars."""

    days: Instants
    rows: Prepared
    head: Series

    def weigh(self) -> int:
        return len(self.rows.text) + self.rows.offsets.nbytes + self.days.nbytes


def cut_days(series: Series, days: Days) -> Series:
    """The bars of the sessions of some days, both inclusive."""
    numbers = series.days.astype("datetime64[D]").astype(np.int64)
    return take_slice(series, slice(*find_rows(numbers, days)))


def find_rows(sessions: Instants, days: Days) -> tuple[int, int]:
    """Of sorted sessions those of the days."""
    start, end = days
    first = sessions.searchsorted(count_days(start), "left") if start else 0
    last = sessions.searchsorted(count_days(end), "right") if end else len(sessions)
    return int(first), max(int(first), int(last))


def count_days(day: date) -> int:
    return day.toordinal() - FIRST_ORDINAL


class MinuteTexts:
    def __init__(self, memory: Memory, cache: MinuteCache, turns: Turns) -> None:
        self.memory = memory
        self.cache = cache
        self.turns = turns
        self.touched: OrderedDict[Hashable, None] = OrderedDict()
        self.preparing: set[asyncio.Task[None]] = set()

    def cut(self, minutes: MinuteView, view: View, most: int) -> bytes | None:
        """The answer to a plain view of one symbol and of days, out of texts that are ready; None
        where one of them is not, or there are more rows than `most`."""
        instrument = minutes.find_base(view.symbols[0], view.interval)
        calendar = minutes.calendars.get(instrument.exchange) if instrument else None
        if instrument is None or calendar is None:
            return None
        form = Form(instrument, view.interval, view.hours)
        found: list[Text] = []
        for month in list_months(form, calendar, view):
            text: Text | None = self.memory.get(form.name(month))
            if text is None:
                return None
            found.append(text)
        if not found:
            return None
        return join(found, (view.start, view.end), most, tell(view, form, calendar))

    async def make(self, minutes: MinuteView, view: View, most: int) -> bytes | None:
        """As `cut`, out of columns, which are read where they are not there yet; None where that is
        much: then a route does it in turns with others."""
        instrument = minutes.find_base(view.symbols[0], view.interval)
        if instrument is None:
            return None
        calendar = await self.cache.take_calendar(minutes, instrument.exchange)
        form = Form(instrument, view.interval, view.hours)
        months = list_months(form, calendar, view)
        if not 0 < len(months) <= FEW_MONTHS:
            return None
        stored = join_series(await self.cache.take_months(minutes, instrument, months))
        if len(stored) > FEW_BARS:
            return None
        part = cut_days(form.derive(stored, calendar), (view.start, view.end))
        if len(part) > most:
            return None
        self.count(minutes, calendar, view)
        told = describe_bars(part, len(part), None, tell(view, form, calendar))
        fields = tuple(list_fields(view.interval))
        return wrap_rows(told, encode_rows(build_columns(Page((part,), fields)), "json"))

    def count(self, minutes: MinuteView, calendar: Calendar, view: View) -> None:
        """Say that a plain view was answered: months that were asked for before are prepared."""
        instrument = minutes.find_base(view.symbols[0], view.interval)
        if instrument is None:
            return
        form = Form(instrument, view.interval, view.hours)
        wanted = [m for m in list_months(form, calendar, view) if self.touch(form.name(m))]
        if wanted:
            task = asyncio.create_task(self.prepare(minutes, calendar, form, wanted))
            self.preparing.add(task)
            task.add_done_callback(self.preparing.discard)

    def touch(self, name: Hashable) -> bool:
        """Whether a month without a text was asked for before."""
        if name not in self.touched:
            self.touched[name] = None
            if len(self.touched) > MOST_TOUCHED:
                self.touched.popitem(last=False)
            return False
        return self.memory.get(name) is None

    async def prepare(
        self, minutes: MinuteView, calendar: Calendar, form: Form, months: Sequence[int]
    ) -> None:
        """Month after month: whoever asks meanwhile has theirs encoded singly."""
        for month in months:
            (stored,) = await self.cache.take_months(minutes, form.instrument, [month])
            text = await self.write(form.derive(stored, calendar))
            self.memory.put(form.name(month), text, text.weigh())

    async def write(self, series: Series) -> Text:
        rows = index_rows(await self.turns.join(write_bars(series)))
        days = series.days.astype("datetime64[D]").astype(np.int64)
        return Text(days, rows, take_slice(series, slice(0)))


def list_months(form: Form, calendar: Calendar, view: View) -> list[int]:
    """The months of the view's days, as far as there are bars; of no other view than of days."""
    first, last = calendar.find_ends(form.instrument)
    if view.start is not None:
        first = max(first, count_months(view.start))
    if view.end is not None:
        last = min(last, count_months(view.end))
    return list(range(first, last + 1))


def count_months(day: date) -> int:
    return (day.year - 1970) * 12 + day.month - 1


def tell(view: View, form: Form, calendar: Calendar) -> dict[str, Any]:
    """As `minute_bars.tell_minutes` says it."""
    zone, is_synthetic = calendar.sessions.zone or "UTC", form.instrument.is_synthetic
    return {"hours": view.hours, "timezone": zone, "synthetic": is_synthetic}


def join(texts: Sequence[Text], days: Days, most: int, told: dict[str, Any]) -> bytes | None:
    ranges = [find_rows(text.days, days) for text in texts]
    count = sum(last - first for first, last in ranges)
    if count > most:
        return None
    parts = [
        slice_rows(text.rows, first, last)
        for text, (first, last) in zip(texts, ranges, strict=True)
        if last > first
    ]
    rows = parts[0] if len(parts) == 1 else b",".join(parts)
    return wrap_rows(describe_bars(texts[0].head, count, None, told), rows)
