"""The questions, each one statement. Beside its rows each tells in which generation the symbol was
last changed, so that a snapshot knows whether they are of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.contracts.minutes import STORED_BARS, MinuteStoreError
from etl.contracts.minutes.postgresql.columns import gather, quote, read_columns
from etl.contracts.minutes.postgresql.connections import Connection

SYMBOL = STORED_BARS.field("symbol")
Span = tuple[datetime, datetime]  # from and to, both inclusive
# Generations of the last changes of the symbols, and all their rows.
Several = tuple[dict[str, str | None], pa.Table]
TIMESTAMP = STORED_BARS.field("timestamp")
INSTANT_BYTES = 8

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
) -> tuple[str | None, pa.Table]:
    """The generation of the last change, and bars of (symbol, interval): as they are, or were
    known."""
    symbol, interval = key
    names = ", ".join(quote(field.name) for field in fields)
    rows = (NOW if as_of is None else THEN).format(names=names, interval=interval)
    changed = CHANGED.format(symbol="%(symbol)s")
    statement = ONE.format(changed=changed, columns=gather(fields), rows=rows)
    values = {"symbol": symbol, "interval": interval, "first": span[0], "last": span[1]}
    changed_in, *sent = execute(connection, statement, {**values, "as_of": as_of})[0]
    table = pa.table(read_columns(sent, fields), pa.schema(fields))
    check_order(table["timestamp"], np.zeros(table.num_rows, "i4"))
    return changed_in, table


def read_several(
    connection: Connection,
    table: str,
    schema: pa.Schema,
    interval: str,
    spans: Mapping[str, Span],
    sources: Sequence[str],
) -> Several:
    """Rows of `table` of each symbol in its span, sorted; sources: all that may be among them."""
    if not spans:
        return {}, schema.empty_table()
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
    rows = execute(connection, statement, {**values, **bounds, "sources": list(sources)})
    symbols, changed, *sent = zip(*rows, strict=True)
    columns = read_columns([b"".join(filter(None, each)) for each in sent], fields, sources)
    counts = [len(each or b"") // INSTANT_BYTES for each in sent[fields.index(TIMESTAMP)]]
    places = np.repeat(np.arange(len(symbols), dtype="i4"), counts)
    names = pa.DictionaryArray.from_arrays(places, pa.array(symbols, pa.string()))
    found = pa.table({"symbol": names.cast(pa.string()), **columns}).select(schema.names)
    check_order(found["timestamp"], places if table == "bars" else None)
    return dict(zip(symbols, changed, strict=True)), found.cast(schema)


def read_rows(
    connection: Connection, statement: str, schema: pa.Schema, values: Mapping[str, Any]
) -> pa.Table:
    """A few rows, whose columns are those of the schema."""
    rows = execute(connection, statement, values)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def check_order(timestamps: pa.ChunkedArray, places: NDArray[np.int32] | None) -> None:
    """That the statement kept its order; places: of the symbols, which each begin anew."""
    instants = timestamps.to_numpy().view("i8")
    is_later = instants[1:] > instants[:-1]
    if places is not None:
        is_later |= places[1:] > places[:-1]
        if not is_later.all():
            raise MinuteStoreError("bars came in disorder: the table was written by hand")
