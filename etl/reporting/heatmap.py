"""Coverage as a heat map: symbols down, years (months, days) across, share of sessions present.

A session counts as in the API's coverage: present are the bars on sessions of the exchange,
missing are the gaps, expected is their sum.
"""

from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import duckdb

# Unit of a column → most columns of it; the first that fits the span of the store is taken.
UNITS = {"day": 45, "month": 36, "year": 70, "decade": 1000}
FULL_LABELS = 24  # up to so many years are written out
# Least share → class of the cell: the darker, the more is missing.
SCALE = ((1.0, "all"), (0.99, "c99"), (0.95, "c95"), (0.8, "c80"), (0.5, "c50"), (0.0, "c0"))


@dataclass(frozen=True)
class Cell:
    """One symbol in one period; no class where no session is expected."""

    title: str
    tone: str = ""
    text: str = ""


@dataclass(frozen=True)
class Line:
    symbol: str
    present: int
    expected: int
    cells: list[Cell]

    @property
    def share(self) -> float:
        return compute_share(self.present, self.expected)


@dataclass(frozen=True)
class Heatmap:
    """groups: (label, columns) over the columns' own labels. left_out: symbols not shown, whose
    least share is least_left_out. unknown: symbols of which no calendar is known."""

    unit: str
    groups: list[tuple[str, int]]
    labels: list[str]
    whole: Line
    lines: list[Line]
    symbols: int
    left_out: int
    least_left_out: float
    unknown: int


def build_heatmap(connection: duckdb.DuckDBPyConnection, most: int) -> Heatmap | None:
    """The `most` symbols that lack most (all, by name, where they are no more); None if empty."""
    unit = choose_unit(connection)
    if unit is None:
        return None
    count_sessions(connection, unit)
    periods = list_periods(connection, unit)
    if not periods:  # no bar on a session, and none missing
        return None
    ranked = rank_symbols(connection)
    shown = ranked[:most] if len(ranked) > most else sorted(ranked)
    found = read_cells(connection, [row[0] for row in shown])
    labels = [label_period(unit, period, len(periods)) for period in periods]
    return Heatmap(
        unit=unit,
        groups=[(g, len(list(same))) for g, same in groupby(group for group, _ in labels)],
        labels=[label for _, label in labels],
        whole=build_line("", periods, unit, read_whole(connection)),
        lines=[build_line(row[0], periods, unit, found.get(row[0], {})) for row in shown],
        symbols=len(ranked),
        left_out=len(ranked) - len(shown),
        least_left_out=min((compute_share(*r[1:]) for r in ranked[len(shown) :]), default=1.0),
        unknown=count_unknown(connection),
    )


def count_unknown(connection: duckdb.DuckDBPyConnection) -> int:
    query = "SELECT count(*) FROM known_instruments WHERE exchange IS NULL"
    return int(connection.execute(query).fetchall()[0][0])


def choose_unit(connection: duckdb.DuckDBPyConnection) -> str | None:
    counts = ", ".join(f"date_diff('{unit}', min(first), max(last)) + 1" for unit in UNITS)
    found = connection.execute(f"SELECT {counts} FROM known_instruments").fetchall()[0]
    fitting = zip(UNITS.items(), found, strict=True)
    return next((unit for (unit, most), count in fitting if count and count <= most), None)


def count_sessions(connection: duckdb.DuckDBPyConnection, unit: str) -> None:
    """`coverage` (symbol, period, present, missing), one row where either is not 0.

    A bar of a day of which its calendar knows nothing is neither present nor missing.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE coverage AS
        SELECT symbol, date_trunc('{unit}', day)::DATE AS period,
               sum(bars)::BIGINT AS present, sum(gaps)::BIGINT AS missing FROM (
            SELECT symbol, timestamp AS day, 1 AS bars, 0 AS gaps FROM known_bars
            JOIN (SELECT symbol, exchange FROM known_instruments) USING (symbol)
            LEFT JOIN (SELECT exchange, first AS begin, last AS stop FROM known_calendars)
            USING (exchange)
            WHERE exchange IS NOT NULL
            AND coalesce(timestamp::DATE BETWEEN begin AND stop, true)
            UNION ALL SELECT symbol, timestamp, -1, 0 FROM known_notes
            WHERE reason = 'outside sessions'
            UNION ALL SELECT symbol, session, 0, 1 FROM known_gaps)
        GROUP BY ALL HAVING present > 0 OR missing > 0"""
    )


def list_periods(connection: duckdb.DuckDBPyConnection, unit: str) -> list[date]:
    """Every period from the first to the last; of days only those on which a session was."""
    every = f"generate_series(min(period), max(period), INTERVAL 1 {unit})"
    query = "SELECT DISTINCT period FROM coverage ORDER BY 1"
    if unit != "day":
        query = f"SELECT unnest({every})::DATE FROM coverage"
    return [row[0] for row in connection.execute(query).fetchall()]


def rank_symbols(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int]]:
    """(symbol, present, expected), those that lack the greatest share first."""
    return connection.execute(
        """SELECT symbol, sum(present)::BIGINT AS present,
               sum(present + missing)::BIGINT AS expected
        FROM coverage GROUP BY symbol
        ORDER BY sum(present) / sum(present + missing), sum(missing) DESC, symbol"""
    ).fetchall()


def read_cells(
    connection: duckdb.DuckDBPyConnection, symbols: list[str]
) -> dict[str, dict[date, tuple[int, int]]]:
    """symbol → period → (present, expected)."""
    rows = connection.execute(
        """SELECT symbol, period, present, present + missing FROM coverage
        WHERE list_contains(?, symbol)""",
        [symbols],
    ).fetchall()
    found: dict[str, dict[date, tuple[int, int]]] = {symbol: {} for symbol in symbols}
    for symbol, period, present, expected in rows:
        found[symbol][period] = (present, expected)
    return found


def read_whole(connection: duckdb.DuckDBPyConnection) -> dict[date, tuple[int, int]]:
    """The same over all symbols."""
    rows = connection.execute(
        """SELECT period, sum(present)::BIGINT, sum(present + missing)::BIGINT
        FROM coverage GROUP BY period"""
    ).fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def build_line(
    symbol: str, periods: list[date], unit: str, found: dict[date, tuple[int, int]]
) -> Line:
    cells = [build_cell(symbol, unit, day, found.get(day)) for day in periods]
    present, expected = (sum(pair[i] for pair in found.values()) for i in (0, 1))
    return Line(symbol, present, expected, cells)


def build_cell(symbol: str, unit: str, period: date, counts: tuple[int, int] | None) -> Cell:
    where = f"{symbol or 'All symbols'}, {name_period(unit, period)}"
    if counts is None:
        return Cell(f"{where}: no session within its first and last bar")
    share = compute_share(*counts)
    tone = next(name for least, name in SCALE if share >= least)
    text = "" if share in (0, 1) else show_share(share).removesuffix(" %")
    said = f"{counts[0]:,} of {counts[1]:,} sessions, {show_share(share)}"
    return Cell(f"{where}: {said}", tone, text)


def compute_share(present: int, expected: int) -> float:
    return present / expected if expected else 1.0


def show_share(share: float) -> str:
    """In percent, rounded down: 100 % is said only where nothing is missing."""
    return "100 %" if share == 1 else f"{int(1000 * share) / 10:.1f} %"


def name_period(unit: str, day: date) -> str:
    forms: dict[str, Any] = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y", "decade": "%Ys"}
    return f"{day:{forms[unit]}}"


def label_period(unit: str, day: date, count: int) -> tuple[str, str]:
    """(group, label): 30 under Apr 2020, 4 under 2020, 2013 alone or 13 under 2010s."""
    if unit == "day":
        return f"{day:%b %Y}", f"{day:%d}".lstrip("0")
    if unit == "month":
        return f"{day:%Y}", str(day.month)
    if unit == "year" and count > FULL_LABELS:
        return f"{day.year // 10}0s", f"{day:%y}"
    return "", name_period(unit, day)
