"""Times of day beside the dates: which day a bar is of, where its rows are daily at all."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from etl.sources.files.dates import add_stamps

# Where midnight or a close written in UTC may have come from, beside the exchange that is set.
ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
)
ENOUGH = 20  # rows, before one in ten may have another time: a session that closed early
USUAL = 0.9


@dataclass(frozen=True)
class Clock:
    """The times of day of a column as one zone's clock shows them. zone None: as written.

    usual: the commonest, as text; share: of rows that have it; most: rows of one symbol and day;
    weekend: rows on a Saturday or Sunday; shifted: rows whose day is not the one written.
    """

    zone: str | None
    usual: str
    share: float
    most: int
    weekend: int
    shifted: int
    kinds: int

    @property
    def is_midnight(self) -> bool:
        return self.share == 1 and self.usual == "00:00:00"


def decide_times(
    connection: duckdb.DuckDBPyConnection, cells: str, order: str, exchange_zone: str | None
) -> tuple[str, Clock | None]:
    """(how times name the day: 'midnight', 'daily' or 'intraday', on which clock)."""
    stamped = add_stamps(f"SELECT symbol, date FROM ({cells})", order)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE stamps AS SELECT symbol, stamp, is_utc FROM ({stamped})"
    )
    try:
        return choose_clock(connection, exchange_zone)
    finally:
        connection.execute("DROP TABLE stamps")


def choose_clock(
    connection: duckdb.DuckDBPyConnection, exchange_zone: str | None
) -> tuple[str, Clock | None]:
    written = look_at(connection, None)
    if written is None or written.is_midnight:
        return "midnight", None
    total, in_utc = connection.execute(
        "SELECT count(stamp), count(*) FILTER (is_utc AND stamp IS NOT NULL) FROM stamps"
    ).fetchall()[0]
    clocks = []
    if total == in_utc:
        zones = dict.fromkeys(zone for zone in (exchange_zone, *ZONES) if zone)
        clocks = [clock for zone in zones if (clock := look_at(connection, zone))]
    midnight = [c for c in clocks if c.is_midnight]
    if sure := next((c for c in midnight if is_sure(c, written, midnight, exchange_zone)), None):
        return "midnight", sure
    if midnight and written.kinds == 1 and midnight[0].shifted:
        return "intraday", None  # 15:00 in UTC may be Tokyo's midnight or a close: no one day
    if written.most > 1 or not (written.share == 1 or any(c.share == 1 for c in clocks)):
        return ("daily", written) if is_usual(written) else ("intraday", None)
    if written.share == 1:
        return "daily", written
    return "daily", next(c for c in clocks if c.share == 1 and c.most == 1)


def is_sure(clock: Clock, written: Clock, others: Iterable[Clock], zone: str | None) -> bool:
    """Midnight there is meant: the day is the one written, or else something proves the other."""
    if not clock.shifted or clock.zone == zone or written.kinds > 1:
        return True
    return written.weekend > 0 and clock.weekend == 0


def is_usual(clock: Clock, rows: int = ENOUGH) -> bool:
    """One row a day, nearly all at one time that is not midnight."""
    return (
        clock.most == 1 and clock.share >= USUAL and clock.usual != "00:00:00" and clock.share < 1
    )


def look_at(connection: duckdb.DuckDBPyConnection, zone: str | None) -> Clock | None:
    """What the clock of a zone shows; None without a stamp."""
    local = f"timezone('{zone}', timezone('UTC', stamp))" if zone else "stamp"
    row = connection.execute(
        f"""WITH local AS (SELECT symbol, stamp, {local} AS wall FROM stamps WHERE stamp IS NOT NULL),
        days AS (SELECT max(n) AS most FROM (
            SELECT count(*) AS n FROM local GROUP BY symbol, wall::DATE)),
        times AS (SELECT strftime(wall, '%H:%M:%S') AS time, count(*) AS n FROM local GROUP BY ALL
            ORDER BY n DESC, time)
        SELECT (SELECT first(time) FROM times), (SELECT max(n) / sum(n) FROM times),
            (SELECT most FROM days), count(*) FILTER (isodow(wall) > 5),
            count(*) FILTER (wall::DATE <> stamp::DATE), (SELECT count(*) FROM times) FROM local"""
    ).fetchall()[0]
    return Clock(zone, *row) if row[0] is not None else None


def find_zone(symbol: str | None, exchange: str) -> str | None:
    """The time zone of a symbol's exchange; `exchange` where its form names none."""
    # pandas comes with it: needed for times of day alone
    from exchange_calendars import get_calendar
    from exchange_calendars.errors import CalendarError

    from etl.market.exchanges import find_exchange

    name = find_exchange(symbol or "", exchange)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what is deprecated in it
        try:
            return (
                str(get_calendar(name, start="2020-01-01", end="2020-12-31").tz) if name else None
            )
        except CalendarError:
            return None
