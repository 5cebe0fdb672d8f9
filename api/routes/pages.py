"""How a page of bars goes out, of one symbol or of several: its format, its CSV, its answer."""

from typing import TypedDict

import anyio.to_thread
from fastapi import Request, Response

from api.bars.view import View
from api.edge.negotiate import choose_format
from api.edge.room import ROW_BYTES
from api.encode.formats import JSON, Format, Page, build_headers, encode_header
from api.encode.text import encode_json
from api.encode.turns import ROWS_AT_ONCE
from api.models import PageQuery
from api.problems import Problem
from api.routes.context import Context


def read_format(request: Request, name: str | None) -> Format:
    try:
        return choose_format(name, request.headers.get("accept"))
    except ValueError as error:
        raise Problem(406, str(error)) from None


class CsvForm(TypedDict):
    sep: str
    decimal: str


def read_csv_form(query: PageQuery, chosen: Format) -> CsvForm:
    """What stands between two values, and between whole and parts of a number."""
    decimal = query.decimal
    sep = query.sep or (";" if decimal == "," else ",")
    if (sep, decimal) != (",", ".") and chosen.name != "csv":
        raise Problem(422, "sep and decimal are of CSV: add format=csv, or leave them out")
    if sep == decimal:
        raise Problem(422, "sep and decimal are both a comma: write sep=; or leave it out")
    return {"sep": "\t" if sep == "tab" else sep, "decimal": decimal}


def check_whole(chosen: Format, view: View, rows: int | None, most: int) -> None:
    """Refuse to cut a table that has no room for `next`, unless a limit asked for a part; rows:
    None where they were not counted."""
    if chosen.is_file and view.limit is None:
        counted = "There are more rows" if rows is None else f"{rows} rows are more"
        raise Problem(
            422,
            f"{counted} than {most} (MAX_ROWS), and {chosen.name} cannot say that more"
            f" follow: ask for fewer symbols or a shorter range, or for pages by limit={most},"
            " whose Link header leads to the next",
        )


async def answer_page(
    context: Context, page: Page, chosen: Format, told: dict[str, object] | None = None
) -> Response:
    """A page in a format; `told` goes into a JSON answer, and into X- headers of the others."""
    await context.reserve(len(page) * ROW_BYTES)
    if len(page) <= ROWS_AT_ONCE:
        body = chosen.encode(page)
    elif chosen.is_text:
        body = await context.series_cache.turns.join(chosen.write(page))
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
