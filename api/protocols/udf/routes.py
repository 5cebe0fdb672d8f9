"""/udf: the store as a data source of TradingView's charts, to the letter of their UDF protocol.

A chart reads nothing but JSON of the protocol, so a fault is {"s": "error", "errmsg": ...} here:
with 200 where the request is at fault, else with the status that it has everywhere. Parameters
that a chart sends beside those of the protocol are passed over.
"""

import logging
import re
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from api.bars.intraday import INTERVAL_SECONDS
from api.edge.depends import depends_on_minutes, depends_on_symbols
from api.edge.passing import passes_cache
from api.encode.formats import JSON
from api.encode.text import encode_json
from api.faults import Fault
from api.models.terms import UpperCase
from api.problems import OUR_FAULT, Problem, as_problem, describe_invalid, shorten
from api.protocols.udf import minutes as udf_minutes
from api.protocols.udf import shapes as udf_shapes
from api.protocols.udf import symbols as udf_symbols
from api.protocols.udf.asking import list_exchanges, name_symbol, read_asked, search, take_bars
from api.routes.context import ContextOf

log = logging.getLogger("api")

FARTHEST = 2**53
INTRADAY_RESOLUTION = re.compile(rb"(?:^|&)resolution=(?:\d+|\d*S)(?:&|$)")
Seconds = Annotated[int, Field(ge=-FARTHEST, le=FARTHEST)]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class UdfRoute(APIRoute):
    """A route whose faults a chart can read."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                messages = (describe_invalid(request, item)["message"] for item in error.errors())
                return answer_error("; ".join(messages))
            except (Problem, Fault) as error:
                problem = as_problem(error)
                status = problem.status if problem.status >= 500 else 200
                return answer_error(problem.detail, status, problem.headers)
            except Exception:
                log.exception("a request failed: %s", request.url.path)
                return answer_error(OUR_FAULT, 500)

        return answer


def answer_error(message: str, status: int = 200, headers: Any = None) -> Response:
    return answer_udf({"s": "error", "errmsg": shorten(message)}, status, headers)


def answer_udf(value: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(encode_json(value), status, headers, JSON)


router = APIRouter(prefix="/udf", include_in_schema=False, route_class=UdfRoute)


class UdfQuery(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SymbolQuery(UdfQuery):
    symbol: Annotated[str, Field(max_length=64), UpperCase]


class SearchQuery(UdfQuery):
    query: Annotated[str, Field(max_length=64), UpperCase] = ""
    type: str = Field("", max_length=32)
    exchange: str = Field("", max_length=32)
    limit: int = Field(30, ge=1)


class RangeQuery(SymbolQuery):
    resolution: str = Field(max_length=8)
    start: Seconds | None = Field(None, alias="from")
    end: Seconds = Field(alias="to")


class HistoryQuery(RangeQuery):
    countback: int = Field(0, ge=0, le=FARTHEST)


def has_minutes(query: bytes) -> bool:
    """Whether bars shorter than a day are asked for."""
    return INTRADAY_RESOLUTION.search(query) is not None


@router.get("/config")
@depends_on_minutes()
async def read_config(context: ContextOf) -> Response:
    """What this data source can do."""
    exchanges = await list_exchanges(context)
    return answer_udf(udf_symbols.build_config(exchanges, await udf_minutes.list_stored(context)))


@router.get("/symbols")
@depends_on_minutes()
@depends_on_symbols("symbol")
async def read_symbol(query: Annotated[SymbolQuery, InQuery()], context: ContextOf) -> Response:
    """What a chart has to know of one symbol."""
    symbol = await name_symbol(context, query.symbol)
    if await udf_minutes.has_minutes_alone(context, symbol):
        return answer_udf(await udf_minutes.read_symbol(context, symbol))
    held = await context.take(symbol)
    listing = await context.ask(lambda c: c.read_listing(symbol))
    asked = await udf_minutes.describe_minutes(context, symbol)
    return answer_udf(udf_symbols.build_symbol(listing, held.series, *asked))


@router.get("/search")
@depends_on_minutes()
async def search_symbols(query: Annotated[SearchQuery, InQuery()], context: ContextOf) -> Response:
    """Symbols that contain the query, those first that begin with it."""
    limit = min(query.limit, context.max_rows)
    exchange, symbol = udf_symbols.split_symbol(query.query)
    whole = query.query.strip().upper()
    asked = (symbol, query.type, query.exchange or exchange), (whole, query.type, query.exchange)
    found = await search(context, *asked[0], limit) or await search(context, *asked[1], limit)
    return answer_udf([udf_symbols.build_result(listing) for listing in found])


@router.get("/history")
@depends_on_minutes(has_minutes)
@depends_on_symbols("symbol")
async def read_history(query: Annotated[HistoryQuery, InQuery()], context: ContextOf) -> Response:
    """Bars from `from` to before `to`, or the last `countback` before `to`."""
    if not query.countback:
        check_range(query)
    wanted = query.start, query.end, query.countback
    symbol, interval = await read_asked(context, query.symbol, query.resolution)
    if interval in INTERVAL_SECONDS:
        return answer_udf(await udf_minutes.read_history(context, symbol, interval, *wanted))
    _, _, bars = await take_bars(context, symbol, interval)
    return answer_udf(udf_shapes.build_history(bars, *wanted, context.max_rows))


@router.get("/marks")
@depends_on_minutes(has_minutes)
@depends_on_symbols("symbol")
async def read_marks(query: Annotated[RangeQuery, InQuery()], context: ContextOf) -> Response:
    """Notes on bars, each with its reason."""
    start = check_range(query)
    symbol, interval = await read_asked(context, query.symbol, query.resolution)
    if interval in INTERVAL_SECONDS:
        short = await udf_minutes.read_marks(context, symbol, interval, start, query.end)
        return answer_udf(short)
    _, daily, bars = await take_bars(context, symbol, interval)
    asked = daily.symbol, udf_shapes.find_day(bars, start), None, 0, context.max_rows
    notes = await context.ask(lambda c: c.read_notes(*asked))
    places = udf_shapes.place_on_bars([note["timestamp"] for note in notes], daily, bars)
    return answer_udf(udf_shapes.build_marks(notes, places, bars, start, query.end))


@router.get("/timescale_marks")
@depends_on_minutes(has_minutes)
@depends_on_symbols("symbol")
async def read_timescale_marks(
    query: Annotated[RangeQuery, InQuery()], context: ContextOf
) -> Response:
    """Splits and dividends."""
    start = check_range(query)
    symbol, interval = await read_asked(context, query.symbol, query.resolution)
    if interval in INTERVAL_SECONDS and await udf_minutes.has_minutes_alone(context, symbol):
        return answer_udf([])
    is_short = interval in INTERVAL_SECONDS
    held, daily, bars = await take_bars(context, symbol, "1d" if is_short else interval)
    actions = udf_shapes.list_actions(held.splits, held.dividends)
    days = [action[0] for action in actions]
    if is_short:
        bars = await udf_minutes.take_range(context, symbol, interval, start, query.end)
        places = udf_shapes.place_sessions(days, bars)
    else:
        places = udf_shapes.place_on_bars(days, daily, bars)
    marks = udf_shapes.build_timescale_marks(actions, places, bars, start, query.end)
    return answer_udf(marks)


@router.get("/time")
@passes_cache()
async def read_time() -> Response:
    """The server's clock, in whole seconds."""
    headers = {"Cache-Control": "no-store"}
    return Response(str(int(time.time())), headers=headers, media_type="text/plain")


def check_range(query: RangeQuery) -> int:
    """`from`, once it is known to be there and not after `to`."""
    if query.start is None:
        raise Problem(422, "from is missing: give the unix time of the first bar")
    if query.start > query.end:
        raise Problem(422, f"from {query.start} is after to {query.end}: swap them")
    return query.start
