"""The questions, each one statement. Beside its rows each tells in which generation the symbol was
last changed, so that a snapshot knows whether they are of its own."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from etl.contracts.minutes import STORED_BARS, MinuteStoreError
from etl.contracts.minutes.postgresql.columns import gather, is_in_order, quote, read_columns
from etl.contracts.minutes.postgresql.connections import Connection

SYMBOL = STORED_BARS.field("symbol")
Span = tuple[datetime, datetime]  # from and to, both inclusive
Found = tuple[str, str | None, pa.Table]  # symbol, generation of its last change, rows

CHANGED = """(SELECT changed_in FROM minutes.instruments i
              WHERE i.interval = %(interval)s AND i.symbol = {symbol})"""
# `first` and `last`, of all spans, leave the months out in which none has anything.
SEVERAL = """
SELECT s.symbol, {changed}, b.*
FROM unnest(%(symbols)s::text[], %(starts)s::timestamp[], %(ends)s::timestamp[])
         AS s (symbol, start, "end"),
     LATERAL (SELECT {columns} FROM (
         SELECT * FROM minutes.{table} b WHERE b.symbol = s.symbol COLLATE "C"
             AND timestamp BETWEEN s.start AND s."end" AND timestamp BETWEEN %(first)s AND %(last)s
         ORDER BY {order}) b) b
ORDER BY s.symbol COLLATE "C\""""
SPAN = "symbol = %(symbol)s AND timestamp BETWEEN %(first)s AND %(last)s"
NOW = "SELECT {names} FROM minutes.bars_{interval} WHERE " + SPAN
THEN = f"""{NOW} AND known_at <= %(as_of)s UNION ALL
SELECT {{names}} FROM minutes.revisions_{{interval}}
WHERE {SPAN} AND known_at <= %(as_of)s AND %(as_of)s < known_until"""
ONE = "SELECT {changed}, {columns} FROM (SELECT * FROM ({rows}) b ORDER BY timestamp) b"


def execute(connection: Connection, statement: str, values: Mapping[str, Any]) -> list[Any]:
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(statement.encode(), values).fetchall()


def read_bars(
    connection: Connection,
    fields: Sequence[pa.Field],
    key: tuple[str, str],
    span: Span,
    as_of: datetime | None,
) -> Found:
    """Bars of (symbol, interval), as they are or as they were known."""
    symbol, interval = key
    names = ", ".join(quote(field.name) for field in fields)
    rows = (NOW if as_of is None else THEN).format(names=names, interval=interval)
    changed = CHANGED.format(symbol="%(symbol)s")
    statement = ONE.format(changed=changed, columns=gather(fields), rows=rows)
    values = {"symbol": symbol, "interval": interval, "first": span[0], "last": span[1]}
    changed_in, *sent = execute(connection, statement, {**values, "as_of": as_of})[0]
    table = pa.table(read_columns(sent, fields), pa.schema(fields))
    check_order(table, symbol)
    return symbol, changed_in, table


def read_several(
    connection: Connection,
    table: str,
    schema: pa.Schema,
    interval: str,
    spans: Mapping[str, Span],
    sources: Sequence[str],
) -> Iterator[Found]:
    """Rows of `table` of each symbol in its span, sorted; sources: all that may be among them."""
    if not spans:
        return
    fields = [field for field in schema if field.name != "symbol"]
    keys = [name for name in ("timestamp", "known_at") if name in schema.names]
    statement = SEVERAL.format(
        changed=CHANGED.format(symbol="s.symbol"),
        columns=gather(fields),
        table=f"{table}_{interval}",
        order=", ".join(keys),
    )
    starts, ends = zip(*spans.values(), strict=True)
    values = {"symbols": list(spans), "starts": list(starts), "ends": list(ends)}
    bounds = {"first": min(starts), "last": max(ends), "interval": interval}
    for symbol, changed, *sent in execute(
        connection, statement, {**values, **bounds, "sources": list(sources)}
    ):
        columns = read_columns(sent, fields, sources)
        count = len(columns["timestamp"])
        found = pa.table({"symbol": pa.repeat(symbol, count), **columns}).select(schema.names)
        if table == "bars":
            check_order(found, symbol)
        yield symbol, changed, found.cast(schema)


def read_rows(
    connection: Connection, statement: str, schema: pa.Schema, values: Mapping[str, Any]
) -> pa.Table:
    """A few rows, whose columns are those of the schema."""
    rows = execute(connection, statement, values)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def check_order(bars: pa.Table, symbol: str) -> None:
    if not is_in_order(bars["timestamp"]):
        raise MinuteStoreError(f"bars of {symbol} came in disorder: the table was written by hand")
