"""Bars over HTTP: formats, fields, intervals, pages, several symbols, adjustments."""

import io
import json
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import duckdb
import httpx
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl import load
from etl.__main__ import main as run_all
from tests.conftest import call_stage, clean_environ, make_bars, query_store
from tests.server import read_json, serve, walk_pages

AAPL = "/instruments/AAPL/ohlcv"
RANGE = "start=2005-01-03&end=2005-12-30"
NAMES = ["timestamp", "open", "high", "low", "close", "volume"]
INTERVALS = ["1d", "1wk", "1mo", "3mo", "1y"]
TYPES = {
    "json": "application/json",
    "columns": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
FILES = {"csv": "csv", "ndjson": "ndjson", "parquet": "parquet", "arrow": "arrows"}
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def expected(client: httpx.Client) -> Rows:
    return read_rows(client, f"{AAPL}?{RANGE}")


def read_rows(client: httpx.Client, url: str, names: list[str] = NAMES) -> Rows:
    return [tuple(bar[name] for name in names) for bar in read_json(client, url)["data"]]


def list_frame(frame: pd.DataFrame) -> Rows:
    """The rows of a frame as JSON has them."""
    days = pd.to_datetime(frame["timestamp"]).dt.strftime("%Y-%m-%d")
    return [tuple(row) for row in frame.assign(timestamp=days).astype(object).to_numpy().tolist()]


def list_polars(frame: pl.DataFrame) -> Rows:
    return [(f"{day:%Y-%m-%d}", *values) for day, *values in frame.rows()]


def get_bytes(client: httpx.Client, name: str, query: str = RANGE) -> bytes:
    answer = client.get(f"{AAPL}?{query}&format={name}")
    return answer.raise_for_status().content


# Formats.


def test_pandas_reads_csv_and_parquet_from_their_url(client: httpx.Client, expected: Rows) -> None:
    url = f"{client.base_url}{AAPL}?{RANGE}"
    assert list_frame(pd.read_csv(f"{url}&format=csv")) == expected
    frame = pd.read_parquet(f"{url}&format=parquet")
    assert list_frame(frame) == expected
    assert set(map(type, frame["timestamp"])) == {date}
    assert list_frame(pd.read_json(f"{url}&format=ndjson", lines=True, precise_float=True)) == (
        expected
    )


def test_pandas_reads_the_bytes_of_every_format(client: httpx.Client, expected: Rows) -> None:
    assert list_frame(pd.read_csv(io.BytesIO(get_bytes(client, "csv")))) == expected
    assert list_frame(pd.read_parquet(io.BytesIO(get_bytes(client, "parquet")))) == expected
    arrow = pa.ipc.open_stream(get_bytes(client, "arrow")).read_all()
    assert list_frame(arrow.to_pandas()) == expected
    columns = json.loads(get_bytes(client, "columns"))
    assert list_frame(pd.DataFrame(columns["data"])) == expected


def test_a_day_is_a_date_in_every_table(client: httpx.Client) -> None:
    arrow = pa.ipc.open_stream(get_bytes(client, "arrow")).schema
    parquet = pq.read_schema(io.BytesIO(get_bytes(client, "parquet")))
    assert arrow.field("timestamp").type == parquet.field("timestamp").type == pa.date32()
    csv = pl.read_csv(io.BytesIO(get_bytes(client, "csv")), try_parse_dates=True)
    assert csv.schema["timestamp"] == pl.Date


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("start=2012", "start=2012-01-01"),
        ("end=2011", "end=2011-12-31"),
        ("start=2012-02&end=2012-02", "start=2012-02-01&end=2012-02-29"),
        ("start=20120105&end=20120201", "start=2012-01-05&end=2012-02-01"),
        ("start=2012-01-05T00:00:00Z", "start=2012-01-05"),
        ("end=2012-01-05T21:00:00-05:00&start=2012", "end=2012-01-05&start=2012-01-01"),
        ("interval=daily&start=2013", "interval=1d&start=2013-01-01"),
        ("interval=Weekly", "interval=1wk"),
        ("interval=MONTHLY", "interval=1mo"),
        ("interval=1y&adjustment=Split&order=DESC", "interval=1y&adjustment=split&order=desc"),
        ("fields=Close,VOLUME&start=2013", "fields=close,volume&start=2013-01-01"),
        ("quality=Strict&start=2013&format=CSV", "quality=strict&start=2013-01-01&format=csv"),
    ],
)
def test_what_people_type_is_what_they_mean(client: httpx.Client, typed: str, meant: str) -> None:
    got, expected = (client.get(f"{AAPL}?{query}") for query in (typed, meant))
    assert (got.status_code, got.text) == (200, expected.text)


def test_symbol_may_be_among_the_fields(client: httpx.Client) -> None:
    row = read_json(client, f"{AAPL}?fields=symbol,close&limit=1")["data"][0]
    assert list(row) == ["timestamp", "symbol", "close"]
    body = client.get(f"{AAPL}?fields=close,Symbol&limit=1&format=csv").text
    assert body.splitlines()[0] == "timestamp,symbol,close"
    many = client.get("/ohlcv?symbols=IBM&fields=symbol,close&limit=1&format=csv").text
    assert many.splitlines()[0] == "timestamp,symbol,close"


def test_a_day_as_of_is_to_its_end_and_before_all_that_is_known_it_says_so(
    client: httpx.Client,
) -> None:
    whole = read_json(client, f"{AAPL}?as_of=2099-01-31&limit=1")
    assert (whole["as_of"], whole["count"]) == ("2099-01-31T23:59:59.999999Z", 1)
    assert "detail" not in whole
    for url in (f"{AAPL}?as_of=1999", "/ohlcv?symbols=AAPL,IBM&as_of=1999-12-31"):
        empty = read_json(client, url)
        assert (empty["count"], "was known at 1999-12-31T23:59:59" in empty["detail"]) == (0, True)
        assert "known" in client.get(f"{url}&format=csv").headers["x-detail"]


def test_a_german_excel_reads_its_own_csv(client: httpx.Client) -> None:
    query = "start=2012-01-03&end=2012-01-04&adjustment=split&format=csv"
    plain, german = (client.get(f"{AAPL}?{query}{more}").text for more in ("", "&decimal=,"))
    assert german == plain.replace(",", ";").replace(".", ",")
    assert german.splitlines()[0] == "timestamp;open;high;low;close;volume"
    frame = pd.read_csv(io.StringIO(german), sep=";", decimal=",")
    assert frame["close"].tolist() == pd.read_csv(io.StringIO(plain))["close"].tolist()
    tabs = client.get(f"{AAPL}?{query}&sep=tab").text
    assert tabs == plain.replace(",", "\t")
    for wrong in (f"{query}&sep=,&decimal=,", "sep=;", "sep=x&format=csv"):
        assert client.get(f"{AAPL}?{wrong}").status_code == 422


def test_polars_reads_every_format(client: httpx.Client, expected: Rows) -> None:
    assert list_polars(pl.read_ipc_stream(io.BytesIO(get_bytes(client, "arrow")))) == expected
    assert list_polars(pl.read_parquet(io.BytesIO(get_bytes(client, "parquet")))) == expected
    assert pl.read_csv(io.BytesIO(get_bytes(client, "csv"))).rows() == expected
    assert pl.read_ndjson(io.BytesIO(get_bytes(client, "ndjson"))).rows() == expected


def test_duckdb_reads_every_format(client: httpx.Client, expected: Rows, tmp_path: Path) -> None:
    for name in ("csv", "parquet", "ndjson"):
        (tmp_path / f"bars.{name}").write_bytes(get_bytes(client, name))
    arrow = pa.ipc.open_stream(get_bytes(client, "arrow"))  # noqa: F841 (named in the query)
    sources = [
        f"read_csv('{tmp_path}/bars.csv')",
        f"read_parquet('{tmp_path}/bars.parquet')",
        f"read_json('{tmp_path}/bars.ndjson')",
        "arrow",
    ]
    for source in sources:
        rows = duckdb.sql(
            f"SELECT strftime(timestamp, '%Y-%m-%d'), open, high, low, close, volume FROM {source}"
        ).fetchall()
        assert rows == expected, source


def test_the_formats_keep_a_volume_that_is_not_known(data_dir: Path) -> None:
    bars = [("A", "2020-01-02", 5.25, 2**62 + 1), ("A", "2020-01-03", 0.1 + 0.2, None)]
    path = make_bars(data_dir / "bars.parquet", bars)
    assert call_stage(load.main, "--input", path) == 0
    with serve(data_dir) as client:
        url = "/instruments/A/ohlcv?format="
        rows = read_json(client, f"{url}json")["data"]
        assert [row["volume"] for row in rows] == [2**62 + 1, None]
        assert rows[1]["close"] == 0.1 + 0.2
        lines = client.get(f"{url}csv").text.splitlines()
        assert [line.rpartition(",")[2] for line in lines[1:]] == [str(2**62 + 1), ""]
        for name, read in (("arrow", pl.read_ipc_stream), ("parquet", pl.read_parquet)):
            frame = read(io.BytesIO(client.get(f"{url}{name}").content))
            assert frame["volume"].to_list() == [2**62 + 1, None]
            assert frame["close"].to_list() == [5.25, 0.1 + 0.2]


@pytest.mark.parametrize("name", TYPES)
def test_each_format_has_its_media_type_etag_and_file_name(client: httpx.Client, name: str) -> None:
    answer = client.get(f"{AAPL}?{RANGE}&format={name}")
    assert answer.headers["content-type"] == TYPES[name]
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    if name in FILES:
        disposition = f'attachment; filename="AAPL_1d_raw_2005-01-03_2005-12-30.{FILES[name]}"'
        assert answer.headers["content-disposition"] == disposition
        told = {n: answer.headers[f"x-{n}"] for n in ("symbol", "interval", "adjustment", "count")}
        assert told == {"symbol": "AAPL", "interval": "1d", "adjustment": "raw", "count": "252"}
    else:
        assert "content-disposition" not in answer.headers
    etag = answer.headers["etag"]
    again = client.get(answer.request.url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_each_format_has_an_etag_of_its_own(client: httpx.Client) -> None:
    chosen = [client.get(f"{AAPL}?{RANGE}&format={name}").headers["etag"] for name in TYPES]
    accepted = [
        client.get(f"{AAPL}?{RANGE}", headers={"Accept": TYPES[name]}).headers["etag"]
        for name in ("json", *FILES)
    ]
    assert chosen[0] == accepted[0], "JSON is what comes unless something else is asked for"
    assert len({*chosen, *accepted[1:]}) == len(TYPES) + len(FILES)


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("TEXT/CSV;q=0.9, application/json;q=0.5", "csv"),
        ("application/x-ndjson", "ndjson"),
        ("application/vnd.apache.parquet", "parquet"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("application/json;q=0, */*;q=0.1", "csv"),
    ],
)
def test_accept_chooses_the_format(client: httpx.Client, accept: str, name: str) -> None:
    answer = client.get(f"{AAPL}?{RANGE}", headers={"Accept": accept})
    assert answer.headers["content-type"] == TYPES[name]
    assert answer.content == get_bytes(client, name)


def test_format_stands_above_accept(client: httpx.Client) -> None:
    answer = client.get(f"{AAPL}?{RANGE}&format=csv", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == TYPES["csv"]
    answer = client.get(f"{AAPL}?{RANGE}&format=json", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, TYPES["json"])


@pytest.mark.parametrize(
    "url", [f"{AAPL}?limit=1", "/ohlcv?symbols=IBM", "/ohlcv/latest?symbols=IBM"]
)
def test_an_accept_that_cannot_be_met_is_406_and_says_what_can(
    client: httpx.Client, url: str
) -> None:
    client.get(url).raise_for_status()  # kept: it must not be given to who cannot read it
    for accept in ("image/png", "text/csv;q=0", "application/xml, text/html"):
        answer = client.get(url, headers={"Accept": accept})
        assert answer.status_code == 406
        assert answer.headers["content-type"] == "application/problem+json"
        for name in TYPES.values():
            assert name.partition(";")[0] in answer.json()["detail"]


def test_an_unknown_format_is_422_and_says_what_there_is(client: httpx.Client) -> None:
    answer = client.get(f"{AAPL}?format=xlsx")
    assert answer.status_code == 422
    assert all(name in answer.json()["detail"] for name in TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_what_was_cut_off_is_said_in_every_format(client: httpx.Client, name: str) -> None:
    answer = client.get(f"{AAPL}?{RANGE}&format={name}&limit=200")
    following = answer.links["next"]["url"]
    rest = client.get(urljoin(str(answer.url), following))
    assert rest.headers["content-type"] == TYPES[name]
    assert "link" not in rest.headers
    if TYPES[name] == "application/json":
        assert answer.json()["next"] == following
        assert rest.json()["next"] is None
        assert rest.json()["count"] == 52
    else:
        assert (answer.headers["x-count"], rest.headers["x-count"]) == ("200", "52")


@pytest.mark.parametrize("name", TYPES)
def test_a_range_without_bars_is_empty_in_every_format(client: httpx.Client, name: str) -> None:
    body = get_bytes(client, name, "end=1999-12-31")
    if TYPES[name] == "application/json":
        told = json.loads(body)
        assert told["count"] == 0
        assert told["data"] == ([] if name == "json" else {each: [] for each in NAMES})
    elif name == "ndjson":
        assert body == b""
    elif name == "csv":
        assert body.decode() == ",".join(NAMES) + "\n"
    else:
        read = {"parquet": pl.read_parquet, "arrow": pl.read_ipc_stream}[name]
        frame = read(io.BytesIO(body))
        assert (frame.columns, len(frame)) == (NAMES, 0)


@pytest.mark.parametrize("name", TYPES)
def test_gzip_of_every_format_is_the_same_answer(client: httpx.Client, name: str) -> None:
    url = f"{AAPL}?{RANGE}&format={name}"
    packed = client.get(url, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == client.get(url).content


# Fields.


@pytest.mark.parametrize(
    "fields", ["close", "close,volume", "volume,open", "open,high,low,close,volume"]
)
def test_fields_are_the_columns_in_the_order_asked(
    client: httpx.Client, fields: str, expected: Rows
) -> None:
    names = ["timestamp", *fields.split(",")]
    wanted = [tuple(row[NAMES.index(name)] for name in names) for row in expected]
    query = f"{RANGE}&fields={fields}"
    rows = json.loads(get_bytes(client, "json", query))["data"]
    assert [tuple(row.items()) for row in rows] == [
        tuple(zip(names, row, strict=True)) for row in wanted
    ]
    columns = json.loads(get_bytes(client, "columns", query))["data"]
    assert list(columns) == names
    assert pl.read_csv(io.BytesIO(get_bytes(client, "csv", query))).rows() == wanted
    frame = pl.read_parquet(io.BytesIO(get_bytes(client, "parquet", query)))
    assert (frame.columns, list_polars(frame)) == (names, wanted)


@pytest.mark.parametrize("fields", ["price", "close,", "close,close", "timestamp,x", "complete"])
def test_fields_that_are_none_are_422_and_named(client: httpx.Client, fields: str) -> None:
    answer = client.get(f"{AAPL}?limit=1&fields={fields}")
    assert answer.status_code == 422, answer.text
    possible = ("open, high, low, close, volume", "give it once")
    assert any(text in answer.json()["detail"] for text in possible)


# Intervals.


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("interval", "limit"), list(zip(INTERVALS, (500, 97, 31, 7, 2), strict=True))
)
def test_pages_of_every_interval_give_each_row_once(
    client: httpx.Client, interval: str, limit: int, order: str
) -> None:
    url = f"{AAPL}?interval={interval}&start=2000-05-10&end=2012-11-20&order={order}"
    whole = read_json(client, url)["data"]
    assert [bar["timestamp"] for bar in whole] == sorted(
        {bar["timestamp"] for bar in whole}, reverse=order == "desc"
    )
    pages = list(walk_pages(client, f"{url}&limit={limit}"))
    assert [bar for page in pages for bar in page["data"]] == whole
    assert len(pages) == -(-len(whole) // limit)
    assert {page["interval"] for page in pages} == {interval}


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("adjustment", ["raw", "split", "all"])
def test_the_last_five_newest_first_are_five_rows_from_the_end(
    client: httpx.Client, interval: str, adjustment: str
) -> None:
    url = f"{AAPL}?interval={interval}&adjustment={adjustment}"
    whole = read_json(client, url)["data"]
    last = read_json(client, f"{url}&order=desc&limit=5")
    assert last["data"] == whole[:-6:-1]
    assert (last["interval"], last["adjustment"]) == (interval, adjustment)


@pytest.mark.parametrize(
    ("interval", "trunc"),
    [("1wk", "week"), ("1mo", "month"), ("3mo", "quarter"), ("1y", "year")],
)
@pytest.mark.parametrize("symbol", ["AAPL", "GOOG"])
def test_longer_bars_are_what_sql_makes_of_the_daily_ones(
    client: httpx.Client, sample_dir: Path, symbol: str, interval: str, trunc: str
) -> None:
    rows = query_store(
        sample_dir / "market_data.duckdb",
        f"""SELECT strftime(min(timestamp), '%Y-%m-%d'), arg_min(open, timestamp), max(high),
            min(low), arg_max(close, timestamp), sum(volume)::BIGINT
        FROM ohlcv_data WHERE symbol = '{symbol}'
        GROUP BY date_trunc('{trunc}', timestamp) ORDER BY 1""",
    )
    url = f"/instruments/{symbol}/ohlcv?interval={interval}"
    assert read_rows(client, url) == rows
    complete = [bar["complete"] for bar in read_json(client, url)["data"]]
    assert all(complete[:-1])
    assert complete[-1] is (interval == "1wk")  # the last bar is of Friday 2013-03-01


def test_daily_bars_say_nothing_of_complete(client: httpx.Client) -> None:
    assert list(read_json(client, f"{AAPL}?limit=1")["data"][0]) == NAMES


# Several symbols.


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(("interval", "limit"), [("1d", 9), ("1d", 21), ("1wk", 4), ("1mo", 1)])
def test_pages_of_several_symbols_give_each_row_once(
    client: httpx.Client, interval: str, limit: int, order: str
) -> None:
    query = f"start=2012-05-10&end=2012-07-20&interval={interval}&order={order}"
    one_by_one = [
        {**bar, "symbol": symbol}
        for symbol in ("MSFT", "FB", "AAPL")
        for bar in read_json(client, f"/instruments/{symbol}/ohlcv?{query}")["data"]
    ]
    url = f"/ohlcv?symbols=MSFT,fb,%20AAPL,msft&{query}"
    whole = read_json(client, url)
    assert whole["data"] == one_by_one
    assert (whole["count"], whole["next"], whole["unknown"]) == (len(one_by_one), None, [])
    pages = list(walk_pages(client, f"{url}&limit={limit}"))
    assert [bar for page in pages for bar in page["data"]] == one_by_one
    assert len(pages) == -(-len(one_by_one) // limit)
    for page in pages:
        assert page["count"] == len(page["data"]) <= limit
        assert page["symbols"] == list(dict.fromkeys(bar["symbol"] for bar in page["data"]))


def test_a_page_that_ends_with_a_symbol_goes_on_with_the_next(client: httpx.Client) -> None:
    days = "start=2012-01-03&end=2012-01-04"
    pages = list(walk_pages(client, f"/ohlcv?symbols=AAPL,FB,IBM,MSFT&{days}&limit=2"))
    assert [page["symbols"] for page in pages] == [["AAPL"], ["IBM"], ["MSFT"]]  # FB came in May
    answer = client.get(f"/ohlcv?symbols=AAPL,IBM&{days}&limit=2")
    assert answer.links["next"]["url"] == answer.json()["next"]


def test_unknown_symbols_are_listed_and_not_fatal(client: httpx.Client) -> None:
    url = "symbols=APPL,IBM,ZZZ"
    for path in ("/ohlcv", "/ohlcv/latest"):
        answer = read_json(client, f"{path}?{url}")
        assert answer["unknown"] == ["APPL", "ZZZ"]
        assert answer["symbols"] == ["IBM"]
        told = client.get(f"{path}?{url}&format=csv&unknown=skip").headers
        assert (told["x-symbols"], told["x-unknown"]) == ("IBM", "APPL,ZZZ")
        assert "x-unknown" not in client.get(f"{path}?symbols=IBM&format=csv").headers


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest"])
def test_unknown_symbols_of_any_letters_fit_into_a_header(
    client: httpx.Client, path: str, name: str
) -> None:
    answer = client.get(f"{path}?symbols=IBM,%CE%A9,A%0D%0AX-More:1,%00&format={name}&unknown=skip")
    assert answer.status_code == 200
    assert answer.headers["x-unknown"] == "%CE%A9,A%0D%0AX-MORE:1,%00"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest"])
def test_a_table_without_a_symbol_that_was_asked_for_is_refused(
    client: httpx.Client, path: str, name: str
) -> None:
    refused = client.get(f"{path}?symbols=IBM,APPL&format={name}")
    assert refused.status_code == 404
    assert (refused.json()["unknown"], "unknown=skip" in refused.text) == (["APPL"], True)
    assert client.get(f"{path}?symbols=IBM,APPL&format={name}&unknown=skip").status_code == 200


@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest", "/statistics/correlation"])
def test_unknown_symbols_are_an_error_where_that_is_asked_for(
    client: httpx.Client, path: str
) -> None:
    refused = client.get(f"{path}?symbols=IBM,APPL,MSFT&unknown=error")
    assert (refused.status_code, refused.json()["unknown"]) == (404, ["APPL"])


@pytest.mark.parametrize("name", FILES)
def test_a_table_is_never_cut_in_silence(sample_dir: Path, name: str) -> None:
    with serve(sample_dir, MAX_ROWS=100) as client:
        for url, rows in (
            ("/ohlcv?symbols=AAPL,IBM&start=2012-09-25&end=2012-12-31", 132),
            ("/instruments/IBM/ohlcv?start=2012-05-01&order=desc", 209),
            ("/instruments/IBM/ohlcv?interval=1mo", 157),
        ):
            refused = client.get(f"{url}&format={name}")
            assert refused.status_code == 422
            detail = refused.json()["detail"]
            assert f"{rows} rows are more than 100 (MAX_ROWS)" in detail
            assert "limit=100" in detail
            page = client.get(f"{url}&format={name}&limit=100")
            assert page.headers["x-count"] == "100"
            assert "link" in page.headers
            assert client.get(url).json()["count"] == 100  # JSON has `next`
        whole = client.get(f"/instruments/IBM/ohlcv?start=2012-12-03&format={name}")
        assert (whole.status_code, "link" in whole.headers) == (200, False)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("/ohlcv/latest?symbols=AAPL,IBM,MSFT", "fewer symbols"),
        ("/statistics/correlation?symbols=AAPL,IBM,MSFT", "fewer symbols"),
        ("/statistics/covariance?symbols=AAPL,IBM,MSFT", "fewer symbols"),
        ("/instruments/IBM/drawdowns?most=3", "most="),
    ],
)
def test_no_answer_has_more_rows_than_the_setting_allows(
    sample_dir: Path, url: str, remedy: str
) -> None:
    with serve(sample_dir, MAX_ROWS=2) as client:
        refused = client.get(url)
        assert (refused.status_code, "(MAX_ROWS)" in refused.text) == (422, True)
        assert remedy in refused.json()["detail"]
        assert client.get("/instruments/IBM/drawdowns").json()["count"] == 2


@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest", "/statistics/correlation"])
def test_only_unknown_symbols_are_a_404(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{path}?symbols=APPL,ZZZ")
    assert answer.status_code == 404
    assert "APPL, ZZZ" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest", "/statistics/covariance"])
def test_more_than_100_symbols_or_none_are_refused(client: httpx.Client, path: str) -> None:
    names = [f"X{number}" for number in range(100)]
    answer = client.get(f"{path}?symbols=AAPL,{','.join(names)}")
    assert answer.status_code == 422
    assert "101 given: name 1 to 100" in answer.json()["detail"]
    assert client.get(f"{path}?symbols=AAPL,{','.join(names[1:])}").status_code == 200
    for none in ("symbols=", "symbols=,%20,", ""):
        assert client.get(f"{path}?{none}").status_code == 422


@pytest.mark.parametrize("after", ["AAPL", "AAPL:2012-01-07", "GOOG:2012-01-03", ":", "AAPL:", "x"])
def test_after_that_is_no_row_is_refused(client: httpx.Client, after: str) -> None:
    answer = client.get(f"/ohlcv?symbols=AAPL,IBM&start=2012-01-01&after={after}")
    assert answer.status_code == 422
    assert "take it from `next`" in answer.json()["detail"]


def test_several_symbols_have_a_column_of_symbols_in_every_format(client: httpx.Client) -> None:
    url = "/ohlcv?symbols=IBM,FB&start=2012-05-17&end=2012-05-18&fields=close&format="
    rows = [
        (bar["timestamp"], bar["symbol"], bar["close"])
        for bar in read_json(client, f"{url}json")["data"]
    ]
    assert [row[:2] for row in rows] == [
        ("2012-05-17", "IBM"),
        ("2012-05-18", "IBM"),
        ("2012-05-18", "FB"),
    ]
    content = {name: client.get(url + name).raise_for_status().content for name in TYPES}
    assert pl.read_csv(io.BytesIO(content["csv"])).rows() == rows
    assert pl.read_ndjson(io.BytesIO(content["ndjson"])).rows() == rows
    assert list_polars(pl.read_parquet(io.BytesIO(content["parquet"]))) == rows
    assert list_polars(pl.read_ipc_stream(io.BytesIO(content["arrow"]))) == rows
    columns = json.loads(content["columns"])["data"]
    assert list(zip(*columns.values(), strict=True)) == rows
    name = client.get(f"{url}csv").headers["content-disposition"]
    assert name == 'attachment; filename="IBM-FB_1d_raw_2012-05-17_2012-05-18.csv"'


def test_latest_is_the_newest_bar_of_each_in_the_order_asked(client: httpx.Client) -> None:
    answer = read_json(client, "/ohlcv/latest?symbols=MSFT,AAPL,FB")
    assert [bar["symbol"] for bar in answer["data"]] == ["MSFT", "AAPL", "FB"]
    assert (answer["count"], answer["next"], answer["interval"]) == (3, None, "1d")
    for bar in answer["data"]:
        symbol = bar.pop("symbol")
        url = f"/instruments/{symbol}/ohlcv?order=desc&limit=1"
        assert read_json(client, url)["data"] == [bar]


# Adjustments.


CLOSES = {
    "2012-01-03": 20.0,
    "2012-01-04": 22.0,
    "2012-01-05": 24.0,
    "2012-01-06": 12.0,  # split 2:1
    "2012-01-09": 12.5,
    "2012-01-10": 12.25,  # dividend 0.50
    "2012-01-11": 13.0,
}
RAW = list(CLOSES.values())
SPLIT = [10.0, 11.0, 12.0, 12.0, 12.5, 12.25, 13.0]
ALL = [0.96 * close for close in SPLIT[:5]] + SPLIT[5:]  # 1 - 0.50 / 12.50


@pytest.fixture(scope="module")
def paying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A store of PAY, which has a split and a dividend, and of KO, which has neither."""
    data_dir = tmp_path_factory.mktemp("paying")
    inbox = tmp_path_factory.mktemp("inbox")
    lines = ["Date,Open,High,Low,Close,Volume,Dividends,Stock Splits"]
    for day, close in CLOSES.items():
        paid, ratio = 0.5 * (day == "2012-01-10"), 2.0 * (day == "2012-01-06")
        lines.append(f"{day},{close},{close + 1},{close - 1},{close},1000,{paid},{ratio}")
    (inbox / "PAY.csv").write_text("\n".join(lines) + "\n")
    (inbox / "KO.csv").write_text(
        "\n".join(line.rpartition(",")[0].rpartition(",")[0] for line in lines) + "\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(data_dir, SOURCE_ADJUSTMENT="raw").items():
            patch.setenv(name, value)
        assert call_stage(run_all, "--source", "files", "--path", inbox) == 0
    with serve(data_dir) as client:
        yield client


def read_closes(client: httpx.Client, query: str, symbol: str = "PAY") -> list[float]:
    return [
        bar["close"] for bar in read_json(client, f"/instruments/{symbol}/ohlcv?{query}")["data"]
    ]


def test_each_adjustment_takes_out_what_it_says(paying: httpx.Client) -> None:
    for adjustment, closes in (("raw", RAW), ("split", SPLIT), ("all", ALL)):
        url = f"/instruments/PAY/ohlcv?adjustment={adjustment}"
        answer = read_json(paying, url)
        assert answer["adjustment"] == adjustment
        assert [bar["close"] for bar in answer["data"]] == pytest.approx(closes, rel=1e-12)
        assert read_closes(paying, f"adjustment={adjustment}", "KO") == RAW
        volumes = [bar["volume"] for bar in answer["data"]]
        assert volumes == ([1000] * 7 if adjustment == "raw" else [2000] * 3 + [1000] * 4)


@pytest.mark.parametrize(
    ("day", "split", "everything"),
    [
        ("2012-01-05", RAW, RAW),
        ("2012-01-06", SPLIT, SPLIT),
        ("2012-01-09", SPLIT, SPLIT),
        ("2012-01-10", SPLIT, ALL),
        ("2030-01-01", SPLIT, ALL),
        ("1990-01-01", RAW, RAW),
    ],
)
def test_adjusted_as_of_knows_of_nothing_later(
    paying: httpx.Client, day: str, split: list[float], everything: list[float]
) -> None:
    query = f"adjusted_as_of={day}&adjustment="
    assert read_closes(paying, f"{query}raw") == RAW
    assert read_closes(paying, f"{query}split") == pytest.approx(split, rel=1e-12)
    assert read_closes(paying, f"{query}all") == pytest.approx(everything, rel=1e-12)
    many = read_json(paying, f"/ohlcv?symbols=KO,PAY&{query}all")["data"]
    assert [bar["close"] for bar in many[7:]] == pytest.approx(everything, rel=1e-12)


def test_a_range_has_the_prices_that_the_whole_has(paying: httpx.Client) -> None:
    for adjustment in ("split", "all"):
        whole = read_closes(paying, f"adjustment={adjustment}")
        part = read_closes(paying, f"adjustment={adjustment}&start=2012-01-04&end=2012-01-05")
        assert part == whole[1:3]


def test_a_week_with_a_split_is_of_one_kind_of_share(paying: httpx.Client) -> None:
    weeks = read_json(paying, "/instruments/PAY/ohlcv?interval=1wk&adjustment=split")["data"]
    assert [week["timestamp"] for week in weeks] == ["2012-01-03", "2012-01-09"]
    assert [week["complete"] for week in weeks] == [True, False]
    assert (weeks[0]["open"], weeks[0]["high"], weeks[0]["low"], weeks[0]["close"]) == (
        *(10.0, 13.0, 9.5, 12.0),
    )
    assert weeks[0]["volume"] == 7000


def test_figures_are_of_the_adjustment_that_they_name(paying: httpx.Client) -> None:
    for query, adjustment, closes in (
        ("", "split", SPLIT),
        ("adjustment=raw", "raw", RAW),
        ("adjustment=all", "all", ALL),
        ("adjustment=all&adjusted_as_of=2012-01-09", "all", SPLIT),
    ):
        answer = read_json(paying, f"/instruments/PAY/statistics?{query}")
        assert answer["adjustment"] == adjustment
        assert answer["total_return"] == pytest.approx(closes[-1] / closes[0] - 1, rel=1e-12)
        returns = read_json(paying, f"/instruments/PAY/returns?{query}")["data"]
        expected = [after / before - 1 for before, after in pairwise(closes)]
        assert [row["return"] for row in returns] == pytest.approx(expected, abs=1e-12)


def test_the_screen_takes_splits_out_of_the_return(paying: httpx.Client) -> None:
    rows = read_json(paying, "/screen")["data"]
    assert [row["symbol"] for row in rows] == ["PAY", "KO"]
    assert [row["total_return"] for row in rows] == pytest.approx([0.3, 13 / 20 - 1], rel=1e-12)
    for start in ("2012-01-05", "2012-01-06"):  # the bar before the split, and that of its day
        row = read_json(paying, f"/screen?start={start}&sort=-symbol")["data"][0]
        url = f"/instruments/PAY/statistics?start={start}"
        assert row["total_return"] == pytest.approx(read_json(paying, url)["total_return"])
