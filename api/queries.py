"""The only SQL of the API: one function a question, each on a cursor of its own.

Tables are named in full (market.…): a cursor does not inherit USE.
"""

from typing import Any

import duckdb
import numpy as np

from api.errors import Problem
from api.series import Series, Split

Cursor = duckdb.DuckDBPyConnection

INSTRUMENT = """
SELECT symbol, strftime(first, '%Y-%m-%d') AS first, strftime(last, '%Y-%m-%d') AS last, bars,
       last_close, source, basis FROM market.instruments"""


def read_rows(cursor: Cursor, query: str, parameters: list[Any]) -> list[dict[str, Any]]:
    """The whole result as dicts."""
    cursor.execute(query, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_instruments(cursor: Cursor, q: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Instruments whose symbol contains `q` and comes after `after`, in order, at most `limit`."""
    return read_rows(
        cursor,
        f"{INSTRUMENT} WHERE contains(symbol, ?) AND symbol > ? ORDER BY symbol LIMIT ?",
        [q.strip().upper(), after.strip().upper(), limit],
    )


def read_instrument(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """One instrument, in any case. Raises a 404 Problem with the nearest names."""
    wanted = symbol.strip().upper()
    found = read_rows(cursor, f"{INSTRUMENT} WHERE symbol = ?", [wanted])
    if not found:
        raise build_unknown(cursor, wanted)
    return found[0]


def build_unknown(cursor: Cursor, symbol: str) -> Problem:
    nearest = find_nearest(cursor, symbol)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "/instruments lists them all."
    return Problem(404, f"Unknown symbol {symbol}: {hint}", nearest=nearest)


def find_nearest(cursor: Cursor, symbol: str) -> list[str]:
    """Up to three symbols that few changes of letters turn into `symbol`, or that begin so."""
    distance = "damerau_levenshtein(symbol, $symbol)"
    cursor.execute(
        f"""SELECT symbol FROM market.instruments
        WHERE {distance} <= greatest(1, length($symbol) // 2) OR starts_with(symbol, $symbol)
        ORDER BY {distance}, symbol LIMIT 3""",
        {"symbol": symbol},
    )
    return [row[0] for row in cursor.fetchall()]


def read_series(cursor: Cursor, symbol: str) -> Series:
    """All bars of a stored symbol, on the basis they are stored on. Raises a 404 Problem.

    No ORDER BY: rows lie sorted, but for a short tail, and sorting that here costs less.
    """
    instrument = read_instrument(cursor, symbol)
    cursor.execute(
        "SELECT timestamp, open, high, low, close, volume FROM market.ohlcv_data WHERE symbol = ?",
        [instrument["symbol"]],
    )
    columns: dict[str, Any] = cursor.fetchnumpy()
    days = columns["timestamp"].astype("datetime64[D]")
    if len(days) > 1 and not (days[1:] > days[:-1]).all():
        order = np.argsort(days)
        days = days[order]
        columns = {name: column[order] for name, column in columns.items()}
    return Series(
        instrument["symbol"],
        instrument["basis"],
        days,
        columns["open"],
        columns["high"],
        columns["low"],
        columns["close"],
        np.ma.asarray(columns["volume"]),
    )


def read_splits(cursor: Cursor, symbol: str) -> list[Split]:
    """The splits of a symbol: (ex_date, new shares for one old)."""
    cursor.execute(
        "SELECT ex_date, ratio FROM market.corporate_actions"
        " WHERE symbol = ? AND kind = 'split' ORDER BY ex_date",
        [symbol],
    )
    return cursor.fetchall()


def read_totals(cursor: Cursor) -> dict[str, Any]:
    """symbols, bars, first and last day of the whole store."""
    return read_rows(
        cursor,
        "SELECT count(*) AS symbols, coalesce(sum(bars), 0)::BIGINT AS bars,"
        " strftime(min(first), '%Y-%m-%d') AS first, strftime(max(last), '%Y-%m-%d') AS last"
        " FROM market.instruments",
        [],
    )[0]
