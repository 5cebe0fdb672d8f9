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
        f"""SELECT {BAR} FROM market.ohlcv_data JOIN (
            SELECT timestamp FROM market.ohlcv_known
            WHERE symbol = $symbol AND known_from <= $as_of) USING (timestamp)
        WHERE symbol = $symbol
        UNION ALL
        SELECT {BAR} FROM market.ohlcv_revisions
        WHERE symbol = $symbol AND known_from <= $as_of AND known_to > $as_of""",
        {"symbol": symbol, "as_of": as_of},
    )
    return build_series(symbol, basis, cursor.fetchnumpy())


def select_known(table: str, revisions: str, columns: str, as_of: datetime | None) -> str:
    """SQL: the rows of $symbol that a table has, or had at $as_of, by the table of its revisions.

    What is there to stay is known from an instant on, and has not ended.
    """
    if as_of is None:
        return f"SELECT {columns} FROM market.{table} WHERE symbol = $symbol"
    return f"""
        SELECT {columns} FROM market.{table} WHERE symbol = $symbol AND known_from <= $as_of
        UNION ALL SELECT {columns} FROM market.{revisions}
        WHERE symbol = $symbol AND known_from <= $as_of AND known_to > $as_of"""


def name_instant(symbol: str, as_of: datetime | None) -> dict[str, Any]:
    """The parameters of `select_known`."""
    return {"symbol": symbol} if as_of is None else {"symbol": symbol, "as_of": as_of}


def read_noted_days(cursor: Cursor, symbol: str, as_of: datetime | None = None) -> Days:
    """The days of the bars that have a note, or had one at `as_of`, datetime64[D]."""
    notes = select_known("bar_notes", "bar_note_revisions", "timestamp", as_of)
    cursor.execute(f"SELECT DISTINCT timestamp FROM ({notes})", name_instant(symbol, as_of))
    columns: dict[str, Any] = cursor.fetchnumpy()
    days: Days = columns["timestamp"].astype("datetime64[D]")
    return days


def read_adjusting(
    cursor: Cursor, symbol: str, as_of: datetime | None = None
) -> tuple[list[Split], list[Dividend]]:
    """What prices are adjusted by: splits (ex_date, new shares for one old) and dividends.

    As known at `as_of`; what was to come then counts for nothing.
    """
    columns = "kind, ex_date, coalesce(ratio, amount) AS value"
    known = select_known("corporate_actions", "corporate_action_revisions", columns, as_of)
    so_far = "" if as_of is None else "WHERE ex_date <= $as_of::DATE"
    cursor.execute(
        f"FROM ({known}) {so_far} ORDER BY ex_date, kind, value", name_instant(symbol, as_of)
    )
    rows = cursor.fetchall()
    splits = [(day, value) for kind, day, value in rows if kind == "split"]
    return splits, [(day, value) for kind, day, value in rows if kind == "dividend"]
