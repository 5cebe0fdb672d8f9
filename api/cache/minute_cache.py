"""Minutes that were read once: months of sessions as columns, in the memory for all.

A month of a symbol is the unit of reading: bars of a range, of longer intervals and of other hours
are made of it, and it is forgotten as the columns of days are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from api.bars.series import Series, take_slice, weigh_columns
from api.cache.memory import Memory
from api.cache.once import Once
from api.store.minutes import Minutes
from api.store.minutes.views import Calendar, MinuteView

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteInstrument

READ_AT_ONCE = 500_000  # bars of one question, about


class MinuteCache:
    def __init__(self, memory: Memory, minutes: Minutes) -> None:
        self.memory = memory
        self.minutes = minutes
        self.once: Once[list[Series]] = Once()

    async def take_calendar(self, view: MinuteView, exchange: str) -> Calendar:
        found = view.calendars.get(exchange)
        if found is None:
            found = await self.minutes.ask(lambda: view.read_calendar(exchange))
        return found

    async def take_months(
        self,
        view: MinuteView,
        instrument: "MinuteInstrument",
        months: Sequence[int],
        as_of: datetime | None = None,
    ) -> list[Series]:
        """The stored bars of session months, in their order; those that are missing are read in
        one question, as long as they are neighbours."""
        held: dict[int, Series] = {}
        for month in months if as_of is None else ():
            found = self.memory.get(name_month(instrument, month))
            if found is not None:
                held[month] = found
        missing = [month for month in months if month not in held]
        for run in part_runs(missing):
            key = instrument.version, instrument.symbol, instrument.interval, *run, as_of
            make = lambda _, run=run: self.read_months(view, instrument, run, as_of)  # noqa: E731
            held |= zip(run, await self.once.get(key, make), strict=True)
        return [held[month] for month in months]

    async def read_months(
        self,
        view: MinuteView,
        instrument: "MinuteInstrument",
        months: Sequence[int],
        as_of: datetime | None,
    ) -> list[Series]:
        calendar = await self.take_calendar(view, instrument.exchange)
        edges = [calendar.find_month_begin(month) for month in (*months, months[-1] + 1)]
        read = lambda: view.read_series(instrument, edges[0], edges[-1], as_of)  # noqa: E731
        found = list(part_series(await self.minutes.ask(read), edges))
        for month, series in zip(months, found, strict=True) if as_of is None else ():
            key = name_month(instrument, month)
            self.memory.put(key, series, weigh_columns(series), is_proven=True)
        return found


def name_month(instrument: "MinuteInstrument", month: int) -> tuple[str, str, str, int]:
    return instrument.version, instrument.symbol, instrument.interval, month


def part_runs(months: Iterable[int]) -> Iterator[list[int]]:
    """Neighbours together, in rising order."""
    run: list[int] = []
    for month in sorted(months):
        if run and month != run[-1] + 1:
            yield run
            run = []
        run.append(month)
    if run:
        yield run


def part_series(series: Series, edges: Sequence[np.datetime64]) -> Iterator[Series]:
    """The bars between each two edges, each with memory of its own."""
    places = series.timestamps.searchsorted(np.array(edges[1:-1], "datetime64[s]")).tolist()
    for first, last in zip([0, *places], [*places, len(series)], strict=True):
        part = take_slice(series, slice(first, last))
        columns = {name: getattr(part, name).copy() for name in COLUMNS}
        yield replace(part, **columns)


COLUMNS = ("timestamps", "open", "high", "low", "close", "volume")
