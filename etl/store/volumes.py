"""The volumes of a symbol in one unit: those that come, and those that are stored.

A volume is a whole number of units of 10^-volume_decimals of its instrument. A clean file has a
unit for each row; load takes, for each symbol that it brings, the finest one of what comes and of
what is stored, as long as the largest volume then fits into 63 bits. Where all volumes are whole
numbers, nothing is computed.
"""

import duckdb

from etl.contracts.tables import MOST_DECIMALS, MOST_VOLUME, raise_ten
from etl.store.bar_notes import ROUNDED, retire_notes
from etl.store.digests import digest_rows

# The symbols whose volumes have decimals, here or there.
FRACTIONAL = """
SELECT symbol FROM delivered WHERE volume_decimals > 0
UNION SELECT symbol FROM store.instruments WHERE volume_decimals > 0"""
# Of each of these that comes: the decimals that are stored, the most of both sides, and the largest
# volume in units of 10^-18. Bars older than what is stored of their day are not taken, so they do
# not count.
EXTENTS = f"""
WITH counting AS (
    SELECT symbol, volume, volume_decimals, coalesce(d.fetched_at >= known_at, true) AS counts
    FROM (FROM delivered SEMI JOIN fractional USING (symbol)) d
    LEFT JOIN (FROM store.ohlcv_known SEMI JOIN fractional USING (symbol)) k
    USING (symbol, timestamp)),
came AS (
    SELECT symbol, max(volume_decimals) FILTER (counts) AS decimals,
           max(volume::HUGEINT * {raise_ten(f"{MOST_DECIMALS} - volume_decimals")})
               FILTER (counts) AS most
    FROM counting GROUP BY symbol),
held AS (
    SELECT symbol, any_value(volume_decimals) AS decimals, max(volume)::HUGEINT
           * any_value({raise_ten(f"{MOST_DECIMALS} - volume_decimals")}) AS most
    FROM (SELECT symbol, volume FROM store.ohlcv_data
          UNION ALL SELECT symbol, volume FROM store.ohlcv_revisions)
    JOIN store.instruments USING (symbol) SEMI JOIN came USING (symbol) GROUP BY symbol)
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


def fit_decimals(wanted: int, most: int) -> int:
    """The most decimals, up to `wanted`, with which a volume of `most` · 10^-18 fits."""
    fits = (d for d in range(wanted, 0, -1) if most <= MOST_VOLUME * 10 ** (MOST_DECIMALS - d))
    return next(fits, 0)


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
    bars = "FROM store.ohlcv_data"
    if is_fractional:
        bars = f"""SELECT b.* REPLACE (
            {rescale("volume", "coalesce(stored, 0)", "coalesce(decimals, 0)")} AS volume)
        {bars} b LEFT JOIN volume_units USING (symbol)"""
    connection.execute(f"CREATE TEMP VIEW held_bars AS {bars}")


def rescale(volume: str, before: str, after: str) -> str:
    """SQL: a volume of so many decimals as one of so many others, the last one rounded.

    What is too large for that is not taken (see EXTENTS), and gets the largest number.
    """
    finer, coarser = raise_ten(f"{after} - {before}"), raise_ten(f"{before} - {after}")
    return f"""CASE WHEN {volume} IS NULL THEN NULL
        WHEN {after} >= {before} THEN least({volume}::HUGEINT * {finer}, {MOST_VOLUME})::BIGINT
        ELSE (({volume}::HUGEINT + {coarser} // 2) // {coarser})::BIGINT END"""


def is_lossy(volume: str, before: str, after: str) -> str:
    return f"({after} < {before} AND {volume} % {raise_ten(f'{before} - {after}')} <> 0)"


def write(volume: str, decimals: str) -> str:
    """SQL: a volume as text."""
    unit = raise_ten(decimals)
    return f"""concat({volume} // {unit}, CASE WHEN {decimals} > 0 THEN
        '.' || lpad(({volume} % {unit})::VARCHAR, {decimals}, '0') ELSE '' END)"""


def rescale_stored(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bring what `next` holds into the units of this load. The numbers stay the same, so that no
    bar is revised by it; those that do not are noted."""
    changed = """(FROM volume_units SEMI JOIN next.instruments USING (symbol)
                  WHERE stored <> decimals)"""
    if not connection.execute(f"FROM {changed} LIMIT 1").fetchall():
        return
    note_coarser(connection, changed, run_id)
    for table in ("ohlcv_data", "ohlcv_revisions"):
        connection.execute(
            f"""UPDATE next.{table} b SET volume = {rescale("b.volume", "stored", "decimals")}
            FROM {changed} u WHERE u.symbol = b.symbol"""
        )
    connection.execute(
        f"""UPDATE next.instruments i SET volume_decimals = u.decimals, digest = b.digest
        FROM {changed} u JOIN (SELECT symbol, bit_xor(digest) AS digest
            FROM ({digest_rows("FROM next.ohlcv_data")}) SEMI JOIN {changed} USING (symbol)
            GROUP BY symbol) b
        USING (symbol) WHERE u.symbol = i.symbol"""
    )


def note_coarser(connection: duckdb.DuckDBPyConnection, changed: str, run_id: str) -> None:
    """Note the stored bars whose volume has more decimals than fit beside what comes."""
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{ROUNDED}', {explain(write("volume", "stored"))}, $run, since
        FROM next.ohlcv_data b JOIN {changed} u USING (symbol) JOIN (
            SELECT symbol, greatest(any_value(seen_at), min(fetched_at)) AS since
            FROM delivered JOIN next.instruments USING (symbol) GROUP BY symbol) USING (symbol)
        WHERE {is_lossy("volume", "stored", "decimals")} AND NOT EXISTS (
            FROM next.bar_notes n WHERE n.symbol = b.symbol AND n.timestamp = b.timestamp
            AND n.reason = '{ROUNDED}')
        ORDER BY symbol, timestamp""",
        {"run": run_id},
    )


def explain(given: str) -> str:
    """SQL: the detail of a note."""
    return f"concat('of ', {given}, ': more digits than 63 bits hold')"


def note_rounded(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Note the bars of this round whose volume does not fit; retire the notes of those before."""
    retire_notes(
        connection,
        f"""SELECT n.rowid FROM next.bar_notes n JOIN changes c
        ON c.symbol = n.symbol AND c.timestamp = n.timestamp WHERE reason = '{ROUNDED}'""",
        run_id,
    )
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{ROUNDED}', {explain("given")}, $run, since
        FROM changes JOIN rounded_volumes USING (symbol, timestamp, fetched_at)
        JOIN round_instants USING (symbol) ORDER BY symbol, timestamp""",
        {"run": run_id},
    )
