"""/instruments/{symbol}/ohlcv and /statistics: a symbol's bars, and their figures."""

from datetime import date, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api import docs, performance, queries
from api.formats import build_rows
from api.models import BarsPage, BarsQuery, RangeQuery, Statistics, StatisticsQuery, Symbol
from api.routes import (
    DatabaseOf,
    SettingsOf,
    SnapshotOf,
    answer_json,
    check_limit,
    check_range,
    move_on,
)
from api.series import Series, adjust, keep, slice_days, take_slice

router = APIRouter(tags=["bars"])


@router.get(
    "/instruments/{symbol}/ohlcv",
    summary="Daily bars",
    responses=docs.answers(BarsPage, "ohlcv", 404, 422, 503),
)
async def read_ohlcv(
    symbol: Symbol,
    request: Request,
    query: Annotated[BarsQuery, InQuery()],
    settings: SettingsOf,
    database: DatabaseOf,
    snapshot: SnapshotOf,
) -> Response:
    """Open, high, low, close and volume, one row a session. `start` and `end` are inclusive.

    A range without bars is an empty list. More rows than `limit`: `next` goes on after the last.
    """
    check_range(query.start, query.end)
    limit = check_limit(query.limit, settings.max_rows)

    def question(cursor: queries.Cursor) -> Response:
        series = read_adjusted(cursor, symbol, query, query.adjustment, query.as_of)
        kept = leave_out_noted(cursor, series) if query.quality == "strict" else series
        page, following = cut_page(kept, limit, query.order)
        side = "start" if query.order == "asc" else "end"
        return answer_json(
            {
                **describe(page),
                **({"as_of": f"{query.as_of.isoformat()}Z"} if query.as_of else {}),
                **({"left_out": len(series) - len(kept)} if kept is not series else {}),
                "count": len(page),
                "next": move_on(request, **{side: str(following)}) if following else None,
                "data": build_rows(page),
            }
        )

    return await database.ask(snapshot, question)


@router.get(
    "/instruments/{symbol}/statistics",
    summary="Statistics of a range",
    responses=docs.answers(Statistics, "statistics", 404, 422, 503),
)
async def read_statistics(
    symbol: Symbol,
    query: Annotated[StatisticsQuery, InQuery()],
    database: DatabaseOf,
    snapshot: SnapshotOf,
) -> Response:
    """Return, risk, extremes and volume over a range; `start` and `end` are inclusive."""
    check_range(query.start, query.end)

    def question(cursor: queries.Cursor) -> Response:
        series = read_adjusted(cursor, symbol, query, query.adjustment)
        return answer_json({**describe(series), **performance.summarize(series)})

    return await database.ask(snapshot, question)


def read_adjusted(
    cursor: queries.Cursor,
    symbol: str,
    query: RangeQuery,
    adjustment: str,
    as_of: datetime | None = None,
) -> Series:
    """The bars of the range; with `as_of` those known then, adjusted for the splits till then."""
    if as_of is None:
        series = queries.read_series(cursor, symbol)
    else:
        series = queries.read_series_as_of(cursor, symbol, as_of)
    splits = queries.read_splits(cursor, series.symbol)
    known = [split for split in splits if as_of is None or split[0] <= as_of.date()]
    return slice_days(adjust(series, known, adjustment), query.start, query.end)


def leave_out_noted(cursor: queries.Cursor, series: Series) -> Series:
    noted = queries.read_noted_days(cursor, series.symbol)
    return keep(series, ~np.isin(series.days, noted))


def cut_page(series: Series, limit: int, order: str) -> tuple[Series, date | None]:
    """The first `limit` bars in that order, and the day of the bar after them."""
    if order == "desc":
        series = take_slice(series, np.s_[::-1])
    more = series.days[limit].item() if len(series) > limit else None
    return take_slice(series, slice(limit)), more


def describe(series: Series) -> dict[str, Any]:
    return {"symbol": series.symbol, "interval": "1d", "adjustment": series.adjustment}
