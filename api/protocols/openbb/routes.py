"""/widgets.json, /apps.json and /openbb: the store as a backend of OpenBB Workspace.

The workspace adds parameters of its own (theme, raw, and what its user sets for a backend), and
sends one that is left empty as an empty text: the first are passed over, the second are none.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi import Query as InQuery
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.bars.series import FIELDS, Series, cut_page, reverse_bars, slice_days
from api.cache.series_cache import derive_series
from api.edge.depends import depends_on_symbols
from api.encode.formats import JSON, Page, build_columns
from api.encode.text import encode_json, encode_rows
from api.figures.answers import build_statistics
from api.models import Adjustment, Day, Interval, LastDay
from api.protocols.openbb import shapes as openbb_shapes
from api.protocols.openbb import widgets
from api.routes import Store, StoreOf, check_range
from api.store import queries

router = APIRouter(include_in_schema=False)


def drop_empty(value: Any) -> Any:
    return value or None


Start = Annotated[Day | None, BeforeValidator(drop_empty)]
End = Annotated[LastDay | None, BeforeValidator(drop_empty)]


class WidgetQuery(BaseModel):
    model_config = ConfigDict(extra="ignore")

    symbol: str = Field(max_length=32)
    interval: Interval = "1d"
    adjustment: Adjustment = "split"
    start: Start = None
    end: End = None


class ChartQuery(WidgetQuery):
    theme: Literal["dark", "light"] = "dark"
    raw: bool = False


@router.get("/widgets.json")
async def list_widgets(store: StoreOf) -> Response:
    """What the workspace can show of this store."""
    return answer(widgets.build_widgets(await find_first(store)))


@router.get("/apps.json")
async def list_apps(store: StoreOf) -> Response:
    """A dashboard of these widgets."""
    return answer(widgets.build_apps(await find_first(store)))


@router.get("/openbb/symbols")
async def list_symbols(store: StoreOf) -> Response:
    """The choices of a widget's symbol."""
    most = store.max_rows
    rows = await store.ask(lambda c: queries.read_instruments(c, "", "", most))
    return answer([{"label": row["symbol"], "value": row["symbol"]} for row in rows])


@router.get("/openbb/price_chart")
@depends_on_symbols("symbol")
async def draw_prices(query: Annotated[ChartQuery, InQuery()], store: StoreOf) -> Response:
    """A Plotly figure of the newest bars of a range; `raw` gives their rows."""
    series = await take_newest(store, query)
    return (
        answer_rows(series)
        if query.raw
        else answer(openbb_shapes.build_figure(series, query.theme))
    )


@router.get("/openbb/bars")
@depends_on_symbols("symbol")
async def list_bars(query: Annotated[WidgetQuery, InQuery()], store: StoreOf) -> Response:
    """The newest bars of a range, newest first."""
    return answer_rows(reverse_bars(await take_newest(store, query)))


@router.get("/openbb/statistics")
@depends_on_symbols("symbol")
async def tell_statistics(query: Annotated[WidgetQuery, InQuery()], store: StoreOf) -> Response:
    """Figures of a range."""
    series = await take_bars(store, query)
    figures = build_statistics(series, interval=query.interval)
    return answer(openbb_shapes.build_metrics(figures, series))


@router.get("/openbb/coverage")
async def list_coverage(store: StoreOf) -> Response:
    """Sessions, gaps, notes and revisions of all instruments."""
    most = store.max_rows
    return answer(await store.ask(lambda c: queries.read_coverages(c, "", "", most), True))


async def find_first(store: Store) -> str | None:
    """The symbol that a widget begins with; None in an empty store."""
    rows = await store.ask(lambda c: queries.read_instruments(c, "", "", 1))
    return rows[0]["symbol"] if rows else None


async def take_bars(store: Store, query: WidgetQuery) -> Series:
    check_range(query.start, query.end)
    held = await store.take(query.symbol)
    series = derive_series(held, query.adjustment, interval=query.interval)
    return slice_days(series, query.start, query.end)


async def take_newest(store: Store, query: WidgetQuery) -> Series:
    """The last bars of the range, as many as an answer may have, oldest first."""
    series = await take_bars(store, query)
    return reverse_bars(cut_page(series, store.max_rows, "desc")[0])


def answer(value: Any) -> Response:
    return Response(encode_json(value), media_type=JSON)


def answer_rows(series: Series) -> Response:
    rows = encode_rows(build_columns(Page((series,), FIELDS)), "json")
    return Response(b"[" + rows + b"]", media_type=JSON)
