"""What there is, in all and one by one; and what a name that is unknown may have meant."""

from typing import Any

from api.faults import Unknown
from api.store import Catalog, Entry, Rows
from api.store.duckdb_file.rows import Cursor, read_rows

KNOWN_AT = ", ".join(
    f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}"
    for name in ("actions_known_at", "splits_known_at", "dividends_known_at")
)
INSTRUMENT = f"""
SELECT symbol, strftime(first, '%Y-%m-%d') AS first, strftime(last, '%Y-%m-%d') AS last, bars,
       last_close, source, basis, exchange, {KNOWN_AT} FROM market.instruments"""


def read_instruments(cursor: Cursor, q: str, after: str, limit: int) -> Rows:
    """Instruments whose symbol contains `q` and comes after `after`, in order, at most `limit`."""
    return read_rows(
        cursor,
        f"{INSTRUMENT} WHERE contains(symbol, ?) AND symbol > ? ORDER BY symbol LIMIT ?",
        [q.strip().upper(), after.strip().upper(), limit],
    )


def read_instrument(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """One instrument, in any case. Raises Unknown."""
    wanted = symbol.strip().upper()
    found = read_rows(cursor, f"{INSTRUMENT} WHERE symbol = ?", [wanted])
    if not found:
        raise Unknown(wanted, find_nearest(cursor, wanted))
    return found[0]


def find_nearest(cursor: Cursor, symbol: str) -> list[str]:
    """Up to three symbols that few changes of letters turn into `symbol`, or that begin so."""
    distance = "damerau_levenshtein(symbol, $symbol)"
    found = cursor.execute(
        f"""SELECT symbol FROM market.instruments
        WHERE {distance} <= greatest(1, length($symbol) // 2) OR starts_with(symbol, $symbol)
        ORDER BY {distance}, symbol LIMIT 3""",
        {"symbol": symbol},
    )
    return [row[0] for row in found.fetchall()]


def read_catalog(cursor: Cursor) -> Catalog:
    """symbol → its entry, of all instruments."""
    found = cursor.execute(
        """SELECT symbol, basis, symbol IN (
            SELECT symbol FROM market.corporate_actions
            UNION SELECT symbol FROM market.corporate_action_revisions), bars, exchange,
            splits_known_at, dividends_known_at, volume_decimals
        FROM market.instruments"""
    )
    return {symbol: Entry(*values) for symbol, *values in found.fetchall()}


def read_totals(cursor: Cursor) -> dict[str, Any]:
    """symbols, bars, first and last day of the whole store."""
    return read_rows(
        cursor,
        "SELECT count(*) AS symbols, coalesce(sum(bars), 0)::BIGINT AS bars,"
        " strftime(min(first), '%Y-%m-%d') AS first, strftime(max(last), '%Y-%m-%d') AS last"
        " FROM market.instruments",
        [],
    )[0]
