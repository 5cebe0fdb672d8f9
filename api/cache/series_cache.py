"""One symbol's columns, read once a version of it and kept: the unit of reading.

What a request costs after the first is arithmetic on arrays; and once some times as many rows were
encoded for a symbol as it has, all its rows are encoded once more and kept as text, so that a new
range is a slice of bytes.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from api.bars.series import STORED_INTERVAL, Axis, Days, Series, Timestamps, weigh_columns
from api.bars.view import StoredSeries, View, derive_whole
from api.bars.volumes import divide_units
from api.cache.memory import Memory
from api.cache.once import Once
from api.encode.text import Prepared, index_rows, write_bars
from api.encode.turns import Turns
from api.faults import Unknown
from api.store import Actions, Catalog, Entry, Reader, Snapshot, Store
from api.store.workers import CORES, Job, Workers
from etl.contracts.zones import ZONES

T = TypeVar("T")

FIGURES_PATIENCE = 30.0  # seconds to wait for a thread

# The text of a bar takes twice the memory of its columns, so only what is in much use is worth it:
# a symbol of which each bar was encoded so often.
ROUNDS_TO_PREPARE = 2

# Bars that one question reads, of any number of symbols: each question has the whole time limit,
# and lets others in between.
READ_AT_ONCE = 500_000

# A symbol of so many days with so large a share of weekends trades on all days: there 2 of 7 are.
LEAST_DAYS, LEAST_WEEKEND = 30, 0.2


PLAIN = View(())  # of whatever symbol: all its bars as traded


@dataclass
class CachedSeries(StoredSeries):
    """encoded: how many rows were encoded singly, until all were prepared."""

    encoded: int = 0
    version: str = ""


class SeriesCache:
    """The series of a worker, by version, symbol and interval, within the memory for all."""

    def __init__(self, memory: Memory, database: Store[Any]) -> None:
        self.memory = memory
        self.database = database
        self.once: Once[CachedSeries] = Once()
        self.workers = Workers(CORES, "figures", FIGURES_PATIENCE)
        self.turns = Turns()
        self.preparing: set[asyncio.Task[None]] = set()
        self.catalog: tuple[str, Catalog] | None = None
        self.shared: WeakValueDictionary[tuple[int, int, int], Timestamps] = WeakValueDictionary()

    def find(
        self, snapshot: Snapshot, symbol: str, interval: str = STORED_INTERVAL
    ) -> CachedSeries | None:
        """A symbol's (upper case) stored bars of an interval, if they were read already."""
        return self.memory.get((snapshot.find_version(symbol), symbol, interval))

    def knows(self, snapshot: Snapshot, symbol: str) -> bool:
        """Whether a symbol (upper case) is known to be stored, as far as that was read."""
        catalog = self.catalog
        if symbol in snapshot.versions:
            return True
        return catalog is not None and catalog[0] == snapshot.generation and symbol in catalog[1]

    async def take(
        self, snapshot: Snapshot | None, symbol: str, interval: str = STORED_INTERVAL
    ) -> CachedSeries:
        """The series of a symbol, in any case; read once for all who ask. Unknown, Refused.

        Without a snapshot it takes one: NoDatabase if there still is none.
        """
        snapshot = snapshot or self.database.newest()
        name = symbol.strip().upper()
        held = self.find(snapshot, name, interval)
        if held is not None:
            return held
        key = (snapshot.find_version(name), name, interval)
        return await self.once.get(key, lambda _: self.read(snapshot, name, interval))

    async def read(self, snapshot: Snapshot, symbol: str, interval: str) -> CachedSeries:
        return (await self.read_some(snapshot, [symbol], interval))[0]

    async def take_many(
        self,
        snapshot: Snapshot | None,
        symbols: Sequence[str],
        as_of: datetime | None = None,
        interval: str = STORED_INTERVAL,
    ) -> list[CachedSeries]:
        """The series of stored symbols, in the order given; or as they were known at `as_of`.

        In one question, unless they have very many bars: one a symbol costs ten times as much.
        """
        snapshot = snapshot or self.database.newest()
        names = [symbol.strip().upper() for symbol in symbols]
        found = ((name, self.find(snapshot, name, interval)) for name in names)
        held = {} if as_of else {name: each for name, each in found if each}
        missing = [name for name in names if name not in held]
        for some in self.part(snapshot, missing):
            held |= zip(some, await self.read_some(snapshot, some, interval, as_of), strict=True)
        return [held[name] for name in names]

    def part(self, snapshot: Snapshot, symbols: Sequence[str]) -> Iterator[list[str]]:
        """The symbols of one question after the other."""
        some: list[str] = []
        for symbol in symbols:
            if some and self.count_bars(snapshot, [*some, symbol]) > READ_AT_ONCE:
                yield some
                some = []
            some.append(symbol)
        if some:
            yield some

    async def read_some(
        self,
        snapshot: Snapshot,
        symbols: Sequence[str],
        interval: str,
        as_of: datetime | None = None,
    ) -> list[CachedSeries]:
        """Read in one question; as they are now, they are kept. Many leave the quick ones alone."""

        def question(reader: Reader) -> list[CachedSeries]:
            catalog = self.read_catalog(snapshot, reader)
            return read_cached_series(reader, symbols, catalog, interval, as_of)

        found = await self.database.ask(snapshot, question, is_wide=len(symbols) > 1)
        for held in found if as_of is None else ():
            held.version = snapshot.find_version(held.series.symbol)
            self.keep(held)
        return found

    def count_bars(self, snapshot: Snapshot, symbols: Sequence[str]) -> int:
        """The bars of stored symbols, as far as that was read."""
        if snapshot.bars:
            return sum(snapshot.bars.get(name, 0) for name in symbols)
        catalog = self.catalog
        if catalog is None or catalog[0] != snapshot.generation:
            return 0
        return sum(catalog[1][name].bars for name in symbols if name in catalog[1])

    async def compute(self, work: Callable[[], T]) -> T:
        """Arithmetic on many rows, in a thread; no more at once than there are cores."""
        return await self.workers.run(Job(work, lambda: None, float("inf")))

    def read_catalog(self, snapshot: Snapshot, reader: Reader) -> Catalog:
        """What is known of all symbols, read once a generation; two threads may both read it."""
        known = self.catalog
        if known is None or known[0] != snapshot.generation:
            self.catalog = known = snapshot.generation, reader.read_catalog()
        return known[1]

    def keep(self, held: CachedSeries) -> None:
        """Symbols of one exchange have the same days: kept, and weighed, once for all of them."""
        series = held.series
        timestamps = self.share_timestamps(series.timestamps)
        is_shared = timestamps is not series.timestamps
        held.series = replace(series, timestamps=timestamps)
        size = weigh_columns(series) - (timestamps.nbytes if is_shared else 0)
        key = held.version, series.symbol, series.interval
        self.memory.put(key, held, size, is_proven=True)

    def share_timestamps(self, timestamps: Timestamps) -> Timestamps:
        """The same timestamps as they are held for another symbol already; else these."""
        ends = timestamps[[0, -1]].astype(np.int64).tolist() if len(timestamps) else [0, 0]
        key = len(timestamps), ends[0], ends[1]
        held = self.shared.get(key)
        if held is not None and np.array_equal(held, timestamps):
            return held
        self.shared[key] = timestamps
        return timestamps

    def find_rows(self, held: CachedSeries) -> Prepared | None:
        """The JSON text of all bars as traded, if it was worth while so far."""
        rows: Prepared | None = self.memory.get(name_rows(held))
        return rows

    def count_encoded(self, held: CachedSeries, rows: int) -> None:
        """Say that so many rows were encoded; after some rounds over all, all are prepared."""
        held.encoded += rows
        if held.encoded >= ROUNDS_TO_PREPARE * len(held.series):
            held.encoded = 0
            if self.find_rows(held) is not None:  # a page or a file is encoded singly all the same
                return
            task = asyncio.create_task(self.prepare(held))
            self.preparing.add(task)
            task.add_done_callback(self.preparing.discard)

    async def prepare(self, held: CachedSeries) -> None:
        """Thousands of rows: whoever asks meanwhile has theirs encoded singly."""
        rows = index_rows(await self.turns.join(write_bars(derive_whole(PLAIN, held))))
        size = len(rows.text) + rows.offsets.nbytes
        self.memory.put(name_rows(held), rows, size)


def read_cached_series(
    reader: Reader,
    symbols: Sequence[str],
    catalog: Catalog,
    interval: str,
    as_of: datetime | None = None,
) -> list[CachedSeries]:
    """Those of symbols (upper case), now or as they were known at an instant. Unknown."""
    unknown = next((symbol for symbol in symbols if symbol not in catalog), None)
    if unknown is not None:
        raise Unknown(unknown, reader.find_nearest(unknown))
    bases = [catalog[symbol].basis for symbol in symbols]
    series = reader.read_many_series(symbols, bases, interval, as_of)
    acting = [symbol for symbol in symbols if catalog[symbol].has_actions]
    actions = reader.read_adjusting(acting, as_of) if acting else []
    by_symbol = dict(zip(acting, actions, strict=True))
    return [
        build_cached_series(each, by_symbol.get(each.symbol, ([], [])), catalog[each.symbol], as_of)
        for each in series
    ]


def build_cached_series(
    series: Series, actions: Actions, entry: Entry, as_of: datetime | None
) -> CachedSeries:
    known_at = {"splits": entry.splits_known_at, "dividends": entry.dividends_known_at}
    series = name_calendar(divide_units(series, entry.volume_decimals), entry.exchange)
    return CachedSeries(series, *actions, known_at={} if as_of else known_at)


def name_rows(held: CachedSeries) -> Hashable:
    """The key of the text of all its bars."""
    return held.version, held.series.symbol, held.series.interval, "rows"


def name_calendar(series: Series, exchange: str | None) -> Series:
    """The series with the calendar of its instrument, or if that is not known, as its days say."""
    if exchange is None and trades_on_weekends(series.days):
        exchange = "24/7"
    axis = Axis(series.axis.kind, ZONES.get(exchange or "", ""))
    return replace(series, calendar=exchange or "", axis=axis)


def trades_on_weekends(days: Days) -> bool:
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970-01-01, day 0, is a Thursday
    return len(days) >= LEAST_DAYS and float((weekdays >= 5).mean()) >= LEAST_WEEKEND
