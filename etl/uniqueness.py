"""A cheap proof that no key is there twice."""

import duckdb


def is_in_order(connection: duckdb.DuckDBPyConnection, rows: str) -> bool:
    """Whether each symbol comes in one piece with ascending timestamps, so that no key is twice.

    rows: SQL that names `symbol` and `timestamp`. One pass without a table of all keys; bars mostly
    come so. False proves nothing.
    """
    [(pieces, symbols, back)] = connection.execute(
        f"""SELECT count(*) FILTER (is_start), count(DISTINCT symbol),
                   count(*) FILTER (is_back AND NOT is_start)
        FROM (SELECT symbol, symbol IS DISTINCT FROM lag(symbol) OVER () AS is_start,
                     timestamp <= lag(timestamp) OVER () AS is_back FROM ({rows}))"""
    ).fetchall()
    return bool(pieces == symbols and not back)
