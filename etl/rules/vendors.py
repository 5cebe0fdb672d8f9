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
