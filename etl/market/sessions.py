"""Exchange sessions: which days an exchange trades, and when each session closes.

A thin face of exchange_calendars: a calendar is built once a process and kept as two plain sorted
lists. An exchange goes by its MIC (XNYS, XLON), or by 24/7 (crypto) and 24/5 (currencies).
Days outside KNOWN, or outside what the calendar itself records (XTKS from 1997, XBOM to the end
of 2026), have no sessions here: whoever asks must not take them for holidays.
"""

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from etl.calendar_names import check_exchange

# it brings pandas, a third of a second: imported where it is used, while load copies the store
if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

# Fixed, so that a calendar does not depend on the day on which it was built. Before 1970 the
# calendars know few holidays: New York would trade on New Year's Day.
MARGIN = timedelta(days=31)  # so much more than asked is listed on both ends
KNOWN = (date(1970, 1, 1), date(2040, 12, 31))


@dataclass(frozen=True)
class Calendar:
    """The sessions of one exchange, ascending, with the instants of each (naive UTC); without a
    break in it those are None."""

    sessions: list[date]
    opens: list[datetime]
    closes: list[datetime]
    break_starts: list[datetime | None]
    break_ends: list[datetime | None]


def list_closes(exchange: str, first: date, last: date) -> list[tuple[date, datetime]]:
    """(session, its close as naive UTC), from `first` to `last` inclusive; early closes kept."""
    calendar = read_calendar(check_exchange(exchange))
    span = slice(bisect_left(calendar.sessions, first), bisect_right(calendar.sessions, last))
    return list(zip(calendar.sessions[span], calendar.closes[span], strict=True))


def last_closed_session(exchange: str, now: datetime) -> date:
    """The newest session whose close is at or before `now` (aware).

    ValueError if `now` is naive, or before the first close that the calendar knows.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now} has no time zone: pass datetime.now(UTC)")
    calendar = read_calendar(check_exchange(exchange))
    count = bisect_right(calendar.closes, now.astimezone(UTC).replace(tzinfo=None))
    if not count:
        raise ValueError(f"{exchange} has no session before {now}: it starts later")
    return calendar.sessions[count - 1]


def is_open(exchange: str, now: datetime) -> bool:
    """Whether an instant (aware) lies in a session, its break included."""
    calendar = read_calendar(check_exchange(exchange))
    at = now.astimezone(UTC).replace(tzinfo=None)
    place = bisect_right(calendar.opens, at) - 1
    return place >= 0 and at < calendar.closes[place]


def create_sessions(
    connection: duckdb.DuckDBPyConnection, exchanges: list[str], first: date, last: date
) -> None:
    """Temp table `sessions` (exchange, session DATE, close TIMESTAMP) of several exchanges.

    It reaches a month beyond both ends, so that a bar on either end is seen to lie inside.
    `exchange` holds the names as given, so that they join with what was asked.
    """
    rows = [
        (exchange, session, close)
        for exchange in exchanges
        for session, close in list_closes(exchange, first - MARGIN, last + MARGIN)
    ]
    schema = pa.schema(
        [("exchange", pa.string()), ("session", pa.date32()), ("close", pa.timestamp("us"))]
    )
    table = pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 3, schema)
    connection.register("listed_sessions", table)
    connection.execute("CREATE OR REPLACE TEMP TABLE sessions AS FROM listed_sessions")
    connection.unregister("listed_sessions")


def list_sessions(exchange: str, first: date, last: date | None = None) -> pa.Table:
    """All columns of the table `sessions`, from `first` to `last`, else to the last session that is
    known."""
    calendar = read_calendar(exchange)
    end = None if last is None else bisect_right(calendar.sessions, last)
    known = slice(bisect_left(calendar.sessions, first), end)
    days = calendar.sessions[known]
    instants: dict[str, Sequence[datetime | None]] = {
        "open": calendar.opens,
        "close": calendar.closes,
        "break_start": calendar.break_starts,
        "break_end": calendar.break_ends,
    }
    columns = {name: pa.array(all_[known], pa.timestamp("us")) for name, all_ in instants.items()}
    names = pa.array([exchange] * len(days), pa.string())
    return pa.table({"exchange": names, "session": pa.array(days, pa.date32()), **columns})


@cache
def name_source() -> str:
    """What the calendars come of. Not imported for that: it brings pandas."""
    return f"exchange_calendars {version('exchange_calendars')}"


@cache
def read_calendar(name: str) -> Calendar:
    """The calendar of a checked name; takes about 0.1 s the first time (XKRX 2 s).

    ValueError if the installed exchange_calendars has the exchange but cannot build it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it still uses what the newest pandas deprecates
        try:
            built = build_calendar(name)
        except (ValueError, NotImplementedError) as error:
            reason = str(error)[:80]
            raise ValueError(f"The calendar of {name} cannot be built ({reason})") from error
        sessions = [day.date() for day in built.sessions.to_pydatetime()]
        columns = (built.opens, built.closes, built.break_starts, built.break_ends)
        # to the microsecond, naive; None where there is none
        naive = [each.dt.tz_convert(None).to_numpy("datetime64[us]") for each in columns]
        instants = [each.tolist() for each in naive]
    return Calendar(sessions, *instants)


def build_calendar(name: str) -> "ExchangeCalendar":
    """As much of KNOWN as the calendar records."""
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(name, start=KNOWN[0], end=KNOWN[1])
    except ValueError:
        usual = exchange_calendars.get_calendar(name)
    lowest, highest = type(usual).bound_min(), type(usual).bound_max()
    start = KNOWN[0] if lowest is None else max(KNOWN[0], lowest.date())
    end = KNOWN[1] if highest is None else min(KNOWN[1], highest.date())
    try:
        return exchange_calendars.get_calendar(name, start=start, end=end)
    except ValueError:
        return usual  # its rules contradict one another outside its own bounds
