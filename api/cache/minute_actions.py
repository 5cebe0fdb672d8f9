"""Splits and dividends of a symbol without daily bars: its minutes are adjusted by them alone."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np

from api.bars.series import (
    SESSIONS,
    Dividend,
    Series,
    Split,
    join_series,
    keep_bars,
    take_slice,
)
from api.bars.view import StoredSeries, View

# The newest bars of a view, as many as are named, and perhaps more.
TakeLast = Callable[[View, int], Awaitable[Series]]


async def build_stored(
    view: View, base: str, actions: tuple[list[Split], list[Dividend]], take_last: TakeLast
) -> StoredSeries | None:
    """As if the days of the view's one symbol were stored; base: the interval of its bars.

    Of each session before an ex-date the close is that of the last bar
    of its regular hours. None where nothing is known to adjust by. A kind of actions of which none
    is known counts as never asked for.
    """
    splits, dividends = actions
    if not splits and not dividends:
        return None
    wanted = dividends if view.adjustment == "all" else []
    closes = [await take_last(build_eve(view, base, ex), 1) for ex, _ in wanted]
    kinds = {"splits": splits, "dividends": dividends}
    never: dict[str, datetime | None] = {name: None for name, known in kinds.items() if not known}
    return StoredSeries(join_sessions(view.symbols[0], closes), splits, dividends, never)


def build_eve(view: View, base: str, ex_date: date) -> View:
    """The stored bars before an ex-date, as traded, the newest first."""
    asked = view._replace(interval=base, adjustment="raw", quality="all", hours="regular")
    return asked._replace(start=None, end=ex_date - timedelta(days=1), order="desc")


def join_sessions(symbol: str, closes: Sequence[Series]) -> Series:
    """One bar a session out of the last bar of each part, sorted."""
    lasts = [take_slice(part, slice(-1, None)) for part in closes if len(part)]
    if not lasts:
        nothing = np.array([], float)
        stamps, volume = nothing.astype("datetime64[s]"), np.ma.masked_array(nothing, False)
        return Series(symbol, "raw", stamps, nothing, nothing, nothing, nothing, volume)
    joined = join_series(lasts)
    days, rows = np.unique(joined.days, return_index=True)
    is_picked = np.isin(np.arange(len(joined)), rows)
    picked = keep_bars(joined, is_picked)
    stamps = days.astype("datetime64[s]")
    return replace(picked, interval="1d", timestamps=stamps, axis=SESSIONS, sessions=None)
