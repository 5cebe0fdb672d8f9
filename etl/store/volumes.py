"""The volumes of a symbol in one unit: those that come, and those that are stored.

A volume is a whole number of units of 10^-volume_decimals of its instrument. A clean file has a
unit for each row; load takes, for each symbol that it brings, the finest one of what comes and of
what is stored, as long as the largest volume then fits into 63 bits. Where all volumes are whole
numbers, nothing is computed.
"""

import duckdb

from etl.contracts.tables import MOST_DECIMALS, raise_ten
from etl.rules.volume_units import fit_decimals, is_lossy, rescale, write

# The symbols whose volumes have decimals, here or there.
FRACTIONAL = """
SELECT symbol FROM delivered WHERE volume_decimals > 0
UNION SELECT symbol FROM known_instruments WHERE volume_decimals > 0"""
# Of each of these that comes: the decimals that are stored, the most of both sides, and the largest
# volume in units of 10^-18. Bars older than what is stored of their day are not taken, so they do
# not count.
EXTENTS = f"""
WITH counting AS (
    SELECT symbol, volume, volume_decimals, coalesce(d.fetched_at >= known_at, true) AS counts
    FROM (FROM delivered SEMI JOIN fractional USING (symbol)) d
    LEFT JOIN (FROM known_since SEMI JOIN fractional USING (symbol)) k
    USING (symbol, timestamp)),
came AS (
    SELECT symbol, max(volume_decimals) FILTER (counts) AS decimals,
           max(volume::HUGEINT * {raise_ten(f"{MOST_DECIMALS} - volume_decimals")})
               FILTER (counts) AS most
    FROM counting GROUP BY symbol),
held AS (
    SELECT symbol, any_value(volume_decimals) AS decimals, max(volume)::HUGEINT
           * any_value({raise_ten(f"{MOST_DECIMALS} - volume_decimals")}) AS most
    FROM (SELECT symbol, volume FROM known_bars
          UNION ALL SELECT symbol, volume FROM known_revisions)
    JOIN known_instruments USING (symbol) SEMI JOIN came USING (symbol) GROUP BY symbol)
SELECT symbol, coalesce(held.decimals, 0), greatest(came.decimals, held.decimals, 0),
       coalesce(greatest(came.most, held.most), 0)
FROM came LEFT JOIN held USING (symbol) ORDER BY symbol"""


def unify_units(connection: duckdb.DuckDBPyConnection) -> None:
    """`incoming` and `held_bars` (the stored ones) with the volumes of each symbol in one unit.

    `volume_units` (symbol, stored, decimals) has the symbols whose volumes are not all whole;
    `rounded_volumes` (symbol, timestamp, fetched_at, given) the volumes that come and do not fit.
    """
    connection.execute("ALTER VIEW incoming RENAME TO delivered")
    connection.execute(
        "CREATE TEMP TABLE volume_units (symbol VARCHAR, stored INTEGER, decimals INTEGER)"
    )
    connection.execute(f"CREATE TEMP TABLE fractional AS {FRACTIONAL}")
    has_any = connection.execute("FROM fractional LIMIT 1").fetchall()
    found = connection.execute(EXTENTS).fetchall() if has_any else []
    if found:
        fitting = [fit_decimals(wanted, most) for _, _, wanted, most in found]
        connection.execute(
            "INSERT INTO volume_units SELECT unnest(?), unnest(?), unnest(?)",
            [[row[0] for row in found], [row[1] for row in found], fitting],
        )
    view_delivered(connection, bool(found))
    view_held(connection, bool(found))


def view_delivered(connection: duckdb.DuckDBPyConnection, is_fractional: bool) -> None:
    rescaled = rescale("volume", "volume_decimals", "coalesce(decimals, 0)")
    unified = f"REPLACE ({rescaled} AS volume)" if is_fractional else ""
    units = "LEFT JOIN volume_units USING (symbol)" if is_fractional else ""
    connection.execute(
        f"""CREATE TEMP VIEW incoming AS
        SELECT d.* EXCLUDE (volume_decimals, volume_given) {unified} FROM delivered d {units}"""
    )
    lossy = f"OR {is_lossy('volume', 'volume_decimals', 'coalesce(decimals, 0)')}"
    given = f"coalesce(volume_given, {write('volume', 'volume_decimals')})"
    connection.execute(
        f"""CREATE TEMP TABLE rounded_volumes AS
        SELECT symbol, timestamp, fetched_at, {given} AS given FROM delivered {units}
        WHERE volume_given IS NOT NULL {lossy if is_fractional else ""}"""
    )


def view_held(connection: duckdb.DuckDBPyConnection, is_fractional: bool) -> None:
    bars = "FROM known_bars"
    if is_fractional:
        bars = f"""SELECT b.* REPLACE (
            {rescale("volume", "coalesce(stored, 0)", "coalesce(decimals, 0)")} AS volume)
        {bars} b LEFT JOIN volume_units USING (symbol)"""
    connection.execute(f"CREATE TEMP VIEW held_bars AS {bars}")
