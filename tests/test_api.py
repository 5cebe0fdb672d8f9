"""What each route answers on the sample store: real bars, over HTTP."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api import models
from etl import load
from tests.conftest import call_stage, make_bars, read_bars
from tests.server import check_answer, read_json, serve, walk_pages

AAPL = "/instruments/AAPL"
SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def stored(sample_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Symbol → its bars as /ohlcv should give them, read from the published file itself."""
    names = ("open", "high", "low", "close", "volume")
    bars: dict[str, list[dict[str, Any]]] = {}
    for timestamp, symbol, *values in read_bars(sample_dir / "market_data.duckdb"):
        row = {"timestamp": f"{timestamp:%Y-%m-%d}", **dict(zip(names, values, strict=True))}
        bars.setdefault(symbol, []).append(row)
    return bars


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("/health", models.Health),
        ("/instruments", models.InstrumentsPage),
        (AAPL, models.Instrument),
        (f"{AAPL}/ohlcv", models.BarsPage),
        (f"{AAPL}/ohlcv?start=1990-01-01&end=1990-12-31", models.BarsPage),
        (f"{AAPL}/statistics", models.Statistics),
        (f"{AAPL}/statistics?start=1990-01-01&end=1990-12-31", models.Statistics),
        (f"{AAPL}/coverage", models.Coverage),
        (f"{AAPL}/notes", models.NotesPage),
        (f"{AAPL}/revisions", models.RevisionsPage),
        (f"{AAPL}/corporate-actions", models.ActionsPage),
        ("/etl/runs", models.RunsPage),
    ],
)
def test_answers_have_the_documented_fields_and_no_other(
    client: httpx.Client, url: str, model: type[BaseModel]
) -> None:
    check_answer(read_json(client, url), model)


def test_the_sample_aapl_gained_1221_percent_and_230_on_raw_prices(client: httpx.Client) -> None:
    split = read_json(client, f"{AAPL}/statistics")
    raw = read_json(client, f"{AAPL}/statistics?adjustment=raw")
    assert (split["adjustment"], round(split["total_return"] * 100)) == ("split", 1221)
    assert (raw["adjustment"], round(raw["total_return"] * 100)) == ("raw", 230)


def test_health_counts_what_is_stored(client: httpx.Client, sample_dir: Path) -> None:
    health = read_json(client, "/health")
    assert {name: health[name] for name in ("status", "fault", "symbols", "bars")} == {
        "status": "ok",
        "fault": None,
        "symbols": 5,
        "bars": len(read_bars(sample_dir / "market_data.duckdb")),
    }
    assert (health["first"], health["last"]) == ("2000-03-01", "2013-03-01")
    assert health["newest_bar_age_days"] > 5000
    assert health["last_run"]["stages"] == {"extract": "ok", "transform": "ok", "load": "ok"}


def test_health_goes_on_whatever_stands_in_the_run_records(own_sample: Path) -> None:
    with serve(own_sample) as client:
        for text in ("", "{", "[]", "null", "1", '{"run_id": "x", "stages": {"load": "ok"}}'):
            (own_sample / "runs" / "99999999.json").write_text(text)
            assert read_json(client, "/health")["last_run"] is None


def test_instruments_lists_all_in_order(client: httpx.Client, stored: dict[str, Any]) -> None:
    answer = read_json(client, "/instruments")
    assert (answer["count"], answer["next"]) == (5, None)
    assert [item["symbol"] for item in answer["data"]] == SYMBOLS
    for item in answer["data"]:
        bars = stored[item["symbol"]]
        assert item == read_json(client, f"/instruments/{item['symbol']}")
        assert item == {
            "symbol": item["symbol"],
            "first": bars[0]["timestamp"],
            "last": bars[-1]["timestamp"],
            "bars": len(bars),
            "last_close": bars[-1]["close"],
            "source": "sample",
            "basis": "raw",
            "exchange": "XNYS",
            "actions_known_at": None,  # the sample knows no dividends
            "splits_known_at": item["splits_known_at"],
            "dividends_known_at": None,
            "intervals": [],
        }


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("q=o", ["GOOG"]),
        ("q=M", ["IBM", "MSFT"]),
        ("q=%20goog%20", ["GOOG"]),
        ("q=%25", []),
        ("q=ZZ", []),
        ("after=FB", ["GOOG", "IBM", "MSFT"]),
        ("after=g", ["GOOG", "IBM", "MSFT"]),
        ("after=MSFT", []),
        ("q=B&after=FB", ["IBM"]),
        ("limit=2", ["AAPL", "FB"]),
    ],
)
def test_instruments_are_searched_and_paged(
    client: httpx.Client, query: str, symbols: list[str]
) -> None:
    answer = read_json(client, f"/instruments?{query}")
    assert [item["symbol"] for item in answer["data"]] == symbols
    assert answer["count"] == len(symbols)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
def test_pages_of_instruments_give_each_once(client: httpx.Client, limit: int) -> None:
    pages = list(walk_pages(client, f"/instruments?limit={limit}"))
    assert [item["symbol"] for page in pages for item in page["data"]] == SYMBOLS
    assert len(pages) == -(-len(SYMBOLS) // limit)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_ohlcv_gives_every_stored_bar_as_it_is_stored(
    client: httpx.Client, stored: dict[str, Any], symbol: str
) -> None:
    answer = read_json(client, f"/instruments/{symbol}/ohlcv")
    assert answer["data"] == stored[symbol]
    assert answer["count"] == len(stored[symbol])
    assert (answer["symbol"], answer["interval"], answer["adjustment"]) == (symbol, "1d", "raw")


@pytest.mark.parametrize(
    "path",
    [
        *("", "/ohlcv?limit=3", "/statistics", "/coverage", "/notes", "/revisions"),
        "/corporate-actions?limit=1",
    ],
)
def test_a_symbol_is_found_in_any_case(client: httpx.Client, path: str) -> None:
    answers = {client.get(f"/instruments/{s}{path}").json()["symbol"] for s in ("aapl", "AaPl")}
    assert answers == {"AAPL"}
    upper, lower = (read_json(client, f"/instruments/{s}{path}") for s in ("AAPL", "aapl"))
    assert upper | {"next": None} == lower | {"next": None}


def test_start_and_end_are_inclusive(client: httpx.Client) -> None:
    answer = read_json(client, f"{AAPL}/ohlcv?start=2012-01-03&end=2012-01-05")
    days = [bar["timestamp"] for bar in answer["data"]]
    assert days == ["2012-01-03", "2012-01-04", "2012-01-05"]


@pytest.mark.parametrize(
    "query",
    [
        "start=2012-01-07&end=2012-01-08",  # a weekend
        "end=1999-12-31",
        "start=2013-03-02",
        "start=0001-01-01&end=0001-01-01",
        "start=9999-12-31",
    ],
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_range_without_bars_is_200_and_empty(
    client: httpx.Client, query: str, order: str
) -> None:
    answer = read_json(client, f"{AAPL}/ohlcv?{query}&order={order}")
    assert (answer["count"], answer["next"], answer["data"]) == (0, None, [])


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 65, 66, 195, 196, 197])
def test_pages_of_bars_give_each_row_once(
    client: httpx.Client, stored: dict[str, Any], limit: int, order: str
) -> None:
    pages = list(walk_pages(client, f"/instruments/FB/ohlcv?limit={limit}&order={order}"))
    expected = stored["FB"] if order == "asc" else stored["FB"][::-1]
    assert [bar for page in pages for bar in page["data"]] == expected
    assert len(pages) == -(-len(expected) // limit)
    assert all(page["count"] == len(page["data"]) <= limit for page in pages)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_keep_to_the_range_and_the_adjustment(client: httpx.Client, order: str) -> None:
    query = f"start=2005-02-20&end=2005-03-10&adjustment=split&order={order}"
    whole = read_json(client, f"{AAPL}/ohlcv?{query}")
    assert whole["count"] == 13
    pages = list(walk_pages(client, f"{AAPL}/ohlcv?{query}&limit=4"))
    assert [bar for page in pages for bar in page["data"]] == whole["data"]
    assert {page["adjustment"] for page in pages} == {"split"}


@pytest.mark.parametrize(
    "url",
    [f"{AAPL}/ohlcv?limit=5", f"{AAPL}/ohlcv?limit=5&order=desc", "/instruments?q=%20M&limit=1"],
)
def test_next_is_relative_and_the_link_header_says_the_same(client: httpx.Client, url: str) -> None:
    answer = client.get(url)
    following = answer.json()["next"]
    assert following.startswith("?")  # behind whatever a proxy has put in front of the path
    assert answer.headers["link"] == f'<{following}>; rel="next"'
    assert answer.links["next"]["url"] == following


def test_the_last_page_has_no_next_and_no_link(client: httpx.Client) -> None:
    answer = client.get(f"{AAPL}/ohlcv?start=2013-02-28&limit=2")
    assert (answer.json()["count"], answer.json()["next"]) == (2, None)
    assert "link" not in answer.headers


def test_next_keeps_symbols_that_need_an_escape(data_dir: Path) -> None:
    days = ("2020-01-01", "2020-01-02", "2020-01-03")
    odd = ["^GSPC", "A&B", "BRK.B", "-P-HIZ", "É"]
    bars = make_bars(data_dir / "bars.parquet", [(s, day, 5.0) for s in odd for day in days])
    assert call_stage(load.main, "--input", bars) == 0
    with serve(data_dir) as client:
        pages = list(walk_pages(client, "/instruments?limit=1"))
        assert [item["symbol"] for page in pages for item in page["data"]] == sorted(odd)
        for symbol in odd:
            url = httpx.URL(f"http://x/instruments/{symbol.lower()}/ohlcv?limit=2").raw_path
            rows = [bar for page in walk_pages(client, url.decode()) for bar in page["data"]]
            assert [row["timestamp"] for row in rows] == list(days)


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        ("2000-03-01", "2005-02-25", "2013-03-01"),
        ("2012-01-03", "2012-01-07", "2012-01-31"),  # b is no session
        ("2012-01-03", "2012-01-03", "2012-01-04"),
        ("1990-01-01", "2001-01-01", "2030-01-01"),
    ],
)
@pytest.mark.parametrize("adjustment", ["raw", "split"])
def test_two_ranges_that_meet_are_the_whole_range(
    client: httpx.Client, a: str, b: str, c: str, adjustment: str
) -> None:
    after_b = date.fromisoformat(b) + timedelta(days=1)
    url = f"{AAPL}/ohlcv?adjustment={adjustment}"
    left = read_json(client, f"{url}&start={a}&end={b}")["data"]
    right = read_json(client, f"{url}&start={after_b}&end={c}")["data"]
    whole = read_json(client, f"{url}&start={a}&end={c}")["data"]
    assert left
    assert right
    assert left + right == whole


def test_max_rows_is_the_default_limit_and_the_highest(sample_dir: Path) -> None:
    with serve(sample_dir, MAX_ROWS=3) as client:
        pages = list(walk_pages(client, "/instruments/AAPL/ohlcv?start=2013-02-20"))
        assert [page["count"] for page in pages] == [3, 3, 2]
        assert read_json(client, "/instruments")["count"] == 3
        assert client.get("/instruments/AAPL/ohlcv?limit=4").status_code == 422
        assert client.get("/instruments/AAPL/ohlcv?limit=3").status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "/health",
        "/instruments",
        AAPL,
        f"{AAPL}/ohlcv?limit=9",
        f"{AAPL}/statistics",
        f"{AAPL}/coverage",
        f"{AAPL}/corporate-actions?limit=1",
        "/etl/runs",
        "/instruments/APPL",
        "/nowhere",
        "/docs",
        "/openapi.json",
        "/docs/files/swagger-ui.css",
    ],
)
def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client, url: str) -> None:
    asked = {"X-Request-ID": "same"}
    got, head = client.get(url, headers=asked), client.head(url, headers=asked)
    assert head.content == b""
    assert head.status_code == got.status_code
    volatile = {"date", "x-cache"}
    assert {n: v for n, v in head.headers.items() if n not in volatile} == {
        n: v for n, v in got.headers.items() if n not in volatile
    }
    assert int(head.headers["content-length"]) == len(got.content) > 0
