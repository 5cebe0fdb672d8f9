"""/instruments and /instruments/{symbol}: what there is."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api import docs, queries
from api.models import Instrument, InstrumentsPage, InstrumentsQuery, NoQuery, Symbol
from api.routes import DatabaseOf, SettingsOf, SnapshotOf, answer_json, check_limit, move_on

router = APIRouter(tags=["instruments"])


@router.get(
    "/instruments",
    summary="List or search instruments",
    responses=docs.answers(InstrumentsPage, "instruments", 422, 503),
)
async def list_instruments(
    request: Request,
    query: Annotated[InstrumentsQuery, InQuery()],
    settings: SettingsOf,
    database: DatabaseOf,
    snapshot: SnapshotOf,
) -> Response:
    """Instruments in the order of their symbols, a page at a time."""
    limit = check_limit(query.limit, settings.max_rows)

    def question(cursor: queries.Cursor) -> list[dict[str, Any]]:
        return queries.read_instruments(cursor, query.q, query.after, limit + 1)

    rows = await database.ask(snapshot, question)
    page = rows[:limit]
    following = move_on(request, after=page[-1]["symbol"]) if len(rows) > limit else None
    return answer_json({"count": len(page), "next": following, "data": page})


@router.get(
    "/instruments/{symbol}",
    summary="One instrument",
    responses=docs.answers(Instrument, "instrument", 404, 422, 503),
)
async def read_instrument(
    symbol: Symbol, query: Annotated[NoQuery, InQuery()], database: DatabaseOf, snapshot: SnapshotOf
) -> Response:
    """What is known of one instrument."""
    return answer_json(await database.ask(snapshot, lambda c: queries.read_instrument(c, symbol)))
