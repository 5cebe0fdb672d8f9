"""How whole the minutes of a symbol are: sessions and minutes counted. Pure.

No trade, no bar: a minute without one had no trade where it was asked for and answered whole (a
span), and outside all spans it may never have been delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from api.bars.intraday import find_places
from api.bars.series import Timestamps
from api.bars.sessions import Sessions

Counts = npt.NDArray[np.int64]
Span = tuple[np.datetime64, np.datetime64]


@dataclass
class SessionCounts:
    """Of each session from the first to the last that has bars: days, and bars of `base` seconds
    in its regular hours: how many there can be, there are, and are missing within spans (no trade);
    extended: bars beside regular hours, of all sessions."""

    days: npt.NDArray[np.datetime64]
    expected: Counts
    present: Counts
    no_trade: Counts
    extended: int

    @property
    def not_delivered(self) -> Counts:
        return self.expected - self.present - self.no_trade


class Coverage:
    """Counts bars, some at a time, in the order of their starts."""

    def __init__(self, sessions: Sessions, base: int, spans: Sequence[Span]) -> None:
        self.sessions = sessions
        self.base = base
        self.starts, self.ends = join_spans(spans)
        self.present = np.zeros(len(sessions), np.int64)
        self.in_spans = np.zeros(len(sessions), np.int64)
        self.extended = 0

    def add(self, timestamps: Timestamps) -> None:
        places = find_places(timestamps, self.sessions)
        is_regular = np.repeat(places.is_regular, places.counts)
        self.extended += int(len(timestamps) - is_regular.sum())
        if not len(self.sessions):
            return
        days, stamps = places.days[is_regular], timestamps[is_regular]
        rows = self.sessions.days.searchsorted(days)
        rows[rows == len(self.sessions)] = 0
        is_known = self.sessions.days[rows] == days
        seconds = stamps.view(np.int64)[is_known]
        np.add.at(self.present, rows[is_known], 1)
        np.add.at(self.in_spans, rows[is_known][self.is_covered(seconds)], 1)

    def is_covered(self, seconds: Counts) -> npt.NDArray[np.bool_]:
        if not len(self.starts):
            return np.zeros(len(seconds), bool)
        rows = self.starts.searchsorted(seconds, "right") - 1
        covered: npt.NDArray[np.bool_] = (rows >= 0) & (seconds < self.ends[rows])
        return covered

    def count(self, first: date, last: date) -> SessionCounts:
        """Of the sessions from one day to another."""
        ends = np.array([first, last], "datetime64[D]")
        begin = int(self.sessions.days.searchsorted(ends[0]))
        part = slice(begin, int(self.sessions.days.searchsorted(ends[1], "right")))
        expected, covered = self.count_expected()
        no_trade = np.maximum(covered - self.in_spans, 0)
        days, present = self.sessions.days[part], self.present[part]
        return SessionCounts(days, expected[part], present, no_trade[part], self.extended)

    def count_expected(self) -> tuple[Counts, Counts]:
        """Bars that there can be in the regular hours of each session, and of them in spans."""
        sessions, expected, covered = self.sessions, 0, 0
        parts = (sessions.opens, sessions.break_starts), (sessions.break_ends, sessions.closes)
        for begin, end in parts:
            expected = expected + np.maximum(end - begin, 0) // self.base
            inside = self.count_seconds(end) - self.count_seconds(begin)
            covered = covered + np.maximum(inside, 0) // self.base
        return np.asarray(expected, np.int64), np.asarray(covered, np.int64)

    def count_seconds(self, instants: Counts) -> Counts:
        """The seconds of all spans up to each instant."""
        if not len(self.starts):
            return np.zeros(len(instants), np.int64)
        lengths = np.concatenate(([0], np.cumsum(self.ends - self.starts)))
        rows = self.starts.searchsorted(instants, "right") - 1
        within = np.minimum(instants, self.ends[rows]) - self.starts[rows]
        return np.where(rows < 0, 0, lengths[np.maximum(rows, 0)] + within)


def join_spans(spans: Sequence[Span]) -> tuple[Counts, Counts]:
    """Starts and ends in seconds, those that touch as one, sorted."""
    joined: list[list[int]] = []
    for start, end in sorted((int(a.astype(np.int64)), int(b.astype(np.int64))) for a, b in spans):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        elif end > start:
            joined.append([start, end])
    columns = np.array(joined, np.int64).reshape(-1, 2).T
    return columns[0], columns[1]


def list_gaps(counts: SessionCounts) -> list[dict[str, Any]]:
    """The sessions of which bars are missing that may not have been delivered, or that have none
    at all."""
    gone = counts.not_delivered
    rows = np.flatnonzero((gone > 0) | ((counts.present == 0) & (counts.expected > 0))).tolist()
    return [
        {
            "session": str(counts.days[row]),
            "bars": int(counts.present[row]),
            "expected": int(counts.expected[row]),
            "no_trade": int(counts.no_trade[row]),
            "not_delivered": int(gone[row]),
        }
        for row in rows
    ]
