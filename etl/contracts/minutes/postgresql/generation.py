"""What is published: its name, and what has to be known of each symbol before its bars are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa
from psycopg.pq import TransactionStatus

from etl.contracts.minutes import SESSIONS, MinuteInstrument, MinuteStoreError
from etl.contracts.minutes.instruments import ACCOUNTS, describe
from etl.contracts.minutes.postgresql.columns import quote
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.reading import read_rows
from etl.contracts.minutes.postgresql.tables import ABSENT, FORMAT

BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
HEAD = b"""SELECT generation, counter, published_at, changes_kept_from, changes, format
FROM minutes.generation"""
SIGNED = pa.schema([pa.field(f.name, pa.int64()) if f.type == pa.uint64() else f for f in ACCOUNTS])
CHANGED_IN = pa.field("changed_in", pa.string())
CHANGED = pa.schema([*SIGNED, CHANGED_IN])
CALENDARS = pa.schema([SESSIONS.field("exchange"), CHANGED_IN])
WHERE_SYMBOLS = "symbol = ANY (%(symbols)s::text[])"
# Of what a generation is named, what it is counted by.
SINCE = "split_part(changed_in, '-', 1)::bigint > %(counter)s"
Key = tuple[str, str]  # symbol, interval


@dataclass(frozen=True)
class Head:
    """The row that is written last. Nothing was ever published: counter 0.

    changes: how many there are in the log; changes_kept_from: the counter from which on none is
    missing.
    """

    name: str = ""
    counter: int = 0
    published_at: datetime = datetime.min  # noqa: DTZ901 (UTC, as all here)
    changes_kept_from: int = 0
    changes: int = 0


@dataclass(frozen=True)
class Generation:
    """changed, calendars: the generation in which the symbol, or the calendar, was last changed."""

    head: Head = Head()
    instruments: Mapping[Key, MinuteInstrument] = field(default_factory=dict)
    changed: Mapping[Key, str] = field(default_factory=dict)
    calendars: Mapping[str, str] = field(default_factory=dict)
    timed: pa.Table = field(default_factory=SESSIONS.empty_table)


def read_head(connection: Connection) -> Head:
    """MinuteStoreError for tables of another version, and for some without the others."""
    try:
        row = connection.execute(HEAD).fetchone()
    except ABSENT:
        check_absence(connection)
        return Head()
    if row is None:
        return Head()
    if row[-1] != FORMAT:
        raise MinuteStoreError(
            f"the tables in the schema `minutes` have form {row[-1]}, this version reads {FORMAT}:"
            " take the version that wrote them, or another database"
        )
    return Head(*row[:-1])


def check_absence(connection: Connection) -> None:
    """All tables are made at once: bars without a generation are what is left of a store."""
    if connection.info.transaction_status is TransactionStatus.INERROR:
        return  # nothing can be asked within it; who asks for the newest generation is told
    if connection.execute(b"SELECT to_regclass('minutes.bars_1m')").fetchone() != (None,):
        raise MinuteStoreError(
            "the schema `minutes` has bars, but no table `generation`: restore a backup, or drop"
            " the schema and load again"
        )


def read_generation(
    connection: Connection, engine: duckdb.DuckDBPyConnection, before: Generation
) -> Generation:
    """All of it as of one instant; of what `before` knows, only what was changed since is read."""
    with connection.transaction():
        connection.execute(BEGIN)
        head = read_head(connection)
        if not head.counter:
            return Generation()
        found = read_rows(connection, select("calendars", CALENDARS), CALENDARS, {})
        calendars = dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
        timed = before.timed
        if calendars != before.calendars:
            before = Generation()  # all versions may be others
            timed = read_rows(connection, select("sessions", SESSIONS), SESSIONS, {})
        statement = f"{select('instruments', CHANGED)} WHERE {SINCE}"
        rows = read_rows(connection, statement, CHANGED, {"counter": before.head.counter})
    names = (rows[name].to_pylist() for name in ("symbol", "interval", "changed_in"))
    changed = {(symbol, interval): name for symbol, interval, name in zip(*names, strict=True)}
    accounts = view_signs(rows.select(ACCOUNTS.names), ACCOUNTS)
    kept = {key: each for key, each in before.instruments.items() if key not in changed}
    instruments = dict(sorted({**kept, **describe(engine, accounts, timed)}.items()))
    return Generation(head, instruments, {**before.changed, **changed}, calendars, timed)


def read_accounts(connection: Connection, where: str = "true", **values: object) -> pa.Table:
    """ACCOUNTS of all symbols, or of some."""
    statement = f"{select('instruments', SIGNED)} WHERE {where}"
    return view_signs(read_rows(connection, statement, SIGNED, values), ACCOUNTS)


def view_signs(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same bits as numbers with, or without, a sign."""
    columns = [
        column if column.type == each.type else column.combine_chunks().view(each.type)
        for column, each in zip(table.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)


def select(table: str, schema: pa.Schema) -> str:
    return f"SELECT {', '.join(map(quote, schema.names))} FROM minutes.{table}"
