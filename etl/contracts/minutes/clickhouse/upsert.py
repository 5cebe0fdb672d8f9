"""A batch beside what is stored: read in slices, compared by the common code, written at last."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes import (
    BASE_INTERVALS,
    INSTANT,
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    Batch,
    Counts,
)
from etl.contracts.minutes.changes import Changes, check_bars, compare
from etl.contracts.minutes.clickhouse.accounts import Account
from etl.contracts.minutes.clickhouse.load import Load
from etl.contracts.minutes.clickhouse.published import Question, ask
from etl.contracts.minutes.clickhouse.rows import EPOCH, TICK, read_several, split_names
from etl.contracts.minutes.clickhouse.tables import ASKED, BARS, NOTED, REVISED, TIMED, Table
from etl.contracts.minutes.digests import sum_notes, sum_spans
from etl.contracts.minutes.live import TOLD, list_changes

STORED_AT_ONCE = 2_000_000  # bars at most that one slice may find stored
STEPS = {name: timedelta(seconds=seconds) for name, seconds in BASE_INTERVALS.items()}
EMPTY = {pa.float64(): 0.0, pa.int64(): None, pa.int8(): 0, pa.string(): "", INSTANT: EPOCH}
Ranges = Mapping[str, tuple[datetime, datetime]]  # symbol → first and last instant


class Upsert:
    """One batch. `compute` reads; what it found to be written is written by `write`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, load: Load, batch: Batch) -> None:
        self.connection, self.load, self.batch = connection, load, batch
        self.changes: list[Changes] = []
        self.told: list[pa.Table] = []
        self.added_notes, self.gone_notes = NOTES.empty_table(), NOTES.empty_table()
        self.spans, self.sessions = SPANS.empty_table(), SESSIONS.empty_table()

    def compute(self) -> Counts:
        check_bars(self.connection, self.batch)
        for part in list_slices(self.batch):
            self.changes.append(self.compare_slice(part))
        if not self.batch.is_live:
            self.find_notes(find_ranges(self.batch))
        self.spans = self.find_new(self.batch.spans, self.read(ASKED, SPANS, self.batch.spans))
        self.sessions = self.find_new(self.batch.sessions, self.read_sessions())
        columns = zip(*(each.counts for each in self.changes), strict=True)
        return Counts(*map(sum, columns))

    def compare_slice(self, bars: pa.Table) -> Changes:
        batch = replace(self.batch, bars=bars)
        bounds = pc.min_max(bars["timestamp"]).as_py()
        span = bounds["min"], bounds["max"] + TICK
        stored = self.read(BARS, STORED_BARS, bars, *span)
        revised = self.read(REVISED, REVISIONS, bars, *span)
        changes = compare(self.connection, batch, stored, revised)
        self.told.append(list_changes(self.connection, batch, changes, stored))
        return changes

    def read(
        self,
        table: Table,
        schema: pa.Schema,
        coming: pa.Table,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """What is stored of the symbols of some rows, this load's own included."""
        known = {
            symbol for symbol, interval in self.load.accounts if interval == self.batch.interval
        }
        symbols = known & set(coming["symbol"].unique().to_pylist())
        return read_several(
            self.ask, table, schema, sorted(symbols), self.batch.interval, start, end
        )

    def ask(self, question: Question, values: Mapping[str, object]) -> pa.Table:
        rows = ask(self.load.link, question, self.load.view, values)
        return rows.drop_columns(["is_newer"])

    def read_sessions(self) -> pa.Table:
        names = self.batch.sessions["exchange"].unique().to_pylist()
        if not names:
            return SESSIONS.empty_table()
        where = "exchange IN {names:Array(String)}"
        question = Question(TIMED, tuple(SESSIONS.names), "", where)
        return self.ask(question, {"names": names}).cast(SESSIONS)

    def find_new(self, coming: pa.Table, stored: pa.Table) -> pa.Table:
        return self.query("FROM coming EXCEPT FROM stored", coming=coming, stored=stored)

    def find_notes(self, ranges: Ranges) -> None:
        """Of the symbols' notes within their ranges, those that come in the place of the stored."""
        rows = [{"symbol": s, "first": r[0], "last": r[1]} for s, r in ranges.items()]
        fields = [
            NOTES.field("symbol"),
            ("first", pa.timestamp("us")),
            ("last", pa.timestamp("us")),
        ]
        within = pa.Table.from_pylist(rows, pa.schema(fields))
        stored = self.read(NOTED, NOTES, within)
        given = {"coming": self.batch.notes, "stored": stored, "ranges": within}
        self.added_notes = self.query("FROM coming EXCEPT FROM stored", **given)
        self.gone_notes = self.query(
            "SELECT s.* FROM stored s JOIN ranges r ON s.symbol = r.symbol AND s.timestamp BETWEEN"
            " r.first AND r.last EXCEPT FROM coming",
            **given,
        )

    def query(self, sql: str, **tables: pa.Table) -> pa.Table:
        for name, table in tables.items():
            self.connection.register(name, table)
        found = self.connection.sql(sql).to_arrow_table()
        for name in tables:
            self.connection.unregister(name)
        return found

    def write(self) -> None:
        """All of it under one version more."""
        load, interval = self.load, self.batch.interval
        load.counter += 1
        for each in self.changes:
            load.insert(BARS, interval, each.bars)
            load.insert(REVISED, interval, each.revisions)
            load.insert(REVISED, interval, fill(each.withdrawn, REVISIONS), is_withdrawn=True)
        load.insert(NOTED, interval, self.added_notes)
        load.insert(NOTED, interval, self.gone_notes, is_withdrawn=True)
        load.insert(ASKED, interval, self.spans)
        load.insert(TIMED, "", self.sessions)
        load.told += [told for told in [sort_told(self.told)] if told.num_rows]
        self.account()

    def account(self) -> None:
        """Bring what is said of the symbols in step."""
        for changes in self.changes:
            for row in changes.accounts.to_pylist():
                self.load.keep(self.find(row["symbol"]).take(row))
        self.write_exchanges()
        notes = pa.concat_tables([self.added_notes, self.gone_notes])
        for row in self.query(sum_notes("FROM lines"), lines=notes).to_pylist():
            self.load.keep(self.find(row["symbol"]).mix(noted=row["sum"]))
        for row in self.query(sum_spans("FROM lines"), lines=self.spans).to_pylist():
            self.load.keep(self.find(row["symbol"]).mix(asked=row["sum"]))

    def write_exchanges(self) -> None:
        """A symbol has one calendar, whatever the interval."""
        given = self.batch.exchanges
        coming = ((symbol, self.batch.interval) for symbol in self.list_symbols())
        for symbol, interval in {*coming, *self.load.accounts}:
            if symbol in given:
                account = self.find(symbol, interval)
                self.load.keep(replace(account, exchange=given[symbol]))

    def list_symbols(self) -> set[str]:
        """Those of which something comes."""
        coming = (each["symbol"].unique() for each in (self.batch.bars, self.batch.spans))
        return set().union(*(each.to_pylist() for each in coming))

    def find(self, symbol: str, interval: str = "") -> Account:
        key = symbol, interval or self.batch.interval
        return self.load.accounts.get(key) or Account(*key)


def find_ranges(batch: Batch) -> Ranges:
    """Symbol → the first and the last of its bars in the batch."""
    bounds = batch.bars.group_by("symbol").aggregate([("timestamp", "min"), ("timestamp", "max")])
    rows = bounds.to_pylist()
    return {row["symbol"]: (row["timestamp_min"], row["timestamp_max"]) for row in rows}


def list_slices(batch: Batch) -> Iterator[pa.Table]:
    """The bars of a batch in parts: of one month, and of so few symbols that what is stored of them
    there is a bounded number of bars, however few of them the batch has."""
    months = pc.strftime(batch.bars["timestamp"], "%Y-%m")
    for month in sorted(months.unique().to_pylist()):
        bars = batch.bars.filter(pc.equal(months, month))
        bounds = pc.min_max(bars["timestamp"]).as_py()
        steps = (bounds["max"] - bounds["min"]) // STEPS[batch.interval] + 1
        most = max(1, STORED_AT_ONCE // steps)
        names = bars["symbol"].unique().to_pylist()
        for some in split_names(names, most):
            chosen = pc.is_in(bars["symbol"], pa.array(some, pa.string()))
            yield bars if len(names) <= most else bars.filter(chosen)


def sort_told(parts: list[pa.Table]) -> pa.Table:
    """What slices told, in the order of one batch."""
    keys = [("timestamp", "ascending"), ("symbol", "ascending")]
    return pa.concat_tables([TOLD.empty_table(), *parts]).sort_by(keys)


def fill(withdrawn: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that say that those of their keys hold no more: what they held does not matter."""
    columns = []
    for field in schema:
        given = withdrawn[field.name] if field.name in withdrawn.schema.names else None
        empty = pa.repeat(pa.scalar(EMPTY[field.type], field.type), withdrawn.num_rows)
        columns.append(empty if given is None else given)
    return pa.table(columns, schema=schema)
