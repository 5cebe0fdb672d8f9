"""Series: one symbol's columns, the unit of reading. Everything here is a pure function of one.

    stored → adjust → resample (api/resample.py) → slice_days → cut_page

In that order: factors and periods need the bars outside the range too, and so a bar is the same
whatever range it is asked in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from api.models.terms import WHOLE, find_session_day

Floats = npt.NDArray[np.float64]
Timestamps = npt.NDArray[np.datetime64]  # of seconds, UTC
Days = npt.NDArray[np.datetime64]  # of days
Flags = npt.NDArray[np.bool_]
Volumes = np.ma.MaskedArray[Any, np.dtype[np.int64 | np.float64]]
Split = tuple[date, float]
Dividend = tuple[date, float]

PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "volume")
COLUMNS = ("timestamps", *FIELDS, "complete", "sessions")
ADJUSTMENTS = ("raw", "split", "all")
TOO_BIG = 2.0**63
FIRST_ORDINAL = date(1970, 1, 1).toordinal()


class Axis(NamedTuple):
    """What timestamps are: of sessions, midnight (UTC) of the day; else instants, the start of each
    bar. zone: of the exchange's clock, by which an instant has its day; empty: UTC."""

    kind: Literal["session", "instant"] = "session"
    zone: str = ""

    def begin(self, day: date) -> np.datetime64:
        """Where a day begins: the first timestamp that it may have."""
        if self.kind == "session" or not self.zone:
            return np.datetime64(day, "s")
        midnight = datetime.combine(day, time.min, ZoneInfo(self.zone)).astimezone(UTC)
        return np.datetime64(midnight.replace(tzinfo=None), "s")

    def find_days(self, timestamps: Timestamps) -> Days:
        """The day of each, on the exchange's clock."""
        if self.kind == "session" or not self.zone or not len(timestamps):
            return timestamps.astype("datetime64[D]")
        days = timestamps.astype("datetime64[D]")
        # the clock of a zone is less than a day from UTC: a day is before, at or after that in UTC
        wanted: Days = np.arange(days.min() - 1, days.max() + 2)
        begins = np.array([self.begin(day) for day in wanted.tolist()])
        found: Days = wanted[begins.searchsorted(timestamps, "right") - 1]
        return found


SESSIONS = Axis()
STORED_INTERVAL = "1d"


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, sorted by time, no time twice; all columns have the same length.

    timestamps: datetime64[s], UTC: when each bar begins; of a daily bar, or a longer one, midnight
    of its (first) session. `axis` says which. sessions: datetime64[D], of bars shorter than a day
    the session of each; else None. open, high, low, close: float64; volume:
    int64, masked where the vendor gave none; float64 where volume_decimals, the most that any has,
    are not 0. `adjustment` says which prices these are: raw (as
    traded), split or all. `complete` is there for intervals longer than a day: False on a last
    bar whose period may still have sessions to come. `calendar` names the days it trades on (XNYS,
    24/7); empty: not known. actions_known_at: of adjusted prices, since when the splits and
    dividends that they stand on are known; never_asked: those that nobody ever asked for.
    """

    symbol: str
    adjustment: str
    timestamps: Timestamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Volumes
    interval: str = "1d"
    complete: Flags | None = None
    calendar: str = ""
    actions_known_at: str = ""
    never_asked: tuple[str, ...] = ()
    volume_decimals: int = 0
    axis: Axis = SESSIONS
    sessions: Days | None = None

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def days(self) -> Days:
        """datetime64[D]: the session of each bar; worked out each time where it is not kept."""
        return self.sessions if self.sessions is not None else self.axis.find_days(self.timestamps)

    @property
    def stamps(self) -> Days | Timestamps:
        """What an answer has as timestamp: sessions as days, the start of shorter bars as
        instants."""
        return self.timestamps if self.axis.kind == "instant" else self.days


def take_slice(series: Series, part: slice) -> Series:
    columns = {name: getattr(series, name) for name in COLUMNS}
    present = {name: column[part] for name, column in columns.items() if column is not None}
    return replace(series, **present)


def join_series(parts: Sequence[Series]) -> Series:
    """Bars of one kind and symbol, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        given = [getattr(part, name) for part in parts]
        if given[0] is not None:
            columns[name] = (np.ma if name == "volume" else np).concatenate(given)
    return replace(parts[0], **columns)


def weigh_columns(series: Series) -> int:
    """Bytes of memory that the columns take."""
    names = ("timestamps", *FIELDS)
    mask: int = np.ma.getmask(series.volume).nbytes
    days = 0 if series.sessions is None else int(series.sessions.nbytes)
    return mask + days + sum(int(getattr(series, name).nbytes) for name in names)


def reverse_bars(series: Series) -> Series:
    """Newest first."""
    return take_slice(series, np.s_[::-1])


# Ranges and pages.


def find_range(series: Series, start: date | None, end: date | None) -> tuple[int, int]:
    """The bars from `start` to `end`, both inclusive, as series[first:last]."""
    start, end = (find_session_day(day, series.calendar) for day in (start, end))
    first, last = 0, len(series)
    if start is not None:
        first = find_begin(series, start)
    if end is not None:
        last = find_end(series, end)
    return first, max(first, last)


def find_begin(series: Series, start: date) -> int:
    """The bars from the beginning of a day on, as series[first:]."""
    if series.axis.kind == "session":
        return int(series.timestamps.view(np.int64).searchsorted(count_seconds(start), "left"))
    return int(series.timestamps.searchsorted(series.axis.begin(start), "left"))


def find_end(series: Series, end: date) -> int:
    """The bars up to the end of a day, as series[:last]."""
    if series.axis.kind == "session":  # a day has no bar but that at its beginning
        return int(series.timestamps.view(np.int64).searchsorted(count_seconds(end), "right"))
    if end == date.max:
        return len(series)
    return int(series.timestamps.searchsorted(series.axis.begin(end + timedelta(days=1)), "left"))


def count_seconds(day: date) -> int:
    """From 1970 to midnight (UTC) of a day, as timestamps are stored: numpy makes that of a day,
    and looks for it, in six times the time."""
    return (day.toordinal() - FIRST_ORDINAL) * 86_400


def cut_range(first: int, last: int, limit: int, order: str) -> tuple[int, int, int | None]:
    """The first `limit` of the bars [first:last] in that order (asc or desc), as a range of the
    sorted series, and the index of the bar that comes after them."""
    if order == "desc":
        cut = max(first, last - limit)
        return cut, last, cut - 1 if cut > first else None
    cut = min(last, first + limit)
    return first, cut, cut if cut < last else None


def keep_bars(series: Series, mask: Flags) -> Series:
    columns = {name: getattr(series, name) for name in COLUMNS}
    kept = {name: column[mask] for name, column in columns.items() if column is not None}
    return replace(series, **kept)


def slice_days(series: Series, start: date | None, end: date | None) -> Series:
    """The bars from `start` to `end`, both inclusive; None leaves that side open.

    A bar longer than a day belongs to the day of its first session.
    """
    return take_slice(series, slice(*find_range(series, start, end)))


def cut_page(series: Series, limit: int, order: str) -> tuple[Series, date | None]:
    """The first `limit` bars of a sorted series in that order, and the day of the bar after."""
    first, last, following = cut_range(0, len(series), limit, order)
    page = take_slice(series, slice(first, last))
    after = None if following is None else find_day(series, following)
    return (reverse_bars(page) if order == "desc" else page), after


def find_day(series: Series, row: int) -> date:
    """The day of one bar."""
    day: date = series.axis.find_days(series.timestamps[row : row + 1 or None])[0].item()
    return day


def show_day(series: Series, row: int) -> str:
    """The day of one bar, as 2012-01-31."""
    return find_day(series, row).isoformat()


def list_fields(interval: str) -> tuple[str, ...]:
    """The columns that a bar has beside its timestamp."""
    return FIELDS if interval in WHOLE else (*FIELDS, "complete")


def select_fields(fields: str | None, interval: str = "1d") -> tuple[str, ...]:
    """`Close,volume` as names, in that order; None is all. Raises ValueError.

    timestamp always comes, first, and may be named or not; symbol may be named too.
    """
    possible = list_fields(interval)
    if fields is None:
        return possible
    names = [name.strip().lower() for name in fields.split(",")]
    for name in names:
        if name not in (*possible, "timestamp", "symbol"):
            raise ValueError(f"fields: {name!r} is none; possible are {', '.join(possible)}")
        if names.count(name) > 1:
            raise ValueError(f"fields: {name} is given {names.count(name)} times: give it once")
    return tuple(name for name in names if name != "timestamp")
