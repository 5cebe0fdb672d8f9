"""Series: one symbol's columns, the unit of reading. Everything here is a pure function of one.

    stored → adjust → resample (api/resample.py) → slice_days → cut_page

In that order: factors and periods need the bars outside the range too, and so a bar is the same
whatever range it is asked in.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from api.models.terms import find_session_day

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Flags = npt.NDArray[np.bool_]
Volumes = np.ma.MaskedArray[Any, np.dtype[np.int64 | np.float64]]
Split = tuple[date, float]
Dividend = tuple[date, float]

PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "volume")
ADJUSTMENTS = ("raw", "split", "all")
TOO_BIG = 2.0**63


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, sorted by day, no day twice; all columns have the same length.

    days: datetime64[D], the first session of each bar; open, high, low, close: float64; volume:
    int64, masked where the vendor gave none; float64 where volume_decimals, the most that any has,
    are not 0. `adjustment` says which prices these are: raw (as
    traded), split or all. `complete` is there for intervals longer than a day: False on a last
    bar whose period may still have sessions to come. `calendar` names the days it trades on (XNYS,
    24/7); empty: not known. actions_known_at: of adjusted prices, since when the splits and
    dividends that they stand on are known; never_asked: those that nobody ever asked for.
    """

    symbol: str
    adjustment: str
    days: Days
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

    def __len__(self) -> int:
        return len(self.days)


def take_slice(series: Series, part: slice) -> Series:
    columns = {name: getattr(series, name) for name in ("days", *FIELDS, "complete")}
    present = {name: column[part] for name, column in columns.items() if column is not None}
    return replace(series, **present)


def weigh_columns(series: Series) -> int:
    """Bytes of memory that the columns take."""
    names = ("days", *FIELDS)
    mask: int = np.ma.getmask(series.volume).nbytes
    return mask + sum(int(getattr(series, name).nbytes) for name in names)


def reverse_bars(series: Series) -> Series:
    """Newest first."""
    return take_slice(series, np.s_[::-1])


# Ranges and pages.


def find_range(series: Series, start: date | None, end: date | None) -> tuple[int, int]:
    """The bars from `start` to `end`, both inclusive, as series[first:last]."""
    start, end = (find_session_day(day, series.calendar) for day in (start, end))
    first, last = 0, len(series)
    if start is not None:
        first = int(series.days.searchsorted(np.datetime64(start), "left"))
    if end is not None:
        last = int(series.days.searchsorted(np.datetime64(end), "right"))
    return first, max(first, last)


def cut_range(first: int, last: int, limit: int, order: str) -> tuple[int, int, int | None]:
    """The first `limit` of the bars [first:last] in that order (asc or desc), as a range of the
    sorted series, and the index of the bar that comes after them."""
    if order == "desc":
        cut = max(first, last - limit)
        return cut, last, cut - 1 if cut > first else None
    cut = min(last, first + limit)
    return first, cut, cut if cut < last else None


def keep_bars(series: Series, mask: Flags) -> Series:
    columns = {name: getattr(series, name) for name in ("days", *FIELDS, "complete")}
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
    after: date | None = None if following is None else series.days[following].item()
    return (reverse_bars(page) if order == "desc" else page), after


def list_fields(interval: str) -> tuple[str, ...]:
    """The columns that a bar has beside its timestamp."""
    return FIELDS if interval == "1d" else (*FIELDS, "complete")


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
