"""What is published: its name, and what has to be known of each symbol before its bars are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from etl.contracts.minutes import SESSIONS, MinuteInstrument, MinuteStoreError
from etl.contracts.minutes.digests import ACCOUNT
from etl.contracts.minutes.instruments import ACCOUNTS, describe
from etl.contracts.minutes.postgresql.columns import quote
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.reading import read_rows
from etl.contracts.minutes.postgresql.tables import ABSENT, FORMAT

BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
HEAD = b"SELECT generation, counter, published_at, format FROM minutes.generation"
SIGNED = pa.schema([pa.field(f.name, pa.int64()) if f.type == pa.uint64() else f for f in ACCOUNTS])
KEYS = pa.schema([ACCOUNTS.field("interval"), ACCOUNT.field("symbol")])
CHANGES = pa.schema([*KEYS, pa.field("changed_in", pa.string())])


CALENDARS = pa.schema([SESSIONS.field("exchange"), CHANGES.field("changed_in")])


@dataclass(frozen=True)
class Head:
    """The row that is written last. Nothing was ever published: counter 0."""

    name: str = ""
    counter: int = 0
    published_at: datetime = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Generation:
    """changed, calendars: the generation in which the symbol, or the calendar, was last changed."""

    head: Head = Head()
    instruments: Mapping[tuple[str, str], MinuteInstrument] = field(default_factory=dict)
    changed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    calendars: Mapping[str, str] = field(default_factory=dict)


def read_head(connection: Connection) -> Head:
    """MinuteStoreError for tables of another version."""
    try:
        row = connection.execute(HEAD).fetchone()
    except ABSENT:
        return Head()
    if row is None:
        return Head()
    if row[3] != FORMAT:
        raise MinuteStoreError(
            f"the tables in the schema `minutes` have form {row[3]}, this version reads {FORMAT}:"
            " take the version that wrote them, or another database"
        )
    return Head(*row[:3])


def read_generation(connection: Connection, engine: duckdb.DuckDBPyConnection) -> Generation:
    """All of it as of one instant."""
    with connection.transaction():
        connection.execute(BEGIN)
        head = read_head(connection)
        if not head.counter:
            return Generation()
        accounts = read_accounts(connection)
        sessions = read_rows(connection, select("sessions", SESSIONS), SESSIONS, {})
        changes = read_rows(connection, select("instruments", CHANGES), CHANGES, {})
        calendars = read_rows(connection, select("calendars", CALENDARS), CALENDARS, {})
    intervals, symbols, changed = (column.to_pylist() for column in changes.columns)
    return Generation(
        head,
        describe(engine, accounts, sessions),
        dict(zip(zip(symbols, intervals, strict=True), changed, strict=True)),
        dict(zip(*(column.to_pylist() for column in calendars.columns), strict=True)),
    )


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
