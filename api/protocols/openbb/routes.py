"""/widgets.json, /apps.json and /openbb: the store as a backend of OpenBB Workspace.

The workspace adds parameters of its own (theme, raw, and what its user sets for a backend), and
sends one that is left empty as an empty text: the first are passed over, the second are none.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from fastapi import Query as InQuery
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.bars.series import FIELDS, Series, cut_page, reverse_bars
from api.bars.view import View, check_range, derive_range
from api.edge.depends import depends_on_minutes, depends_on_symbols
from api.edge.route_table import weighs
from api.encode.formats import JSON, Page, build_columns
from api.encode.text import encode_json, encode_rows
from api.figures.answers import build_statistics
from api.models import Adjustment, Day, Interval, LastDay
from api.models.terms import UpperCase
from api.protocols.openbb import shapes as openbb_shapes
from api.protocols.openbb import widgets
from api.routes.context import Context, ContextOf

router = APIRouter(include_in_schema=False)


def drop_empty(value: Any) -> Any:
    return value or None


Start = Annotated[Day | None, BeforeValidator(drop_empty)]
End = Annotated[LastDay | None, BeforeValidator(drop_empty)]


class WidgetQuery(BaseModel):
    model_config = ConfigDict(extra="ignore")

    symbol: Annotated[str, Field(max_length=32), UpperCase]
    interval: Interval = "1d"
    adjustment: Adjustment = "split"
    start: Start = None
    end: End = None


class ChartQuery(WidgetQuery):
    theme: Literal["dark", "light"] = "dark"
    raw: bool = False


@router.get("/widgets.json")
@depends_on_minutes()
async def list_widgets(context: ContextOf) -> Response:
    """What the workspace can show of this store."""
    intervals = await list_intervals(context)
    usual = "1d" if context.snapshot or not intervals else intervals[-1]
    return answer(widgets.build_widgets(await find_first(context), intervals, usual))


@router.get("/apps.json")
@depends_on_minutes()
async def list_apps(context: ContextOf) -> Response:
    """A dashboard of these widgets."""
    return answer(widgets.build_apps(await find_first(context)))


@router.get("/openbb/symbols")
@depends_on_minutes()
async def list_symbols(context: ContextOf) -> Response:
    """The choices of a widget's symbol."""
    names = await list_names(context, context.max_rows)
    return answer([{"label": name, "value": name} for name in names])


@router.get("/openbb/price_chart")
@depends_on_minutes()
@depends_on_symbols("symbol")
@weighs(2)
async def draw_prices(query: Annotated[ChartQuery, InQuery()], context: ContextOf) -> Response:
    """A Plotly figure of the newest bars of a range; `raw` gives their rows."""
    series = await take_newest(context, query)
    return (
        answer_rows(series)
        if query.raw
        else answer(openbb_shapes.build_figure(series, query.theme))
    )


@router.get("/openbb/bars")
@depends_on_minutes()
@depends_on_symbols("symbol")
async def list_bars(query: Annotated[WidgetQuery, InQuery()], context: ContextOf) -> Response:
    """The newest bars of a range, newest first."""
    return answer_rows(reverse_bars(await take_newest(context, query)))


@router.get("/openbb/statistics")
@depends_on_minutes()
@depends_on_symbols("symbol")
@weighs(2)
async def tell_statistics(query: Annotated[WidgetQuery, InQuery()], context: ContextOf) -> Response:
    """Figures of a range."""
    series = await take_bars(context, query)
    figures = build_statistics(series, interval=query.interval)
    return answer(openbb_shapes.build_metrics(figures, series))


@router.get("/openbb/coverage")
async def list_coverage(context: ContextOf) -> Response:
    """Sessions, gaps, notes and revisions of all instruments."""
    most = context.max_rows
    return answer(await context.ask(lambda c: c.read_coverages("", "", most), True))


async def find_first(context: Context) -> str | None:
    """The symbol that a widget begins with, one with daily bars where there are; None in an empty
    store."""
    if context.snapshot is not None:
        rows = await context.ask(lambda c: c.read_instruments("", "", 1))
        if rows:
            return str(rows[0]["symbol"])
    names = await list_names(context, 1)
    return names[0] if names else None


async def list_names(context: Context, most: int) -> list[str]:
    """The first symbols: those with daily bars, and those that have shorter ones alone."""
    view = await context.find_minute_view()
    short = sorted(view.instruments)[:most] if view else []
    if context.snapshot is None and short:
        return short
    rows = await context.ask(lambda c: c.read_instruments("", "", most))
    return sorted({row["symbol"] for row in rows} | {*short})[:most]


async def list_intervals(context: Context) -> Sequence[str]:
    """The intervals shorter than a day that any symbol has; none while their store is down."""
    view = await context.find_minute_view()
    return view.stored if view else ()


async def take_bars(context: Context, query: WidgetQuery, most: int | None = None) -> Series:
    """The bars of the range; of those shorter than a day the newest, where `most` are wanted."""
    check_range(query.start, query.end)
    asked = query.start, query.end, query.interval, query.adjustment
    view = View((query.symbol,), *asked, order="asc" if most is None else "desc")
    if view.is_intraday and most is None:
        return (await context.take_all_minutes(view)).series
    if view.is_intraday:
        return (await context.take_minutes(view, most=most)).series
    return derive_range(view, await context.take_view(view))


async def take_newest(context: Context, query: WidgetQuery) -> Series:
    """The last bars of the range, as many as an answer may have, oldest first."""
    series = await take_bars(context, query, context.max_rows)
    return reverse_bars(cut_page(series, context.max_rows, "desc")[0])


def answer(value: Any) -> Response:
    return Response(encode_json(value), media_type=JSON)


def answer_rows(series: Series) -> Response:
    columns = build_columns(Page((series,), FIELDS))
    if series.axis.kind == "instant":
        columns["timestamp"] = np.array(openbb_shapes.show_times(series), object)
    rows = encode_rows(columns, "json")
    return Response(b"[" + rows + b"]", media_type=JSON)
