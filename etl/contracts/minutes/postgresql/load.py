"""What one load writes: one transaction, which readers see the moment it is committed."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from secrets import token_hex

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes import REVISIONS, STORED_BARS, Batch, Counts, MixedSources, find_mixed
from etl.contracts.minutes.changes import Changes, compare
from etl.contracts.minutes.live import list_changes
from etl.contracts.minutes.postgresql import beside, following
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.generation import WHERE_SYMBOLS, read_accounts, read_head
from etl.contracts.minutes.postgresql.joining import join_accounts
from etl.contracts.minutes.postgresql.reading import Span, read_several
from etl.contracts.minutes.postgresql.tables import (
    FORMAT,
    SCHEMA,
    add_months,
    create_tables,
    has_tables,
)
from etl.contracts.minutes.postgresql.writing import copy_rows, put_rows, remove_rows

# A load may wait for its vendor between two batches, and never for ever for another session.
SETTINGS = (
    b"SET LOCAL idle_in_transaction_session_timeout = 0",
    b"SET LOCAL statement_timeout = 0",
    b"SET LOCAL lock_timeout = '60s'",
    # of TimescaleDB: as many rows as there are may be corrected in what is compressed
    b"SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0",
)
PUBLISH = f"""
INSERT INTO {SCHEMA}.generation
    (generation, counter, published_at, run_id, changes_kept_from, changes, format)
VALUES (%s, %s, %s, %s, %s, %s, {FORMAT})
ON CONFLICT (only_row) DO UPDATE SET generation = excluded.generation,
    counter = excluded.counter, published_at = excluded.published_at, run_id = excluded.run_id,
    changes_kept_from = excluded.changes_kept_from, changes = excluded.changes""".encode()
KEY = ("symbol", "timestamp")


class Load:
    def __init__(self, connection: Connection, engine: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.engine = connection, engine
        connection.execute(b"BEGIN")
        for setting in SETTINGS:
            connection.execute(setting)
        if not has_tables(connection):
            create_tables(connection)
        self.before = read_head(connection)
        self.counter = self.before.counter + 1
        self.name = f"{self.counter}-{token_hex(4)}"
        self.is_changed = False
        self.told = 0  # changes that those who follow are told
        self.run_id = ""

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        """All of a batch, or nothing of it; what came before it stays."""
        self.run_id = run_id
        before = self.is_changed, self.told
        self.connection.execute(b"SAVEPOINT batch")
        try:
            return self.write(batch)
        except Exception:
            self.is_changed, self.told = before
            if not self.connection.closed:
                self.connection.execute(b"ROLLBACK TO SAVEPOINT batch")
            raise

    def write(self, batch: Batch) -> Counts:
        symbols = list_symbols(batch)
        every = read_accounts(self.connection, WHERE_SYMBOLS, symbols=symbols)
        refuse_mixed(every, batch)
        there = every.filter(pc.equal(every["interval"], batch.interval))
        ranges = find_ranges(batch.bars)
        stored = self.read("bars", STORED_BARS, batch.interval, there, ranges)
        revised = self.read("revisions", REVISIONS, batch.interval, there, ranges)
        changes = compare(self.engine, batch, stored, revised)
        self.write_bars(batch.interval, changes, is_new=not stored.num_rows)
        told = list_changes(self.engine, batch, changes, stored)
        following.write_changes(self.connection, self.counter, self.told, told)
        self.told += told.num_rows
        self.is_changed |= not changes.is_empty or bool(told.num_rows)
        self.write_beside(batch, ranges, there, changes)
        return changes.counts

    def read(
        self,
        table: str,
        schema: pa.Schema,
        interval: str,
        there: pa.Table,
        ranges: Mapping[str, Span],
    ) -> pa.Table:
        spans = {s: ranges[s] for s in there["symbol"].to_pylist() if s in ranges}
        sources = sorted({s for each in there["sources"].to_pylist() for s in each})
        return read_several(self.connection, table, schema, interval, spans, sources)[1]

    def write_bars(self, interval: str, changes: Changes, is_new: bool) -> None:
        """is_new: none of the keys is there yet, so that nothing has to be looked up."""
        bars, table = changes.bars, f"bars_{interval}"
        if bars.num_rows:
            add_months(self.connection, table, list_months(bars))
            if is_new:
                copy_rows(self.connection, f"{SCHEMA}.{table}", bars)
            else:
                put_rows(self.connection, f"{SCHEMA}.{table}", bars, KEY)
        table = f"{SCHEMA}.revisions_{interval}"
        remove_rows(self.connection, table, changes.withdrawn)
        put_rows(self.connection, table, changes.revisions, (*KEY, "known_at"))

    def write_beside(
        self, batch: Batch, ranges: Mapping[str, Span], there: pa.Table, changes: Changes
    ) -> None:
        noted = beside.write_notes(self.connection, self.engine, batch, ranges)
        asked = beside.write_spans(self.connection, self.engine, batch)
        timed = beside.write_sessions(self.connection, self.engine, batch, self.name)
        others = join_accounts(self.engine, batch, there, changes.accounts, noted, asked)
        beside.write_accounts(self.connection, others, self.name)
        touched = changes.bars["symbol"].unique().to_pylist()
        beside.mark_changed(self.connection, batch.interval, touched, self.name)
        moved = beside.write_exchanges(self.connection, batch, self.name)
        self.is_changed |= timed or moved or bool(others.num_rows)

    def remove(self, symbols: Collection[str]) -> None:
        self.is_changed |= beside.remove_symbols(self.connection, symbols, self.name)

    def publish(self) -> str:
        """Readers see it from the commit on."""
        published_at = datetime.now(UTC).replace(tzinfo=None)
        kept = following.drop_old(self.connection, self.before, self.told)
        row = (self.name, self.counter, published_at, self.run_id, *kept)
        self.connection.execute(PUBLISH, row)
        self.connection.execute(b"COMMIT")
        return self.name


def list_symbols(batch: Batch) -> list[str]:
    names = {*batch.exchanges}
    for table in (batch.bars, batch.spans):
        names.update(table["symbol"].unique().to_pylist())
    return sorted(names)


def find_ranges(bars: pa.Table) -> dict[str, Span]:
    """Symbol → its first and last bar."""
    rows = bars.group_by("symbol").aggregate([("timestamp", "min"), ("timestamp", "max")])
    return {row["symbol"]: (row["timestamp_min"], row["timestamp_max"]) for row in rows.to_pylist()}


def list_months(bars: pa.Table) -> list[datetime]:
    months = np.unique(bars["timestamp"].to_numpy().astype("M8[M]")).astype("M8[us]")
    return list(months.tolist())


def refuse_mixed(accounts: pa.Table, batch: Batch) -> None:
    sources: dict[str, set[str]] = {}
    pairs = batch.bars.group_by(["symbol", "source"]).aggregate([]).to_pylist()
    for row in pairs:
        sources.setdefault(row["symbol"], set()).add(row["source"])
    for row in accounts.to_pylist():
        if row["symbol"] in sources:
            sources[row["symbol"]].update(row["sources"])
    if mixed := find_mixed({}, sources):
        more = f" and {len(mixed) - 3} more" if len(mixed) > 3 else ""
        raise MixedSources(
            f"{', '.join(mixed[:3])}{more}: synthetic bars and real ones would be beside each"
            " other, and nothing was stored: choose another MINUTE_STORE for them, and load again"
        )
