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
from api.bars.series import Series, take_slice
from api.bars.sessions import Instants
from api.bars.view import View, derive_minutes
from api.cache.memory import Memory
from api.cache.minute_cache import MinuteCache
from api.encode.formats import describe_bars, wrap_rows
from api.encode.text import Prepared, index_rows, slice_rows, write_bars
from api.encode.turns import Turns
from api.store.minutes.views import Calendar, MinuteView

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteInstrument

MOST_TOUCHED = 4096  # months of which it is known that they were asked for
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


class Text(NamedTuple):
    """days: the session of each row, since 1970, sorted; head: the series without its bars."""

    days: Instants
    rows: Prepared
    head: Series

    def weigh(self) -> int:
        return len(self.rows.text) + self.rows.offsets.nbytes + self.days.nbytes

    def find(self, days: Days) -> tuple[int, int]:
        """The rows of the days, both inclusive."""
        start, end = days
        first = self.days.searchsorted(count_days(start), "left") if start else 0
        last = self.days.searchsorted(count_days(end), "right") if end else len(self.days)
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
        base = np.timedelta64(INTERVAL_SECONDS[form.instrument.interval], "s")
        until = np.datetime64(form.instrument.last, "s") + base
        view = View((), interval=form.interval, hours=form.hours)
        for month in months:
            (stored,) = await self.cache.take_months(minutes, form.instrument, [month])
            seconds = int(base.astype(np.int64))
            series = derive_minutes(view, stored, calendar.sessions, seconds, until, None)
            text = await self.write(series)
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
    ranges = [text.find(days) for text in texts]
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
