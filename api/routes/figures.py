"""Figures of one symbol: statistics, rolling, indicators, returns, drawdowns."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Response
from fastapi import Query as InQuery

from api.bars.series import Floats, Series, take_slice
from api.bars.view import View, build_figures_view, tell_instant
from api.docs import openapi as docs
from api.edge.depends import depends_on_symbols
from api.edge.room import CELL_BYTES
from api.edge.route_table import weighs
from api.encode.formats import JSON, wrap_rows
from api.encode.text import write_rows
from api.figures.answers import NOTHING, build_statistics, describe
from api.figures.drawdowns import list_drawdowns
from api.figures.formulas import explain_performance
from api.figures.indicators import compute_indicators, count_past, parse_indicators
from api.figures.returns import compute_returns, get_periods
from api.figures.rolling import roll
from api.models import (
    DrawdownsAnswer,
    DrawdownsQuery,
    FiguresPage,
    IndicatorsQuery,
    ReturnsQuery,
    RollingQuery,
    Statistics,
    StatisticsQuery,
    Symbol,
)
from api.models.terms import find_session_day
from api.problems import Problem
from api.routes.context import Context, ContextOf, check_size
from api.routes.lists import answer_json
from api.routes.taken import Taken, cut_past, take_benchmark, take_range, take_with_past

router = APIRouter(tags=["figures"])

T = TypeVar("T")

FEW = 5  # drawdowns, where no number is asked for
ROWS_AT_ONCE = 500  # more rows are encoded in turns with other requests
BARS_AT_ONCE = 50_000  # more bars are reckoned with beside the event loop
CELLS_A_ROW = 10  # figures of one answer: so many times MAX_ROWS


@router.get(
    "/instruments/{symbol}/statistics",
    summary="Statistics of a range",
    responses=docs.answers(Statistics, "statistics", 404, 422, 503),
)
@depends_on_symbols("benchmark")
@weighs(2)
async def read_statistics(
    symbol: Symbol, query: Annotated[StatisticsQuery, InQuery()], context: ContextOf
) -> Response:
    """Return, risk, extremes and volume over a range; with `benchmark` beta, alpha and the like.

    Null where there are too few bars. `explain` adds what each figure is made of.
    """
    view = build_figures_view([symbol], query)
    series, told, *_ = await take_range(context, view)
    other = view._replace(symbols=(query.benchmark or symbol,))
    benchmark = (await take_range(context, other)).series if query.benchmark else None
    asked = (series, benchmark, query.interval, query.risk_free, query.periods)
    figures = await compute(context, len(series), lambda: build_statistics(*asked, told))
    answer = {**figures, **tell_instant(query.as_of)}
    if query.explain:
        missing = await count_missing(context, series, view)
        answer["explain"] = {**missing, **explain_performance(*asked)}
    return answer_json(answer)


@router.get(
    "/instruments/{symbol}/rolling",
    summary="A figure over a moving window",
    responses=docs.answers(FiguresPage, "rolling", 404, 422, 503),
)
@depends_on_symbols("benchmark")
@weighs(2)
async def read_rolling(
    symbol: Symbol, query: Annotated[RollingQuery, InQuery()], context: ContextOf
) -> Response:
    """Return, volatility, Sharpe ratio or beta over the last `window` returns, for each bar.

    Reckoned over the whole history, so that a range does not change its values.
    """
    if query.what == "beta" and not query.benchmark:
        raise Problem(422, "what=beta wants a benchmark: add benchmark=SYMBOL")
    view = build_figures_view([symbol], query)
    benchmark = await take_benchmark(context, query.benchmark, view)
    taken = await take_with_past(context, view, None if benchmark else query.window)
    if view.is_intraday and benchmark is not None:
        whole = taken, benchmark, query.window
        taken, benchmark = await context.compute(lambda: cut_past(*whole))
    series = taken.series
    periods = query.periods or get_periods(query.interval, series)
    asked = (query.window, query.what, benchmark, query.risk_free, query.interval, periods)
    told = {"periods": periods}
    return await answer_columns(
        context, taken, view.as_of, 1, lambda: {query.what: roll(series, *asked)}, told
    )


@router.get(
    "/instruments/{symbol}/indicators",
    summary="Technical indicators",
    responses=docs.answers(FiguresPage, "indicators", 404, 422, 503),
)
@depends_on_symbols()
@weighs(2)
async def read_indicators(
    symbol: Symbol, query: Annotated[IndicatorsQuery, InQuery()], context: ContextOf
) -> Response:
    """sma, ema, rsi, macd, bbands, atr, vwap, obv, stoch; null while an indicator warms up.

    Reckoned over the whole history, so that a range does not change its values.
    """
    try:
        specs = parse_indicators(query.names)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    view = build_figures_view([symbol], query)
    taken = await take_with_past(context, view, count_past(specs))
    return await answer_columns(
        context, taken, view.as_of, len(specs), lambda: compute_indicators(taken.series, specs)
    )


@router.get(
    "/instruments/{symbol}/returns",
    summary="Returns",
    responses=docs.answers(FiguresPage, "returns", 404, 422, 503),
)
@depends_on_symbols()
@weighs(2)
async def read_returns(
    symbol: Symbol, query: Annotated[ReturnsQuery, InQuery()], context: ContextOf
) -> Response:
    """The return of each bar of the range against the one before it; the first bar has none."""
    view = build_figures_view([symbol], query)
    part, told, *_ = await take_range(context, view)
    check_size(len(part), context.max_rows)
    columns = {"timestamp": part.stamps[1:], "return": compute_returns(part, query.kind)}
    count = {"count": max(0, len(part) - 1)}
    description = {**describe(part, told), **tell_instant(query.as_of), **count}
    return await answer_rows(context, description, columns)


@router.get(
    "/instruments/{symbol}/drawdowns",
    summary="The deepest drawdowns",
    responses=docs.answers(DrawdownsAnswer, "drawdowns", 404, 422, 503),
)
@depends_on_symbols()
@weighs(2)
async def read_drawdowns(
    symbol: Symbol, query: Annotated[DrawdownsQuery, InQuery()], context: ContextOf
) -> Response:
    """Falls from a peak till its close is reached again, the deepest first."""
    most = check_most(query.most, context.max_rows)
    view = build_figures_view([symbol], query)
    part, told, *_ = await take_range(context, view)
    asked = part.close, part.stamps, most
    found = await compute(context, len(part), lambda: list_drawdowns(*asked))
    description = {**describe(part, told), **tell_instant(query.as_of), "count": len(found)}
    return answer_json({**description, "next": None, "data": found})


def check_most(most: int | None, max_rows: int) -> int:
    """The number of drawdowns to give: `most`, or a few."""
    check_size(most or 0, max_rows, "ask for fewer by most=")
    return most or min(FEW, max_rows)


async def compute(context: Context, rows: int, work: Callable[[], T]) -> T:
    """Arithmetic on few bars at once, on many in a thread."""
    return work() if rows <= BARS_AT_ONCE else await context.compute(work)


async def count_missing(context: Context, series: Series, view: View) -> dict[str, Any]:
    """The sessions of the range that have no bar: of daily bars, which alone know their gaps."""
    if view.is_intraday:
        return {}
    start, end = (find_session_day(day, series.calendar) for day in (view.start, view.end))
    missing = await context.ask(lambda c: c.count_gaps(series.symbol, start, end, view.as_of))
    return {"sessions_missing": missing}


def check_cells(rows: int, columns: int, most_rows: int) -> None:
    most = CELLS_A_ROW * most_rows
    if rows * columns > most:
        raise Problem(
            422,
            f"{rows} rows of {columns} figures are more than {most} ({CELLS_A_ROW} x MAX_ROWS):"
            " ask for a shorter range, or for fewer figures",
        )


async def answer_columns(
    context: Context,
    taken: Taken,
    as_of: datetime | None,
    count: int,
    compute: Callable[[], dict[str, Floats]],
    told: Mapping[str, Any] = NOTHING,
) -> Response:
    """`count` figures over all bars that were taken, cut to those asked for; `told` goes along.

    In a thread: wide windows take many times as long as an answer may hold up others.
    """
    series, _, first, last = taken
    check_cells(last - first, count, context.max_rows)
    await context.reserve(len(series) * count * CELL_BYTES)
    columns = await context.series_cache.compute(compute)
    stamps = take_slice(series, slice(first, last)).stamps
    cut = {name: column[first:last] for name, column in columns.items()}
    check_cells(last - first, len(cut), context.max_rows)
    description = {
        **describe(series, taken.told),
        **tell_instant(as_of),
        **told,
        "count": last - first,
    }
    return await answer_rows(context, description, {"timestamp": stamps, **cut})


async def answer_rows(
    context: Context, description: dict[str, Any], columns: dict[str, Any]
) -> Response:
    """Few rows at once; many piece by piece, in turns with other requests."""
    rows = len(columns["timestamp"])
    await context.reserve(rows * len(columns) * CELL_BYTES)
    pieces = write_rows(columns, "json")
    text = (
        b"".join(pieces) if rows <= ROWS_AT_ONCE else await context.series_cache.turns.join(pieces)
    )
    return Response(wrap_rows({**description, "next": None}, text), media_type=JSON)
