"""What a load writes beside the bars: notes, spans, sessions, and what is known of each symbol."""

from collections.abc import Collection, Mapping

import duckdb
import pyarrow as pa

from etl.contracts.minutes import BASE_INTERVALS, NOTES, SESSIONS, SPANS, Batch
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.copying import write_texts
from etl.contracts.minutes.postgresql.generation import SIGNED, WHERE_SYMBOLS, select, view_signs
from etl.contracts.minutes.postgresql.joining import find_new, move_notes
from etl.contracts.minutes.postgresql.reading import Span, read_rows
from etl.contracts.minutes.postgresql.tables import SCHEMA
from etl.contracts.minutes.postgresql.writing import copy_rows, put_rows, remove_rows

# As if nothing had ever been known of a symbol; the row stays, to say since when that is so.
EMPTY = """
bars = 0, first = NULL, last = NULL, decimals = 0, room = 18, digest = 0, known = 0, revised = 0,
noted = 0, asked = 0, sources = '{}', exchange = ''"""


def execute(connection: Connection, statement: str, **values: object) -> int:
    """Rows that it was about."""
    return connection.execute(statement.encode(), values).rowcount


def write_notes(
    connection: Connection,
    engine: duckdb.DuckDBPyConnection,
    batch: Batch,
    ranges: Mapping[str, Span],
) -> pa.Table:
    """Those that came or went."""
    if not ranges or batch.is_live:
        return NOTES.empty_table()
    table = f"notes_{batch.interval}"
    starts, ends = zip(*ranges.values(), strict=True)
    there = read_rows(
        connection,
        f"{select(table, NOTES)} WHERE {WHERE_SYMBOLS}"
        " AND timestamp BETWEEN %(first)s AND %(last)s",
        NOTES,
        {"symbols": list(ranges), "first": min(starts), "last": max(ends)},
    )
    come, gone = move_notes(engine, batch, there, ranges)
    remove_rows(connection, f"{SCHEMA}.{table}", gone)
    copy_rows(connection, f"{SCHEMA}.{table}", come)
    return pa.concat_tables([come, gone])


def write_spans(
    connection: Connection, engine: duckdb.DuckDBPyConnection, batch: Batch
) -> pa.Table:
    """Those that came."""
    table, asked = f"spans_{batch.interval}", batch.spans.cast(SPANS)
    if not asked.num_rows:
        return asked
    statement = f"{select(table, SPANS)} WHERE {WHERE_SYMBOLS}"
    symbols = asked["symbol"].unique().to_pylist()
    there = read_rows(connection, statement, SPANS, {"symbols": symbols})
    new = find_new(engine, asked, there)
    copy_rows(connection, f"{SCHEMA}.{table}", new)
    return new


def write_sessions(
    connection: Connection, engine: duckdb.DuckDBPyConnection, batch: Batch, name: str
) -> bool:
    """Whether any is another then."""
    sessions = batch.sessions.cast(SESSIONS)
    if not sessions.num_rows:
        return False
    statement = f"{select('sessions', SESSIONS)} WHERE exchange = ANY (%(names)s::text[])"
    names = sessions["exchange"].unique().to_pylist()
    there = read_rows(connection, statement, SESSIONS, {"names": names})
    new = find_new(engine, sessions, there)
    put_rows(connection, f"{SCHEMA}.sessions", new, ("exchange", "session"))
    execute(
        connection,
        f"""INSERT INTO {SCHEMA}.calendars (exchange, changed_in)
        SELECT exchange, %(name)s FROM unnest(%(names)s::text[]) c (exchange)
        ON CONFLICT (exchange) DO UPDATE SET changed_in = excluded.changed_in""",
        names=new["exchange"].unique().to_pylist(),
        name=name,
    )
    return bool(new.num_rows)


def write_accounts(connection: Connection, accounts: pa.Table, name: str) -> None:
    """Of symbols that are others than before."""
    rows = view_signs(accounts, SIGNED)
    sources = pa.array([write_texts(each) for each in rows["sources"].to_pylist()], pa.binary())
    rows = rows.set_column(rows.column_names.index("sources"), "sources", sources)
    changed = pa.repeat(pa.scalar(name, pa.string()), rows.num_rows)
    rows = rows.append_column("changed_in", changed)
    put_rows(connection, f"{SCHEMA}.instruments", rows, ("interval", "symbol"))


def mark_changed(
    connection: Connection, interval: str, symbols: Collection[str], name: str
) -> None:
    """Say so of symbols of which a bar was written, though it may only have been confirmed."""
    execute(
        connection,
        f"""UPDATE {SCHEMA}.instruments SET changed_in = %(name)s
        WHERE interval = %(interval)s AND {WHERE_SYMBOLS} AND changed_in <> %(name)s""",
        symbols=list(symbols),
        interval=interval,
        name=name,
    )


def write_exchanges(connection: Connection, batch: Batch, name: str) -> bool:
    """Of all intervals of the symbols; whether any is another then."""
    moved = execute(
        connection,
        f"""UPDATE {SCHEMA}.instruments i SET exchange = g.exchange, changed_in = %(name)s
        FROM unnest(%(symbols)s::text[], %(exchanges)s::text[]) g (symbol, exchange)
        WHERE i.symbol = g.symbol COLLATE "C" AND i.exchange <> g.exchange""",
        symbols=list(batch.exchanges),
        exchanges=list(batch.exchanges.values()),
        name=name,
    )
    return bool(moved)


def remove_symbols(connection: Connection, symbols: Collection[str], name: str) -> bool:
    """Whether there was anything."""
    given = {"symbols": sorted(symbols)}
    for interval in BASE_INTERVALS:
        for table in ("bars", "revisions", "notes", "spans"):
            statement = f"DELETE FROM {SCHEMA}.{table}_{interval} WHERE {WHERE_SYMBOLS}"
            execute(connection, statement, **given)
    found = execute(
        connection,
        f"""UPDATE {SCHEMA}.instruments SET {EMPTY}, changed_in = %(name)s
        WHERE {WHERE_SYMBOLS} AND (bars > 0 OR asked <> 0)""",
        **given,
        name=name,
    )
    return bool(found)
