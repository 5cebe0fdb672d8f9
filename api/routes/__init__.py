"""Thin: declare typed parameters, call, return. One module a resource."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request, Response

from api.cache.series_cache import CachedSeries, SeriesCache
from api.edge.room import BAR_BYTES, ROW_BYTES, Hold
from api.encode.formats import JSON
from api.encode.text import encode_json
from api.models.terms import DayOfInstant
from api.problems import Problem
from api.settings import ApiSettings
from api.store.duckdb_file.snapshots import Database, Question, Snapshot
from api.store.queries import Cursor, Rows

T = TypeVar("T")

MOST_PARAMETERS = 30


@dataclass(frozen=True)
class Store:
    """The store as one request reads it: `ask` and `take` use its snapshot and no other.

    snapshot: the one that the request took before its cache look-up; None where there was none.
    That is for whoever reads to refuse (NoDatabase), once the rest of the request is checked.
    """

    settings: ApiSettings
    database: Database
    series_cache: SeriesCache
    snapshot: Snapshot | None
    hold: Hold | None = None

    async def reserve(self, need: int) -> None:
        """Wait until there is room to make an answer that needs so many bytes."""
        if self.hold is not None:
            await self.hold.take(need)

    async def ask(self, question: Question[T], is_wide: bool = False) -> T:
        """The answer of the database, as `Database.ask` gives it."""
        return await self.database.ask(self.snapshot, question, is_wide)

    async def take(self, symbol: str) -> CachedSeries:
        """The series of a symbol, in any case. 404 Problem."""
        return await self.series_cache.take(self.snapshot, symbol)

    async def take_many(
        self, symbols: Sequence[str], as_of: datetime | None = None
    ) -> list[CachedSeries]:
        """The series_cache of stored symbols, once there is room for them."""
        snapshot = self.require_snapshot()
        bars = self.series_cache.count_bars(snapshot, symbols)
        await self.reserve(bars * BAR_BYTES + min(bars, self.max_rows) * ROW_BYTES)
        return await self.series_cache.take_many(snapshot, symbols, as_of)

    def require_snapshot(self) -> Snapshot:
        """The snapshot, or the one there is by now: NoDatabase if there still is none."""
        return self.snapshot or self.database.take_snapshot()

    @property
    def max_rows(self) -> int:
        return self.settings.max_rows

    def check_limit(self, limit: int | None) -> int:
        """The number of rows to give: `limit`, or the most there can be."""
        if limit is not None and not 1 <= limit <= self.max_rows:
            raise Problem(422, f"limit={limit}: it should be from 1 to {self.max_rows} (MAX_ROWS)")
        return limit or self.max_rows


async def get_store(request: Request) -> Store:
    """One dependency for all that a route reads from: each one costs a part of an answer."""
    state = request.app.state
    snapshot: Snapshot | None = getattr(request.state, "snapshot", None)
    hold: Hold | None = getattr(request.state, "hold", None)
    return Store(state.settings, state.database, state.series_cache, snapshot, hold)


StoreOf = Annotated[Store, Depends(get_store)]


async def refuse_repeated(request: Request) -> None:
    """A parameter given twice has no clear meaning; more than any page has are not even read."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > MOST_PARAMETERS:
        raise Problem(422, f"{len(names)} parameters are given: no page has {MOST_PARAMETERS}")
    for name in names:
        if names.count(name) > 1:
            raise Problem(422, f"{name} is given {names.count(name)} times: give it once")


def check_range(start: date | None, end: date | None) -> None:
    if isinstance(start, DayOfInstant) and isinstance(end, DayOfInstant):
        is_reversed = start.instant > end.instant
    else:
        is_reversed = bool(start and end and start > end)
    if is_reversed:
        raise Problem(422, f"start {start} is after end {end}: swap them")


def check_size(rows: int, most: int, remedy: str = "ask for a shorter range") -> None:
    if rows > most:
        raise Problem(422, f"{rows} rows are more than {most} (MAX_ROWS): {remedy}")


def move_on(request: Request, **changes: str) -> str:
    """The request's own URL with some parameters set anew: a reference relative to it.

    Without a path, so that it leads on behind every prefix that a proxy may put in front.
    """
    return f"?{urlencode({**request.query_params, **changes})}"


def cut_rows(
    request: Request, rows: Rows, limit: int, name_place: Callable[[Rows], str]
) -> tuple[Rows, str | None]:
    """The rows of a page, and the URL of those after it, if there is a row more than `limit`.

    name_place: what `after` is for a page to begin behind these rows.
    """
    page = rows[:limit]
    return page, move_on(request, after=name_place(page)) if len(rows) > limit else None


def name_last(column: str) -> Callable[[Rows], str]:
    """For a list that goes on after the last row, by its value in a column."""
    return lambda page: str(page[-1][column])


def count_on(after: int) -> Callable[[Rows], str]:
    """For a list that goes on after a number of rows, of which `after` lie before this page."""
    return lambda page: str(after + len(page))


async def answer_list(
    request: Request,
    store: Store,
    limit: int | None,
    read: Callable[[Cursor, int], Rows],
    name_place: Callable[[Rows], str],
    is_wide: bool = False,
) -> Response:
    """One page of a list: `read` gives its rows, at most so many, behind where the page begins."""
    most = store.check_limit(limit)
    rows = await store.ask(lambda cursor: read(cursor, most + 1), is_wide)
    page, following = cut_rows(request, rows, most, name_place)
    return answer_json({"count": len(page), "next": following, "data": page})


def answer_json(value: Mapping[str, Any]) -> Response:
    """A JSON answer; its `next`, if any, stands in the Link header too."""
    following = value.get("next")
    headers = {"Link": f'<{following}>; rel="next"'} if following else None
    return Response(encode_json(value), headers=headers, media_type=JSON)
