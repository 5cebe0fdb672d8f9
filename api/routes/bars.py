"""/instruments/{symbol}/ohlcv: a symbol's bars in any range, interval, adjustment and format."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, TypedDict

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.bars.adjust import tell_actions
from api.bars.series import Series, cut_page, keep_bars, select_fields, slice_days, take_slice
from api.cache.series_cache import CachedSeries, derive_series
from api.docs import openapi as docs
from api.edge.depends import depends_on_symbols
from api.edge.negotiate import choose_format
from api.edge.room import ROW_BYTES
from api.encode.formats import JSON, Format, Page, build_headers, encode_header
from api.encode.text import encode_json
from api.encode.turns import ROWS_AT_ONCE
from api.models import BarsPage, BarsQuery, HistoryQuery, PageQuery, Symbol
from api.problems import Problem
from api.routes import Store, StoreOf, check_range, move_on
from api.store import queries

router = APIRouter(tags=["bars"])

NOTHING_KNOWN = (
    "Nothing of this was known at {}Z: its first bars were loaded later. Take a later as_of, or"
    " none for what is known now."
)


@router.get(
    "/instruments/{symbol}/ohlcv",
    summary="Bars of one symbol",
    responses=docs.bar_answers(BarsPage, "ohlcv", 404, 406, 422, 503),
)
@depends_on_symbols()
async def read_ohlcv(
    symbol: Symbol, request: Request, query: Annotated[BarsQuery, InQuery()], store: StoreOf
) -> Response:
    """Open, high, low, close and volume, one row a bar. `start` and `end` are inclusive.

    A range without bars is an empty list. More rows than `limit`: `next` goes on after the last.
    """
    limit, fields = check_page(store, query)
    chosen = read_format(request, query.format)
    held = await take_as_of(store, symbol, query.as_of)
    series = derive_series(held, query.adjustment, query.adjusted_as_of, query.interval)
    series = slice_days(series, query.start, query.end)
    kept = (await leave_out_noted(store, [series], query.as_of))[0] if is_strict(query) else series
    rest = pass_over(kept, query.after, query.order)
    part, following = cut_page(rest, limit, query.order)
    if following is not None:
        check_whole(chosen, query, len(kept), store.max_rows)
    moved = move_on(request, after=str(part.days[-1])) if following else None
    form = read_csv_form(query, chosen)
    page = Page((part,), fields, moved, **form)
    if is_plain(query) and query.as_of is None and query.quality == "all":
        store.series_cache.count_encoded(held, len(part))
    told = tell_view(query, len(series) - len(kept)) | tell_actions(series)
    told |= tell_nothing_known(query.as_of, [held])
    return await answer_page(store, page, chosen, told)


def pass_over(series: Series, after: date | None, order: str) -> Series:
    """The bars that come after a day in an order, sorted as before."""
    if after is None:
        return series
    day = np.datetime64(after)
    if order == "desc":
        return take_slice(series, slice(int(np.searchsorted(series.days, day))))
    return take_slice(series, slice(int(np.searchsorted(series.days, day, "right")), None))


def check_whole(chosen: Format, query: PageQuery, rows: int, most: int) -> None:
    """Refuse to cut a table that has no room for `next`, unless a limit asked for a part."""
    if chosen.is_file and query.limit is None:
        raise Problem(
            422,
            f"{rows} rows are more than {most} (MAX_ROWS), and {chosen.name} cannot say that more"
            f" follow: ask for fewer symbols or a shorter range, or for pages by limit={most},"
            " whose Link header leads to the next",
        )


def check_page(store: Store, query: HistoryQuery) -> tuple[int, tuple[str, ...]]:
    """The rows of a page and the columns asked for; all that can be refused before bars are read
    is refused here."""
    check_range(query.start, query.end)
    if is_strict(query) and query.interval != "1d":
        raise Problem(422, "quality=strict leaves out days: it goes with interval=1d only")
    return store.check_limit(query.limit), read_fields(query.fields, query.interval)


def is_strict(query: HistoryQuery) -> bool:
    return query.quality == "strict"


def tell_view(query: HistoryQuery, left_out: int) -> dict[str, object]:
    """What an answer says of the view that was asked for, where one was."""
    told: dict[str, object] = {}
    if query.as_of:
        told["as_of"] = f"{query.as_of.isoformat()}Z"
    if is_strict(query):
        told["left_out"] = left_out
    return told


def tell_nothing_known(as_of: datetime | None, found: Sequence[CachedSeries]) -> dict[str, str]:
    """Why an answer is empty that an instant leaves nothing of."""
    if as_of is None or any(len(held.series) for held in found):
        return {}
    return {"detail": NOTHING_KNOWN.format(as_of.isoformat())}


class CsvForm(TypedDict):
    sep: str
    decimal: str


def read_csv_form(query: PageQuery, chosen: Format) -> CsvForm:
    """What stands between two values, and between whole and parts of a number."""
    decimal = query.decimal or "."
    sep = query.sep or (";" if decimal == "," else ",")
    if (sep, decimal) != (",", ".") and chosen.name != "csv":
        raise Problem(422, "sep and decimal are of CSV: add format=csv, or leave them out")
    if sep == decimal:
        raise Problem(422, "sep and decimal are both a comma: write sep=; or leave it out")
    return {"sep": "\t" if sep == "tab" else sep, "decimal": decimal}


def is_plain(query: PageQuery) -> bool:
    """Whether the rows are those of the prepared text."""
    return (query.interval, query.adjustment, query.fields) == ("1d", "raw", None)


async def take_as_of(store: Store, symbol: str, as_of: datetime | None) -> CachedSeries:
    """The series as it is, or as it was known: without later bars, values and actions."""
    if as_of is None:
        return await store.take(symbol)
    return (await store.series_cache.take_many(store.snapshot, [symbol], as_of))[0]


async def leave_out_noted(
    store: Store, parts: Sequence[Series], as_of: datetime | None
) -> list[Series]:
    symbols = [part.symbol for part in parts]
    noted = await store.ask(
        lambda cursor: queries.read_noted_days(cursor, symbols, as_of), is_wide=len(symbols) > 1
    )
    pairs = zip(parts, noted, strict=True)
    return [keep_bars(part, ~np.isin(part.days, days)) for part, days in pairs]


def read_format(request: Request, name: str | None) -> Format:
    try:
        return choose_format(name, request.headers.get("accept"))
    except ValueError as error:
        raise Problem(406, str(error)) from None


def read_fields(fields: str | None, interval: str) -> tuple[str, ...]:
    try:
        return select_fields(fields, interval)
    except ValueError as error:
        raise Problem(422, str(error)) from None


async def answer_page(
    store: Store, page: Page, chosen: Format, told: dict[str, object] | None = None
) -> Response:
    """A page in a format; `told` goes into a JSON answer, and into X- headers of the others."""
    await store.reserve(len(page) * ROW_BYTES)
    if len(page) <= ROWS_AT_ONCE:
        body = chosen.encode(page)
    elif chosen.is_text:
        body = await store.series_cache.turns.join(chosen.write(page))
    else:
        body = await anyio.to_thread.run_sync(chosen.encode, page)
    headers = build_headers(page, chosen)
    if told and chosen.media_type == JSON:
        body = b"{" + encode_json(told)[1:-1] + b"," + body[1:]
    elif told:
        values = {
            name: encode_header(value) for name, value in told.items() if value not in ([], None)
        }
        headers |= {f"X-{name.replace('_', '-').title()}": values[name] for name in values}
    return Response(body, headers=headers, media_type=chosen.media_type)
