"""Bars that figures are reckoned of, whatever their interval: of the days, or of the minutes."""

from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import Any, NamedTuple

from api.bars.series import Series, find_range, join_series, take_slice
from api.bars.view import StoredSeries, View, derive_range, derive_ranges, derive_whole
from api.cache.minute_bars import MinuteBars, tell_minutes
from api.cache.provisional import Added, add_provisional
from api.figures.comparison import find_common_days
from api.models.terms import DayOfInstant
from api.problems import Problem
from api.routes.context import Context, check_size
from api.routes.many_minutes import part_minutes
from api.routes.symbols import part_view

TOO_MANY_ROWS = "There are more than {} rows (MAX_ROWS): ask for a shorter range"


class Taken(NamedTuple):
    """Bars, and what an answer says of them beside what it says of all.

    first, last: the bars of the range are series[first:last].
    """

    series: Series
    told: Mapping[str, Any]
    first: int
    last: int


async def take_range(context: Context, view: View) -> Taken:
    """The bars of the view's range alone."""
    if view.is_intraday:
        found = await context.take_all_minutes(view)
        series, told = found.series, tell_minutes(view, [found])
    else:
        series, told = derive_range(view, await context.take_view(view)), {}
    return Taken(series, told, 0, len(series))


async def take_with_past(context: Context, view: View, bars: int | None = None) -> Taken:
    """The bars of the view's range, and those before them that bear on its figures: as many as
    are given, else all. Of days, which cost little, the whole series."""
    if view.is_intraday:
        found = await context.take_minutes(view, most=context.max_rows)
        if len(found.series) > context.max_rows:
            raise Problem(422, TOO_MANY_ROWS.format(context.max_rows))
        past = await take_past(context, view, found.series, bars)
        series, told = join_series([past, found.series]), tell_minutes(view, [found])
        return Taken(series, told, len(past), len(series))
    series = derive_whole(view, await context.take_view(view))
    first, last = find_range(series, view.start, view.end)
    check_size(last - first, context.max_rows)
    return Taken(series, {}, first, last)


async def take_past(context: Context, view: View, part: Series, bars: int | None) -> Series:
    """The last bars before those of a range, or all of them."""
    if bars == 0 or not len(part):
        return take_slice(part, slice(0))
    begin = DayOfInstant.of(part.timestamps[0].item().replace(tzinfo=UTC))
    before = view._replace(start=None, end=None, order="desc")
    if bars is None:
        return (await context.take_all_minutes(before, kept=len(part), after=begin)).series
    found = (await context.take_minutes(before, most=bars, after=begin)).series
    return take_slice(found, slice(max(0, len(found) - bars), None))


async def take_benchmark(context: Context, symbol: str | None, view: View) -> Series | None:
    """The whole series to compare with; None if none is asked for."""
    if not symbol:
        return None
    whole = view._replace(symbols=(symbol,), start=None, end=None)
    return (await take_range(context, whole)).series


def cut_past(taken: Taken, benchmark: Series, bars: int) -> tuple[Taken, Series]:
    """Without the bars before the range that bear on no figure: so many common ones are kept."""
    if taken.first == taken.last:
        return taken, benchmark
    series = taken.series
    common = find_common_days(series, benchmark)
    place = int(common.searchsorted(series.timestamps[taken.first])) - bars
    if place <= 0:
        return taken, benchmark
    own, other = (int(each.timestamps.searchsorted(common[place])) for each in (series, benchmark))
    own = min(own, taken.first)
    kept = take_slice(series, slice(own, None))
    cut = Taken(kept, taken.told, taken.first - own, taken.last - own)
    return cut, take_slice(benchmark, slice(other, None))


async def take_with_added(context: Context, view: View) -> tuple[list[StoredSeries], list[Added]]:
    """What is stored of each of the view's symbols, with provisional bars where it wants them."""
    found: list[StoredSeries] = [*await context.take_views(view)]
    if not view.provisional:
        return found, []
    pairs = [await add_provisional(context, view, stored) for stored in found]
    return [stored for stored, _ in pairs], [added for _, added in pairs]


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
        minutes: list[MinuteBars] = []
        for symbol in view.symbols:
            kept = sum(len(each.series) for each in minutes)
            minutes.append(await context.take_all_minutes(view, symbol, kept))
        return [each.series for each in minutes], tell_minutes(view, minutes)
    found = await context.take_views(view)
    return await context.series_cache.compute(lambda: derive_ranges(view, found)), {}
