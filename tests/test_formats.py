"""Every format gives the same numbers to the readers that people use."""

import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bars.resample import resample
from api.bars.series import FIELDS, PRICES, Series, list_fields, reverse_bars, take_slice
from api.edge.negotiate import choose_format
from api.encode.formats import FORMATS, Page, build_file_name, build_headers, describe, wrap_rows
from api.encode.text import BLOCK, Prepared, encode_days, index_rows, slice_rows, write_bars

NEXT = "/instruments/AAPL/ohlcv?limit=2&start=2012-01-05"
# Floats that are hard to write: short, long, tiny, huge, whole, negative, and zeros of both signs.
HARD = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 1e16, 1e22, 123456789.0, -37.63, 0.0, -0.0]
VOLUMES = [None, 0, 1, 2**53 + 1, 2**63 - 1, None, 7, 8, 9, 10]

Rows = list[tuple[Any, ...]]


def make_series(count: int = len(HARD), symbol: str = "AAPL") -> Series:
    """Days of 2012 with hard floats, each column another, and volumes that may be absent."""
    axis = np.datetime64("2012-01-03") + np.arange(count)
    prices = {name: np.resize(np.roll(HARD, place), count) for place, name in enumerate(PRICES)}
    volumes = [VOLUMES[each % len(VOLUMES)] for each in range(count)]
    volume = np.ma.masked_array(
        np.array([each or 0 for each in volumes], np.int64), [each is None for each in volumes]
    )
    return Series(symbol, "raw", axis.astype("datetime64[s]"), **prices, volume=volume)


def make_page(series: Series, **others: Any) -> Page:
    return Page((series,), list_fields(series.interval), **others)


def encode_json_page(page: Page) -> bytes:
    return FORMATS["json"].encode(page)


def prepare_rows(series: Series) -> Prepared:
    return index_rows(b"".join(write_bars(series)))


def list_rows(series: Series) -> Rows:
    names = ("days", *list_fields(series.interval))
    return list(zip(*(getattr(series, name).tolist() for name in names), strict=True))


PAGES = {
    "hard floats": make_series(),
    "newest first": reverse_bars(make_series()),
    "no absent volume": take_slice(make_series(), np.s_[1:5]),
    "absent volumes only": take_slice(make_series(), np.s_[:1]),
    "months": resample(make_series(70), "1mo"),
    "more than a block": make_series(2 * BLOCK + 3),
}


@pytest.fixture(params=PAGES)
def series(request: pytest.FixtureRequest) -> Series:
    return PAGES[request.param]


# Readers: bytes → rows of (date, numbers …), None where absent.


def read_json(body: bytes) -> Rows:
    return [
        (date.fromisoformat(row.pop("timestamp")), *row.values())
        for row in json.loads(body)["data"]
    ]


def read_columns(body: bytes) -> Rows:
    days, *others = json.loads(body)["data"].values()
    return list(zip(map(date.fromisoformat, days), *others, strict=True))


def read_ndjson(body: bytes) -> Rows:
    rows = [json.loads(line) for line in body.decode().splitlines()]
    return [(date.fromisoformat(row.pop("timestamp")), *row.values()) for row in rows]


def from_pandas(frame: pd.DataFrame) -> Rows:
    days = [stamp.date() for stamp in pd.to_datetime(frame.pop("timestamp"))]
    columns = [[None if each is pd.NA else each for each in frame[name]] for name in frame]
    return list(zip(days, *columns, strict=True))


def from_polars(frame: pl.DataFrame) -> Rows:
    if "volume" in frame.columns:
        assert frame.schema["volume"] == pl.Int64
    return frame.with_columns(pl.col("timestamp").cast(pl.Date)).rows()


def pandas_csv(body: bytes) -> Rows:
    types = {"volume": "Int64"}
    return from_pandas(pd.read_csv(io.BytesIO(body), parse_dates=["timestamp"], dtype=types))


def pandas_parquet(body: bytes) -> Rows:
    frame = pd.read_parquet(io.BytesIO(body), dtype_backend="numpy_nullable")
    return from_pandas(frame)


def polars_csv(body: bytes) -> Rows:
    return from_polars(
        pl.read_csv(body, try_parse_dates=True, schema_overrides={"volume": pl.Int64})
    )


def polars_ndjson(body: bytes) -> Rows:
    """From one row polars cannot tell that a column of nulls is one of numbers."""
    types = dict.fromkeys(PRICES, pl.Float64) | {"volume": pl.Int64}
    names = json.loads(body.partition(b"\n")[0])
    frame = pl.read_ndjson(
        body, schema_overrides={name: types[name] for name in names if name in types}
    )
    return from_polars(frame.with_columns(pl.col("timestamp").str.to_date()))


def polars_parquet(body: bytes) -> Rows:
    return from_polars(pl.read_parquet(io.BytesIO(body)))


def polars_arrow(body: bytes) -> Rows:
    return from_polars(pl.read_ipc_stream(io.BytesIO(body)))


def pyarrow_arrow(body: bytes) -> Rows:
    table = pa.ipc.open_stream(body).read_all()
    return from_pandas(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))


def make_duckdb_reader(reader: str) -> Callable[[bytes, Path], Rows]:
    def read(body: bytes, folder: Path) -> Rows:
        file = folder / "bars"
        file.write_bytes(body)
        query = f"SELECT * REPLACE (timestamp::DATE AS timestamp) FROM {reader.format(file)}"
        return duckdb.sql(query).fetchall()

    return read


DOUBLES = ", ".join(f"{name}: 'DOUBLE'" for name in PRICES)
READERS = [
    ("json", read_json),
    ("columns", read_columns),
    ("ndjson", read_ndjson),
    ("ndjson", polars_ndjson),
    ("csv", pandas_csv),
    ("csv", polars_csv),
    ("parquet", pandas_parquet),
    ("parquet", polars_parquet),
    ("arrow", polars_arrow),
    ("arrow", pyarrow_arrow),
]
DUCKDB_READERS = [
    ("csv", f"read_csv('{{}}', types={{{{{DOUBLES}, volume: 'BIGINT'}}}})"),
    ("parquet", "read_parquet('{}')"),
    ("ndjson", "read_json('{}', format='newline_delimited')"),
]


def check_rows(got: Rows, expected: Rows) -> None:
    """Equal to the last digit; repr tells 0.0 from -0.0 and 1 from 1.0."""
    assert [tuple(map(plain, row)) for row in got] == [tuple(map(plain, row)) for row in expected]


def plain(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


@pytest.mark.parametrize(
    ("name", "read"), READERS, ids=lambda each: getattr(each, "__name__", each)
)
def test_every_reader_gets_the_same_numbers(
    series: Series, name: str, read: Callable[[bytes], Rows]
) -> None:
    check_rows(read(FORMATS[name].encode(make_page(series))), list_rows(series))


@pytest.mark.parametrize(("name", "reader"), DUCKDB_READERS)
def test_duckdb_gets_the_same_numbers(
    series: Series, name: str, reader: str, tmp_path: Path
) -> None:
    body = FORMATS[name].encode(make_page(series))
    check_rows(make_duckdb_reader(reader)(body, tmp_path), list_rows(series))


def test_duckdb_reads_an_arrow_stream(series: Series) -> None:
    table = pa.ipc.open_stream(FORMATS["arrow"].encode(make_page(series))).read_all()
    assert duckdb.from_arrow(table).types[0] == "DATE"
    rows = duckdb.from_arrow(table).fetchall()
    check_rows(rows, list_rows(series))


def test_days_are_days_to_every_reader_of_parquet() -> None:
    body = FORMATS["parquet"].encode(make_page(make_series()))
    frame = pd.read_parquet(io.BytesIO(body))
    frame = frame.set_index(pd.to_datetime(frame.pop("timestamp")))
    assert frame["2012-01-04":"2012-01-06"].shape == (3, 5)
    assert frame.resample("MS").size().tolist() == [10]
    polars = pl.read_parquet(io.BytesIO(body))
    assert polars.filter(pl.col("timestamp") <= date(2012, 1, 4)).height == 2


@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4), min_size=1, max_size=8
    ),
    st.lists(st.none() | st.integers(0, 2**63 - 1), min_size=8, max_size=8),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_numbers_come_back_from_every_format(
    prices: list[tuple[float, ...]], volumes: list[int | None]
) -> None:
    columns = dict(zip(PRICES, np.array(prices).T, strict=True))
    known = volumes[: len(prices)]
    volume = np.ma.masked_array([v or 0 for v in known], [v is None for v in known], dtype=np.int64)
    axis = np.datetime64("1999-12-30") + np.arange(len(prices))
    series = Series("X", "split", axis.astype("datetime64[s]"), **columns, volume=volume)
    for name, read in READERS:
        check_rows(read(FORMATS[name].encode(make_page(series))), list_rows(series))


# JSON rows, whole and sliced.


def build_rows(series: Series) -> list[dict[str, Any]]:
    """One dict a bar, in the order of the series; timestamp as 2012-01-31."""
    columns = [np.datetime_as_string(series.days, unit="D").tolist()]
    columns += [getattr(series, name).tolist() for name in FIELDS]
    names = ("timestamp", *FIELDS)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def test_a_page_of_json_is_what_it_always_was(series: Series) -> None:
    page = make_page(series, next=NEXT)
    rows = build_rows(series)
    if series.complete is not None:
        flags = series.complete.tolist()
        rows = [{**row, "complete": flag} for row, flag in zip(rows, flags, strict=True)]
    expected = {
        "symbol": "AAPL",
        "interval": series.interval,
        "adjustment": "raw",
        "count": len(series),
        "next": NEXT,
        "data": rows,
    }
    assert encode_json_page(page) == orjson.dumps(expected)


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_slice_of_prepared_rows_is_the_slice_encoded(data: st.DataObject) -> None:
    whole = make_series(40)
    whole = data.draw(
        st.sampled_from([whole, take_slice(whole, np.s_[:1]), resample(whole, "1wk")])
    )
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    page = make_page(take_slice(whole, slice(first, last)), next=NEXT)
    sliced = slice_rows(prepare_rows(whole), first, last)
    assert wrap_rows(describe(page), sliced) == encode_json_page(page)
    newest = prepare_rows(reverse_bars(whole))
    page = make_page(reverse_bars(take_slice(whole, slice(first, last))))
    sliced = slice_rows(newest, len(whole) - last, len(whole) - first)
    assert wrap_rows(describe(page), sliced) == encode_json_page(page)


def test_no_bars_are_an_empty_answer_in_every_format() -> None:
    none = take_slice(make_series(), np.s_[:0])
    for interval in ("1d", "1mo"):
        page = make_page(resample(none, interval))
        assert json.loads(encode_json_page(page))["data"] == []
        assert set(map(tuple, json.loads(FORMATS["columns"].encode(page))["data"].values())) == {()}
        assert FORMATS["ndjson"].encode(page) == b""
        header = ",".join(("timestamp", *page.fields)) + "\n"
        assert FORMATS["csv"].encode(page) == header.encode()
        for name in ("parquet", "arrow"):
            assert dict(READERS)[name](FORMATS[name].encode(page)) == []
    prepared = prepare_rows(none)
    assert (slice_rows(prepared, 0, 0), prepared.text, prepared.offsets.tolist()) == (b"", b"", [0])


def test_days_of_any_century_are_written_as_numpy_writes_them() -> None:
    for first in ("1899-12-30", "1970-01-01", "2100-12-30", "1677-01-01"):
        days = np.datetime64(first) + np.arange(3)
        assert encode_days(days) == [str(day).encode() for day in days]


def test_a_price_that_is_not_finite_is_null() -> None:
    """No stored price is; should one ever be, the answer still is JSON."""
    series = make_series(3)
    series.open[:] = [np.nan, np.inf, 1]
    page = make_page(series)
    for name in ("json", "columns", "ndjson"):
        assert [row[1] for row in dict(READERS)[name](FORMATS[name].encode(page))][:2] == [None] * 2
    assert FORMATS["csv"].encode(page).splitlines()[1].startswith(b"2012-01-03,,")


# Fields and several symbols.


def test_fields_are_the_columns_of_every_format() -> None:
    page = Page((make_series(),), ("volume", "close"))
    expected = [(row[0], row[5], row[4]) for row in list_rows(make_series())]
    for name, read in READERS:
        check_rows(read(FORMATS[name].encode(page)), expected)
    only = Page((make_series(2),), ())
    assert FORMATS["csv"].encode(only) == b"timestamp\n2012-01-03\n2012-01-04\n"
    assert json.loads(encode_json_page(only))["data"] == [
        {"timestamp": "2012-01-03"},
        {"timestamp": "2012-01-04"},
    ]


@pytest.mark.parametrize("odd", ["BRK.B", "NA", "TRUE", "ON", '-P-"HIZ', "A,B", "Ä\\\n\0"])
def test_several_symbols_have_a_column_for_it(odd: str) -> None:
    parts = (make_series(2), make_series(3, odd))
    page = Page(parts, FIELDS, NEXT, is_many=True)
    expected = [(row[0], part.symbol, *row[1:]) for part in parts for row in list_rows(part)]
    for name, read in READERS:
        if "csv" not in read.__name__:
            check_rows(read(FORMATS[name].encode(page)), expected)
    csv = io.BytesIO(FORMATS["csv"].encode(page))
    frame = pd.read_csv(csv, keep_default_na=False, dtype={"symbol": str})
    assert frame["symbol"].tolist() == [row[1] for row in expected]
    body = json.loads(encode_json_page(page))
    assert body["symbols"] == ["AAPL", odd]
    assert "symbol" not in body
    assert list(body["data"][0])[:2] == ["timestamp", "symbol"]


@pytest.mark.parametrize(
    ("symbol", "field"),
    [
        ("=1+1", "'=1+1"),
        ("+A1", "'+A1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("-CMD|X!A1", "'-CMD|X!A1"),
        ("-P-HIZ", "-P-HIZ"),
        ("ES=F", "ES=F"),
        ("^GSPC", "^GSPC"),
    ],
)
def test_no_symbol_goes_out_as_a_formula(symbol: str, field: str) -> None:
    page = make_page(make_series(1, symbol), is_many=True)
    row = FORMATS["csv"].encode(page).decode().splitlines()[1]
    assert row.split(",")[1] == field
    assert json.loads(FORMATS["ndjson"].encode(page))["symbol"] == symbol


def test_one_symbol_of_a_question_for_several_still_has_the_column() -> None:
    page = Page((make_series(1),), ("close",), is_many=True)
    assert FORMATS["csv"].encode(page).splitlines()[0] == b"timestamp,symbol,close"
    assert describe(page)["symbols"] == ["AAPL"]


# What was cut off is always said.


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_cut_off_is_said_in_every_format(name: str) -> None:
    chosen = FORMATS[name]
    for following in (NEXT, None):
        page = make_page(make_series(2), next=following)
        body, headers = chosen.encode(page), build_headers(page, chosen)
        assert headers.get("Link") == (f'<{NEXT}>; rel="next"' if following else None)
        if name in ("json", "columns"):
            assert json.loads(body)["next"] == following
            assert set(headers) <= {"Link"}
            continue
        assert headers["X-Symbol"] == "AAPL"
        assert headers["X-Interval"] == "1d"
        assert headers["X-Adjustment"] == "raw"
        assert headers["X-Count"] == "2"
        if name in ("parquet", "arrow"):
            metadata = read_metadata(name, body)
            assert metadata.pop("next", None) == following
            assert metadata == {
                "symbol": "AAPL",
                "interval": "1d",
                "adjustment": "raw",
                "count": "2",
            }


def read_metadata(name: str, body: bytes) -> dict[str, str]:
    schema = (
        pa.ipc.open_stream(body).schema
        if name == "arrow"
        else pq.read_schema(pa.BufferReader(body))
    )
    return {key.decode(): value.decode() for key, value in schema.metadata.items()}


def test_duckdb_and_polars_see_the_metadata_of_parquet(tmp_path: Path) -> None:
    file = tmp_path / "bars.parquet"
    parts = (make_series(2), make_series(2, "A,B"))
    file.write_bytes(FORMATS["parquet"].encode(Page(parts, FIELDS, NEXT, is_many=True)))
    found = dict(
        duckdb.sql(
            f"SELECT key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata('{file}')"
        ).fetchall()
    )
    assert found["next"] == NEXT
    assert json.loads(pl.read_parquet_metadata(file)["symbols"]) == ["AAPL", "A,B"]


def test_headers_hold_any_symbol() -> None:
    page = Page(
        (make_series(1, "A,B"), make_series(1, "Ä\r\nX: 1"), make_series(1, "^GSPC")),
        (),
        None,
        True,
    )
    headers = build_headers(page, FORMATS["csv"])
    assert headers["X-Symbols"] == "A%2CB,%C3%84%0D%0AX:%201,^GSPC"
    for value in headers.values():
        assert value.isascii()
        assert value.isprintable()


# Names and choice.


def test_formats_are_registered_as_they_are_named() -> None:
    assert {each.name: (each.media_type, each.extension) for each in FORMATS.values()} == {
        "json": ("application/json", "json"),
        "columns": ("application/json", "json"),
        "csv": ("text/csv; charset=utf-8; header=present", "csv"),
        "ndjson": ("application/x-ndjson", "ndjson"),
        "parquet": ("application/vnd.apache.parquet", "parquet"),
        "arrow": ("application/vnd.apache.arrow.stream", "arrows"),
    }
    assert all(name == each.name for name, each in FORMATS.items())


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; header=present", "csv"),
        ("text/*", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("application/json;q=0.5, text/csv;q=0.4", "json"),
        ("text/csv;q=0.5, application/vnd.apache.parquet; q=0.9", "parquet"),
        ("application/vnd.apache.arrow.stream, application/json", "json"),  # equals: the first
        ("application/json;q=0, */*;q=0.1", "csv"),  # the more specific range decides
        ("application/*;q=0.2, application/x-ndjson;q=0.3, text/csv;q=0", "ndjson"),
        ("text/html, image/gif, *; q=.2, */*; q=.2", "json"),  # what Java sends
        ("text/csv;q=wrong, application/vnd.apache.arrow.stream;q=0.1", "arrow"),
        ("nonsense", "json"),
    ],
)
def test_accept_chooses_by_weight(accept: str | None, name: str) -> None:
    assert choose_format(None, accept).name == name


@pytest.mark.parametrize("name", FORMATS)
def test_a_named_format_beats_accept(name: str) -> None:
    assert choose_format(name, "text/csv").name == name
    assert choose_format(name, "text/html").name == name


def test_what_cannot_be_chosen_is_refused_with_what_can() -> None:
    with pytest.raises(
        ValueError, match="format=xml: possible are json, columns, csv, ndjson, par"
    ):
        choose_format("xml", None)
    with pytest.raises(
        ValueError,
        match="Accept names none of the formats: possible are application/json, text/csv",
    ):
        choose_format(None, "text/html")
    with pytest.raises(ValueError, match="possible are"):
        choose_format(None, "application/json;q=0")


@pytest.mark.parametrize(
    ("symbols", "count", "name"),
    [
        (["AAPL"], 2, "AAPL_1d_raw_2012-01-03_2012-01-04.csv"),
        (["AAPL"], 0, "AAPL_1d_raw.csv"),
        (["BRK.B"], 1, "BRK.B_1d_raw_2012-01-03_2012-01-03.csv"),
        (["^GSPC"], 0, "_GSPC_1d_raw.csv"),
        (["-P-HIZ"], 0, "_P-HIZ_1d_raw.csv"),
        (['../"\r\n'], 0, "_._____1d_raw.csv"),
        (["A", "B"], 0, "A-B_1d_raw.csv"),
        (["A", "B", "C", "D"], 0, "A-and-3-more_1d_raw.csv"),
    ],
)
def test_a_file_is_named_after_what_is_in_it(symbols: list[str], count: int, name: str) -> None:
    parts = tuple(make_series(count, symbol) for symbol in symbols)
    page = Page(parts, FIELDS, is_many=len(parts) > 1)
    assert build_file_name(page, FORMATS["csv"]) == name
    newest = Page(tuple(map(reverse_bars, parts)), FIELDS, is_many=len(parts) > 1)
    assert build_file_name(newest, FORMATS["csv"]) == name
    assert (
        build_headers(page, FORMATS["csv"])["Content-Disposition"]
        == f'attachment; filename="{name}"'
    )
