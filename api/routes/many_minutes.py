"""/ohlcv of bars shorter than a day: one symbol after the other, as far as a page goes."""

import re
from collections.abc import Sequence
from datetime import date, datetime

from fastapi import Request, Response

from api.bars.adjust import tell_actions
from api.bars.series import Series, list_fields, take_slice
from api.bars.view import View, tell_view
from api.cache.minute_bars import (
    NONE_YET,
    MinuteBars,
    cut_minutes,
    name_after,
    tell_minutes,
)
from api.encode.formats import Format, Page
from api.faults import NoMinutes
from api.models import ManyQuery
from api.models.terms import DayOfInstant
from api.problems import Problem
from api.routes.context import Context, check_size
from api.routes.lists import move_on
from api.routes.pages import answer_page, check_whole, read_csv_form, read_format
from api.routes.symbols import NO_ROW, must_know, part_view

ROW = re.compile(r"(.+):(\d{8}T\d{6}Z)", re.ASCII)
Place = tuple[str, date]


async def answer_many_minutes(
    request: Request, context: Context, view: View, query: ManyQuery
) -> Response:
    """As `read_many`, of bars shorter than a day."""
    limit, chosen = context.check_limit(view.limit), read_format(request, query.format)
    form = read_csv_form(query, chosen)
    known, unknown = await part_minutes(context, view, must_know(query.unknown, chosen))
    found = await take_all(context, known, limit, read_place(known, query.after))
    page, following = cut_all(found, limit, view.order)
    if following:
        check_whole(chosen, view, None, context.max_rows)
    moved = move_on(request, after=following) if following else None
    told = tell_view(view, sum(each.left_out for each in found))
    told |= tell_actions(*(each.series for each in found))
    for each in found:
        told |= each.told
    shown = [each for each in found if any(part.symbol == each.series.symbol for part in page)]
    more = tell_minutes(view, shown or found[:1])
    parts = page or (take_slice(found[0].series, slice(0)),)
    return await answer_page(
        context,
        Page(parts, view.fields, moved, is_many=True, **form, told=more),
        chosen,
        {**told, "unknown": unknown},
    )


async def part_minutes(context: Context, view: View, must_know: bool) -> tuple[View, list[str]]:
    """The view of those symbols that have bars shorter than a day, and the others. NoMinutes."""
    minutes = await context.take_minute_view()
    if minutes is None:
        raise NoMinutes(NONE_YET)
    return part_view(view, minutes.instruments, must_know, "has bars shorter than a day")


async def answer_latest_minutes(
    context: Context, view: View, chosen: Format, on_unknown: str | None
) -> Response:
    """The last bar of each symbol."""
    minutes = await context.take_minute_view()
    if minutes is None:
        raise NoMinutes(NONE_YET)
    is_error = must_know(on_unknown, chosen)
    known, unknown = part_view(view, minutes.instruments, is_error, "has bars shorter than a day")
    check_size(len(known.symbols), context.max_rows, "ask for fewer symbols")
    newest = known._replace(order="desc", fields=tuple(list_fields(view.interval)))
    found = [await context.take_minutes(newest, name, most=0) for name in known.symbols]
    parts = tuple(take_slice(each.series, slice(-1, None)) for each in found)
    page = Page(parts, newest.fields, is_many=True, told=tell_minutes(view, found))
    return await answer_page(context, page, chosen, {"unknown": unknown})


def read_place(view: View, after: str | None) -> Place | None:
    """Symbol and instant of the row that `after` names, as SYMBOL:20130228T143000Z."""
    if after is None:
        return None
    found = ROW.fullmatch(after)
    try:
        if found is None or found[1].upper() not in view.symbols:
            raise ValueError(after)
        return found[1].upper(), DayOfInstant.of(datetime.fromisoformat(found[2]))
    except ValueError:
        raise Problem(422, NO_ROW.format(after)) from None


async def take_all(
    context: Context, view: View, limit: int, place: Place | None
) -> list[MinuteBars]:
    """The bars of one symbol after the other, until there is one more than a page has; of all
    where it is counted what is left out."""
    symbols = list(view.symbols)
    symbol, after = place or (symbols[0], None)
    found: list[MinuteBars] = []
    rest = limit
    for name in symbols[symbols.index(symbol) :]:
        if rest < 0 and not view.is_strict:
            break
        given = after if name == symbol else None
        each = await context.take_minutes(view, name, most=max(rest, 0), after=given)
        found.append(each)
        rest -= len(each.series)
    return found


def cut_all(
    found: Sequence[MinuteBars], limit: int, order: str
) -> tuple[tuple[Series, ...], str | None]:
    """The first `limit` bars over all, and the name of the last row if more follow."""
    page: list[Series] = []
    for each in found:
        if not len(each.series):
            continue
        if not limit:
            return tuple(page), name_row(page[-1])
        part, following = cut_minutes(each.series, limit, order)
        page.append(part)
        limit -= len(part)
        if following is not None:
            return tuple(page), name_row(part)
    return tuple(page), None


def name_row(series: Series) -> str:
    return f"{series.symbol}:{name_after(series, -1)}"
