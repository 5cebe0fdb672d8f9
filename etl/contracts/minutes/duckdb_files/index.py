"""The index: what is known of all symbols, so that no reader scans the months for it."""

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from etl.contracts.minutes import SESSIONS, SPANS, MinuteInstrument
from etl.contracts.minutes.digests import SUMS, sum_spans
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles
from etl.contracts.minutes.duckdb_files.layout import list_columns
from etl.contracts.minutes.duckdb_files.manifest import Manifest
from etl.contracts.minutes.duckdb_files.reading import ask
from etl.contracts.minutes.instruments import ACCOUNTS, describe

INDEX = "next_index"  # the name under which the next one is attached, to be written to


def read_instruments(
    files: AttachedFiles, manifest: Manifest
) -> Mapping[tuple[str, str], MinuteInstrument]:
    if manifest.index is None:
        return {}
    accounts = pa.concat_tables(ask(files, [manifest.index], "FROM {file}.instruments", {}))
    sessions = pa.concat_tables(ask(files, [manifest.index], "FROM {file}.sessions", {}))
    with duckdb.connect(":memory:") as connection:
        return describe(connection, accounts.cast(ACCOUNTS), sessions.cast(SESSIONS))


# One table at a time, each registered as `given`; whether anything is another then.


def add_accounts(connection: duckdb.DuckDBPyConnection, interval: str) -> None:
    """Accounts of changes, joined to what is known of their symbols."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE joined AS
        SELECT symbol, sum(bars)::BIGINT AS bars, min(first) AS first, max(last) AS last,
               max(decimals) AS decimals, min(room) AS room,
               {", ".join(f"bit_xor({name}) AS {name}" for name in (*SUMS, "noted"))},
               list_sort(list_distinct(flatten(list(sources)))) AS sources
        FROM (FROM given UNION ALL BY NAME
              SELECT * EXCLUDE (interval, exchange, asked) FROM {INDEX}.instruments
              SEMI JOIN given USING (symbol) WHERE interval = $interval) GROUP BY symbol""",
        {"interval": interval},
    )
    names = ("bars", "first", "last", "decimals", "room", *SUMS, "noted", "sources")
    connection.execute(
        f"""UPDATE {INDEX}.instruments i SET {", ".join(f"{name} = j.{name}" for name in names)}
        FROM joined j WHERE j.symbol = i.symbol AND i.interval = $interval""",
        {"interval": interval},
    )
    connection.execute(
        f"""INSERT INTO {INDEX}.instruments BY NAME
        SELECT $interval AS interval, '' AS exchange, j.*, 0 AS asked FROM joined j
        ANTI JOIN (FROM {INDEX}.instruments WHERE interval = $interval) USING (symbol)
        ORDER BY symbol""",
        {"interval": interval},
    )


def write_exchanges(connection: duckdb.DuckDBPyConnection) -> bool:
    """given: symbol, exchange."""
    found = connection.execute(
        f"""UPDATE {INDEX}.instruments i SET exchange = g.exchange FROM given g
        WHERE g.symbol = i.symbol AND g.exchange <> i.exchange"""
    ).fetchall()
    return bool(found[0][0])


def write_sessions(connection: duckdb.DuckDBPyConnection) -> bool:
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE new_sessions AS
        SELECT DISTINCT ON (exchange, session) * FROM (
            FROM given EXCEPT FROM {INDEX}.sessions)"""
    )
    connection.execute(
        f"""DELETE FROM {INDEX}.sessions
        WHERE (exchange, session) IN (SELECT (exchange, session) FROM new_sessions)"""
    )
    found = connection.execute(
        f"INSERT INTO {INDEX}.sessions FROM new_sessions ORDER BY exchange, session"
    ).fetchall()
    return bool(found[0][0])


def write_spans(connection: duckdb.DuckDBPyConnection, interval: str) -> bool:
    """Each is kept: it tells too which answers the store has taken."""
    columns = list_columns(SPANS)
    told = {"interval": interval}
    found = connection.execute(
        f"""INSERT INTO {INDEX}.spans (interval, {columns})
        SELECT $interval, {columns} FROM (FROM given EXCEPT
            SELECT {columns} FROM {INDEX}.spans WHERE interval = $interval) ORDER BY ALL""",
        told,
    ).fetchall()
    if not found[0][0]:
        return False
    there = f"FROM {INDEX}.spans SEMI JOIN given USING (symbol) WHERE interval = $interval"
    connection.execute(
        f"""UPDATE {INDEX}.instruments i SET asked = s.sum FROM ({sum_spans(there)}) s
        WHERE s.symbol = i.symbol AND i.interval = $interval""",
        told,
    )
    return True


def remove(connection: duckdb.DuckDBPyConnection) -> bool:
    """given: symbol."""
    found = [
        connection.execute(f"DELETE FROM {INDEX}.{table} WHERE symbol IN (FROM given)").fetchall()
        for table in ("instruments", "spans")
    ]
    return any(rows[0][0] for rows in found)
