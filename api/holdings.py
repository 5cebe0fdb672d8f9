"""One symbol's columns, read once a generation and kept: the unit of reading.

What a request costs after the first is arithmetic on arrays; and once some times as many rows were
encoded for a symbol as it has, all its rows are encoded once more and kept as text, so that a new
range is a slice of bytes.
"""

import asyncio
import os
from dataclasses import dataclass, replace
from datetime import date, datetime
from weakref import WeakValueDictionary

import numpy as np

from api import queries
from api.database import Database, Snapshot
from api.memory import Memory
from api.resample import resample
from api.series import Days, Dividend, Series, Split, adjust, weigh_columns
from api.texts import Prepared, index_rows, write_bars
from api.turns import Turns

# The text of a bar takes twice the memory of its columns, so only what is in much use is worth it:
# a symbol of which each bar was encoded so often.
ROUNDS_TO_PREPARE = 4

# Symbols that are read at once: beyond the number of cores each costs twice the time, for the
# threads wait for each other.
READERS = os.cpu_count() or 1

# A symbol of so many days with so large a share of weekends trades on all days: there 2 of 7 are.
LEAST_DAYS, LEAST_WEEKEND = 30, 0.2


@dataclass
class Holding:
    """A symbol's bars as stored, its splits and dividends.

    encoded: how many rows were encoded singly, until all were prepared.
    """

    series: Series
    splits: list[Split]
    dividends: list[Dividend]
    encoded: int = 0
    generation: str = ""


class Holdings:
    """The holdings of a worker, by generation and symbol, within the memory for all."""

    def __init__(self, memory: Memory, database: Database) -> None:
        self.memory = memory
        self.database = database
        self.under_way: dict[tuple[str, str], asyncio.Task[Holding]] = {}
        self.reading = asyncio.Semaphore(READERS)
        self.turns = Turns()
        self.preparing: set[asyncio.Task[None]] = set()
        self.catalog: tuple[str, queries.Catalog] | None = None
        self.calendars: WeakValueDictionary[tuple[int, int, int], Days] = WeakValueDictionary()

    def find(self, snapshot: Snapshot, symbol: str) -> Holding | None:
        """The holding of a symbol (upper case) if it was read already."""
        return self.memory.get((snapshot.generation, symbol))

    def knows(self, snapshot: Snapshot, symbol: str) -> bool:
        """Whether a symbol (upper case) is known to be stored, as far as the catalog was read."""
        catalog = self.catalog
        return catalog is not None and catalog[0] == snapshot.generation and symbol in catalog[1]

    async def take(self, snapshot: Snapshot | None, symbol: str) -> Holding:
        """The holding of a symbol, in any case; read once for all who ask. 404 Problem.

        Without a snapshot it takes one: NoDatabase if there still is none.
        """
        snapshot = snapshot or self.database.take_snapshot()
        name = symbol.strip().upper()
        held = self.find(snapshot, name)
        if held is not None:
            return held
        key = (snapshot.generation, name)
        task = self.under_way.get(key)
        if task is None:
            task = asyncio.create_task(self.read(snapshot, name))
            self.under_way[key] = task
            task.add_done_callback(lambda _: self.under_way.pop(key, None))
        return await asyncio.shield(task)

    async def read(self, snapshot: Snapshot, symbol: str) -> Holding:
        def question(cursor: queries.Cursor) -> Holding:
            return read_holding(cursor, symbol, self.read_catalog(snapshot, cursor))

        async with self.reading:
            held = await self.database.ask(snapshot, question)
        held.generation = snapshot.generation
        self.keep(held)
        return held

    def read_catalog(self, snapshot: Snapshot, cursor: queries.Cursor) -> queries.Catalog:
        """What is known of all symbols, read once a generation; two threads may both read it."""
        known = self.catalog
        if known is None or known[0] != snapshot.generation:
            self.catalog = known = snapshot.generation, queries.read_catalog(cursor)
        return known[1]

    def keep(self, held: Holding) -> None:
        """Symbols of one exchange have the same days: kept, and weighed, once for all of them."""
        series = held.series
        days = self.share_days(series.days)
        is_shared = days is not series.days
        held.series = replace(series, days=days)
        size = weigh_columns(series) - (days.nbytes if is_shared else 0)
        self.memory.put((held.generation, series.symbol), held, size, is_proven=True)

    def share_days(self, days: Days) -> Days:
        """The same days as they are held for another symbol already; else these."""
        ends = days[[0, -1]].astype(np.int64).tolist() if len(days) else [0, 0]
        key = len(days), ends[0], ends[1]
        held = self.calendars.get(key)
        if held is not None and np.array_equal(held, days):
            return held
        self.calendars[key] = days
        return days

    def find_rows(self, held: Holding) -> Prepared | None:
        """The JSON text of all bars as traded, if it was worth while so far."""
        rows: Prepared | None = self.memory.get((held.generation, held.series.symbol, "rows"))
        return rows

    def count_encoded(self, held: Holding, rows: int) -> None:
        """Say that so many rows were encoded; after some rounds over all, all are prepared."""
        held.encoded += rows
        if held.encoded >= ROUNDS_TO_PREPARE * len(held.series):
            held.encoded = 0
            if self.find_rows(held) is not None:  # a page or a file is encoded singly all the same
                return
            task = asyncio.create_task(self.prepare(held))
            self.preparing.add(task)
            task.add_done_callback(self.preparing.discard)

    async def prepare(self, held: Holding) -> None:
        """Thousands of rows: whoever asks meanwhile has theirs encoded singly."""
        rows = index_rows(await self.turns.join(write_bars(derive_series(held, "raw"))))
        size = len(rows.text) + rows.offsets.nbytes
        self.memory.put((held.generation, held.series.symbol, "rows"), rows, size)


def derive_series(
    held: Holding, adjustment: str, adjusted_as_of: date | None = None, interval: str = "1d"
) -> Series:
    """The whole series as asked for. Ranges are cut out of it, and never the other way round."""
    adjusted = adjust(
        held.series,
        held.splits,
        adjustment,
        dividends=held.dividends,
        adjusted_as_of=adjusted_as_of,
    )
    return resample(adjusted, interval)


def read_holding(
    cursor: queries.Cursor, symbol: str, catalog: queries.Catalog, as_of: datetime | None = None
) -> Holding:
    """The holding of a symbol (upper case), or as it was known at an instant. 404 Problem."""
    entry = catalog.get(symbol)
    if entry is None:
        raise queries.build_unknown(cursor, symbol)
    splits, dividends = queries.read_adjusting(cursor, symbol) if entry.has_actions else ([], [])
    if as_of is None:
        series = queries.read_series(cursor, symbol, entry.basis)
        return Holding(name_calendar(series, entry.exchange), splits, dividends)
    series = queries.read_series_as_of(cursor, symbol, entry.basis, as_of)
    return Holding(
        name_calendar(series, entry.exchange),
        [split for split in splits if split[0] <= as_of.date()],
        [paid for paid in dividends if paid[0] <= as_of.date()],
    )


def name_calendar(series: Series, exchange: str | None) -> Series:
    """The series with the calendar of its instrument, or if that is not known, as its days say."""
    if exchange is None and trades_on_weekends(series.days):
        exchange = "24/7"
    return replace(series, calendar=exchange or "")


def trades_on_weekends(days: Days) -> bool:
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970-01-01, day 0, is a Thursday
    return len(days) >= LEAST_DAYS and float((weekdays >= 5).mean()) >= LEAST_WEEKEND
