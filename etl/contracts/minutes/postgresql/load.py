"""What one load writes: one transaction, which readers see the moment it is committed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from secrets import token_hex

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes import (
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    Batch,
    Counts,
    MixedSources,
    find_mixed,
)
from etl.contracts.minutes.changes import Changes, compare
from etl.contracts.minutes.postgresql.columns import quote
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.generation import (
    SIGNED,
    Head,
    read_accounts,
    read_head,
    select,
    view_signs,
)
from etl.contracts.minutes.postgresql.joining import find_new, join_accounts, move_notes
from etl.contracts.minutes.postgresql.reading import Span, read_rows, read_several
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
    (generation, counter, published_at, run_id, changes_kept_from, format)
VALUES (%s, %s, %s, %s, %s, {FORMAT})
ON CONFLICT (only_row) DO UPDATE SET generation = excluded.generation,
    counter = excluded.counter, published_at = excluded.published_at, run_id = excluded.run_id,
    changes_kept_from = excluded.changes_kept_from""".encode()
KEY = ("symbol", "timestamp")
WHERE_SYMBOLS = "symbol = ANY (%(symbols)s::text[])"


class Load:
    def __init__(self, connection: Connection, engine: duckdb.DuckDBPyConnection) -> None:
        self.connection, self.engine = connection, engine
        connection.execute(b"BEGIN")
        for setting in SETTINGS:
            connection.execute(setting)
        if not has_tables(connection):
            create_tables(connection)
        self.before: Head = read_head(connection)
        self.counter = self.before.counter + 1
        self.name = f"{self.counter}-{token_hex(4)}"
        self.is_changed = False
        self.run_id = ""

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        """All of a batch, or nothing of it; what came before it stays."""
        self.run_id = run_id
        self.connection.execute(b"SAVEPOINT batch")
        try:
            return self.write(batch)
        except Exception:
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
        noted = self.write_notes(batch, ranges)
        asked = self.write_spans(batch)
        self.write_sessions(batch)
        others = join_accounts(self.engine, batch, there, changes.accounts, noted, asked)
        self.write_accounts(others, batch, set(changes.bars["symbol"].unique().to_pylist()))
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
        found = read_several(self.connection, table, schema, interval, spans, sources)
        return pa.concat_tables([schema.empty_table(), *(rows for _, _, rows in found)])

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
        self.is_changed |= not changes.is_empty

    def write_notes(self, batch: Batch, ranges: Mapping[str, Span]) -> pa.Table:
        """Those that came or went."""
        if not ranges:
            return NOTES.empty_table()
        table = f"notes_{batch.interval}"
        starts, ends = zip(*ranges.values(), strict=True)
        there = read_rows(
            self.connection,
            f"{select(table, NOTES)} WHERE {WHERE_SYMBOLS}"
            " AND timestamp BETWEEN %(first)s AND %(last)s",
            NOTES,
            {"symbols": list(ranges), "first": min(starts), "last": max(ends)},
        )
        come, gone = move_notes(self.engine, batch, there, ranges)
        remove_rows(self.connection, f"{SCHEMA}.{table}", gone)
        copy_rows(self.connection, f"{SCHEMA}.{table}", come)
        return pa.concat_tables([come, gone])

    def write_spans(self, batch: Batch) -> pa.Table:
        """Those that came."""
        table, asked = f"spans_{batch.interval}", batch.spans.cast(SPANS)
        if not asked.num_rows:
            return asked
        statement = f"{select(table, SPANS)} WHERE {WHERE_SYMBOLS}"
        symbols = asked["symbol"].unique().to_pylist()
        there = read_rows(self.connection, statement, SPANS, {"symbols": symbols})
        new = find_new(self.engine, asked, there)
        copy_rows(self.connection, f"{SCHEMA}.{table}", new)
        return new

    def write_sessions(self, batch: Batch) -> None:
        sessions = batch.sessions.cast(SESSIONS)
        names = sessions["exchange"].unique().to_pylist()
        statement = f"{select('sessions', SESSIONS)} WHERE exchange = ANY (%(names)s::text[])"
        there = read_rows(self.connection, statement, SESSIONS, {"names": names})
        new = find_new(self.engine, sessions, there)
        put_rows(self.connection, f"{SCHEMA}.sessions", new, ("exchange", "session"))
        for exchange in new["exchange"].unique().to_pylist():
            self.put("calendars", ("exchange",), exchange=exchange, changed_in=self.name)
        self.is_changed |= bool(new.num_rows)

    def write_accounts(self, others: pa.Table, batch: Batch, touched: set[str]) -> None:
        """Of the symbols that are others then; touched: symbols of which a bar was written."""
        names = ("interval", "symbol")
        for row in view_signs(others, SIGNED).to_pylist():
            self.put("instruments", names, **row, changed_in=self.name)
        self.execute(
            f"""UPDATE {SCHEMA}.instruments SET changed_in = %(name)s
            WHERE interval = %(interval)s AND {WHERE_SYMBOLS} AND changed_in <> %(name)s""",
            symbols=sorted(touched),
            interval=batch.interval,
            name=self.name,
        )
        exchanges = {"symbols": list(batch.exchanges), "names": list(batch.exchanges.values())}
        moved = self.execute(
            f"""UPDATE {SCHEMA}.instruments i SET exchange = g.name, changed_in = %(name)s
            FROM unnest(%(symbols)s::text[], %(names)s::text[]) g (symbol, name)
            WHERE i.symbol = g.symbol COLLATE "C" AND i.exchange <> g.name""",
            **exchanges,
            name=self.name,
        )
        self.is_changed |= bool(others.num_rows or moved)

    def put(self, table: str, key: tuple[str, ...], **row: object) -> None:
        names = ", ".join(map(quote, row))
        values = ", ".join(f"%({name})s" for name in row)
        sets = ", ".join(f"{quote(n)} = excluded.{quote(n)}" for n in row if n not in key)
        statement = f"""INSERT INTO {SCHEMA}.{table} ({names}) VALUES ({values})
            ON CONFLICT ({", ".join(key)}) DO UPDATE SET {sets}"""
        self.execute(statement, **row)

    def execute(self, statement: str, **values: object) -> int:
        return self.connection.execute(statement.encode(), values).rowcount

    def publish(self) -> str:
        """Readers see it from the commit on."""
        published_at = datetime.now(UTC).replace(tzinfo=None)
        row = (self.name, self.counter, published_at, self.run_id, 0)
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
            " other, and nothing was stored: load one of them into another MINUTE_STORE"
        )
