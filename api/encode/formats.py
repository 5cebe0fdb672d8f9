"""Bars as bytes: FORMATS, what a request chooses of them, and what is told beside the bars.

The same numbers in each: the shortest text that reads back as the same float, volumes whole (but
for those of a symbol that has some with decimals), an absent one null (in CSV empty). Each write
function is pure: Page → bytes, in pieces.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from api.bars.series import Series, show_day
from api.encode.text import encode_array, write_csv, write_rows
from api.encode.text import encode_json as encode_json

JSON = "application/json"
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Page:
    """One or more series of one interval and adjustment, to be encoded one after the other.

    fields: columns after timestamp (and symbol, which is a column if `is_many`, whether or not
    there are many here, or if it is among fields); next: relative URL of the bars that were cut
    off, None if none were; sep, decimal: of CSV; told: more of what the bars are.
    """

    parts: tuple[Series, ...]
    fields: tuple[str, ...]
    next: str | None = None
    is_many: bool = False
    sep: str = ","
    decimal: str = "."
    told: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class Format:
    name: str
    media_type: str
    extension: str
    write: Callable[[Page], Iterable[bytes]]
    is_file: bool = False  # for a browser to save rather than show
    is_text: bool = True  # written piece by piece, in Python

    def encode(self, page: Page) -> bytes:
        return b"".join(self.write(page))


def describe(page: Page) -> dict[str, Any]:
    """What a page is of; `next` says what was cut off."""
    told = describe_bars(page.parts[0], len(page), page.next, page.told)
    if not page.is_many:
        return told
    del told["symbol"]
    return {"symbols": [part.symbol for part in page.parts], **told}


def describe_bars(
    series: Series, count: int, after: str | None = None, more: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """What `count` bars of a series are; `after` is the page after them."""
    return {
        "symbol": series.symbol,
        "interval": series.interval,
        **more,
        "adjustment": series.adjustment,
        "count": count,
        "next": after,
    }


def build_columns(page: Page) -> dict[str, Any]:
    """name → values: datetime64[D] (of instants [s]), text, float64, masked int64 or bool;
    timestamp first."""
    columns = {"timestamp": join_column(page, "stamps")}
    if page.is_many or "symbol" in page.fields:
        names = np.array([part.symbol for part in page.parts], object)
        columns["symbol"] = np.repeat(names, [len(part) for part in page.parts])
    fields = (name for name in page.fields if name != "symbol")
    return columns | {name: join_column(page, name) for name in fields}


def join_column(page: Page, name: str) -> Any:
    columns = [getattr(part, name) for part in page.parts]
    if len(columns) == 1:
        return columns[0]
    return (np.ma if name == "volume" else np).concatenate(columns)


# Encoding.


def write_page(page: Page) -> Iterator[bytes]:
    """{"symbol", "interval", "adjustment", "count", "next", "data": [one object a bar]}."""
    yield orjson.dumps({**describe(page), "data": []})[:-2]
    yield from write_rows(build_columns(page), "json")
    yield b"]}"


def wrap_rows(description: dict[str, Any], rows: bytes | memoryview) -> bytes:
    """A JSON answer around rows that are encoded already (see texts.slice_rows)."""
    return b"".join((orjson.dumps({**description, "data": []})[:-2], rows, b"]}"))


def write_columns(page: Page) -> Iterator[bytes]:
    """As write_page, but for data: {"timestamp": [...], "open": [...], ...}."""
    yield orjson.dumps({**describe(page), "data": {}})[:-2]
    for place, (name, column) in enumerate(build_columns(page).items()):
        yield b'%b"%b":%b' % (b"," if place else b"", name.encode(), encode_array(column))
    yield b"}}"


def write_ndjson(page: Page) -> Iterator[bytes]:
    """One object a line, the last line ended too."""
    return write_rows(build_columns(page), "ndjson")


def write_csv_page(page: Page) -> Iterator[bytes]:
    return write_csv(build_columns(page), page.sep, page.decimal)


def build_batch(page: Page) -> Any:
    """An Arrow record batch; its schema's metadata is `describe`, without a next that is not.

    timestamp is date32: a day, as in CSV. polars and DuckDB have it as a Date; pandas has objects,
    which `pd.to_datetime` makes an index of. Of bars shorter than a day it is an instant, UTC.
    """
    arrays = {name: build_array(column) for name, column in build_columns(page).items()}
    told = {name: encode_told(value) for name, value in describe(page).items() if value is not None}
    return pa.RecordBatch.from_pydict(arrays, metadata=told)


def build_array(column: Any) -> Any:
    if isinstance(column, np.ma.MaskedArray):
        return pa.array(column.data, mask=np.ma.getmaskarray(column))
    if column.dtype.kind == "M":
        is_day = np.datetime_data(column.dtype)[0] == "D"
        return pa.array(column, None if is_day else pa.timestamp("s", "UTC"))
    return pa.array(column, pa.string() if column.dtype.kind == "O" else None)


def encode_told(value: Any) -> str:
    """A value of `describe` as text; lists and the like as JSON."""
    if isinstance(value, bool | list | dict):
        return orjson.dumps(value).decode()
    return str(value)


def write_arrow(page: Page) -> list[bytes]:
    """An Arrow IPC stream, not compressed: not every reader can undo that."""
    batch = build_batch(page)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return [bytes(sink.getvalue())]


def write_parquet(page: Page) -> list[bytes]:
    """zstd, and no dictionary but for symbols: prices seldom repeat, so one costs time and room."""
    table = pa.Table.from_batches([build_batch(page)])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=["symbol"])
    return [bytes(sink.getvalue())]


# Media types as registered with IANA. NDJSON has none; application/x-ndjson is what is in use.
# columns is JSON too, so only `format=` can ask for it.
FORMATS = {
    each.name: each
    for each in (
        Format("json", JSON, "json", write_page),
        Format("columns", JSON, "json", write_columns),
        Format("csv", "text/csv; charset=utf-8; header=present", "csv", write_csv_page, True),
        Format("ndjson", "application/x-ndjson", "ndjson", write_ndjson, True),
        Format(
            *("parquet", "application/vnd.apache.parquet", "parquet", write_parquet),
            is_file=True,
            is_text=False,
        ),
        Format(
            *("arrow", "application/vnd.apache.arrow.stream", "arrows", write_arrow),
            is_file=True,
            is_text=False,
        ),
    )
}


# What is told beside the bars.


def build_headers(page: Page, chosen: Format) -> dict[str, str]:
    """Link to what was cut off; and where the body cannot say it, what it is of, and its name."""
    headers = {"Link": f'<{page.next}>; rel="next"'} if page.next else {}
    if chosen.is_file:
        told = {name: value for name, value in describe(page).items() if name != "next"}
        if not told.get("synthetic", True):  # said where it is so
            del told["synthetic"]
        headers |= {f"X-{name.title()}": encode_header(value) for name, value in told.items()}
        file_name = build_file_name(page, chosen)
        headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return headers


def encode_header(value: Any) -> str:
    """Symbols joined by commas; what a header cannot hold, and a comma within one, as %XX."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        value = [f"{name}={each}" for name, each in value.items()]
    values = value if isinstance(value, list) else [value]
    return ",".join(quote(str(each), safe="^=!$&'()*+;:@/") for each in values)


def build_file_name(page: Page, chosen: Format) -> str:
    """AAPL_1d_raw_2012-01-03_2012-01-31.csv: the days are those of the first and last bar."""
    symbols = [part.symbol for part in page.parts]
    names = "-".join(symbols) if len(symbols) < 4 else f"{symbols[0]}-and-{len(symbols) - 1}-more"
    ends = [show_day(part, each) for part in page.parts for each in (0, -1) if len(part)]
    days = [min(ends), max(ends)] if ends else []
    told = describe(page)
    stem = "_".join((names, told["interval"], told["adjustment"], *days))
    return re.sub(r"^[-.]|[^A-Za-z0-9._-]", "_", stem) + f".{chosen.extension}"
