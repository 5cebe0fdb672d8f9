"""Falls from a peak: closes (float64) by day. Depths are returns, negative; days are ISO dates, of
bars shorter than a day instants.

A drawdown goes from its peak, the last close at that high, to its recovery, the first close at
or above it. A peak of 0 or below has none.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from api.bars.series import Days, Floats, Timestamps

Rows = npt.NDArray[np.intp]
Stamps = Days | Timestamps  # of days, or of seconds


def find_max_drawdown(closes: Floats, days: Stamps) -> dict[str, Any]:
    """The deepest fall from a peak, as a return (0 or negative), with the days of both ends.

    As empyrical.max_drawdown. All None with fewer than 2 bars; no days where nothing fell.
    """
    if len(closes) < 2:
        return {"max_drawdown": None, "peak_date": None, "trough_date": None}
    with np.errstate(all="ignore"):
        falls = closes / np.maximum.accumulate(closes) - 1
    trough = int(falls.argmin())
    if falls[trough] == 0:
        return {"max_drawdown": 0.0, "peak_date": None, "trough_date": None}
    peak = trough - int(closes[trough::-1].argmax())
    return {
        "max_drawdown": falls[trough],
        "peak_date": show_stamp(days, peak),
        "trough_date": show_stamp(days, trough),
    }


def find_longest_drawdown(closes: Floats, days: Stamps) -> dict[str, Any]:
    """The longest time from a peak to its recovery, or to the last bar where there is none yet.

    Longest in calendar days, the earliest of equals. `longest_drawdown_bars` is the number of
    bars after the peak, up to the end; `longest_drawdown_start` the day of the peak,
    `longest_drawdown_end` that of the recovery, None if not yet. All None with fewer than 2 bars.
    """
    names = [f"longest_drawdown_{name}" for name in ("bars", "days", "start", "end")]
    if len(closes) < 2:
        return dict.fromkeys(names)
    peaks, ends = find_falls(closes)
    if not len(peaks):
        return dict(zip(names, (0, 0, None, None), strict=True))
    last = np.minimum(ends, len(closes) - 1)
    longest = int((days[last] - days[peaks]).argmax())
    peak, end = int(peaks[longest]), int(ends[longest])
    span = count_days(days, peak, int(last[longest]))
    values = (int(last[longest]) - peak, span, show_stamp(days, peak), show(days, end))
    return dict(zip(names, values, strict=True))


def list_drawdowns(closes: Floats, days: Stamps, most: int) -> list[dict[str, Any]]:
    """At most `most` drawdowns, deepest first, the earlier of equals first.

    Each: peak, trough, recovery (days; recovery None if not yet), depth (a negative return), days
    (calendar days from peak to recovery, or to the last bar) and bars (the same in bars). As
    pyfolio's table of drawdowns. The depth of a fall to 0 or below is None, and such falls come
    first. Too few bars: an empty list.
    """
    peaks, ends = find_falls(closes)
    if not len(peaks):
        return []
    bounds = np.column_stack((peaks, ends)).ravel()  # the reduction of every other pair is one
    lows = np.minimum.reduceat(np.append(closes, np.inf), bounds)[::2]
    with np.errstate(all="ignore"):
        depths = lows / closes[peaks] - 1
    order = np.argsort(depths, kind="stable")
    deepest = order[np.isfinite(depths[order])][:most]
    return [
        describe_drawdown(
            closes,
            days,
            int(peaks[row]),
            int(ends[row]),
            float(depths[row]) if lows[row] > 0 else None,
        )
        for row in deepest
    ]


def find_falls(closes: Floats) -> tuple[Rows, Rows]:
    """Of each drawdown, in order: the row of its peak, and of its recovery (len if not yet)."""
    is_below = closes < np.maximum.accumulate(closes)
    edges = np.diff(np.concatenate(([False], is_below, [False])).astype(np.int8))
    peaks, ends = np.flatnonzero(edges == 1) - 1, np.flatnonzero(edges == -1)
    has_return = closes[peaks] > 0
    return peaks[has_return], ends[has_return]


def describe_drawdown(
    closes: Floats, days: Stamps, peak: int, end: int, depth: float | None
) -> dict[str, Any]:
    last = min(end, len(closes) - 1)
    return {
        "peak": show_stamp(days, peak),
        "trough": show_stamp(days, peak + int(closes[peak:end].argmin())),
        "recovery": show(days, end),
        "depth": depth,
        "days": count_days(days, peak, last),
        "bars": last - peak,
    }


def show(days: Stamps, row: int) -> str | None:
    """The day of a row; None beyond the last."""
    return show_stamp(days, row) if row < len(days) else None


def show_stamp(days: Stamps, row: int) -> str:
    """A day, or an instant as 2012-01-31T14:30:00Z."""
    is_day = np.datetime_data(days.dtype)[0] == "D"
    return str(days[row]) if is_day else f"{days[row]}Z"


def count_days(days: Stamps, first: int, last: int) -> int:
    """Whole days from one row to another."""
    return int((days[last] - days[first]) // np.timedelta64(1, "D"))
