"""Bars, as they are and as they were known, and what they are adjusted by."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from api.bars.series import FIELDS, PRICES, STORED_INTERVAL, Days, Series
from api.faults import Refused
from api.store import Actions
from api.store.duckdb_file.rows import Cursor

BAR = "timestamp, open, high, low, close, volume"
# The symbols asked for, each with its place among them: a number comes out of DuckDB much faster
# than a text in each row.
CHOSEN = """
WITH chosen AS MATERIALIZED (
    SELECT unnest($symbols) AS symbol, unnest(range(len($symbols)))::INTEGER AS place
)"""


def read_series(cursor: Cursor, symbol: str, basis: str) -> Series:
    """All bars of a stored symbol, on the basis they are stored on.

    No ORDER BY: rows lie sorted, but for a short tail, and sorting that here costs less.
    """
    found = cursor.execute(f"SELECT {BAR} FROM market.ohlcv_data WHERE symbol = ?", [symbol])
    return build_series(symbol, basis, found.fetchnumpy())


def build_series(symbol: str, basis: str, columns: dict[str, Any]) -> Series:
    """The columns side by side in one block of memory, which is freed whole, without crumbs."""
    timestamps = columns["timestamp"].astype("datetime64[s]")
    order: Any = slice(None)
    if len(timestamps) > 1 and not (timestamps[1:] > timestamps[:-1]).all():
        order = np.argsort(timestamps)
        timestamps = timestamps[order]
    block = np.empty((len(FIELDS), len(timestamps)))
    volume = np.ma.asarray(columns["volume"])[order]
    for row, name in enumerate(PRICES):
        block[row] = columns[name][order]
    whole = block[-1].view(np.int64)
    whole[:] = volume.data
    opens, highs, lows, closes = block[:-1]
    mask = np.ma.getmask(volume)  # of its own, and only where one is absent
    traded = np.ma.masked_array(whole, mask.copy() if mask.any() else np.ma.nomask)
    return Series(symbol, basis, timestamps, opens, highs, lows, closes, traded)


def read_many_series(
    cursor: Cursor,
    symbols: Sequence[str],
    bases: Sequence[str],
    interval: str,
    as_of: datetime | None = None,
) -> list[Series]:
    """See api.store.Reader."""
    if interval != STORED_INTERVAL:
        raise Refused(
            f"Bars of {interval} are not stored, but of {STORED_INTERVAL}: ask for those, or for"
            " longer bars, which are made of them."
        )
    if as_of is None and len(symbols) == 1:  # without a join: half the time
        return [read_series(cursor, symbols[0], bases[0])]
    bars = select_bars() if as_of is None else select_bars_as_of()
    found = cursor.execute(f"{CHOSEN} {bars}", name_parameters(symbols, as_of))
    parts = part_columns(found.fetchnumpy(), len(symbols))
    return [build_series(*each) for each in zip(symbols, bases, parts, strict=True)]


def select_bars() -> str:
    return f"SELECT place, {BAR} FROM market.ohlcv_data JOIN chosen USING (symbol)"


def select_bars_as_of() -> str:
    """Bars as known at $as_of (naive UTC): later arrivals left out, later revisions undone."""
    return f"""{select_bars()} JOIN (
            SELECT symbol, timestamp FROM market.ohlcv_known JOIN chosen USING (symbol)
            WHERE known_from <= $as_of) USING (symbol, timestamp)
        UNION ALL
        SELECT place, {BAR} FROM market.ohlcv_revisions JOIN chosen USING (symbol)
        WHERE known_from <= $as_of AND known_to > $as_of"""


def part_columns(columns: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The columns of each place, with the rows in the order they came."""
    places = columns["place"]
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
    ends = np.searchsorted(columns["place"], np.arange(count + 1))
    return [
        {name: column[first:last] for name, column in columns.items()}
        for first, last in pairwise(ends)
    ]


def select_known(table: str, revisions: str, columns: str, as_of: datetime | None) -> str:
    """SQL: the rows of `chosen` that a table has, or had at $as_of, by the table of its revisions.

    What is there to stay is known from an instant on, and has not ended.
    """
    present = f"SELECT place, {columns} FROM market.{table} JOIN chosen USING (symbol)"
    if as_of is None:
        return present
    return f"""{present} WHERE known_from <= $as_of
        UNION ALL SELECT place, {columns} FROM market.{revisions} JOIN chosen USING (symbol)
        WHERE known_from <= $as_of AND known_to > $as_of"""


def name_parameters(symbols: Sequence[str], as_of: datetime | None) -> dict[str, Any]:
    chosen: dict[str, Any] = {"symbols": list(symbols)}
    return chosen if as_of is None else {**chosen, "as_of": as_of}


def read_noted_days(
    cursor: Cursor, symbols: Sequence[str], as_of: datetime | None = None
) -> list[Days]:
    """Of each symbol the days of the bars that have a note, or had one at `as_of`."""
    notes = select_known("bar_notes", "bar_note_revisions", "timestamp", as_of)
    found = cursor.execute(
        f"{CHOSEN} SELECT DISTINCT place, timestamp FROM ({notes})",
        name_parameters(symbols, as_of),
    )
    parts = part_columns(found.fetchnumpy(), len(symbols))
    return [part["timestamp"].astype("datetime64[D]") for part in parts]


def read_adjusting(
    cursor: Cursor, symbols: Sequence[str], as_of: datetime | None = None
) -> list[Actions]:
    """What prices of each symbol are adjusted by: splits (ex_date, new shares for one old) and
    dividends.

    As known at `as_of`; what was to come then counts for nothing.
    """
    columns = "kind, ex_date, coalesce(ratio, amount) AS value"
    known = select_known("corporate_actions", "corporate_action_revisions", columns, as_of)
    so_far = "" if as_of is None else "WHERE ex_date <= $as_of::DATE"
    found = cursor.execute(
        f"{CHOSEN} FROM ({known}) {so_far} ORDER BY ex_date, kind, value",
        name_parameters(symbols, as_of),
    )
    parts: list[Actions] = [([], []) for _ in symbols]
    for place, kind, day, value in found.fetchall():
        parts[place][kind != "split"].append((day, value))
    return parts
