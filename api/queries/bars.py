"""One symbol's bars, as they are and as they were known, and what they are adjusted by."""

from datetime import datetime
from typing import Any

import numpy as np

from api.queries.rows import Cursor
from api.series import FIELDS, PRICES, Days, Dividend, Series, Split

BAR = "timestamp, open, high, low, close, volume"


def read_series(cursor: Cursor, symbol: str, basis: str) -> Series:
    """All bars of a stored symbol, on the basis they are stored on.

    No ORDER BY: rows lie sorted, but for a short tail, and sorting that here costs less.
    """
    cursor.execute(f"SELECT {BAR} FROM market.ohlcv_data WHERE symbol = ?", [symbol])
    return build_series(symbol, basis, cursor.fetchnumpy())


def build_series(symbol: str, basis: str, columns: dict[str, Any]) -> Series:
    """The columns side by side in one block of memory, which is freed whole, without crumbs."""
    days = columns["timestamp"].astype("datetime64[D]")
    order: Any = slice(None)
    if len(days) > 1 and not (days[1:] > days[:-1]).all():
        order = np.argsort(days)
        days = days[order]
    block = np.empty((len(FIELDS), len(days)))
    volume = np.ma.asarray(columns["volume"])[order]
    for row, name in enumerate(PRICES):
        block[row] = columns[name][order]
    whole = block[-1].view(np.int64)
    whole[:] = volume.data
    opens, highs, lows, closes = block[:-1]
    traded = np.ma.masked_array(whole, volume.mask)
    return Series(symbol, basis, days, opens, highs, lows, closes, traded)


def read_series_as_of(cursor: Cursor, symbol: str, basis: str, as_of: datetime) -> Series:
    """The bars as known at `as_of` (naive UTC): later arrivals left out, later revisions undone."""
    cursor.execute(
        f"""WITH revised AS (
            FROM market.ohlcv_revisions WHERE symbol = $symbol),
        present AS (
            SELECT b.*, coalesce(
                (SELECT max(known_to) FROM revised r WHERE r.timestamp = b.timestamp),
                a.known_from) AS known_from
            FROM market.ohlcv_data b LEFT JOIN market.ohlcv_arrivals a
            ON a.symbol = $symbol AND b.timestamp BETWEEN a.first AND a.last
            WHERE b.symbol = $symbol)
        SELECT {BAR} FROM present WHERE known_from <= $as_of
        UNION ALL
        SELECT {BAR} FROM revised WHERE known_from <= $as_of AND known_to > $as_of""",
        {"symbol": symbol, "as_of": as_of},
    )
    return build_series(symbol, basis, cursor.fetchnumpy())


def read_noted_days(cursor: Cursor, symbol: str) -> Days:
    """The days of the bars that have a note, datetime64[D]."""
    cursor.execute("SELECT DISTINCT timestamp FROM market.bar_notes WHERE symbol = ?", [symbol])
    columns: dict[str, Any] = cursor.fetchnumpy()
    days: Days = columns["timestamp"].astype("datetime64[D]")
    return days


def read_adjusting(cursor: Cursor, symbol: str) -> tuple[list[Split], list[Dividend]]:
    """What prices are adjusted by: splits (ex_date, new shares for one old) and dividends."""
    cursor.execute(
        "SELECT kind, ex_date, coalesce(ratio, amount) FROM market.corporate_actions"
        " WHERE symbol = ? ORDER BY ex_date",
        [symbol],
    )
    rows = cursor.fetchall()
    splits = [(day, value) for kind, day, value in rows if kind == "split"]
    return splits, [(day, value) for kind, day, value in rows if kind == "dividend"]
