"""Longer bars around changed ones, of the snapshot that the change came with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NoReturn, TypeVar

from api.bars.intraday import find_places, sum_sessions
from api.bars.series import Timestamps
from api.bars.view import View
from api.cache.minute_bars import take_minutes
from api.cache.minute_cache import MinuteCache
from api.live.events import Made
from api.store import Question
from api.store.minutes import Minutes
from api.store.minutes.views import MinuteView

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What `take_minutes` reads from, where no request asks: bars as they are stored, as traded."""

    minutes: Minutes
    minute_cache: MinuteCache
    view: MinuteView | None = None
    snapshot: None = None

    async def take_minute_view(self) -> MinuteView | None:
        return self.view

    async def take_view(self, view: View) -> NoReturn:
        raise NotImplementedError  # of days, by which only adjusted prices are reckoned

    async def ask(self, question: Question[T]) -> NoReturn:
        raise NotImplementedError  # the daily store: for the same reason

    async def reserve_bars(self, bars: int) -> None:
        """A day or two of one symbol: not worth waiting for."""

    async def compute(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    async def read(
        self, view: MinuteView, symbol: str, interval: str, first: date, last: date
    ) -> Made:
        """All hours of an interval; of 1d the regular ones of each session, as one bar."""
        is_daily = interval == "1d"
        base = view.find_daily_base(symbol) if is_daily else view.find_base(symbol, interval)
        assert base is not None  # its bars have changed
        wanted = View(
            (symbol,),
            first,
            last,
            base.interval if is_daily else interval,
            hours="regular" if is_daily else "extended",
        )
        bars = await take_minutes(replace(self, view=view), wanted)
        calendar = await self.minute_cache.take_calendar(view, base.exchange)

        def find_sessions(instants: Timestamps) -> Timestamps:
            days: Any = find_places(instants, calendar.sessions).days
            stamps: Timestamps = days.astype("datetime64[s]")
            return stamps

        series = sum_sessions(bars.series, calendar.sessions) if is_daily else bars.series
        return Made(series, bars.is_synthetic, find_sessions)
