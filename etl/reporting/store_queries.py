"""What a report says of the store: one function a question, of what is known (etl.store.KNOWN)."""

from typing import Any

import duckdb

REVISIONS = 30

Row = dict[str, Any]


def read_store(connection: duckdb.DuckDBPyConnection) -> Row:
    return read_rows(
        connection,
        """SELECT generation, published_at, run_id, count(i.symbol) AS symbols,
               coalesce(sum(bars), 0)::BIGINT AS bars, min(first) AS first, max(last) AS last,
               list_sort(list(DISTINCT i.source)) AS sources
        FROM known_generation LEFT JOIN known_instruments i ON true GROUP BY ALL""",
    )[0]


def read_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[Row]:
    """By reason: notes in the store and of this run, symbols, and the newest as an example."""
    return read_rows(
        connection,
        """SELECT reason, count(*) AS notes, count(*) FILTER (run_id = ?) AS of_run,
               count(DISTINCT symbol) AS symbols,
               arg_max({symbol: symbol, day: timestamp, detail: detail}, (timestamp, symbol))
                   AS newest
        FROM known_notes GROUP BY reason ORDER BY notes DESC, reason""",
        [run_id],
    )


def read_gaps(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """By cause: sessions without a bar, symbols, and the newest of them."""
    return read_rows(
        connection,
        """SELECT cause, count(*) AS sessions, count(DISTINCT symbol) AS symbols,
               arg_max({symbol: symbol, day: session}, (session, symbol)) AS newest
        FROM known_gaps GROUP BY cause ORDER BY sessions DESC, cause""",
    )


def read_revisions(connection: duckdb.DuckDBPyConnection, run_id: str) -> tuple[list[Row], int]:
    """The bars that this run changed, the biggest changes of the close first, and how many."""
    rows = read_rows(
        connection,
        f"""SELECT r.symbol, r.timestamp, r.known_from, r.known_to,
               r.close AS old_close, b.close, b.close / nullif(r.close, 0) - 1 AS change,
               r.volume AS old_volume, b.volume, volume_decimals, count(*) OVER () AS revised,
               list_filter(['open', 'high', 'low', 'close', 'volume'], lambda name: CASE name
                   WHEN 'open' THEN r.open <> b.open WHEN 'high' THEN r.high <> b.high
                   WHEN 'low' THEN r.low <> b.low WHEN 'close' THEN r.close <> b.close
                   ELSE r.volume IS DISTINCT FROM b.volume END) AS changed
        FROM known_revisions r JOIN known_bars b USING (symbol, timestamp)
        JOIN known_instruments USING (symbol)
        WHERE r.run_id = ?
        ORDER BY abs(change) DESC NULLS LAST, symbol, timestamp LIMIT {REVISIONS}""",
        [run_id],
    )
    for row in rows:
        for name in ("old_volume", "volume"):
            row[name] = divide_volume(row[name], row["volume_decimals"])
    return rows, rows[0]["revised"] if rows else 0


def divide_volume(units: int | None, decimals: int) -> int | float | None:
    """A stored volume as a number."""
    return units if units is None or not decimals else units / 10**decimals


def read_rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Any = None
) -> list[Row]:
    """The whole result as dicts."""
    connection.execute(query, parameters)
    names = [column[0] for column in connection.description or ()]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]
