"""Daily bars before the vendor tells them: out of the minutes after the last stored day.

    stored days ┐
                ├→ one series, on the basis of the stored days → adjust → the view's range
    minutes ────┘   regular hours: first open, highest high, lowest low, last close, all volume

Only where they are asked for; the vendor's own bar takes their place as soon as it is loaded.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from api.bars.intraday import sum_sessions
from api.bars.series import Days, Series
from api.bars.view import StoredSeries, View, append_days
from api.cache.minute_bars import Context, take_minutes


class Added(NamedTuple):
    """The days of a symbol whose bars are provisional; is_synthetic: so are their minutes."""

    symbol: str
    days: Days
    is_synthetic: bool = False


async def with_provisional(
    context: Context, view: View, stored: StoredSeries
) -> tuple[StoredSeries, list[Added]]:
    """What is stored of a symbol, with provisional bars where the view wants them."""
    if not view.provisional:
        return stored, []
    joined, added = await add_provisional(context, view, stored)
    return joined, [added]


async def add_provisional(
    context: Context, view: View, stored: StoredSeries
) -> tuple[StoredSeries, Added]:
    """What is stored of a symbol, with a bar of each later session that has minutes.

    MinutesDown: an answer without them would look like one of a day without trade.
    """
    symbol, minutes = stored.series.symbol, await context.take_minute_view()
    base = minutes.find_daily_base(symbol) if minutes else None
    if minutes is None or base is None or not len(stored.series):
        return stored, Added(symbol, np.array([], "datetime64[D]"))
    last: date = stored.series.days[-1].item()
    of_minutes = View((symbol,), last + timedelta(days=1), None, base.interval, as_of=view.as_of)
    found = await take_minutes(context, of_minutes)
    calendar = await context.minute_cache.take_calendar(minutes, base.exchange)
    later = sum_sessions(found.series, calendar.sessions)
    return append_days(stored, later), Added(symbol, later.days, found.is_synthetic)


def tell_added(
    parts: Sequence[Series], added: Sequence[Added], is_many: bool = False
) -> dict[str, object]:
    """Which of the bars of an answer are provisional; of several symbols, as SYMBOL:day."""
    pairs = list_shown(parts, added)
    return {
        "provisional": [
            f"{each.symbol}:{day}" if is_many else str(day) for each, days in pairs for day in days
        ]
    }


def tell_synthetic(parts: Sequence[Series], added: Sequence[Added]) -> dict[str, bool]:
    """Whether provisional bars of an answer stand on minutes that nobody traded."""
    is_synthetic = any(each.is_synthetic and len(days) for each, days in list_shown(parts, added))
    return {"synthetic": True} if is_synthetic else {}


def list_shown(parts: Sequence[Series], added: Sequence[Added]) -> list[tuple[Added, Days]]:
    """Of each part the days that are provisional."""
    of_symbol = {each.symbol: each for each in added}
    named = [(of_symbol[part.symbol], part.days) for part in parts if part.symbol in of_symbol]
    return [(each, days[np.isin(days, each.days)]) for each, days in named]
