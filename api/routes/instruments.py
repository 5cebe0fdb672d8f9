"""/instruments and /instruments/{symbol}: what there is."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.docs import openapi as docs
from api.edge.depends import depends_on_minutes, depends_on_symbols
from api.faults import NoDatabase, Unknown
from api.models import Instrument, InstrumentsPage, InstrumentsQuery, NoQuery, Symbol
from api.routes.context import ContextOf
from api.routes.lists import answer_json, answer_list, cut_rows, name_last
from api.routes.minute_quality import add_minutes, describe_minutes, list_intervals
from api.store import Reader, Rows

router = APIRouter(tags=["instruments"])


@router.get(
    "/instruments",
    summary="List or search instruments",
    responses=docs.answers(InstrumentsPage, "instruments", 422, 503),
)
@depends_on_minutes()
async def list_instruments(
    request: Request, query: Annotated[InstrumentsQuery, InQuery()], context: ContextOf
) -> Response:
    """Instruments in the order of their symbols, a page at a time."""
    minutes = context.minute_view
    if minutes is not None and context.snapshot is None:  # they are all there is
        most = context.check_limit(query.limit)
        rows = add_minutes([], minutes, query.q, query.after, most + 1)
        page, following = cut_rows(request, rows, most, name_last("symbol"))
        return answer_json({"count": len(page), "next": following, "data": page})

    def read(reader: Reader, limit: int) -> Rows:
        rows = reader.read_instruments(query.q, query.after, limit)
        return add_minutes(rows, minutes, query.q, query.after, limit)

    return await answer_list(request, context, query.limit, read, name_last("symbol"))


@router.get(
    "/instruments/{symbol}",
    summary="One instrument",
    responses=docs.answers(Instrument, "instrument", 404, 422, 503),
)
@depends_on_symbols()
@depends_on_minutes()
async def read_instrument(
    symbol: Symbol, query: Annotated[NoQuery, InQuery()], context: ContextOf
) -> Response:
    """What is known of one instrument."""
    name = symbol.strip().upper()
    found = (context.minute_view.instruments if context.minute_view else {}).get(name, {})
    try:
        row = await context.ask(lambda c: c.read_instrument(symbol))
    except (Unknown, NoDatabase):
        if not found:
            raise
        row = describe_minutes(found)
    return answer_json({**row, "intervals": list_intervals(found)})
