"""The notes of the bars around each change, examined anew in `next`.

What is said of a bar depends on no bar further than CONTEXT bars away. So the notes of CONTEXT bars
on either side of a change may differ, and twice as many are read to examine them; the work grows
with the changes and not with the store. The table is sorted by symbol, so days of all symbols lie
all over it: each scan is told in literals between which days it has anything to find, since a
condition of a join does not keep it from reading the rest.
"""

import duckdb

from etl.base.parquet_sql import bound
from etl.rules import notes
from etl.rules.breaks import CONTEXT

NOT_FINAL = "provisional"
ROUNDED = "volume rounded"
DISAGREE = "vendors disagree"
# What no rule over neighbours finds: notes that others write, and retire.
OF_OTHERS = f"('{NOT_FINAL}', '{ROUNDED}', '{DISAGREE}')"
# Calendar days that surely hold twice the bars that a note may depend on, where none is missing.
CONTEXT_DAYS = CONTEXT * 2 * 7 // 5 + 32


def write_notes(connection: duckdb.DuckDBPyConnection, run_id: str, is_whole: bool) -> None:
    """Examine the bars around the changes anew; notes that hold as before keep their run_id."""
    view_bars(connection)
    if is_whole:
        notes.find_notes(connection, "all_bars", "splits", "sessions")
        connection.execute("CREATE OR REPLACE TEMP TABLE fresh_notes AS FROM notes")
    else:
        measure_areas(connection)
        renew_notes(connection, run_id)
    add_notes(connection, run_id)


def rewrite_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """As `write_notes`, of all bars of the symbols of `again`."""
    view_bars(connection)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE areas AS
        SELECT symbol, first AS from_at, last AS to_at, first, last, true AS is_sparse FROM again"""
    )
    renew_notes(connection, run_id)
    add_notes(connection, run_id)


def view_bars(connection: duckdb.DuckDBPyConnection) -> None:
    """`all_bars` and `splits`: what is examined."""
    connection.execute(
        """CREATE OR REPLACE TEMP VIEW all_bars AS
        SELECT b.*, i.basis, i.exchange FROM next.ohlcv_data b JOIN next.instruments i
        USING (symbol)"""
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE splits AS
        SELECT symbol, ex_date, ratio FROM next.corporate_actions WHERE kind = 'split'"""
    )


def renew_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Find the notes of `areas`; retire those that hold no more."""
    read_neighbourhood(connection)
    notes.find_notes(connection, "neighbourhood", "splits", "sessions")
    replace_notes(connection, run_id)


def add_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    connection.execute(
        """INSERT INTO next.bar_notes
        SELECT symbol, timestamp, reason, detail, ?, since
        FROM fresh_notes JOIN round_instants USING (symbol)
        ORDER BY symbol, timestamp, reason""",
        [run_id],
    )


def measure_areas(connection: duckdb.DuckDBPyConnection) -> None:
    """`areas`: of each symbol the span to read (from_at, to_at) and to examine (first, last).

    Days bound the bars that are looked at; a symbol too sparse for that is looked at whole.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE spans AS
        SELECT symbol, min(day) AS changed_from, max(day) AS changed_to,
               min(day) - INTERVAL {CONTEXT_DAYS} DAY AS start,
               max(day) + INTERVAL {CONTEXT_DAYS} DAY AS stop, false AS is_sparse
        FROM (SELECT symbol, timestamp AS day FROM changes
              UNION ALL SELECT symbol, ex_date::TIMESTAMP FROM new_actions)
        SEMI JOIN next.instruments USING (symbol) GROUP BY symbol"""
    )
    days = bound(connection, "SELECT min(start), max(stop) FROM spans")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE reaches AS {list_nearest(days)}")
    connection.execute(
        f"""UPDATE spans s SET is_sparse = true, start = i.first, stop = i.last
        FROM reaches r, next.instruments i
        WHERE r.symbol = s.symbol AND i.symbol = s.symbol AND (
            (coalesce(len(before), 0) < {CONTEXT * 2} AND i.first < s.start)
            OR (coalesce(len(after), 0) < {CONTEXT * 2} AND i.last > s.stop))"""
    )
    connection.execute(
        "DELETE FROM reaches WHERE symbol IN (SELECT symbol FROM spans WHERE is_sparse)"
    )
    connection.execute(f"INSERT INTO reaches {list_nearest('is_sparse')}")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE areas AS
        SELECT symbol, coalesce(before[-1], changed_from) AS from_at,
               coalesce(after[-1], changed_to) AS to_at,
               coalesce(before[{CONTEXT}], from_at) AS first,
               coalesce(after[{CONTEXT}], to_at) AS last, is_sparse
        FROM reaches JOIN spans USING (symbol)"""
    )


def list_nearest(condition: str) -> str:
    """SQL: of each symbol the bars before and after its changes, nearest first."""
    return f"""
        SELECT symbol, max(timestamp, {CONTEXT * 2}) FILTER (timestamp < changed_from) AS before,
               min(timestamp, {CONTEXT * 2}) FILTER (timestamp > changed_to) AS after
        FROM next.ohlcv_data JOIN spans USING (symbol)
        WHERE timestamp BETWEEN start AND stop AND {condition} GROUP BY symbol"""


def read_neighbourhood(connection: duckdb.DuckDBPyConnection) -> None:
    """`neighbourhood`: the bars to examine by. Sparse symbols apart, for they reach far back."""
    condition = "SELECT min(from_at), max(to_at) FROM areas WHERE "
    days = bound(connection, condition + "NOT is_sparse")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE neighbourhood AS
        SELECT b.* FROM (FROM all_bars WHERE {days}) b JOIN areas a
        ON a.symbol = b.symbol AND b.timestamp BETWEEN a.from_at AND a.to_at AND NOT is_sparse
        UNION ALL SELECT b.* FROM all_bars b JOIN areas a
        ON a.symbol = b.symbol AND b.timestamp BETWEEN a.from_at AND a.to_at AND is_sparse"""
    )


def replace_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Retire the notes of the bars to examine that hold no more; `fresh_notes` are those to add."""
    days = bound(connection, "SELECT min(first), max(last) FROM areas")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE old_notes AS
        SELECT o.rowid AS place, symbol, timestamp, reason, detail
        FROM (SELECT rowid, * FROM next.bar_notes WHERE {days} AND reason NOT IN {OF_OTHERS}) o
        JOIN areas a USING (symbol) WHERE timestamp BETWEEN first AND last"""
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE fresh_notes AS
        SELECT symbol, timestamp, reason, detail FROM notes JOIN areas USING (symbol)
        ANTI JOIN old_notes USING (symbol, timestamp, reason, detail)
        WHERE timestamp BETWEEN first AND last"""
    )
    gone = "SELECT place FROM old_notes ANTI JOIN notes USING (symbol, timestamp, reason, detail)"
    retire_notes(connection, gone, run_id)


def retire_notes(connection: duckdb.DuckDBPyConnection, places: str, run_id: str) -> None:
    """Move notes that hold no more, by their rowids, to those that were known once."""
    if not connection.execute(f"{places} LIMIT 1").fetchall():
        return
    connection.execute(
        f"""INSERT INTO next.bar_note_revisions
        SELECT symbol, timestamp, reason, detail, known_from, since, $run
        FROM next.bar_notes n JOIN round_instants USING (symbol)
        WHERE n.rowid IN ({places}) AND known_from < since ORDER BY ALL""",
        {"run": run_id},
    )
    connection.execute(f"DELETE FROM next.bar_notes WHERE rowid IN ({places})")
