"""Several symbols at once: /ohlcv, /ohlcv/latest, /statistics/…, /screen."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.bars.adjust import tell_actions
from api.bars.series import FIELDS, Series, reverse_bars, show_day, take_slice
from api.bars.view import (
    View,
    build_bars_view,
    check_hours,
    check_provisional,
    check_range,
    derive_ranges,
    derive_whole,
    explain_nothing,
    show_instant,
    tell_instant,
    tell_nothing_known,
    tell_view,
)
from api.cache.provisional import tell_added, tell_synthetic
from api.docs import openapi as docs
from api.edge.depends import depends_on_minutes, depends_on_symbols, wants_provisional
from api.edge.route_table import weighs
from api.encode.formats import Page
from api.models import (
    CovarianceQuery,
    LatestQuery,
    ManyBarsPage,
    ManyQuery,
    MatrixAnswer,
    MatrixQuery,
    ScreenPage,
    ScreenQuery,
)
from api.problems import Problem
from api.routes.context import ContextOf, check_size
from api.routes.lists import answer_json, count_on, cut_rows, move_on
from api.routes.many_minutes import answer_latest_minutes, answer_many_minutes
from api.routes.matrices import answer_matrix
from api.routes.pages import answer_page, check_whole, read_csv_form, read_format
from api.routes.symbols import FEWER, NO_ROW, must_know, read_symbols
from api.routes.taken import part_known, take_with_added
from api.store import Entry, Reader

router = APIRouter(tags=["several symbols"])


@router.get(
    "/ohlcv",
    summary="Bars of several symbols",
    responses=docs.bar_answers(ManyBarsPage, "many", 404, 406, 422, 503),
)
@depends_on_symbols("symbols")
@depends_on_minutes(wants_provisional)
@weighs(1, by_symbols=True)
async def read_many(
    request: Request, query: Annotated[ManyQuery, InQuery()], context: ContextOf
) -> Response:
    """The bars of one symbol after the other, in the order asked.

    `limit` counts rows over all symbols; `next` goes on after the last row.
    """
    view = build_bars_view(read_symbols(query.symbols), query)
    if view.is_intraday:
        return await answer_many_minutes(request, context, view, query)
    limit, chosen = context.check_limit(view.limit), read_format(request, query.format)
    known, unknown = await part_known(context, view, must_know(query.unknown, chosen))
    found, added = await take_with_added(context, known)
    whole = await context.series_cache.compute(lambda: derive_ranges(known, found))
    parts = await context.leave_out_noted(whole, view.as_of) if view.is_strict else whole
    left_out = sum(map(len, whole)) - sum(map(len, parts))
    if view.order == "desc":
        parts = [reverse_bars(part) for part in parts]
    page, following = cut_parts(pass_rows(parts, query.after), limit)
    if following:
        check_whole(chosen, view, sum(map(len, parts)), context.max_rows)
    moved = move_on(request, after=following) if following else None
    told = tell_view(view, left_out) | tell_actions(*whole)
    told |= tell_nothing_known(view.as_of, found)
    told |= tell_added(page, added, is_many=True) if view.provisional else {}
    form, synthetic = read_csv_form(query, chosen), tell_synthetic(page, added)
    rows = page or (take_slice(parts[0], slice(0)),)
    shown = Page(rows, view.fields, moved, is_many=True, **form, told=synthetic)
    return await answer_page(context, shown, chosen, {**told, "unknown": unknown})


@router.get(
    "/ohlcv/latest",
    summary="The last bar of several symbols",
    responses=docs.bar_answers(ManyBarsPage, "latest", 404, 406, 422, 503),
)
@depends_on_symbols("symbols")
@depends_on_minutes(wants_provisional)
@weighs(1, by_symbols=True)
async def read_latest(
    request: Request, query: Annotated[LatestQuery, InQuery()], context: ContextOf
) -> Response:
    """The newest bar of each symbol, of a day unless another interval is asked for, as traded, in
    the order asked."""
    chosen = read_format(request, query.format)
    view = View(tuple(read_symbols(query.symbols)), interval=query.interval, hours=query.hours)
    view = view._replace(provisional=query.provisional)
    check_hours(view.interval, view.hours)
    check_provisional(view)
    if view.is_intraday:
        return await answer_latest_minutes(context, view, chosen, query.unknown)
    known, unknown = await part_known(context, view, must_know(query.unknown, chosen))
    check_size(len(known.symbols), context.max_rows, FEWER)
    found, added = await take_with_added(context, known)
    last = tuple(take_slice(derive_whole(known, stored), slice(-1, None)) for stored in found)
    told = tell_added(last, added, is_many=True) if view.provisional else {}
    shown = Page(last, FIELDS, is_many=True, told=tell_synthetic(last, added))
    return await answer_page(context, shown, chosen, {**told, "unknown": unknown})


@router.get(
    "/statistics/correlation",
    summary="Correlation of returns",
    responses=docs.answers(MatrixAnswer, "correlation", 404, 422, 503),
)
@depends_on_symbols("symbols")
@weighs(1, by_symbols=True)
async def read_correlation(
    query: Annotated[MatrixQuery, InQuery()], context: ContextOf
) -> Response:
    """Of the returns on the days that all symbols have; rows and columns as in `symbols`."""
    return await answer_matrix(context, query, "covariance")


@router.get(
    "/statistics/covariance",
    summary="Covariance of returns",
    responses=docs.answers(MatrixAnswer, "covariance", 404, 422, 503),
)
@depends_on_symbols("symbols")
@weighs(1, by_symbols=True)
async def read_covariance(
    query: Annotated[CovarianceQuery, InQuery()], context: ContextOf
) -> Response:
    """Of the returns of a bar (ddof 1), on the days that all symbols have; annual by `periods`."""
    return await answer_matrix(context, query, "correlation", query.periods)


@router.get(
    "/screen",
    summary="Rank all instruments",
    responses=docs.answers(ScreenPage, "screen", 422, 503),
)
@weighs(10)
async def read_screen(
    request: Request, query: Annotated[ScreenQuery, InQuery()], context: ContextOf
) -> Response:
    """All instruments that pass, in the order of a figure over the range.

    Total return is after splits; volumes and prices are as stored.
    """
    check_range(query.start, query.end)
    most, snapshot = context.check_limit(query.limit), context.require_snapshot()

    def question(reader: Reader) -> Response:
        rows = reader.screen(query.model_dump(), most + 1)
        page, following = cut_rows(request, rows, most, count_on(query.after))
        told = tell_screen(reader, query.as_of, is_empty=not rows)
        if query.as_of is None:
            catalog = context.series_cache.read_catalog(snapshot, reader)
            told |= tell_splits({row["symbol"]: catalog[row["symbol"]] for row in page})
        return answer_json({**told, "count": len(page), "next": following, "data": page})

    return await context.database.ask(snapshot, question, is_wide=True)


def tell_screen(reader: Reader, as_of: datetime | None, is_empty: bool) -> dict[str, Any]:
    """What the figures of a screen stand on; and why it is empty, if that is for the instant."""
    told = {**tell_instant(as_of), "adjustment": "split"}
    if as_of is not None and is_empty and not reader.has_known(as_of):
        told |= explain_nothing(as_of)
    return told


def tell_splits(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Since when the splits are known that returns stand on, or of which symbols never; nothing
    of those stored split-adjusted, which need none."""
    needed = {name: e.splits_known_at for name, e in entries.items() if e.basis != "split"}
    if never := [f"{name} splits" for name, instant in needed.items() if instant is None]:
        return {"actions_known_at": None, "never_asked": never}
    instants = [instant for instant in needed.values() if instant]
    return {"actions_known_at": show_instant(min(instants))} if instants else {}


def pass_rows(parts: Sequence[Series], after: str | None) -> Sequence[Series]:
    """The bars behind the row that `after` names, as SYMBOL:2012-01-31."""
    if after is None:
        return parts
    symbol, _, day = after.rpartition(":")
    place = next((n for n, part in enumerate(parts) if part.symbol == symbol.upper()), None)
    row = None if place is None else find_row(parts[place], day)
    if place is None or row is None:
        raise Problem(422, NO_ROW.format(after))
    return [take_slice(parts[place], slice(row + 1, None)), *parts[place + 1 :]]


def find_row(series: Series, text: str) -> int | None:
    """The row of a day, in bars of either order; None where there is none."""
    try:
        day = np.datetime64(date.fromisoformat(text))
    except ValueError:
        return None
    days = series.days
    is_falling = len(series) > 1 and bool(days[0] > days[-1])
    days = days[::-1] if is_falling else days
    place = int(days.searchsorted(day))
    if place == len(days) or days[place] != day:
        return None
    return len(days) - 1 - place if is_falling else place


def cut_parts(parts: Sequence[Series], limit: int) -> tuple[tuple[Series, ...], str | None]:
    """The first `limit` bars over all parts, and the name of the last row if more follow."""
    page: list[Series] = []
    for part in parts:
        if not limit and len(part):
            return tuple(page), f"{page[-1].symbol}:{show_day(page[-1], -1)}"
        cut = take_slice(part, slice(limit))
        limit -= len(cut)
        page += [cut] if len(cut) else []
        if len(cut) < len(part):
            return tuple(page), f"{cut.symbol}:{show_day(cut, -1)}"
    return tuple(page), None
