"""/coverage, and /instruments/{symbol}/coverage, notes, revisions and corporate-actions."""

from collections.abc import Callable
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.bars.view import check_range
from api.docs import openapi as docs
from api.edge.depends import depends_on_minutes, depends_on_symbols
from api.models import (
    ActionsPage,
    ActionsQuery,
    Coverage,
    CoveragesPage,
    InstrumentsQuery,
    ListQuery,
    NotesPage,
    RangeListQuery,
    RevisionsPage,
    Symbol,
)
from api.models.quality import CoverageQuery, MinuteCoverage, OfInterval
from api.models.terms import INTRADAY, find_session_day
from api.routes.context import Context, ContextOf
from api.routes.lists import answer_json, answer_list, count_on, cut_rows, move_on, name_last
from api.routes.minute_quality import (
    answer_coverage,
    answer_notes,
    answer_revisions,
    list_intervals,
)
from api.store import Reader, Rows

router = APIRouter(tags=["quality"])


@router.get(
    "/coverage",
    summary="Coverage of all instruments",
    responses=docs.answers(CoveragesPage, "coverages", 422, 503),
)
@depends_on_minutes()
async def list_coverages(
    request: Request, query: Annotated[InstrumentsQuery, InQuery()], context: ContextOf
) -> Response:
    """Sessions, gaps, notes and revisions in counts, one row an instrument, in their order."""
    minutes = context.minute_view.instruments if context.minute_view else {}

    def read(reader: Reader, limit: int) -> Rows:
        rows = reader.read_coverages(query.q, query.after, limit)
        return [{**row, "intervals": list_intervals(minutes.get(row["symbol"]))} for row in rows]

    return await answer_list(request, context, query.limit, read, name_last("symbol"), is_wide=True)


@router.get(
    "/instruments/{symbol}/coverage",
    summary="Sessions, gaps and notes",
    responses=docs.answers(Coverage | MinuteCoverage, "coverage", 404, 422, 503),
)
@depends_on_symbols()
async def read_coverage(
    symbol: Symbol, request: Request, query: Annotated[CoverageQuery, InQuery()], context: ContextOf
) -> Response:
    """Each session of the exchange from first to last bar is present, or a gap with its cause.

    Counts are of all; `limit` and `after` cut the lists of gaps and of provisional bars. With
    interval=1m minutes are counted: those without a bar in which nobody traded apart from those
    that were not delivered.
    """
    if query.interval in INTRADAY:
        return await answer_coverage(request, context, symbol, query)
    limit = context.check_limit(query.limit)
    whole = await context.ask(lambda c: c.read_coverage(symbol))
    end = query.after + limit
    lists = {name: whole[name][query.after : end] for name in ("gaps", "provisional")}
    has_more = any(len(whole[name]) > end for name in lists)
    following = move_on(request, after=str(end)) if has_more else None
    return answer_json({**whole, **lists, "next": following})


@router.get(
    "/instruments/{symbol}/notes",
    summary="Notes on bars",
    responses=docs.answers(NotesPage, "notes", 404, 422, 503),
)
@depends_on_symbols()
async def read_notes(
    symbol: Symbol,
    request: Request,
    query: Annotated[OfInterval, InQuery()],
    context: ContextOf,
) -> Response:
    """What is suspicious, or not final yet, about kept bars. A note never changes a value."""
    if query.interval in INTRADAY:
        return await answer_notes(request, context, symbol, query)
    return await answer_range(
        request, context, symbol, query, lambda reader, *asked: reader.read_notes(*asked)
    )


@router.get(
    "/instruments/{symbol}/revisions",
    summary="Bars that a vendor changed",
    responses=docs.answers(RevisionsPage, "revisions", 404, 422, 503),
)
@depends_on_symbols()
async def read_revisions(
    symbol: Symbol,
    request: Request,
    query: Annotated[OfInterval, InQuery()],
    context: ContextOf,
) -> Response:
    """The old values of every bar that changed, and from when to when they were what was known."""
    if query.interval in INTRADAY:
        return await answer_revisions(request, context, symbol, query)
    return await answer_range(
        request, context, symbol, query, lambda reader, *asked: reader.read_revisions(*asked)
    )


@router.get(
    "/instruments/{symbol}/corporate-actions",
    summary="Splits and dividends",
    responses=docs.answers(ActionsPage, "corporate-actions", 404, 422, 503),
)
@depends_on_symbols()
async def read_actions(
    symbol: Symbol, request: Request, query: Annotated[ActionsQuery, InQuery()], context: ContextOf
) -> Response:
    """Splits (`ratio`: new shares for one old) and dividends (`amount`: cash a share).

    `known_from` to `known_to` is when each was what was known; `known_to` is null where it is."""
    return await answer_rows(
        request,
        context,
        symbol,
        query,
        lambda c, name, *page: c.read_actions(name, query.as_of, query.history, *page),
    )


async def answer_range(
    request: Request,
    context: Context,
    symbol: str,
    query: RangeListQuery,
    read: Callable[[Reader, str, date | None, date | None, int, int], Rows],
) -> Response:
    """As `answer_rows`, of the rows whose day is in the range asked for."""
    check_range(query.start, query.end)

    def read_range(reader: Reader, name: str, *page: int) -> Rows:
        calendar = reader.read_instrument(name)["exchange"]
        start, end = (find_session_day(day, calendar) for day in (query.start, query.end))
        return read(reader, name, start, end, *page)

    return await answer_rows(request, context, symbol, query, read_range)


async def answer_rows(
    request: Request,
    context: Context,
    symbol: str,
    query: ListQuery,
    read: Callable[[Reader, str, int, int], Rows],
) -> Response:
    """One page of a symbol's list: `read` gives its rows, passing over some, at most so many."""
    limit = context.check_limit(query.limit)

    def question(reader: Reader) -> Response:
        name = reader.read_instrument(symbol)["symbol"]
        rows = read(reader, name, query.after, limit + 1)
        page, following = cut_rows(request, rows, limit, count_on(query.after))
        return answer_json({"symbol": name, "count": len(page), "next": following, "data": page})

    return await context.ask(question)
