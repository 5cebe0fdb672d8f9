"""TradingView's UDF: what a chart asks for, in the shapes of that protocol. Pure functions.

https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF/

Times are seconds since 1970, UTC: of a daily bar midnight of its session, of a longer one that of
its first session, of a shorter one its start. Prices are adjusted for splits: on raw ones a split
looks like a crash.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from api.bars.series import PRICES, Days, Dividend, Series, Split, take_slice
from api.protocols.udf.symbols import has_volume

Times = npt.NDArray[np.int64]
Row = dict[str, Any]
Action = tuple[date, str, str, str]  # ex-date, label, color, text

ADJUSTMENT = "split"
MARKS_A_BAR = 10  # more the library does not draw
NOTE_COLOR, PROVISIONAL_COLOR = "red", "yellow"
SPLIT_COLOR, DIVIDEND_COLOR = "#2962ff", "#089981"


def list_times(series: Series) -> Times:
    return series.timestamps.astype("datetime64[s]").astype(np.int64)


def find_day(bars: Series, start: int) -> date | None:
    """The day of the first bar from `start` on; None where there is none."""
    place = int(np.searchsorted(list_times(bars), start))
    day: date | None = bars.days[place].item() if place < len(bars) else None
    return day


def build_history(series: Series, start: int | None, end: int, countback: int, most: int) -> Row:
    """The bars from `start` to before `end`; or the last `countback` before `end`, if that is not
    0: then start counts for nothing. At most the last `most` of them.

    Without a bar it is no_data, and nextTime is the bar before the range, if there is one. A
    symbol without volumes has no `v`; where just some are unknown they are 0: `v` holds numbers.
    """
    times = list_times(series)
    last = int(np.searchsorted(times, end))
    first = int(np.searchsorted(times, start)) if start is not None else 0
    first = last - countback if countback else first
    first = max(0, first, last - most)
    if first >= last:
        return {"s": "no_data", **({"nextTime": int(times[last - 1])} if last else {})}
    part = take_slice(series, slice(first, last))
    bars = {name[0]: getattr(part, name) for name in PRICES}
    volumes = {"v": part.volume.filled(0)} if has_volume(series) else {}
    return {"s": "ok", "t": times[first:last], **bars, **volumes}


def place_on_bars(days: Sequence[date], daily: Series, bars: Series) -> Times:
    """The index of the bar that each day falls in: that of its session, or of the next; before the
    first session or past the last -1. `bars` is `daily`, resampled.
    """
    wanted: Days = np.array(days, "datetime64[D]")
    traded = daily.days
    sessions = traded.searchsorted(wanted)
    is_known = (sessions < len(daily)) & ((sessions > 0) | np.isin(wanted, traded[:1]))
    found = traded[np.where(is_known, sessions, 0)]
    return np.where(is_known, np.searchsorted(bars.days, found, "right") - 1, -1)


def place_instants(instants: Times, bars: Series, seconds: int) -> Times:
    """The index of the bar, of so many seconds, that each instant falls in; of none -1."""
    times = list_times(bars)
    places = times.searchsorted(instants, "right") - 1
    is_inside = (places >= 0) & (instants < times[places] + seconds) if len(bars) else places >= 0
    return np.where(is_inside, places, -1)


def place_sessions(days: Sequence[date], bars: Series) -> Times:
    """The index of the first bar of the session of each day, or of the next; of a day before the
    first session or past the last -1. Of bars shorter than a day."""
    wanted: Days = np.array(days, "datetime64[D]")
    places = bars.days.searchsorted(wanted)
    is_known = (places < len(bars)) & ((places > 0) | np.isin(wanted, bars.days[:1]))
    return np.where(is_known, places, -1)


def build_marks(notes: Sequence[Row], places: Times, bars: Series, start: int, end: int) -> Row:
    """Notes as marks on bars from `start` to `end`: one a bar and reason, as columns.

    places: the index of the bar of each note, -1 for none.
    """
    times = list_times(bars)
    groups: dict[int, dict[str, list[Row]]] = {}
    for place, note in zip(places.tolist(), notes, strict=True):
        if place >= 0 and start <= times[place] <= end:
            groups.setdefault(place, {}).setdefault(note["reason"], []).append(note)
    marks = [
        build_mark(int(times[place]), reason, noted)
        for place, reasons in sorted(groups.items())
        for reason, noted in list(reasons.items())[:MARKS_A_BAR]
    ]
    return {name: [mark[name] for mark in marks] for name in MARK_FIELDS}


MARK_FIELDS = ("id", "time", "color", "text", "label", "labelFontColor", "minSize")


def build_mark(time: int, reason: str, noted: Sequence[Row]) -> Row:
    first = noted[0]
    more = f" (and {len(noted) - 1} more)" if len(noted) > 1 else ""
    return {
        "id": f"{time}:{reason}",
        "time": time,
        "color": PROVISIONAL_COLOR if reason == "provisional" else NOTE_COLOR,
        "text": f"{first['timestamp']} {reason}: {first['detail']}{more}",
        "label": reason[:1].upper(),
        "labelFontColor": "#000000" if reason == "provisional" else "#ffffff",
        "minSize": 14,
    }


def list_actions(splits: Sequence[Split], dividends: Sequence[Dividend]) -> list[Action]:
    """What is marked on the time scale, by ex-date."""
    return sorted(
        [(ex, "S", SPLIT_COLOR, f"Split {ratio:g}:1") for ex, ratio in splits]
        + [(ex, "D", DIVIDEND_COLOR, f"Dividend {amount:g}") for ex, amount in dividends]
    )


def build_timescale_marks(
    actions: Sequence[Action], places: Times, bars: Series, start: int, end: int
) -> list[Row]:
    """Splits and dividends as marks on the time scale, from `start` to `end`, in their order."""
    times = list_times(bars)
    return [
        {
            "id": f"{ex}:{label}",
            "color": color,
            "label": label,
            "time": int(times[place]),
            "tooltip": [text, f"Ex-date {ex}"],
        }
        for place, (ex, label, color, text) in zip(places.tolist(), actions, strict=True)
        if place >= 0 and start <= times[place] <= end
    ]
