"""ohlcv_known and ohlcv_revisions: since when each bar is known, and what it was before.

Which of the bars that come count is said in etl.rules.newer_bars.
"""

import logging
from pathlib import Path

import duckdb

from etl.base.parquet_sql import scan
from etl.base.run_records import format_instant
from etl.base.whole_files import set_aside
from etl.rules.newer_bars import VALUES

log = logging.getLogger("etl")


def write_known(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bring ohlcv_known in step with `arriving`: the bars that count, changed or confirmed."""
    connection.execute(
        """INSERT INTO next.ohlcv_known
        SELECT symbol, timestamp, fetched_at, fetched_at, ?, source FROM changes
        WHERE is_new ORDER BY symbol, timestamp""",
        [run_id],
    )
    if not connection.execute("FROM arriving WHERE NOT is_new LIMIT 1").fetchall():
        return
    connection.execute(
        """UPDATE next.ohlcv_known k SET known_at = a.fetched_at, source = a.source,
            known_from = CASE WHEN a.differs THEN a.fetched_at ELSE k.known_from END,
            run_id = CASE WHEN a.differs THEN $run ELSE k.run_id END
        FROM arriving a
        WHERE NOT a.is_new AND a.symbol = k.symbol AND a.timestamp = k.timestamp""",
        {"run": run_id},
    )


def write_revisions(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    old = ", ".join(f"old_{name}" for name in VALUES)
    connection.execute(
        f"""INSERT INTO next.ohlcv_revisions
        SELECT symbol, timestamp, {old}, known_from, fetched_at, ? FROM changes
        WHERE NOT is_new ORDER BY symbol, timestamp""",
        [run_id],
    )


def repair_known(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bars that another program wrote into the published file are known from this run on."""
    connection.execute(
        """DELETE FROM next.ohlcv_known k WHERE NOT EXISTS (
            FROM next.ohlcv_data b WHERE b.symbol = k.symbol AND b.timestamp = k.timestamp)"""
    )
    connection.execute(
        """INSERT INTO next.ohlcv_known
        SELECT symbol, timestamp, $now::TIMESTAMP, $now::TIMESTAMP, $run, NULL
        FROM next.ohlcv_data ANTI JOIN next.ohlcv_known USING (symbol, timestamp)
        ORDER BY symbol, timestamp""",
        {"now": format_instant("seconds"), "run": run_id},
    )
    write_seen(connection)


def write_seen(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        """UPDATE next.instruments i SET seen_at = k.seen_at FROM (
            SELECT symbol, max(known_at) AS seen_at FROM next.ohlcv_known GROUP BY symbol) k
        WHERE k.symbol = i.symbol"""
    )


def confirmed_of(database: Path) -> Path:
    """The file beside a store of schema 1 or 2: which blocks of bars an answer only confirmed."""
    return database.with_name(database.stem + ".confirmed.parquet")


def read_confirmed(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Let ohlcv_known of an older `store` say what the file beside it does, where there is one."""
    path = confirmed_of(database)
    if not path.exists():
        return
    try:
        connection.execute(
            f"""CREATE TEMP TABLE confirmed AS
            SELECT symbol, first, last, confirmed_at FROM {scan(path)}"""
        )
    except duckdb.Error:
        set_aside(path, "bars count from when they last changed")
        return
    connection.execute(
        """CREATE TEMP TABLE confirmed_known AS
        SELECT k.* REPLACE (greatest(k.known_at, c.confirmed_at) AS known_at)
        FROM store.ohlcv_known k LEFT JOIN (
            SELECT b.symbol, b.timestamp, max(confirmed_at) AS confirmed_at
            FROM store.ohlcv_data b JOIN confirmed d ON d.symbol = b.symbol
                 AND b.timestamp BETWEEN d.first AND d.last GROUP BY ALL) c
        USING (symbol, timestamp)"""
    )
    connection.execute("DROP VIEW store.ohlcv_known")
    connection.execute("CREATE TABLE store.ohlcv_known AS FROM confirmed_known")


def drop_confirmed(database: Path) -> None:
    """Once the published file is of today's schema, which holds all that this file says."""
    path = confirmed_of(database)
    if path.exists():
        path.unlink()
        log.info("load: removed %s: the database itself says now what it said", path)
