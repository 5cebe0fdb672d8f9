"""How long the bars of a table are: the smallest step between its stamps tells.

The stamps of bars of 5 minutes all lie on a grid of 5 minutes, whatever is missing between them; a
table of minutes has some that lie on none wider. A last bar in the making, stamped with the second
at which it was asked for, says nothing.
"""

import re
from dataclasses import dataclass

import duckdb

from etl.contracts.minutes import BASE_INTERVALS
from etl.sources.files.headers import normalize
from etl.sources.files.tables import Table
from etl.sources.files.times import USUAL

STEPS = {
    "1s": 1, "5s": 5, "10s": 10, "15s": 15, "30s": 30, "1m": 60, "2m": 120, "3m": 180, "4m": 240,
    "5m": 300, "6m": 360, "10m": 600, "12m": 720, "15m": 900, "20m": 1200, "30m": 1800, "1h": 3600,
    "2h": 7200, "3h": 10_800, "4h": 14_400, "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400,
}  # fmt: skip
DAILY = "1d"
# Wider grids on which so many bars of a symbol and day do not come to lie by chance.
GRIDS = ("1m", "5m", "15m", "30m", "1h")
SURE = 12


# What a column of intervals has in its cells: 5m, 1 min, M15, PT1H, minute; of Stooq's PER numbers.
LENGTH = re.compile(
    r"(PT?)?\d*\s?(s|secs?|seconds?|m|mins?|minutes?|t|h|hrs?|hours?|d|days?|daily)|[MHDS]\d+|\d+",
    re.IGNORECASE,
)
COLUMNS = ("interval", "timeframe", "period", "per", "barsize", "granularity", "resolution")


@dataclass(frozen=True)
class Interval:
    """name: one of STEPS, or 1d; "" where there is no stamp. ends_late: stamps are the last second
    of their bar (09:30:59). mixed: what is there beside it, as text: 5m on 2026-10-01. is_exact:
    stamps are instants, not what a clock showed."""

    name: str
    ends_late: bool = False
    mixed: str = ""
    is_exact: bool = False

    @property
    def is_longer_than_a_minute(self) -> bool:
        return STEPS[self.name] > STEPS["1m"]

    @property
    def is_base(self) -> bool:
        return self.name in BASE_INTERVALS


def find_said(connection: duckdb.DuckDBPyConnection, table: Table) -> list[str]:
    """The intervals that a column of the table names, as they are written; [] without one."""
    words = [normalize(name) for name in table.heads.names]
    place = next((words.index(word) for word in COLUMNS if word in words), None)
    if place is None:
        return []
    cell = f"trim(c{place})"
    found = connection.execute(
        f"SELECT DISTINCT {cell} FROM ({table.scan}) WHERE {cell} <> '' ORDER BY 1 LIMIT 10"
    ).fetchall()
    said = [name for (name,) in found]
    return said if all(map(LENGTH.fullmatch, said)) else []


def find_interval(connection: duckdb.DuckDBPyConnection, stamped: str) -> Interval:
    """Of rows with symbol, stamp (naive) and is_utc."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE steps AS SELECT symbol, epoch_us(stamp) // 1000000 AS second,"
        f" epoch_us(stamp) % 1000000 AS micro, is_utc FROM ({stamped}) WHERE stamp IS NOT NULL"
    )
    try:
        return measure(connection)
    finally:
        connection.execute("DROP TABLE steps")


def measure(connection: duckdb.DuckDBPyConnection) -> Interval:
    row = connection.execute(
        """SELECT count(*), count(DISTINCT (symbol, second // 86400)), min(second),
            count(*) FILTER (second % 60 <> 0), bool_and(second % 60 = 59),
            count(DISTINCT symbol), bool_and(micro >= 900000), bool_and(is_utc) FROM steps"""
    ).fetchall()[0]
    count, days, first, off_minute, is_late, symbols, is_late_second, is_exact = row
    if not count:
        return Interval("")
    if days == count and has_daily_times(connection, first):
        return Interval(DAILY)
    is_stray = 0 < off_minute <= symbols and count > 2 * symbols
    if is_stray and (off_minute := count_others(connection)) == 0:
        connection.execute("DELETE FROM steps WHERE second % 60 <> 0")
        first = connection.execute("SELECT min(second) FROM steps").fetchall()[0][0]
    name = find_step(connection, first)
    ends_late = bool(is_late) or (name == "1s" and bool(is_late_second))
    mixed = find_mixed(connection, name, first) if name in BASE_INTERVALS else ""
    return Interval(name, ends_late, mixed, bool(is_exact))


def has_daily_times(connection: duckdb.DuckDBPyConnection, first: int) -> bool:
    """Of rows of which no symbol has two a day: whether nearly all are at one time of day, or
    hours apart, as a close in UTC is in summer and winter."""
    share = connection.execute(
        """SELECT max(n) / sum(n) FROM (
        SELECT count(*) AS n FROM steps GROUP BY second % 86400)"""
    ).fetchall()[0][0]
    return bool(share >= USUAL) or STEPS[find_step(connection, first)] >= STEPS["1h"]


def count_others(connection: duckdb.DuckDBPyConnection) -> int:
    """Stamps beside the minute that are not their symbol's last."""
    rows = connection.execute(
        """SELECT count(*) FROM (SELECT second, max(second) OVER (PARTITION BY symbol) AS last
        FROM steps) WHERE second % 60 <> 0 AND second < last"""
    ).fetchall()
    return int(rows[0][0])


def find_step(connection: duckdb.DuckDBPyConnection, first: int) -> str:
    """The widest step on whose grid all stamps lie."""
    steps = ", ".join(f"bool_and((second - {first}) % {s} = 0)" for s in STEPS.values())
    row = connection.execute(f"SELECT {steps} FROM steps").fetchall()[0]
    return [name for name, fits in zip(STEPS, row, strict=True) if fits][-1]


def find_mixed(connection: duckdb.DuckDBPyConnection, name: str, first: int) -> str:
    """Symbols and days with many bars that all lie on a wider grid, where others do not."""
    wider = [grid for grid in GRIDS if STEPS[grid] > STEPS[name]]
    fits = ", ".join(f"bool_and((second - {first}) % {STEPS[g]} = 0)" for g in wider)
    rows = connection.execute(
        f"""SELECT symbol, (to_timestamp(day * 86400)::TIMESTAMP)::DATE::VARCHAR, {fits} FROM (
            SELECT symbol, second // 86400 AS day, second FROM steps)
        GROUP BY symbol, day HAVING count(DISTINCT second) >= {SURE} AND ({fits.split(", ")[0]})
        ORDER BY ALL LIMIT 1"""
    ).fetchall()
    if not rows:
        return ""
    symbol, day, *on = rows[0]
    widest = [grid for grid, is_on in zip(wider, on, strict=True) if is_on][-1]
    return f"{widest} ({symbol} on {day})"
