"""/instruments and /instruments/{symbol}: what there is."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.docs import openapi as docs
from api.edge.depends import depends_on_symbols
from api.models import Instrument, InstrumentsPage, InstrumentsQuery, NoQuery, Symbol
from api.routes.context import ContextOf
from api.routes.lists import answer_json, answer_list, name_last

router = APIRouter(tags=["instruments"])


@router.get(
    "/instruments",
    summary="List or search instruments",
    responses=docs.answers(InstrumentsPage, "instruments", 422, 503),
)
async def list_instruments(
    request: Request, query: Annotated[InstrumentsQuery, InQuery()], context: ContextOf
) -> Response:
    """Instruments in the order of their symbols, a page at a time."""
    return await answer_list(
        request,
        context,
        query.limit,
        lambda c, limit: c.read_instruments(query.q, query.after, limit),
        name_last("symbol"),
    )


@router.get(
    "/instruments/{symbol}",
    summary="One instrument",
    responses=docs.answers(Instrument, "instrument", 404, 422, 503),
)
@depends_on_symbols()
async def read_instrument(
    symbol: Symbol, query: Annotated[NoQuery, InQuery()], context: ContextOf
) -> Response:
    """What is known of one instrument."""
    return answer_json(await context.ask(lambda c: c.read_instrument(symbol)))
