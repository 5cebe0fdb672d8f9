"""Bars shorter than a day, as a chart asks for them by UDF: a range is never the whole history."""

from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from api.bars.intraday import INTERVAL_SECONDS
from api.bars.series import Series
from api.bars.view import View
from api.models.terms import DayOfInstant
from api.protocols.udf import shapes
from api.protocols.udf.symbols import build_symbol, find_kind
from api.routes.context import Context
from api.store.minutes.views import MinuteView

Row = dict[str, Any]

# Instants that have a year, whatever the clock: a chart asks from 0 and to what it likes.
NEWEST = 1000  # bars, whose decimals are those of all
EARLIEST, LATEST = -62_000_000_000, 253_300_000_000


def read_bound(second: int) -> DayOfInstant:
    return DayOfInstant.of(datetime.fromtimestamp(min(max(second, EARLIEST), LATEST), UTC))


async def list_stored(context: Context) -> Sequence[str]:
    """The intervals shorter than a day that any symbol has; none while their store is down."""
    view = await context.find_minute_view()
    return view.stored if view else ()


async def describe_minutes(context: Context, symbol: str) -> tuple[Sequence[str], bool]:
    """The intervals shorter than a day that a symbol has, and whether those are synthetic; none
    while their store is down: charts of days go on."""
    return describe(await context.find_minute_view(), symbol)


async def list_intervals(context: Context, symbol: str) -> Sequence[str]:
    """The intervals shorter than a day that a symbol has. MinutesDown."""
    return describe(await context.take_minute_view(), symbol)[0]


def describe(view: MinuteView | None, symbol: str) -> tuple[Sequence[str], bool]:
    if view is None:
        return (), False
    bases = view.instruments.get(symbol, {})
    return view.list_intervals(symbol), any(each.is_synthetic for each in bases.values())


async def list_alone(context: Context) -> list[Row]:
    """Listings of the symbols that have bars shorter than a day and no others."""
    view, daily = await context.find_minute_view(), list_daily(context)
    if view is None:
        return []
    first = ((name, next(iter(bases.values()))) for name, bases in view.instruments.items())
    return [build_listing(name, each.exchange) for name, each in first if name not in daily]


def list_daily(context: Context) -> Container[str]:
    return context.snapshot.versions if context.snapshot else ()


def build_listing(symbol: str, exchange: str) -> Row:
    return {"symbol": symbol, "exchange": exchange, "kind": find_kind(symbol, exchange)}


async def has_minutes_alone(context: Context, symbol: str) -> bool:
    """Whether all bars of a symbol are shorter than a day."""
    view = await context.find_minute_view()
    return view is not None and symbol in view.instruments and symbol not in list_daily(context)


async def read_symbol(context: Context, symbol: str) -> Row:
    """What a chart has to know of a symbol without daily bars, as its newest bars have it."""
    intervals, is_synthetic = await describe_minutes(context, symbol)
    newest = View((symbol,), interval=intervals[0], order="desc")
    series = (await context.take_minutes(newest, most=NEWEST)).series
    listing = build_listing(symbol, series.calendar)
    return build_symbol(listing, series, intervals, is_synthetic, has_days=False)


def build_view(symbol: str, interval: str, start: int | None, end: int) -> View:
    """The bars that begin from `start` on and before `end`, newest first."""
    bounds = None if start is None else read_bound(start), read_bound(end - 1)
    return View((symbol,), *bounds, interval, shapes.ADJUSTMENT, order="desc")


async def read_history(
    context: Context, symbol: str, interval: str, start: int | None, end: int, countback: int
) -> Row:
    """As shapes.build_history, of no more bars than are shown."""
    begin = None if countback else start
    most = min(countback or context.max_rows, context.max_rows)
    view = build_view(symbol, interval, begin, end)
    series = (await context.take_minutes(view, most=most)).series
    if not len(series) and begin is not None:
        view = build_view(symbol, interval, None, begin)
        series = (await context.take_minutes(view, most=1)).series
    return shapes.build_history(series, start, end, countback, context.max_rows)


async def take_range(context: Context, symbol: str, interval: str, start: int, end: int) -> Series:
    """The bars from `start` to `end`, both inclusive; of too many the newest."""
    view = build_view(symbol, interval, start, end + 1)
    return (await context.take_minutes(view, most=context.max_rows)).series


async def read_marks(context: Context, symbol: str, interval: str, start: int, end: int) -> Row:
    """Notes on minutes as marks on the bars that hold them."""
    bars = await take_range(context, symbol, interval, start, end)
    times, seconds = shapes.list_times(bars), INTERVAL_SECONDS[interval]
    notes = await read_notes(context, symbol, interval, times, seconds)
    instants = np.array([note["second"] for note in notes], np.int64)
    places = shapes.place_instants(instants, bars, seconds)
    return shapes.build_marks(notes, places, bars, start, end)


async def read_notes(
    context: Context, symbol: str, interval: str, times: shapes.Times, seconds: int
) -> list[Row]:
    """The notes on the stored bars that these bars are made of; timestamp: as it is shown."""
    minutes = await context.take_minute_view()
    base = minutes.find_base(symbol, interval) if minutes else None
    if minutes is None or base is None or not len(times):
        return []
    first, last = (
        datetime.fromtimestamp(each, UTC).replace(tzinfo=None)
        for each in (int(times[0]), int(times[-1]) + seconds)
    )
    table = await context.minutes.ask(
        lambda: minutes.snapshot.notes(symbol, base.interval, first, last)
    )
    return [
        {
            "second": int(row["timestamp"].replace(tzinfo=UTC).timestamp()),
            "timestamp": f"{row['timestamp']:%Y-%m-%dT%H:%M:%SZ}",
            "reason": row["kind"],
            "detail": row["detail"],
        }
        for row in table.slice(0, context.max_rows).to_pylist()
    ]
