"""What comes, in the order in which it was fetched: rounds of one answer a symbol.

What a store knows, and since when, is as if each answer had been loaded by itself, the oldest
first: so a store that is rebuilt from the archive is the same as one that grew day by day. The
answers of one symbol say nothing of another, so that round k takes the k-th answer of each.

Works on the temp relations of load: `incoming` (bars), `incoming_actions`, `incoming_lists`,
`rejected`, and the published file as `store`. A round leaves `arriving` (the bars that count,
compared with what was stored), `changes` (those of them that are new or different), `rivals`
(bars that another vendor than theirs has in the store, whether they count or not),
`round_actions`, `round_lists`, `round_rejected`, `round_instants` (symbol, fetched_at, and `since`,
from when on what follows from this answer is known) and `before` (the instruments as they were).
"""

import duckdb

from etl.base.parquet_sql import bound
from etl.rules import newer_bars
from etl.rules.vendors import RIVALS
from etl.store.clean_files import FEW_ROWS

ANSWERS = """
SELECT symbol, fetched_at FROM pending UNION SELECT symbol, fetched_at FROM incoming_actions
UNION SELECT symbol, fetched_at FROM incoming_lists UNION SELECT symbol, fetched_at FROM rejected"""


def number_rounds(connection: duckdb.DuckDBPyConnection) -> tuple[int, bool]:
    """`rounds` (symbol, fetched_at, round): which answer comes in which round. Returns how many,
    and whether few bars come."""
    connection.execute(
        f"""CREATE TEMP TABLE rounds AS
        SELECT symbol, fetched_at, dense_rank() OVER (
            PARTITION BY symbol ORDER BY fetched_at)::INTEGER AS round FROM ({ANSWERS})"""
    )
    last, bars = connection.execute(
        f"""SELECT coalesce(max(round), 1),
            (SELECT count(*) FROM (FROM pending LIMIT {FEW_ROWS + 1})) FROM rounds"""
    ).fetchall()[0]
    return last, bars <= FEW_ROWS


def open_round(
    connection: duckdb.DuckDBPyConnection, number: int, count: int, are_few: bool
) -> None:
    """Make the relations of one round of so many. Few bars are kept: a view is thought through anew
    by each of twenty statements, which takes longer than to read them. More are not, for memory."""
    if count > 1:
        compare_round(connection, number)
    compared = "pending" if count == 1 else "round_compared"
    connection.execute(
        f"""CREATE OR REPLACE TEMP {"TABLE" if are_few else "VIEW"} arriving AS
        FROM {compared} WHERE {newer_bars.counts()}"""
    )
    connection.execute(f"CREATE OR REPLACE TEMP VIEW rivals AS FROM {compared} WHERE {RIVALS}")
    connection.execute("CREATE OR REPLACE TEMP VIEW changes AS FROM arriving WHERE differs")
    for name in ("actions", "lists"):
        select_round(connection, f"round_{name}", f"incoming_{name}", number)
    select_round(connection, "round_rejected", "rejected", number)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE before AS FROM next.instruments"
        f" SEMI JOIN (FROM rounds WHERE round = {number}) USING (symbol)"
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE round_instants AS
        SELECT symbol, fetched_at, greatest(
            fetched_at, seen_at, splits_known_at, dividends_known_at) AS since
        FROM rounds LEFT JOIN before USING (symbol) WHERE round = {number}"""
    )


def compare_round(connection: duckdb.DuckDBPyConnection, number: int) -> None:
    """`round_compared`: a round's bars, compared with what the rounds before left in `next`."""
    columns = ", ".join(
        (*("timestamp", "symbol"), *newer_bars.VALUES, "source", "basis", "interval")
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE round_bars AS
        SELECT {columns}, fetched_at FROM pending SEMI JOIN (FROM rounds WHERE round = {number})
        USING (symbol, fetched_at)"""
    )
    days = bound(connection, "SELECT min(timestamp), max(timestamp) FROM round_bars")
    compared = newer_bars.compare("round_bars", "next.ohlcv_data", "next.ohlcv_known", days)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE round_compared AS {compared}")


def select_round(
    connection: duckdb.DuckDBPyConnection, name: str, relation: str, number: int
) -> None:
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {name} AS FROM {relation}
        SEMI JOIN (FROM rounds WHERE round = {number}) USING (symbol, fetched_at)"""
    )
