"""Sessions of an exchange as columns: when each opens and closes, and which hours belong to it.

    … before │ open ─ first part ─┃ break ┃─ second part ─ close │ after … │ next: before …

Each session has a reach, from `begins` to `stops`, in which it owns every bar: the exchange's local
date decides between two sessions, and on days without one the middle of the gap between them.
Where no session is known (no calendar, or days that the table does not have) each local day is
one of its own, whole and regular. Pure: the table comes from whoever reads the store.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from api.bars.series import Days, Timestamps
from etl.contracts.zones import ZONES

Instants = npt.NDArray[np.int64]  # seconds since 1970, UTC
INSTANTS = ("open", "close", "break_start", "break_end")
DAY = np.timedelta64(1, "D")
DAY_SECONDS, QUARTER = 86_400, 900
# So many days without a session are holidays; in more of them sessions are not known.
LONGEST_HOLIDAYS = np.timedelta64(21, "D")
# Beside sessions that are not known a session still owns so many days: a weekend's.
WEEKEND = np.timedelta64(3, "D")
EDGES = ("begins", "opens", "break_starts", "break_ends", "closes", "stops")


@dataclass(frozen=True)
class Sessions:
    """Of one exchange, sorted by day, all columns of the same length.

    days: datetime64[D]; opens, closes, break_starts, break_ends, begins, stops: seconds since 1970,
    UTC; without a break its start and end are the close. zone: of the exchange's clock; UTC
    where the exchange has no known calendar.
    """

    exchange: str
    zone: str
    days: Days
    begins: Instants
    opens: Instants
    break_starts: Instants
    break_ends: Instants
    closes: Instants
    stops: Instants

    def __len__(self) -> int:
        return len(self.days)

    @property
    def edges(self) -> Instants:
        """(session, edge): each session's instants as they follow one another."""
        return np.stack([getattr(self, name) for name in EDGES], axis=1)


def take_near(sessions: Sessions, seconds: Instants) -> Sessions:
    """The sessions that may own one of the bars, which are sorted."""
    if not len(seconds):
        return sessions
    first, last = sessions.begins.searchsorted(seconds[[0, -1]], "right").tolist()
    near = slice(max(0, first - 1), last)
    cut: dict[str, Any] = {name: getattr(sessions, name)[near] for name in ("days", *EDGES)}
    return replace(sessions, **cut)


def read_sessions(exchange: str, table: pa.Table) -> Sessions:
    """Of a table as etl.contracts.minutes.SESSIONS says, in any order."""
    zone = ZONES.get(exchange, "UTC")
    if exchange not in ZONES:
        table = table.slice(0, 0)
    days: Days = read_column(table, "session", "datetime64[D]")
    order = np.argsort(days, kind="stable")
    opens, closes, starts, ends = (
        read_column(table, name, "datetime64[s]")[order] for name in INSTANTS
    )
    has_break = ~(np.isnat(starts) | np.isnat(ends))
    days = days[order]
    starts, ends = (np.where(has_break, each, closes) for each in (starts, ends))
    opens, starts, ends, closes = (each.astype(np.int64) for each in (opens, starts, ends, closes))
    begins, stops = find_reaches(days, opens, closes, zone)
    return Sessions(exchange, zone, days, begins, opens, starts, ends, closes, stops)


def read_column(table: pa.Table, name: str, kind: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = table.column(name).to_numpy()
    return column.astype(kind)


def find_reaches(
    days: Days, opens: Instants, closes: Instants, zone: str
) -> tuple[Instants, Instants]:
    """From when on each session owns the bars, and until when."""
    if not len(days):
        return opens, closes
    first, last = find_midnight(days[0] - WEEKEND, zone), find_midnight(days[-1] + WEEKEND, zone, 1)
    ends = np.array([find_midnight(day, zone, 1) for day in days[:-1]], np.int64)
    starts = np.array([find_midnight(day, zone) for day in days[1:]], np.int64)
    middles = (closes[:-1] + opens[1:]) // 2
    cuts = np.clip(np.clip(middles, ends, np.maximum(starts, ends)), closes[:-1], opens[1:])
    begins = np.concatenate(([min(first, opens[0])], cuts))
    stops = np.concatenate((cuts, [max(last, closes[-1])]))
    for row in np.flatnonzero(np.diff(days) > LONGEST_HOLIDAYS).tolist():
        stops[row] = find_midnight(days[row] + WEEKEND, zone, 1)
        begins[row + 1] = find_midnight(days[row + 1] - WEEKEND, zone)
    return begins, stops


def find_midnight(day: np.datetime64 | date, zone: str, later: int = 0) -> int:
    """Where a day, or the one so many days later, begins on a zone's clock: seconds, UTC.

    Where the clock skips midnight: what it shows next; where it has it twice: the first.
    """
    count = int(np.asarray(day, "datetime64[D]").astype(np.int64)) + later
    return count * DAY_SECONDS if zone == "UTC" else find_zone_midnight(count, zone)


@lru_cache(50_000)
def find_zone_midnight(count: int, zone: str) -> int:
    naive = datetime(1970, 1, 1) + timedelta(days=count)  # noqa: DTZ001
    return int(naive.replace(tzinfo=ZoneInfo(zone)).timestamp())


def find_local_days(seconds: Instants, zone: str) -> Days:
    """The day of each instant on a zone's clock; fast for few days, as instants go."""
    days: Days = (seconds // DAY_SECONDS).astype("datetime64[D]")
    if zone == "UTC" or not len(seconds):
        return days
    # the clock of a zone is less than a day from UTC: a day is before, at or after that in UTC
    near = np.unique(days)
    wanted: Days = np.unique(np.concatenate((near - DAY, near, near + DAY, near + 2 * DAY)))
    starts = np.array([find_midnight(day, zone) for day in wanted], np.int64)
    found: Days = wanted[starts.searchsorted(seconds, "right") - 1]
    return found


def find_clock_times(timestamps: Timestamps, zone: str) -> Timestamps:
    """What a zone's clock shows at each instant (naive). Clocks are put on the quarter hour."""
    if zone in ("", "UTC"):
        return timestamps
    quarters, places = np.unique(timestamps.view(np.int64) // QUARTER, return_inverse=True)
    clock = ZoneInfo(zone)
    offsets = [find_offset(int(each) * QUARTER, clock) for each in quarters]
    shown: Timestamps = timestamps + np.array(offsets, "timedelta64[s]")[places]
    return shown


def find_offset(second: int, clock: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(second, clock).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def add_days(sessions: Sessions, days: Days) -> Sessions:
    """With a whole session of its own for each of the days, of which no session is known."""
    begins = np.array([find_midnight(day, sessions.zone) for day in days], np.int64)
    ends = np.array([find_midnight(day, sessions.zone, 1) for day in days], np.int64)
    added = {"days": days, "begins": begins, "opens": begins}
    added |= dict.fromkeys(("break_starts", "break_ends", "closes", "stops"), ends)
    columns = {name: np.concatenate((getattr(sessions, name), added[name])) for name in added}
    order = np.argsort(columns["days"], kind="stable")
    sorted_columns: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return replace(sessions, **sorted_columns)


# Ranges.


def find_span(
    sessions: Sessions, start: date | datetime | None, end: date | datetime | None
) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """The stamps of bars from `start` to `end`, both inclusive, as [from, before); UTC, of seconds.

    A day is that session with the hours around it (a day without one: from the next on, or up to
    the one before); a datetime is an instant, without an offset on the exchange's clock. None
    leaves that side open. ValueError where that clock does not show such a time, or shows it twice.
    """
    return find_start(sessions, start), find_stop(sessions, end)


def find_start(sessions: Sessions, start: date | datetime | None) -> np.datetime64 | None:
    if isinstance(start, datetime):
        instant = resolve_instant(start, sessions.zone)
        return np.datetime64(-int(-instant.timestamp() // 1), "s")
    return None if start is None else find_begin(sessions, start)


def find_stop(sessions: Sessions, end: date | datetime | None) -> np.datetime64 | None:
    if isinstance(end, datetime):
        return np.datetime64(int(resolve_instant(end, sessions.zone).timestamp() // 1) + 1, "s")
    if end is None or end.year >= date.max.year:
        return None
    return find_begin(sessions, end + timedelta(days=1))


def find_begin(sessions: Sessions, day: date) -> np.datetime64:
    """Where the first session from a day on begins to own bars."""
    is_edge = not date.min.year < day.year < date.max.year  # another zone's day may be none
    midnight = find_midnight(day, "UTC" if is_edge else sessions.zone)
    row = int(sessions.begins.searchsorted(midnight, "right")) - 1
    if row < 0 or midnight >= sessions.stops[row]:
        return np.datetime64(midnight, "s")
    is_reached = sessions.days[row] >= np.datetime64(day, "D")
    return np.datetime64(int((sessions.begins if is_reached else sessions.stops)[row]), "s")


def resolve_instant(written: datetime, zone: str) -> datetime:
    """The instant (aware, UTC) of a time with an offset, or on a zone's clock. ValueError where
    the clock was put over it, or showed it twice."""
    try:
        if written.tzinfo is not None:
            return written.astimezone(UTC)
        found = [read_clock(written, zone, fold) for fold in (0, 1)]
    except OverflowError:  # on the first or last day that there is
        return written.replace(tzinfo=UTC)
    if found[0] == found[1]:
        return found[0]
    shown = written.isoformat()
    likely = " or ".join(each.astimezone(ZoneInfo(zone)).isoformat() for each in found)
    is_twice = found[0] < found[1]
    happened = "comes twice" if is_twice else "does not exist"
    raise ValueError(
        f"{shown} {happened} on the clock of {zone}, which was put"
        f" {'back' if is_twice else 'forward'} then: write it with its offset, as {likely}"
    )


def read_clock(written: datetime, zone: str, fold: int) -> datetime:
    return written.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
