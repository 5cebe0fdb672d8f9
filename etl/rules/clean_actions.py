"""Type the corporate actions that came with the raw bars, for data/clean_actions.parquet.

Beside splits and dividends the file has rows about a whole answer, by their kind:

    splits, dividends   the answer lists all of the symbol's actions of that kind: of all time, or
                        (value `days`) of the days of its bars
    answer              it is an answer of the archive, of the number in `value`

Works on `typed`, the bars of the same raw file.
"""

import logging
from pathlib import Path

import duckdb

from etl.base import parquet_sql
from etl.contracts.files import RAW_ACTIONS
from etl.rules.rejects import read_date

log = logging.getLogger("etl")

COLUMNS = "symbol, ex_date, kind, value, source, fetched_at, run_id, last"
IS_BAD = """(kind IN ('split', 'dividend') AND (symbol = '' OR ex_date IS NULL
    OR NOT coalesce(isfinite(value) AND value > 0, false)))"""

# How many Mondays to Fridays are before a day, from a Monday on that is before all days of bars.
COUNT_WEEKDAYS = "(({0} - DATE '1000-01-06') // 7 * 5 + least(({0} - DATE '1000-01-06') % 7, 5))"
# The bars of each answer as stretches of days in which no Monday to Friday is missing.
FIND_STRETCHES = f"""
SELECT symbol, fetched_at, min(day) AS first, max(day) AS last FROM (
    SELECT *, sum(is_first::INTEGER) OVER answer AS stretch FROM (
        SELECT *, coalesce({COUNT_WEEKDAYS.format("day")} > {COUNT_WEEKDAYS.format("(before + 1)")},
                           true) AS is_first
        FROM (SELECT *, lag(day) OVER answer AS before FROM (
                  SELECT DISTINCT symbol, fetched_at, timestamp::DATE AS day FROM typed
                  WHERE reason IS NULL)
              WINDOW answer AS (PARTITION BY symbol, fetched_at ORDER BY day)))
    WINDOW answer AS (PARTITION BY symbol, fetched_at ORDER BY day))
GROUP BY symbol, fetched_at, stretch"""


def type_actions(connection: duckdb.DuckDBPyConnection, path: Path | None) -> int:
    """`good_actions`: what can be read of the raw file; empty without a path. Returns how many
    splits and dividends there are."""
    view_actions(connection, path)
    tell_bad(connection)
    bound_lists(connection)
    connection.execute(
        f"""CREATE TEMP TABLE good_actions AS SELECT {COLUMNS} FROM actions WHERE NOT {IS_BAD}
        QUALIFY kind = 'answer' OR row_number() OVER (
            PARTITION BY symbol, ex_date, kind, fetched_at ORDER BY value DESC, source) = 1
        ORDER BY symbol, ex_date, kind, fetched_at, value"""
    )
    count = "SELECT count(*) FROM good_actions WHERE kind IN ('split', 'dividend')"
    return int(connection.execute(count).fetchall()[0][0])


def tell_bad(connection: duckdb.DuckDBPyConnection) -> None:
    """One line for all that cannot be read. NaN is how a table says that there was no action."""
    texts = [
        row[0]
        for row in connection.execute(
            f"SELECT text FROM actions WHERE {IS_BAD} AND NOT coalesce(isnan(value), false)"
        ).fetchall()
    ]
    if texts:
        what = "a corporate action" if len(texts) == 1 else f"{len(texts):,} corporate actions"
        more = ", …" if len(texts) > 3 else ""
        shown = ", ".join(texts[:3]) + more
        log.warning("transform: left out %s that cannot be read: %s", what, shown)


def view_actions(connection: duckdb.DuckDBPyConnection, path: Path | None) -> None:
    """`actions`: typed, with the row as it came in `text`; `last` is the last day of a list."""
    if path:
        connection.execute(
            f"CREATE TEMP VIEW raw_actions AS SELECT * FROM {parquet_sql.scan(path)}"
        )
    else:
        connection.register("raw_actions", RAW_ACTIONS.empty_table())
    connection.execute(
        f"""CREATE TEMP TABLE actions AS
        SELECT upper(trim(symbol)) AS symbol, ({read_date("ex_date")})::DATE AS ex_date, kind,
               try_cast(value AS DOUBLE) AS value, source, fetched_at, run_id,
               NULL::DATE AS last, value = 'days' AS is_of_days,
               concat_ws(' ', symbol, ex_date, kind, value) AS text FROM raw_actions"""
    )


def bound_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Give the lists that are of the days of their bars these days, one list for each stretch of
    days without a hole, for an answer says nothing of a day that it has no bar of; drop those
    without a bar, and those of which something cannot be read: they are not all there is."""
    connection.execute(
        f"""DELETE FROM actions l WHERE kind IN ('splits', 'dividends') AND EXISTS (
            FROM (FROM actions WHERE {IS_BAD}) a WHERE l.kind = a.kind || 's'
            AND a.symbol = l.symbol AND a.fetched_at = l.fetched_at)"""
    )
    if not connection.execute("FROM actions WHERE is_of_days LIMIT 1").fetchall():
        return
    connection.execute(
        f"""INSERT INTO actions BY NAME
        SELECT l.* REPLACE (d.first AS ex_date, d.last AS last, false AS is_of_days)
        FROM actions l JOIN ({FIND_STRETCHES}) d USING (symbol, fetched_at) WHERE l.is_of_days"""
    )
    connection.execute("DELETE FROM actions WHERE is_of_days")
