"""Bars that figures are reckoned of, whatever their interval: of the days, or of the minutes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from api.bars.series import Series, find_range
from api.bars.view import View, derive_range, derive_ranges, derive_whole
from api.cache.minute_bars import tell_minutes
from api.routes.context import Context
from api.routes.many_minutes import part_minutes
from api.routes.symbols import part_view


class Taken(NamedTuple):
    """Bars, and what an answer says of them beside what it says of all."""

    series: Series
    told: Mapping[str, Any] = {}


async def take_whole(context: Context, view: View) -> Taken:
    """The whole series of the view's symbol, adjusted and of its interval."""
    if view.is_intraday:
        return await take_range(context, view._replace(start=None, end=None))
    return Taken(derive_whole(view, await context.take_view(view)))


async def take_range(context: Context, view: View) -> Taken:
    """The bars of the view's range."""
    if view.is_intraday:
        found = await context.take_minutes(view)
        return Taken(found.series, tell_minutes(view, [found]))
    return Taken(derive_range(view, await context.take_view(view)))


async def take_benchmark(context: Context, symbol: str | None, view: View) -> Series | None:
    """The whole series to compare with; None if none is asked for."""
    if not symbol:
        return None
    return (await take_whole(context, view._replace(symbols=(symbol,)))).series


async def find_rows(context: Context, series: Series, view: View) -> tuple[int, int]:
    """The bars of the view's range in its whole series, as series[first:last]."""
    if not view.is_intraday:
        return find_range(series, view.start, view.end)
    part = (await take_range(context, view)).series
    first = int(series.timestamps.searchsorted(part.timestamps[0])) if len(part) else 0
    return first, first + len(part)


async def part_known(context: Context, view: View, must_know: bool) -> tuple[View, list[str]]:
    """The view of those symbols that are known, and the unknown ones.

    A 404 Problem if none is known, or one is not that must be.
    """
    snapshot, cache = context.require_snapshot(), context.series_cache
    if all(cache.knows(snapshot, name) for name in view.symbols):
        return view, []
    catalog = await context.database.ask(snapshot, partial(cache.read_catalog, snapshot))
    return part_view(view, catalog, must_know)


async def part_stored(context: Context, view: View, must_know: bool) -> tuple[View, list[str]]:
    """The view of those symbols that have bars of its interval, and the others."""
    if view.is_intraday:
        return await part_minutes(context, view, must_know)
    return await part_known(context, view, must_know)


async def take_parts(context: Context, view: View) -> tuple[list[Series], dict[str, Any]]:
    """Of each symbol the bars of the range, and what is said of those shorter than a day."""
    if view.is_intraday:
        minutes = [await context.take_minutes(view, symbol) for symbol in view.symbols]
        return [each.series for each in minutes], tell_minutes(view, minutes)
    found = await context.take_views(view)
    return await context.series_cache.compute(lambda: derive_ranges(view, found)), {}
