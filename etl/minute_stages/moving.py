"""Bars of minutes from one store into another, of whatever engine, with all that is known of them.

Month by month, each published by itself: so whatever dies leaves the target at one of its months,
and the next copy goes on behind it. What is stored is told to the target as the answers that it
came from (these values, at this instant), so the target's own comparing gives it the same bars,
the same revisions, and the same instants since when each is known. Positions of live changes are
not taken along: who follows them begins anew.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from etl.base.errors import StoreError
from etl.base.whole_files import write_whole
from etl.contracts.minutes import (
    BATCH_BARS,
    NOTES,
    SESSIONS,
    SPANS,
    Batch,
    MinuteInstrument,
    MinuteSnapshot,
    MinuteStore,
)

log = logging.getLogger("etl")

BARS_AT_ONCE = 200_000
RUN_ID = "minutes-copy"
Key = tuple[str, str]


@dataclass(frozen=True)
class Month:
    """One of an interval, from its first instant to before the first of the next (UTC)."""

    interval: str
    start: datetime

    @property
    def end(self) -> datetime:
        return (self.start + timedelta(days=31)).replace(day=1)

    def __str__(self) -> str:
        return f"{self.interval} {self.start:%Y-%m}"


class Move:
    """names: of both stores, as messages tell them. progress: the file that remembers how far a
    copy of this generation into this target has come."""

    def __init__(
        self, source: MinuteStore, target: MinuteStore, names: tuple[str, str], progress: Path
    ) -> None:
        self.seen, self.target, self.names, self.progress = (
            source.snapshot(),
            target,
            names,
            progress,
        )
        if not self.seen.generation:
            raise StoreError(f"{names[0]} has no bars of minutes: there is nothing to copy")

    def copy(self) -> None:
        """Everything that the target does not have yet. StoreError where it has other bars."""
        months = list_months(self.seen.instruments.values())
        done = self.read_done(months)
        if not done:
            self.check_target()
        for number, month in enumerate(months[done:], done + 1):
            for batch in build_batches(self.seen, month):
                self.target.upsert(batch, RUN_ID)
            self.remember(number, self.target.publish())
            log.info("copied %s (%d of %d)", month, number, len(months))
        for batch in build_beside(self.seen):
            self.target.upsert(batch, RUN_ID)
        self.target.publish()

    def read_done(self, months: Sequence[Month]) -> int:
        """How many months the target has of this generation for certain."""
        try:
            kept = json.loads(self.progress.read_text())
        except (FileNotFoundError, ValueError):
            return 0
        is_ours = kept == self.describe(kept.get("months"), self.target.newest())
        return min(int(kept["months"]), len(months)) if is_ours else 0

    def describe(self, months: int, generation: str) -> dict[str, object]:
        named = dict(zip(("source", "target"), self.names, strict=True))
        return {**named, "of": self.seen.generation, "months": months, "generation": generation}

    def remember(self, months: int, generation: str) -> None:
        with write_whole(self.progress) as path:
            path.write_text(json.dumps(self.describe(months, generation)))

    def check_target(self) -> None:
        """StoreError where it has a bar that is not the source's: nothing is ever overwritten."""
        there = self.target.snapshot()
        other = sorted(there.instruments.keys() - self.seen.instruments.keys())
        if other:
            raise StoreError(self.refuse(f"{other[0][0]} {other[0][1]}"))
        for month in list_months(there.instruments.values()):
            for symbols in list_chunks(there.instruments.values(), month):
                if found := find_other(there, self.seen, symbols, month):
                    raise StoreError(self.refuse(f"{found} of {month}"))

    def refuse(self, found: str) -> str:
        return (
            f"{self.names[1]} has other bars than {self.names[0]} ({found}): nothing was copied;"
            " copy into an empty store, or empty this one first"
        )

    def compare(self) -> list[tuple[str, str]]:
        """(symbol and interval, what differs; "" for nothing): of all that either store has."""
        ours, theirs = self.seen.instruments, self.target.snapshot().instruments
        return [
            (f"{key[0]} {key[1]}", find_difference(ours.get(key), theirs.get(key)))
            for key in sorted(ours.keys() | theirs.keys())
        ]


def find_difference(ours: MinuteInstrument | None, theirs: MinuteInstrument | None) -> str:
    if ours is None or theirs is None:
        return "it is in one of them alone"
    fields = (f for f in MinuteInstrument._fields if getattr(ours, f) != getattr(theirs, f))
    return ", ".join(f"{f} {getattr(ours, f)} and {getattr(theirs, f)}" for f in fields)


def list_months(
    instruments: Iterable[MinuteInstrument],
) -> list[Month]:
    """All between the first and the last bar of each interval."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for each in instruments:
        first, last = spans.get(each.interval, (each.first, each.last))
        spans[each.interval] = min(first, each.first), max(last, each.last)
    return [
        month
        for interval, (first, last) in sorted(spans.items())
        for month in walk_months(interval, first, last)
    ]


def walk_months(interval: str, first: datetime, last: datetime) -> Iterator[Month]:
    month = Month(interval, datetime(first.year, first.month, 1))  # noqa: DTZ001
    while month.start <= last:
        yield month
        month = Month(interval, month.end)


def list_chunks(instruments: Iterable[MinuteInstrument], month: Month) -> Iterator[list[str]]:
    """Symbols that may have bars in a month, so many that it is about BARS_AT_ONCE of them."""
    few: list[str] = []
    count = 0.0
    for each in sorted(instruments):
        start, end = max(each.first, month.start), min(each.last, month.end)
        if each.interval != month.interval or start > end:
            continue
        share = (end - start) / (each.last - each.first or timedelta(days=31))
        few.append(each.symbol)
        count += each.bars * share
        if count >= BARS_AT_ONCE:
            yield few
            few, count = [], 0.0
    if few:
        yield few


def build_batches(seen: MinuteSnapshot, month: Month) -> Iterator[Batch]:
    for symbols in list_chunks(seen.instruments.values(), month):
        span = month.start, month.end
        bars = tell_answers(seen, symbols, month)
        notes = [seen.notes(each, month.interval, *span) for each in symbols]
        given = {each: seen.instruments[each, month.interval].exchange for each in symbols}
        exchanges = {symbol: exchange for symbol, exchange in given.items() if exchange}
        yield Batch(
            month.interval, bars, exchanges, pa.concat_tables([NOTES.empty_table(), *notes])
        )


def tell_answers(seen: MinuteSnapshot, symbols: Sequence[str], month: Month) -> pa.Table:
    """BATCH_BARS: what was answered once, as far as it is known: each value when it was first seen,
    and the present one when it was seen last."""
    span = month.start, month.end
    bars = seen.stored(symbols, month.interval, *span)
    old = [seen.revisions(each, month.interval, *span) for each in symbols]
    again = bars.filter(pc.greater(bars["seen_at"], bars["known_at"]))
    parts = ((bars, "known_at"), (again, "seen_at"), (pa.concat_tables(old), "known_at"))
    return pa.concat_tables([shape_answers(rows, instant) for rows, instant in parts])


def shape_answers(rows: pa.Table, instant: str) -> pa.Table:
    columns = [*BATCH_BARS.names[:-1], instant]
    return rows.select(columns).rename_columns(BATCH_BARS.names).cast(BATCH_BARS)


def find_other(
    there: MinuteSnapshot, seen: MinuteSnapshot, symbols: Sequence[str], month: Month
) -> str:
    """A symbol of which the one store has an answer that the other has not; "" for none."""
    with duckdb.connect(":memory:") as connection:
        connection.register("theirs", tell_answers(there, symbols, month))
        connection.register("ours", tell_answers(seen, symbols, month))
        query = "SELECT min(symbol) FROM (FROM theirs EXCEPT FROM ours)"
        found: str | None = connection.execute(query).fetchall()[0][0]
    return found or ""


def build_beside(seen: MinuteSnapshot) -> Iterator[Batch]:
    """What is of no month: the spans of each interval, and the sessions."""
    by_interval: dict[str, list[str]] = {}
    for symbol, interval in seen.instruments:
        by_interval.setdefault(interval, []).append(symbol)
    exchanges = sorted({each.exchange for each in seen.instruments.values()})
    for interval, symbols in sorted(by_interval.items()):
        spans = [seen.spans(each, interval) for each in sorted(symbols)]
        sessions = [seen.sessions(each, None, None) for each in exchanges]
        yield Batch(
            interval,
            BATCH_BARS.empty_table(),
            sessions=pa.concat_tables([SESSIONS.empty_table(), *sessions]),
            spans=pa.concat_tables([SPANS.empty_table(), *spans]),
        )
