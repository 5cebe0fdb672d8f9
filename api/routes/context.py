"""What a route, of this service or of a protocol, reads from to answer one request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from api.bars.series import Series, keep_bars
from api.bars.view import View
from api.cache.minute_bars import MinuteBars, take_minutes
from api.cache.minute_cache import MinuteCache
from api.cache.minute_texts import MinuteTexts
from api.cache.series_cache import CachedSeries, SeriesCache
from api.edge.room import BAR_BYTES, ROW_BYTES, Hold
from api.faults import Fault, MinutesDown, OnlyMinutes, Unknown
from api.problems import Problem
from api.settings import ApiSettings
from api.store import Question, Snapshot, Store
from api.store.minutes import Minutes
from api.store.minutes.views import MinuteView

T = TypeVar("T")

MOST_PARAMETERS = 30
MOST_BARS = 3_000_000  # minutes of 30 years of regular hours
TOO_MANY_BARS = (
    f"Figures are reckoned of {MOST_BARS} bars at most: ask for a shorter range, a longer interval,"
    " fewer symbols, or for indicators of a window alone (sma, bbands, vwap, stoch)"
)


@dataclass(frozen=True)
class Context:
    """The store as one request reads it: `ask` and `take` use its snapshot and no other.

    snapshot: the one that the request took before its cache look-up; None where there was none.
    That is for whoever reads to refuse (NoDatabase), once the rest of the request is checked.
    """

    settings: ApiSettings
    database: Store[Any]
    series_cache: SeriesCache
    snapshot: Snapshot | None
    minutes: Minutes
    minute_cache: MinuteCache
    minute_texts: MinuteTexts
    minute_view: MinuteView | None = None
    has_looked: bool = False
    hold: Hold | None = None

    async def take_minute_view(self) -> MinuteView | None:
        """The snapshot of minutes that the request took before its cache look-up (has_looked), else
        the newest; None where there are none. MinutesDown."""
        return self.minute_view if self.has_looked else await self.minutes.newest()

    async def find_minute_view(self) -> MinuteView | None:
        """The same, for what can do without: None where they cannot be read (now) too."""
        try:
            return await self.take_minute_view()
        except MinutesDown:
            return None

    async def reserve(self, need: int) -> None:
        """Wait until there is room to make an answer that needs so many bytes."""
        if self.hold is not None:
            await self.hold.take(need)

    async def take_minutes(
        self,
        view: View,
        symbol: str | None = None,
        most: int | None = None,
        after: date | None = None,
    ) -> MinuteBars:
        """Bars shorter than a day: see api.cache.minute_bars."""
        return await take_minutes(self, view, symbol, most, after)

    async def take_all_minutes(
        self,
        view: View,
        symbol: str | None = None,
        kept: int = 0,
        after: date | None = None,
    ) -> MinuteBars:
        """All bars shorter than a day of the view's range, once there is room for them and `kept`
        others. Problem where these are more together than figures are reckoned of at once."""
        found = await self.take_minutes(view, symbol, MOST_BARS - kept, after)
        bars = kept + len(found.series)
        if bars > MOST_BARS:
            raise Problem(422, TOO_MANY_BARS)
        await self.reserve_bars(bars)
        return found

    async def count_minutes(self, view: View) -> None:
        """Say that a plain view of minutes was answered."""
        minutes = await self.take_minute_view()
        symbol = view.symbols[0].strip().upper()
        base = minutes.find_base(symbol, view.interval) if minutes else None
        if minutes is not None and base is not None:
            calendar = await self.minute_cache.take_calendar(minutes, base.exchange)
            self.minute_texts.count(minutes, calendar, view._replace(symbols=(symbol,)))

    async def reserve_bars(self, bars: int) -> None:
        """Wait until there is room to read so many bars."""
        await self.reserve(bars * BAR_BYTES)

    async def compute(self, work: Callable[[], T]) -> T:
        """Arithmetic on many rows, in a thread."""
        return await self.series_cache.compute(work)

    async def ask(self, question: Question[T], is_wide: bool = False) -> T:
        """The answer of the database, as `Database.ask` gives it."""
        return await self.database.ask(self.snapshot, question, is_wide)

    async def take(self, symbol: str) -> CachedSeries:
        """The series of a symbol, in any case. Unknown, OnlyMinutes."""
        try:
            return await self.series_cache.take(self.snapshot, symbol)
        except Unknown:
            await self.refuse_only_minutes(symbol.strip().upper())
            raise

    async def refuse_only_minutes(self, symbol: str) -> None:
        """OnlyMinutes for a symbol whose bars are all shorter than a day."""
        try:
            minutes = await self.take_minute_view()
        except Fault:  # what is known of days stands on its own
            return
        if minutes and symbol in minutes.instruments:
            first = minutes.list_intervals(symbol)[0]
            raise OnlyMinutes(
                f"{symbol} has no daily bars, but shorter ones: ask for interval={first}, or run"
                " `make etl` with a source that has its days."
            )

    async def take_view(self, view: View) -> CachedSeries:
        """What is stored of the view's one symbol, as it is, or as it was known at its instant:
        without later bars, values and actions. Unknown."""
        if view.as_of is None:
            return await self.take(view.symbols[0])
        return (await self.series_cache.take_many(self.snapshot, view.symbols, view.as_of))[0]

    async def take_views(self, view: View) -> list[CachedSeries]:
        """Of each of the view's symbols, which are stored, once there is room for all of them."""
        snapshot = self.require_snapshot()
        bars = self.series_cache.count_bars(snapshot, view.symbols)
        await self.reserve(bars * BAR_BYTES + min(bars, self.max_rows) * ROW_BYTES)
        return await self.series_cache.take_many(snapshot, view.symbols, view.as_of)

    async def leave_out_noted(
        self, parts: Sequence[Series], as_of: datetime | None
    ) -> list[Series]:
        """Without the bars that have a note; with an instant: that had one then."""
        symbols = [part.symbol for part in parts]
        noted = await self.ask(
            lambda reader: reader.read_noted_days(symbols, as_of),
            is_wide=len(symbols) > 1,
        )
        pairs = zip(parts, noted, strict=True)
        return [keep_bars(part, ~np.isin(part.timestamps, days)) for part, days in pairs]

    def require_snapshot(self) -> Snapshot:
        """The snapshot, or the one there is by now: NoDatabase if there still is none."""
        return self.snapshot or self.database.newest()

    @property
    def max_rows(self) -> int:
        return self.settings.max_rows

    def check_limit(self, limit: int | None) -> int:
        """The number of rows to give: `limit`, or the most there can be."""
        if limit is not None and not 1 <= limit <= self.max_rows:
            raise Problem(422, f"limit={limit}: it should be from 1 to {self.max_rows} (MAX_ROWS)")
        return limit or self.max_rows


async def get_context(request: Request) -> Context:
    """One dependency for all that a route reads from: each one costs a part of an answer."""
    state = request.app.state
    snapshot: Snapshot | None = getattr(request.state, "snapshot", None)
    hold: Hold | None = getattr(request.state, "hold", None)
    view: MinuteView | None = getattr(request.state, "minutes", None)
    has_looked = not getattr(request.state, "is_down", True)
    minutes = state.minutes, state.minute_cache, state.minute_texts, view, has_looked
    return Context(state.settings, state.database, state.series_cache, snapshot, *minutes, hold)


ContextOf = Annotated[Context, Depends(get_context)]


async def refuse_repeated(request: HTTPConnection) -> None:
    """A parameter given twice has no clear meaning; more than any page has are not even read."""
    if request.scope["type"] != "http":
        return
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > MOST_PARAMETERS:
        raise Problem(422, f"{len(names)} parameters are given: no page has {MOST_PARAMETERS}")
    for name in names:
        if names.count(name) > 1:
            raise Problem(422, f"{name} is given {names.count(name)} times: give it once")


def check_size(rows: int, most: int, remedy: str = "ask for a shorter range") -> None:
    if rows > most:
        raise Problem(422, f"{rows} rows are more than {most} (MAX_ROWS): {remedy}")
