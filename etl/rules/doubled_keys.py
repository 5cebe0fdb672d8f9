"""Which symbols may have a key twice: a cheap first look that spares a table of all keys."""

import duckdb


def find_unproven(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Temp table `unproven` (symbol): those not seen in one piece with ascending timestamps.

    rows: SQL that names `symbol` and `timestamp`. No key of any other symbol is there twice,
    whatever the order in which the rows are read; and bars mostly lie in order.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE unproven AS
        SELECT symbol
        FROM (SELECT symbol, symbol IS DISTINCT FROM lag(symbol) OVER () AS is_start,
                     timestamp <= lag(timestamp) OVER () AS is_back FROM ({rows}))
        GROUP BY symbol
        HAVING count(*) FILTER (is_start) > 1 OR bool_or(is_back AND NOT is_start)"""
    )
