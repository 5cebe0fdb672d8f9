"""Notes of bars on which two vendors disagree (see etl.rules.vendors)."""

import duckdb

from etl.rules.vendors import PART, PRICES, tell_price, tell_volume
from etl.store.duckdb_file.bar_notes import DISAGREE, NOT_FINAL, retire_notes


def write_disagreements(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bring the notes in step with the bars of this round that two vendors have."""
    if not connection.execute("FROM rivals LIMIT 1").fetchall():
        return
    connection.execute(
        """INSERT INTO replaced SELECT old_source, source, count(*), count(DISTINCT symbol)
        FROM changes WHERE NOT is_new AND old_source <> source GROUP BY ALL"""
    )
    compare_rivals(connection)
    stored = f"""SELECT n.rowid AS place, symbol, timestamp, n.detail FROM next.bar_notes n
        SEMI JOIN compared_rivals USING (symbol, timestamp) WHERE reason = '{DISAGREE}'"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE old_disagreements AS {stored}")
    # what the note has of other vendors than the one that comes, and what is true of that one
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE disagreements AS
        SELECT symbol, timestamp, nullif(array_to_string(list_sort([
            x FOR x IN list_append([
                y FOR y IN coalesce(string_split(o.detail, '{PART}'), [])
                IF NOT contains(y, ' of ' || other)], part)
            IF x IS NOT NULL]), '{PART}'), '') AS detail
        FROM compared_rivals LEFT JOIN old_disagreements o USING (symbol, timestamp)"""
    )
    replace_disagreements(connection, run_id)


def replace_disagreements(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """One note a bar: `disagreements` in place of `old_disagreements`, where they differ."""
    gone = """SELECT place FROM old_disagreements
        ANTI JOIN disagreements USING (symbol, timestamp, detail)"""
    retire_notes(connection, gone, run_id)
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{DISAGREE}', detail, ?, since
        FROM disagreements JOIN round_instants USING (symbol)
        ANTI JOIN old_disagreements USING (symbol, timestamp, detail)
        WHERE detail IS NOT NULL ORDER BY symbol, timestamp""",
        [run_id],
    )


def compare_rivals(connection: duckdb.DuckDBPyConnection) -> None:
    """`compared_rivals` (symbol, timestamp, other, part): the bars of `rivals` that are final with
    both vendors, and the other one than that whose bar is kept; part is NULL where they agree."""
    told = ", ".join((*map(tell_price, PRICES), tell_volume()))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE compared_rivals AS
        SELECT r.symbol, r.timestamp, other,
               nullif(concat_ws('; ', {told}), '') AS part
        FROM (SELECT *, CASE WHEN is_outranked THEN old_source ELSE source END AS kept,
                     CASE WHEN is_outranked THEN source ELSE old_source END AS other
              FROM rivals) r
        JOIN next.instruments i USING (symbol)
        LEFT JOIN symbol_exchanges e USING (symbol)
        LEFT JOIN sessions s ON s.exchange = e.exchange AND s.session = r.timestamp::DATE
        WHERE (r.source, r.fetched_at) NOT IN (SELECT (source, fetched_at) FROM next.answers)
        AND (s.close IS NULL OR r.fetched_at >= s.close) AND NOT EXISTS (
            FROM next.bar_notes n WHERE n.reason = '{NOT_FINAL}'
            AND n.symbol = r.symbol AND n.timestamp = r.timestamp)"""
    )
