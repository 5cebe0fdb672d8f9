"""/coverage, and /instruments/{symbol}/coverage, notes, revisions and corporate-actions."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api import docs, queries
from api.models import (
    ActionsPage,
    Coverage,
    CoveragesPage,
    InstrumentsQuery,
    ListQuery,
    NoQuery,
    NotesPage,
    RangeListQuery,
    RevisionsPage,
    Symbol,
)
from api.routes import Store, StoreOf, answer_json, check_range, move_on

router = APIRouter(tags=["quality"])

Rows = list[dict[str, Any]]


@router.get(
    "/coverage",
    summary="Coverage of all instruments",
    responses=docs.answers(CoveragesPage, "coverages", 422, 503),
)
async def list_coverages(
    request: Request, query: Annotated[InstrumentsQuery, InQuery()], store: StoreOf
) -> Response:
    """Sessions, gaps, notes and revisions in counts, one row an instrument, in their order."""
    limit = store.check_limit(query.limit)

    def question(cursor: queries.Cursor) -> Rows:
        return queries.read_coverages(cursor, query.q, query.after, limit + 1)

    rows = await store.ask(question)
    page = rows[:limit]
    following = move_on(request, after=page[-1]["symbol"]) if len(rows) > limit else None
    return answer_json({"count": len(page), "next": following, "data": page})


@router.get(
    "/instruments/{symbol}/coverage",
    summary="Sessions, gaps and notes",
    responses=docs.answers(Coverage, "coverage", 404, 422, 503),
)
async def read_coverage(
    symbol: Symbol, query: Annotated[NoQuery, InQuery()], store: StoreOf
) -> Response:
    """Each session of the exchange from first to last bar is present, or a gap with its cause."""
    return answer_json(await store.ask(lambda c: queries.read_coverage(c, symbol)))


@router.get(
    "/instruments/{symbol}/notes",
    summary="Notes on bars",
    responses=docs.answers(NotesPage, "notes", 404, 422, 503),
)
async def read_notes(
    symbol: Symbol, request: Request, query: Annotated[RangeListQuery, InQuery()], store: StoreOf
) -> Response:
    """What is suspicious, or not final yet, about kept bars. A note never changes a value."""
    check_range(query.start, query.end)
    limit = store.check_limit(query.limit)
    return await answer_page(
        (request, store, symbol),
        (query.after, limit),
        lambda c, s: queries.read_notes(c, s, query.start, query.end, query.after, limit + 1),
    )


@router.get(
    "/instruments/{symbol}/revisions",
    summary="Bars that a vendor changed",
    responses=docs.answers(RevisionsPage, "revisions", 404, 422, 503),
)
async def read_revisions(
    symbol: Symbol, request: Request, query: Annotated[RangeListQuery, InQuery()], store: StoreOf
) -> Response:
    """The old values of every bar that changed, and from when to when they were what was known."""
    check_range(query.start, query.end)
    limit = store.check_limit(query.limit)
    return await answer_page(
        (request, store, symbol),
        (query.after, limit),
        lambda c, s: queries.read_revisions(c, s, query.start, query.end, query.after, limit + 1),
    )


@router.get(
    "/instruments/{symbol}/corporate-actions",
    summary="Splits and dividends",
    responses=docs.answers(ActionsPage, "corporate-actions", 404, 422, 503),
)
async def read_actions(
    symbol: Symbol, request: Request, query: Annotated[ListQuery, InQuery()], store: StoreOf
) -> Response:
    """Splits (`ratio`: new shares for one old) and dividends (`amount`: cash a share)."""
    limit = store.check_limit(query.limit)
    return await answer_page(
        (request, store, symbol),
        (query.after, limit),
        lambda c, s: queries.read_actions(c, s, query.after, limit + 1),
    )


async def answer_page(
    asked: tuple[Request, Store, str],
    place: tuple[int, int],
    read: Callable[[queries.Cursor, str], Rows],
) -> Response:
    """One page of a symbol's list: `read` gives one row more than the page where there are more."""
    request, store, symbol = asked
    after, limit = place

    def question(cursor: queries.Cursor) -> Response:
        name = queries.read_instrument(cursor, symbol)["symbol"]
        rows = read(cursor, name)
        page = rows[:limit]
        following = move_on(request, after=str(after + limit)) if len(rows) > limit else None
        return answer_json({"symbol": name, "count": len(page), "next": following, "data": page})

    return await store.ask(question)
