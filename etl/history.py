"""When was what known: revisions, arrivals, and answers that confirmed what was stored.

A bar is known from the instant at which the vendor's answer that brought it was fetched. An older
answer never replaces a newer one, whatever the order in which they are loaded. So that a newer
answer counts even where it changed nothing, load keeps in `<database>.confirmed.parquet` which
blocks of bars it confirmed: a side file, for a load without changes publishes nothing.

Everything here works on the temp relations of load: `incoming`, `differing`, `changes`, and the
published file as `store`.
"""

from pathlib import Path

import duckdb

from etl.stage import format_instant, quote, scan, write_whole

VALUES = ("open", "high", "low", "close", "volume")

NO_CONFIRMATIONS = (
    "SELECT '' AS symbol, now()::TIMESTAMP AS first, now()::TIMESTAMP AS last,"
    " now()::TIMESTAMP AS confirmed_at LIMIT 0"
)


def confirmed_path(database: Path) -> Path:
    return database.with_name(database.stem + ".confirmed.parquet")


def view_confirmations(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """`confirmations` (symbol, first, last, confirmed_at): blocks that an answer only confirmed."""
    path = confirmed_path(database)
    select = f"FROM {scan(path)}" if path.exists() else NO_CONFIRMATIONS
    connection.execute(f"CREATE TEMP TABLE confirmations AS {select}")


def find_changes(connection: duckdb.DuckDBPyConnection) -> None:
    """`changes`: the incoming bars to write, with is_new, the old values and their known_from.

    Left out: bars equal to the stored ones, and `stale` ones: from an answer older than that
    which the stored bar stands on. Of two answers of the same instant the greater content wins,
    as in transform, so that any order of loads gives one table.
    """
    old = ", ".join(f"s.{name} AS old_{name}" for name in VALUES)
    differs = " OR ".join(f"i.{name} IS DISTINCT FROM s.{name}" for name in VALUES)
    connection.execute(
        f"""CREATE TEMP TABLE differing AS SELECT i.*, s.symbol IS NULL AS is_new, {old}
        FROM incoming i LEFT JOIN store.ohlcv_data s
        ON i.symbol = s.symbol AND i.timestamp = s.timestamp
        WHERE s.symbol IS NULL OR {differs}"""
    )
    view_known(connection)
    new, held = compare_content("d."), compare_content("d.old_")
    connection.execute(
        f"""CREATE TEMP TABLE changes AS SELECT d.*, k.known_from
        FROM differing d LEFT JOIN known k USING (symbol, timestamp)
        WHERE d.is_new OR d.fetched_at > k.known_at
              OR (d.fetched_at = k.known_at AND {new} > {held})"""
    )


def compare_content(prefix: str) -> str:
    """SQL: the values as one comparable row; a missing volume comes last."""
    columns = ", ".join(f"{prefix}{name}" for name in VALUES[:-1])
    return f"({columns}, coalesce({prefix}volume, -1))"


def view_known(connection: duckdb.DuckDBPyConnection) -> None:
    """`known`: for each stored bar that differs, since when it is what is known (known_from), and
    the newest answer that it stands on (known_at)."""
    connection.execute(
        """CREATE TEMP VIEW known AS
        SELECT d.symbol, d.timestamp,
               coalesce(max(r.known_to), max(a.known_from)) AS known_from,
               greatest(max(r.known_to), max(a.known_from), max(c.confirmed_at)) AS known_at
        FROM differing d
        LEFT JOIN store.ohlcv_revisions r ON r.symbol = d.symbol AND r.timestamp = d.timestamp
        LEFT JOIN store.ohlcv_arrivals a
            ON a.symbol = d.symbol AND d.timestamp BETWEEN a.first AND a.last
        LEFT JOIN confirmations c
            ON c.symbol = d.symbol AND d.timestamp BETWEEN c.first AND c.last
        WHERE NOT d.is_new GROUP BY d.symbol, d.timestamp"""
    )


def write_revisions(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    old = ", ".join(f"old_{name}" for name in VALUES)
    connection.execute(
        f"""INSERT INTO next.ohlcv_revisions
        SELECT symbol, timestamp, {old}, known_from, fetched_at, ? FROM changes
        WHERE NOT is_new ORDER BY symbol, timestamp""",
        [run_id],
    )


def write_arrivals(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """One row a block: bars of a symbol, inserted from one answer, with no other bar between.

    Symbols whose new bars come from one answer and lie outside what was stored are one block
    each; only for the others are the bars between looked at.
    """
    connection.execute(
        """CREATE TEMP TABLE inserted_spans AS
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last,
               min(fetched_at) AS known_from,
               count(DISTINCT fetched_at) = 1
                   AND (any_value(i.last) IS NULL OR min(timestamp) > any_value(i.last)
                        OR max(timestamp) < any_value(i.first)
                        OR count(*) = 1) AS is_block
        FROM changes LEFT JOIN next.instruments i USING (symbol) WHERE is_new GROUP BY symbol"""
    )
    split_arrivals(connection)
    connection.execute(
        """INSERT INTO next.ohlcv_arrivals
        SELECT symbol, first, last, known_from, $run FROM inserted_spans WHERE is_block
        UNION ALL
        SELECT symbol, min(timestamp), max(timestamp), known_from, $run FROM (
            SELECT symbol, timestamp, known_from, is_new, sum(is_start::INTEGER) OVER w AS block
            FROM (SELECT *, is_new IS DISTINCT FROM lag(is_new) OVER w
                         OR known_from IS DISTINCT FROM lag(known_from) OVER w AS is_start
                  FROM (SELECT symbol, timestamp, fetched_at AS known_from, true AS is_new
                        FROM changes SEMI JOIN (FROM inserted_spans WHERE NOT is_block)
                             USING (symbol) WHERE is_new
                        UNION ALL
                        SELECT s.symbol, s.timestamp, NULL, false FROM store.ohlcv_data s
                        JOIN inserted_spans b ON b.symbol = s.symbol AND NOT b.is_block
                             AND s.timestamp BETWEEN b.first AND b.last)
                  WINDOW w AS (PARTITION BY symbol ORDER BY timestamp))
            WINDOW w AS (PARTITION BY symbol ORDER BY timestamp))
        WHERE is_new GROUP BY symbol, block, known_from ORDER BY ALL""",
        {"run": run_id},
    )


def split_arrivals(connection: duckdb.DuckDBPyConnection) -> None:
    """Cut stored arrivals where new bars fill their holes: each bar lies in exactly one."""
    connection.execute(
        """CREATE TEMP TABLE torn_arrivals AS SELECT a.* FROM store.ohlcv_arrivals a
        JOIN inserted_spans n ON n.symbol = a.symbol AND a.first < n.last AND n.first < a.last
        WHERE EXISTS (FROM changes c WHERE c.is_new AND c.symbol = a.symbol
                      AND c.timestamp > a.first AND c.timestamp < a.last)"""
    )
    if not connection.execute("FROM torn_arrivals LIMIT 1").fetchall():
        return
    connection.execute(
        """DELETE FROM next.ohlcv_arrivals
        WHERE (symbol, first) IN (SELECT (symbol, first) FROM torn_arrivals)"""
    )
    connection.execute(
        "INSERT INTO next.ohlcv_arrivals SELECT symbol, first, last, known_from, run_id"
        f" FROM ({cut_blocks('torn_arrivals', 'known_from, run_id')}) ORDER BY ALL"
    )


def cut_blocks(blocks: str, columns: str) -> str:
    """SQL: the blocks, each cut at the new bars within it; the other `columns` stay."""
    within = "m.symbol = b.symbol AND m.timestamp BETWEEN b.first AND b.last"
    return f"""
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, {columns} FROM (
            SELECT b.symbol, timestamp, block, is_new, {columns},
                   sum(is_new::INTEGER) OVER (PARTITION BY block ORDER BY timestamp) AS part
            FROM (SELECT row_number() OVER () AS block, * FROM {blocks}) b
            JOIN (SELECT symbol, timestamp, false AS is_new FROM store.ohlcv_data
                  SEMI JOIN {blocks} USING (symbol)
                  UNION ALL SELECT symbol, timestamp, true FROM changes WHERE is_new) m
            ON {within})
        WHERE NOT is_new GROUP BY symbol, block, part, {columns}"""


def mend_arrivals(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bars that another program wrote into the published file arrive with this run, one by one."""
    connection.execute(
        """INSERT INTO next.ohlcv_arrivals
        SELECT symbol, timestamp, timestamp, CAST(? AS TIMESTAMP), ?
        FROM next.ohlcv_data b WHERE NOT EXISTS (
            FROM next.ohlcv_arrivals a
            WHERE a.symbol = b.symbol AND b.timestamp BETWEEN a.first AND a.last)
        ORDER BY symbol, timestamp""",
        [format_instant("seconds"), run_id],
    )


def save_confirmations(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Remember the blocks of stored bars that came again, unchanged, in a newer answer.

    What an arrival or an earlier confirmation says already is left out.
    """
    connection.execute(
        """CREATE TEMP TABLE confirming AS
        SELECT symbol, fetched_at AS confirmed_at, min(timestamp) AS first, max(timestamp) AS last
        FROM incoming ANTI JOIN differing USING (symbol, timestamp)
        GROUP BY symbol, fetched_at"""
    )
    connection.execute(
        """DELETE FROM confirming b WHERE EXISTS (
            FROM (SELECT symbol, first, last, known_from AS known_at FROM store.ohlcv_arrivals
                  UNION ALL FROM confirmations) k
            WHERE k.symbol = b.symbol AND k.first <= b.first AND k.last >= b.last
                  AND k.known_at >= b.confirmed_at)"""
    )
    connection.execute(
        """CREATE TEMP TABLE confirmed AS
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, confirmed_at FROM (
            SELECT *, sum(is_start::INTEGER) OVER w AS block FROM (
                SELECT *, is_held IS DISTINCT FROM lag(is_held) OVER w AS is_start FROM (
                    SELECT b.symbol, b.confirmed_at, s.timestamp, i.symbol IS NOT NULL AS is_held
                    FROM confirming b
                    JOIN (SELECT symbol, timestamp FROM store.ohlcv_data
                          UNION ALL SELECT symbol, timestamp FROM changes WHERE is_new) s
                        ON s.symbol = b.symbol AND s.timestamp BETWEEN b.first AND b.last
                    LEFT JOIN incoming i ON i.symbol = s.symbol
                        AND i.timestamp = s.timestamp AND i.fetched_at = b.confirmed_at)
                WINDOW w AS (PARTITION BY symbol, confirmed_at ORDER BY timestamp))
            WINDOW w AS (PARTITION BY symbol, confirmed_at ORDER BY timestamp))
        WHERE is_held GROUP BY symbol, confirmed_at, block"""
    )
    # a confirmation says nothing of a bar that fills a hole in it later
    connection.execute(
        """CREATE TEMP TABLE torn AS SELECT * FROM confirmations b WHERE EXISTS (
        FROM changes c WHERE c.is_new AND c.symbol = b.symbol
        AND c.timestamp > b.first AND c.timestamp < b.last)"""
    )
    is_torn = bool(connection.execute("FROM torn LIMIT 1").fetchall())
    if not is_torn and not connection.execute("FROM confirmed LIMIT 1").fetchall():
        return
    cut = f"UNION ALL {cut_blocks('torn', 'confirmed_at')}" if is_torn else ""
    kept = f"""SELECT * FROM (FROM confirmations EXCEPT FROM torn {cut}) c
        WHERE NOT EXISTS (
            FROM confirmed n WHERE n.symbol = c.symbol AND n.first <= c.first AND n.last >= c.last
            AND n.confirmed_at >= c.confirmed_at)"""
    with write_whole(confirmed_path(database)) as path:
        connection.execute(
            f"COPY ({kept} UNION ALL FROM confirmed ORDER BY ALL) TO {quote(path)} (FORMAT parquet)"
        )


def forget_confirmations(database: Path) -> None:
    """For a store that begins anew, or goes back to an earlier version."""
    confirmed_path(database).unlink(missing_ok=True)
