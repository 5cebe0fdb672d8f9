"""Bars shorter than a day: their sessions, and longer bars made of them. Pure.

Buckets are counted from where a part of a session begins, so none holds bars of two parts: from
the open and from the end of a break, from the close on what is traded after it, and back from the
open what is traded before. No clock: what is known of a bucket is what is stored.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from api.bars.resample import find_firsts, sum_volumes
from api.bars.series import SESSIONS, Axis, Days, Flags, Series, Timestamps, keep_bars
from api.bars.sessions import Instants, Sessions, add_days, find_local_days, take_near

# Interval → its seconds: what can be made of stored bars that divide it.
INTERVAL_SECONDS = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600}
HOURS = ("regular", "extended")
# The parts of a session; what no session owns is looked up again with days of its own.
BEFORE, FIRST, BREAK, SECOND, AFTER, UNKNOWN = range(6)
ANCHORS = (1, 1, 2, 3, 4, 5)  # the edge (see sessions.EDGES) from which a part's buckets count
Rows = npt.NDArray[np.intp]


class Places(NamedTuple):
    """Where bars are: runs of neighbours in one part of one session, none of them empty.

    counts: the bars of each run; rows: its session in `known`, which owns all of the bars; parts:
    BEFORE to AFTER; edges: of `known`.
    """

    known: Sessions
    edges: Instants
    counts: Rows
    rows: Rows
    parts: npt.NDArray[np.int64]

    @property
    def days(self) -> Days:
        """The session of each bar."""
        days: Days = np.repeat(self.known.days[self.rows], self.counts)
        return days

    @property
    def is_regular(self) -> Flags:
        """Whether the exchange trades in the part of each run."""
        flags: Flags = (self.parts == FIRST) | (self.parts == SECOND)
        return flags

    @property
    def anchors(self) -> Instants:
        """From when the buckets of each run are counted."""
        found: Instants = self.edges[self.rows, np.array(ANCHORS)[self.parts]]
        return found

    @property
    def begins(self) -> Instants:
        """Where the part of each run begins."""
        found: Instants = self.edges[self.rows, self.parts]
        return found


def find_places(timestamps: Timestamps, sessions: Sessions) -> Places:
    """The session and the part of it that each bar (sorted starts, UTC) begins in.

    From an edge on a bar is of what begins there: one at the close is after it. Bars of days that
    are not known have the local day for a session, and are regular.
    """
    seconds = timestamps.astype("datetime64[s]").view(np.int64)
    near = take_near(sessions, seconds)
    places = place(seconds, near)
    is_unknown = (places.parts == UNKNOWN) | (places.rows < 0)
    if not is_unknown.any():
        return places
    free = seconds[np.repeat(is_unknown, places.counts)]
    return place(seconds, add_days(near, np.unique(find_local_days(free, near.zone))))


def place(seconds: Instants, sessions: Sessions) -> Places:
    edges = sessions.edges
    firsts = np.concatenate(([0], seconds.searchsorted(edges.ravel())))
    counts = np.diff(firsts, append=len(seconds))
    runs = np.flatnonzero(counts)
    rows, parts = np.divmod(runs - 1, len(ANCHORS))
    return Places(sessions, edges, counts[runs], rows, parts)


def keep_regular(series: Series, places: Places) -> tuple[Series, Places]:
    """The bars that begin while the exchange trades."""
    is_kept = places.is_regular
    if is_kept.all():
        return series, places
    kept = places._replace(
        counts=places.counts[is_kept], rows=places.rows[is_kept], parts=places.parts[is_kept]
    )
    return keep_bars(series, np.repeat(is_kept, places.counts)), kept


def resample_minutes(
    series: Series,
    sessions: Sessions,
    interval: str,
    hours: str = "regular",
    base_seconds: int = 60,
    known_until: np.datetime64 | None = None,
) -> Series:
    """Bars of an interval from stored ones of base_seconds, with the session of each.

    First open, highest high, lowest low, last close, sum of the volumes that are known, as for
    weeks; adjust before. hours: regular (those that the exchange trades) or extended (all); the
    regular bars of both are the same. A bucket begins no earlier than its session's reach and ends
    with its part. known_until: till when the stored bars tell, the end of the last; a last bar
    that goes on after it is not complete.
    """
    seconds = check_interval(interval, base_seconds)
    if hours not in HOURS:
        raise ValueError(f"hours={hours}: possible are {', '.join(HOURS)}")
    until = find_known_until(series, base_seconds) if known_until is None else known_until
    places = find_places(series.timestamps, sessions)
    placed = replace(series, sessions=places.days, axis=Axis("instant", sessions.zone))
    if hours == "regular":
        placed, places = keep_regular(placed, places)
    return sum_up(placed, places, interval, seconds, base_seconds, until)


def sum_sessions(series: Series, sessions: Sessions) -> Series:
    """One bar a session out of those of its regular hours: today's daily bar so far. Its close is
    that of the last one."""
    places = find_places(series.timestamps, sessions)
    series, places = keep_regular(replace(series, sessions=places.days), places)
    firsts = find_firsts(places.days.view(np.int64))
    daily = pick_buckets(series, firsts)
    stamps = places.days[firsts].astype("datetime64[s]")
    return replace(
        daily, interval="1d", timestamps=stamps, axis=SESSIONS, sessions=None, complete=None
    )


def sum_up(
    series: Series,
    places: Places,
    interval: str,
    seconds: int,
    base_seconds: int,
    until: np.datetime64,
) -> Series:
    """One bar a bucket."""
    complete = np.ones(len(series), bool)
    if seconds == base_seconds or not len(series):
        return replace(series, interval=interval, complete=complete)
    starts = find_starts(series.timestamps.view(np.int64), places, seconds)
    firsts = find_firsts(starts)
    complete = complete[firsts]
    complete[-1] = find_end(starts, places, seconds) <= until.astype(np.int64)
    stamps = starts[firsts].view("datetime64[s]")
    buckets = pick_buckets(series, firsts)
    return replace(buckets, interval=interval, timestamps=stamps, complete=complete)


def pick_buckets(series: Series, firsts: Rows) -> Series:
    """One bar from each of `firsts` up to the next: all columns but its stamp and `complete`."""
    if not len(firsts):
        return series
    return replace(
        series,
        open=series.open[firsts],
        high=np.maximum.reduceat(series.high, firsts),
        low=np.minimum.reduceat(series.low, firsts),
        close=series.close[np.append(firsts, len(series))[1:] - 1],
        volume=sum_volumes(series.volume, firsts, series.volume_decimals),
        sessions=None if series.sessions is None else series.sessions[firsts],
    )


def find_starts(stamps: Instants, places: Places, seconds: int) -> Instants:
    """When the bucket of each bar begins."""
    anchors = np.repeat(places.anchors, places.counts)
    starts = anchors + (stamps - anchors) // seconds * seconds
    is_back = places.parts == BEFORE
    if is_back.any():
        np.maximum(starts, np.repeat(places.begins, places.counts), out=starts)
    return starts


def find_end(starts: Instants, places: Places, seconds: int) -> int:
    """When the last bucket ends: after its interval, or with its part."""
    anchor, start = int(places.anchors[-1]), int(starts[-1])
    end = anchor + ((start - anchor) // seconds + 1) * seconds
    return min(end, int(places.edges[places.rows[-1], places.parts[-1] + 1]))


def find_known_until(series: Series, base_seconds: int) -> np.datetime64:
    if not len(series):
        return np.datetime64(0, "s")
    last: np.datetime64 = series.timestamps[-1] + np.timedelta64(base_seconds, "s")
    return last


def check_interval(interval: str, base_seconds: int) -> int:
    """The seconds of an interval that bars of base_seconds can make up. ValueError."""
    seconds = INTERVAL_SECONDS.get(interval)
    if seconds is None or seconds % base_seconds:
        possible = [name for name, each in INTERVAL_SECONDS.items() if not each % base_seconds]
        raise ValueError(
            f"interval={interval} cannot be made of bars of {base_seconds} seconds:"
            f" possible are {', '.join(possible)}"
        )
    return seconds
