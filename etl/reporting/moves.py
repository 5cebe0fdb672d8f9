"""The largest daily moves, with what tells a real one from an error in the data.

A move is close to close, recorded splits taken out. Beside it stand the notes on the bar and on
the bar before (behind a spike the way back is as large), its volume as a multiple of what is
usual around it, and the closes around it as a line.
"""

from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import duckdb

from etl.base.parquet_sql import quote

MOST = 12
AROUND = 30  # bars on each side of the move that the line shows
WIDTH, HEIGHT, MARGIN = 132.0, 28.0, 3.0  # of the line, in pixels


@dataclass(frozen=True)
class Note:
    """A note on the bar (is_before: on the bar before)."""

    reason: str
    detail: str
    is_before: bool


@dataclass(frozen=True)
class Move:
    """change: 0.1 is ten percent up. split: ratio recorded between the two bars, taken out.
    volume_times: volume by the median around it. line: points of an SVG polyline; dot: the move."""

    symbol: str
    day: datetime
    day_before: datetime
    close: float
    close_before: float
    change: float
    split: float | None
    volume_times: float | None
    notes: list[Note]
    line: str
    dot: tuple[float, float]

    @property
    def split_text(self) -> str:
        """2:1 split, or 1:10 split where old shares were put together."""
        ratio = self.split or 1
        sides = (ratio, 1.0) if ratio >= 1 else (1.0, 1 / ratio)
        return f"{sides[0]:.6g}:{sides[1]:.6g} split"

    @property
    def days(self) -> int:
        """Calendar days since the bar before."""
        return (self.day - self.day_before).days


# The bar on which each recorded split takes effect, where prices are as traded.
SPLITS = """
CREATE OR REPLACE TEMP TABLE splits AS
SELECT symbol, ex_date::TIMESTAMP AS ex_at, ratio FROM known_actions
SEMI JOIN (FROM known_instruments WHERE basis = 'raw') USING (symbol)
WHERE kind = 'split' AND ratio > 0"""
SPLIT_BARS = """
CREATE OR REPLACE TEMP TABLE split_bars AS
SELECT s.symbol, b.timestamp, product(ratio) AS ratio
FROM splits s ASOF JOIN (
    SELECT symbol, timestamp FROM known_bars
    WHERE symbol IN (SELECT symbol FROM splits)) b
ON s.symbol = b.symbol AND s.ex_at <= b.timestamp GROUP BY ALL"""

CAME = """
CREATE OR REPLACE TEMP VIEW came AS
SELECT symbol, timestamp FROM known_since WHERE run_id = {run_id}"""
SYMBOLS = "SELECT DISTINCT symbol FROM known_since WHERE run_id = {run_id}"

LARGEST = """
WITH stepped AS (
    SELECT symbol, timestamp, close, lag(timestamp) OVER w AS day_before,
           lag(close) OVER w AS close_before
    FROM known_bars {symbols} WINDOW w AS (PARTITION BY symbol ORDER BY timestamp))
SELECT symbol, timestamp, day_before, close, close_before,
       close * coalesce(ratio, 1) / close_before - 1 AS change, ratio
FROM stepped LEFT JOIN split_bars USING (symbol, timestamp) {bars}
WHERE close_before > 0
ORDER BY abs(change) DESC, symbol, timestamp LIMIT {most}"""

# The bars around, each as if all splits had always been.
NEAR = """
SELECT timestamp, close / factor, volume * factor FROM (
    SELECT *, coalesce((SELECT product(ratio) FROM splits s
                        WHERE s.symbol = b.symbol AND s.ex_at > b.timestamp), 1) AS factor
    FROM (
        (FROM known_bars WHERE symbol = $symbol AND timestamp < $day
         ORDER BY timestamp DESC LIMIT {around})
        UNION ALL
        (FROM known_bars WHERE symbol = $symbol AND timestamp >= $day
         ORDER BY timestamp LIMIT {around} + 1)) b)
ORDER BY timestamp"""

NOTES = """
SELECT reason, detail, timestamp < $day FROM known_notes
WHERE symbol = $symbol AND timestamp IN ($day, $before) ORDER BY timestamp DESC, reason"""


def read_largest(connection: duckdb.DuckDBPyConnection, run_id: str | None = None) -> list[Move]:
    """The MOST largest moves of the store, or among the bars that a run inserted or revised."""
    connection.execute(SPLITS)
    connection.execute(SPLIT_BARS)
    symbols = bars = ""
    if run_id is not None:
        connection.execute(CAME.format(run_id=quote(run_id)))
        symbols = f"WHERE symbol IN ({SYMBOLS.format(run_id=quote(run_id))})"
        bars = "SEMI JOIN came USING (symbol, timestamp)"
    query = LARGEST.format(symbols=symbols, bars=bars, most=MOST)
    return [build_move(connection, row) for row in connection.execute(query).fetchall()]


def build_move(connection: duckdb.DuckDBPyConnection, row: tuple[Any, ...]) -> Move:
    symbol, day, before, close, close_before, change, split = row
    key = {"symbol": symbol, "day": day}
    near = connection.execute(NEAR.format(around=AROUND), key).fetchall()
    notes = connection.execute(NOTES, {**key, "before": before}).fetchall()
    place = [at for at, _, _ in near].index(day)
    points = draw_line([price for _, price, _ in near])
    return Move(
        **key,
        day_before=before,
        close=close,
        close_before=close_before,
        change=change,
        split=split,
        volume_times=compare_volume([volume for _, _, volume in near], place),
        notes=[Note(*note) for note in notes],
        line=" ".join(f"{x:g},{y:g}" for x, y in points),
        dot=points[place],
    )


def compare_volume(volumes: list[float | None], place: int) -> float | None:
    """The volume at `place` by the median of the others; None where either is not known."""
    others = [volume for i, volume in enumerate(volumes) if volume and i != place]
    own = volumes[place]
    return own / median(others) if others and own is not None else None


def draw_line(prices: list[float]) -> list[tuple[float, float]]:
    """Points from left to right, the highest price on top, within the margins."""
    low, high = min(prices), max(prices)
    step = (WIDTH - 2 * MARGIN) / max(len(prices) - 1, 1)
    scale = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    return [
        (round(MARGIN + i * step, 1), round(HEIGHT - MARGIN - (price - low) * scale, 1))
        for i, price in enumerate(prices)
    ]
