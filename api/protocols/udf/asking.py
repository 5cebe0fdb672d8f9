"""What a chart means by what it asks, and which symbols it may ask for."""

from collections.abc import Sequence
from functools import partial

from api.bars.intraday import INTERVAL_SECONDS
from api.bars.resample import resample
from api.bars.series import Series
from api.bars.view import View, derive_whole
from api.cache.series_cache import CachedSeries
from api.problems import Problem
from api.protocols.udf import minutes as udf_minutes
from api.protocols.udf import shapes, symbols
from api.routes.context import Context
from api.store import Rows


async def name_symbol(context: Context, text: str) -> str:
    """The symbol that a chart means: a stored one may hold a colon itself."""
    name = text.strip().upper()
    if ":" not in name:
        return name
    listed = await list_symbols(context)
    if name in listed:
        return name
    exchange, symbol = symbols.split_symbol(name)
    if symbol in listed:
        is_listed = exchange in ("", listed[symbol])
    else:
        is_listed = exchange in listed.values()
    return symbol if is_listed else name


async def list_symbols(context: Context) -> dict[str, str | None]:
    """Symbol → exchange, of all that have bars."""
    alone = await udf_minutes.list_alone(context)
    short = {each["symbol"]: each["exchange"] for each in alone}
    if context.snapshot is None and alone:
        return short
    snapshot = context.require_snapshot()
    read = partial(context.series_cache.read_catalog, snapshot)
    catalog = await context.database.ask(snapshot, read)
    return short | {name: entry.exchange for name, entry in catalog.items()}


async def list_exchanges(context: Context) -> list[str]:
    """The exchanges of all that have bars, in order."""
    alone = await udf_minutes.list_alone(context)
    short = {each["exchange"] for each in alone if each["exchange"]}
    if context.snapshot is None and alone:
        return sorted(short)
    return sorted(short | {*await context.ask(lambda reader: reader.read_exchanges())})


async def search(context: Context, q: str, kind: str, exchange: str, limit: int) -> Rows:
    """Listings whose symbol contains `q`, of a kind and an exchange; "": of any."""
    short = await udf_minutes.list_alone(context)
    alone = [
        each
        for each in short
        if q in each["symbol"] and kind in ("", each["kind"]) and exchange in ("", each["exchange"])
    ]
    found: Rows = []
    if context.snapshot is not None or not short:
        found = await context.ask(lambda c: c.search_listings(q, kind, exchange, limit))

    def rank(listing: dict[str, str]) -> tuple[bool, bool, str]:
        name = listing["symbol"]
        return name != q, not name.startswith(q), name

    return sorted([*found, *alone], key=rank)[:limit]


async def read_asked(context: Context, text: str, resolution: str) -> tuple[str, str]:
    """The symbol, and the interval of the resolution, where that is one that it has."""
    symbol = await name_symbol(context, text)
    interval = symbols.RESOLUTIONS.get(resolution)
    if interval is not None and interval not in INTERVAL_SECONDS:
        return symbol, interval
    is_alone = await udf_minutes.has_minutes_alone(context, symbol)
    if not is_alone:
        await context.take(symbol)
    stored = await udf_minutes.list_intervals(context, symbol)
    if interval is None or interval not in stored:
        possible: Sequence[str] = symbols.list_resolutions(stored, has_days=not is_alone)
        raise Problem(422, f"resolution={resolution}: possible are {', '.join(possible)}")
    return symbol, interval


async def take_bars(
    context: Context, symbol: str, interval: str
) -> tuple[CachedSeries, Series, Series]:
    """The cached series, its daily bars, and those of an interval of a day or longer."""
    view = View((symbol,), adjustment=shapes.ADJUSTMENT)
    held = await context.take_view(view)
    daily = derive_whole(view, held)
    return held, daily, resample(daily, interval)
