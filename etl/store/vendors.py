"""Bars of one symbol and day by two vendors: which is kept, and where they disagree.

The vendor that SOURCE names first is kept, whatever comes later from one behind it; days that it
does not have are the others'. A stored bar of a vendor that SOURCE no longer names is as any older
answer: a newer one replaces it. `ohlcv_known` says of each bar whose it is.

Each bar that comes of another vendor than the stored one is compared with it, and noted where they
differ by more than vendors usually do. Bars of a session that was open for one of them are not, nor
those of an answer that the store has taken before: that was compared then.
"""

import logging

import duckdb

from etl.base.parquet_sql import quote
from etl.contracts.tables import raise_ten
from etl.settings import READ_SOURCES, Settings
from etl.store.bar_notes import DISAGREE, NOT_FINAL, retire_notes

log = logging.getLogger("etl")

# What vendors differ by though none is wrong: they round, and count other trades.
PRICE_SHARE = 0.001
VOLUME_SHARE = 0.05
PRICES = ("open", "high", "low", "close")
PART = " | "  # between what a note says of two vendors
READ = ", ".join(map(quote, READ_SOURCES))
RIVALS = f"old_source <> source AND old_source NOT IN ({READ}) AND source NOT IN ({READ})"


def rank_vendors(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """`vendor_rank(source)`: its place in SOURCE, NULL where it is not one of several vendors;
    `replaced` (old_source, source, bars): what the rounds of this load replace."""
    names = settings.sources if len(settings.sources) > 1 else ()
    cases = " ".join(f"WHEN {quote(name)} THEN {n}" for n, name in enumerate(names))
    rank = f"CASE name {cases} END" if cases else "NULL::INTEGER"
    connection.execute(f"CREATE OR REPLACE TEMP MACRO vendor_rank(name) AS {rank}")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE replaced"
        " (old_source VARCHAR, source VARCHAR, bars BIGINT, symbols BIGINT)"
    )


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


def tell_price(name: str) -> str:
    return tell_values(name, PRICE_SHARE, "{}")


def tell_volume() -> str:
    unit = raise_ten("coalesce(i.volume_decimals, 0)")
    return tell_values("volume", VOLUME_SHARE, f"({{}} / {unit})")


def tell_values(name: str, share: float, shown: str) -> str:
    """SQL: both values where they differ by more than a share of the larger; else NULL."""
    mine, old = f"r.{name}", f"r.old_{name}"
    kept = shown.format(f"CASE WHEN is_outranked THEN {old} ELSE {mine} END")
    other = shown.format(f"CASE WHEN is_outranked THEN {mine} ELSE {old} END")
    return f"""CASE WHEN abs({mine} - {old}) > {share} * greatest(abs({mine}), abs({old}))
        THEN format('{name} {{:.10g}} of {{}} (kept), {{:.10g}} of {{}}',
                    ({kept})::DOUBLE, kept, ({other})::DOUBLE, other) END"""


def report_replaced(connection: duckdb.DuckDBPyConnection) -> None:
    """One line for each vendor whose bars became another's, so that no change is silent."""
    query = """SELECT old_source, source, sum(bars)::BIGINT FROM replaced
        GROUP BY ALL HAVING sum(bars) > 0 ORDER BY ALL"""
    for old, new, bars in connection.execute(query).fetchall():
        log.warning(
            "load: %s of %s with other values: %s comes first in SOURCE, or alone; the old values"
            " are kept as revisions",
            f"1 bar of {old} became that" if bars == 1 else f"{bars:,} bars of {old} became those",
            new,
            new,
        )
