"""Instruments as charting tools ask for them: by kind, exchange and part of a symbol."""

from typing import Any

from api.faults import Unknown
from api.store import Rows
from api.store.duckdb_file.instruments import find_nearest
from api.store.duckdb_file.rows import Cursor, read_rows

# What kind of instrument it is, as far as its symbol and its exchange tell.
LISTING = """
SELECT symbol, exchange, CASE WHEN starts_with(symbol, '^') THEN 'index'
       WHEN exchange = '24/7' THEN 'crypto' WHEN exchange = '24/5' THEN 'forex'
       WHEN exchange = 'CMES' THEN 'futures' ELSE 'stock' END AS kind FROM market.instruments"""


def read_listing(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """symbol, exchange and kind of an instrument. Raises Unknown."""
    found = read_rows(cursor, f"{LISTING} WHERE symbol = ?", [symbol])
    if not found:
        raise Unknown(symbol, find_nearest(cursor, symbol))
    return found[0]


def search_listings(cursor: Cursor, q: str, kind: str, exchange: str, limit: int) -> Rows:
    """Listings whose symbol contains `q`, of a kind and an exchange ('' is any), at most `limit`:
    the symbol itself first, then those that begin so, each in order."""
    return read_rows(
        cursor,
        f"""{LISTING} WHERE contains(symbol, $q) AND $kind IN ('', kind)
        AND $exchange IN ('', exchange)
        ORDER BY symbol <> $q, NOT starts_with(symbol, $q), symbol LIMIT $limit""",
        {"q": q, "kind": kind, "exchange": exchange, "limit": limit},
    )


def read_exchanges(cursor: Cursor) -> list[str]:
    """The exchanges of all instruments, in order; those of unknown calendar have none."""
    found = cursor.execute(
        "SELECT DISTINCT exchange FROM market.instruments WHERE exchange IS NOT NULL"
        " ORDER BY exchange"
    )
    return [row[0] for row in found.fetchall()]
