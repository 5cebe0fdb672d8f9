"""What became of each row that came, symbol by symbol: told before anything is written."""

import duckdb

from etl.contracts import runs
from etl.rules import newer_bars


def count_by_symbol(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """What became of the incoming rows of each symbol, by comparison with what was published: of
    a bar's newest row. The others are superseded."""
    is_revised = f"NOT is_new AND differs AND {newer_bars.counts()}"
    rows = connection.execute(
        f"""SELECT symbol, coalesce(inserted, 0), coalesce(revised, 0),
                  bars - coalesce(inserted, 0) - coalesce(differ, 0),
                  coalesce(differ, 0) - coalesce(revised, 0) - coalesce(outranked, 0),
                  came - bars + coalesce(outranked, 0)
        FROM ({count_incoming(connection)})
        LEFT JOIN (SELECT symbol, count(*) FILTER (is_new) AS inserted,
                          count(*) FILTER (NOT is_new AND differs) AS differ,
                          count(*) FILTER (differs AND is_outranked) AS outranked,
                          count(*) FILTER ({is_revised}) AS revised
                   FROM newest GROUP BY symbol) USING (symbol) ORDER BY symbol"""
    ).fetchall()
    return {row[0]: dict(zip(runs.LOADED, row[1:], strict=True)) for row in rows}


def count_incoming(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL: symbol, rows (came) and bars that they are of. Leaves `newest`: of `compared`, the
    newest row of each bar, of the vendor that goes before."""
    several = connection.execute(
        """SELECT symbol FROM incoming GROUP BY symbol
        HAVING min(fetched_at) <> max(fetched_at) LIMIT 1"""
    ).fetchall()
    if not several:
        connection.execute("CREATE TEMP VIEW newest AS FROM compared")
        return "SELECT symbol, count(*) AS came, count(*) AS bars FROM incoming GROUP BY symbol"
    connection.execute(
        """CREATE TEMP TABLE newest AS
        SELECT c.* FROM compared c JOIN (
            SELECT symbol, timestamp, arg_max(fetched_at, (
                -coalesce(vendor_rank(source), 0), fetched_at)) AS fetched_at
            FROM incoming GROUP BY ALL)
        USING (symbol, timestamp, fetched_at)"""
    )
    return """SELECT symbol, sum(came)::BIGINT AS came, count(*) AS bars FROM (
        SELECT symbol, timestamp, count(*) AS came FROM incoming GROUP BY ALL) GROUP BY symbol"""
