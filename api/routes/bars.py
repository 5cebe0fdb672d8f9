"""/instruments/{symbol}/ohlcv: a symbol's bars in any range, interval, adjustment and format."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.bars.adjust import tell_actions
from api.bars.series import Series, cut_page, find_begin, find_end, show_day, take_slice
from api.bars.view import View, build_bars_view, derive_range, tell_nothing_known, tell_view
from api.cache.minute_bars import cut_minutes, tell_minutes
from api.cache.provisional import tell_added, tell_synthetic, with_provisional
from api.docs import openapi as docs
from api.edge.depends import depends_on_minutes, depends_on_symbols, wants_provisional
from api.encode.formats import Page
from api.models import BarsPage, BarsQuery, Symbol
from api.routes.context import Context, ContextOf
from api.routes.lists import move_on
from api.routes.pages import answer_page, check_whole, read_csv_form, read_format

router = APIRouter(tags=["bars"])


@router.get(
    "/instruments/{symbol}/ohlcv",
    summary="Bars of one symbol",
    responses=docs.bar_answers(BarsPage, "ohlcv", 404, 406, 422, 503),
)
@depends_on_symbols()
@depends_on_minutes(wants_provisional)
async def read_ohlcv(
    symbol: Symbol, request: Request, query: Annotated[BarsQuery, InQuery()], context: ContextOf
) -> Response:
    """Open, high, low, close and volume, one row a bar. `start` and `end` are inclusive.

    A range without bars is an empty list. More rows than `limit`: `next` goes on after the last.
    """
    view = build_bars_view([symbol], query)
    if view.is_intraday:
        return await answer_minutes(request, context, view, query)
    limit, chosen = context.check_limit(view.limit), read_format(request, query.format)
    held = await context.take_view(view)
    stored, added = await with_provisional(context, view, held)
    series = kept = derive_range(view, stored)
    if view.is_strict:
        (kept,) = await context.leave_out_noted([series], view.as_of)
    rest = pass_over(kept, query.after, view.order)
    part, following = cut_page(rest, limit, view.order)
    if following is not None:
        check_whole(chosen, view, len(kept), context.max_rows)
    moved = move_on(request, after=show_day(part, -1)) if following else None
    form = read_csv_form(query, chosen)
    page = Page((part,), view.fields, moved, **form, told=tell_synthetic([part], added))
    if view.is_plain:
        context.series_cache.count_encoded(held, len(part))
    told = tell_view(view, len(series) - len(kept)) | tell_actions(series)
    told |= tell_nothing_known(view.as_of, [stored])
    told |= tell_added([part], added) if view.provisional else {}
    return await answer_page(context, page, chosen, told)


def pass_over(series: Series, after: date | None, order: str) -> Series:
    """The bars that come after a day in an order, sorted as before."""
    if after is None:
        return series
    if order == "desc":
        return take_slice(series, slice(find_begin(series, after)))
    return take_slice(series, slice(find_end(series, after), None))


async def answer_minutes(
    request: Request, context: Context, view: View, query: BarsQuery
) -> Response:
    """As `read_ohlcv`, of bars shorter than a day."""
    limit, chosen = context.check_limit(view.limit), read_format(request, query.format)
    form, after = read_csv_form(query, chosen), query.after
    found = await context.take_minutes(view, most=limit, after=after)
    part, following = cut_minutes(found.series, limit, view.order)
    if following is not None:
        check_whole(chosen, view, None, context.max_rows)
    moved = move_on(request, after=following) if following else None
    page = Page((part,), view.fields, moved, **form, told=tell_minutes(view, [found]))
    if view.is_plain_intraday and not moved and after is None and len(part):
        await context.count_minutes(view)
    told = tell_view(view, found.left_out) | tell_actions(found.series) | found.told
    return await answer_page(context, page, chosen, told)
