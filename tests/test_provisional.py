"""provisional=true: bars of the sessions after the last stored day, made of their minutes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.models import BarsPage, ManyBarsPage
from etl.contracts.minutes.engines import Place, open_place
from tests.conftest import make_bars
from tests.minute_stores import at, bar, batch, load, session
from tests.server import check_answer, forbid_more, read_json, serve, wait_until, walk_pages
from tests.stores import load_file, store_of, write_store

URL = "/instruments/{}/ohlcv?provisional=true{}"
DAYS = ("2024-03-04", "2024-03-05")  # stored; minutes are of the 5th, 7th and 8th
SPLIT = "2024-03-08"
SYMBOLS = ("RAW", "DONE")  # DONE is stored adjusted for splits


def load_days(data_dir: Path, *days: str) -> None:
    bars = [(symbol, day, 100.0 + n) for symbol in (*SYMBOLS, "BARE") for n, day in enumerate(days)]
    load_file(data_dir, make_bars(data_dir / "days.parquet", bars))


def publish(data_dir: Path, *bars: dict[str, Any]) -> None:
    days = sorted({each["timestamp"].date() for each in bars})
    symbols = {each["symbol"]: "XNYS" for each in bars}
    made = batch(*bars, exchanges=symbols, sessions=[session("XNYS", day) for day in days])
    store = open_place(Place(data_dir))
    load(store, replace(made, is_live=True))
    store.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("provisional")
    load_days(folder, *DAYS)
    split = f"""INSERT INTO corporate_actions SELECT symbol, DATE '{SPLIT}', 'split', 2.0, NULL,
    'test', '2024-01-01', '2024-01-01' FROM (VALUES ('RAW'), ('DONE')) s (symbol)"""
    write_store(
        store_of(folder), split, "UPDATE instruments SET basis = 'split' WHERE symbol = 'DONE'"
    )
    for symbol in SYMBOLS:
        publish(
            folder,
            *(bar(symbol, at(n, days=day), 50 + n) for day in (-2, 0, 1) for n in (-90, 0, 1, 389)),
            bar(symbol, at(400), 999),
        )
    return folder


@pytest.fixture(scope="module")
def client(data_dir: Path) -> Iterator[httpx.Client]:
    with serve(data_dir) as client:
        yield client


def ask(client: httpx.Client, symbol: str, more: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = read_json(client, URL.format(symbol, more))
    check_answer(answer, BarsPage)
    return answer


def closes(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(each["timestamp"], each["close"]) for each in answer["data"]]


def test_later_sessions_have_the_bar_of_their_regular_minutes(client: httpx.Client) -> None:
    answer = ask(client, "RAW")
    assert answer["provisional"] == ["2024-03-07", "2024-03-08"]
    assert closes(answer)[:2] == [("2024-03-04", 100.0), ("2024-03-05", 101.0)]
    assert answer["data"][2] == {
        **{"timestamp": "2024-03-07", "open": 50.0, "high": 440.0, "low": 49.0, "close": 439.0},
        "volume": 300,
    }
    whole = read_json(client, "/instruments/RAW/ohlcv")
    assert whole["data"] == answer["data"][:2]
    assert "provisional" not in whole


def test_they_are_adjusted_as_the_view_asks(client: httpx.Client) -> None:
    """By the split of the 8th, whether the days are stored as traded or adjusted."""
    halves = [("2024-03-07", 219.5), ("2024-03-08", 439.0)]
    traded = [("2024-03-07", 439.0), ("2024-03-08", 439.0)]
    for symbol in SYMBOLS:
        answer = ask(client, symbol, "&adjustment=split")
        assert closes(answer)[2:] == halves
        assert [each["volume"] for each in answer["data"][2:]] == [600, 300]
        assert closes(ask(client, symbol))[2:] == traded


def test_an_answer_names_those_that_it_has(client: httpx.Client) -> None:
    page = ask(client, "RAW", "&limit=3")
    assert page["provisional"] == ["2024-03-07"]
    *_, following = walk_pages(client, URL.format("RAW", "&limit=3"))
    assert (following["provisional"], following["count"]) == (["2024-03-08"], 1)
    assert ask(client, "RAW", "&end=2024-03-06")["provisional"] == []
    assert ask(client, "RAW", "&order=desc&limit=1")["provisional"] == ["2024-03-08"]
    table = client.get(URL.format("RAW", "&format=csv"))
    assert table.headers["x-provisional"] == "2024-03-07,2024-03-08"
    assert len(table.text.split()) == 5


def test_several_symbols_and_their_last_bars_have_them_too(client: httpx.Client) -> None:
    several = read_json(client, "/ohlcv?symbols=RAW,BARE&start=2024-03-05&provisional=true")
    forbid_more(ManyBarsPage).model_validate(several)
    assert several["provisional"] == ["RAW:2024-03-07", "RAW:2024-03-08"]
    assert [each["symbol"] for each in several["data"]] == [*["RAW"] * 3, "BARE"]
    latest = read_json(client, "/ohlcv/latest?symbols=RAW,BARE&provisional=true")
    assert latest["provisional"] == ["RAW:2024-03-08"]
    assert [each["timestamp"] for each in latest["data"]] == ["2024-03-08", "2024-03-05"]


def test_without_minutes_nothing_is_provisional(client: httpx.Client) -> None:
    answer = ask(client, "BARE")
    assert (answer["provisional"], answer["count"]) == ([], 2)


@pytest.mark.parametrize(
    ("query", "remedy"),
    [("interval=1wk", "interval=1d"), ("interval=5m", "interval=1d"), ("quality=strict", "strict")],
)
def test_what_has_no_provisional_bars_is_refused(
    client: httpx.Client, query: str, remedy: str
) -> None:
    answer = client.get(URL.format("RAW", f"&{query}"))
    assert (answer.status_code, remedy in answer.json()["detail"]) == (422, True)


def test_each_minute_makes_a_new_answer_and_the_vendors_day_takes_its_place(
    tmp_path: Path,
) -> None:
    load_days(tmp_path, *DAYS)
    publish(tmp_path, bar("RAW", at(0), 50))
    with serve(tmp_path) as client:
        url = "/instruments/raw/ohlcv?Provisional=1".replace("P", "p")
        first, plain = client.get(url), client.get("/instruments/RAW/ohlcv")
        assert closes(first.json())[-1] == ("2024-03-07", 50.0)
        assert client.get(URL.format("RAW", "")).headers["etag"] == first.headers["etag"]
        publish(tmp_path, bar("RAW", at(1), 51))
        wait_until(lambda: closes(client.get(url).json())[-1] == ("2024-03-07", 51.0))
        assert client.get(url).headers["etag"] != first.headers["etag"]
        same = client.get(
            "/instruments/RAW/ohlcv", headers={"If-None-Match": plain.headers["etag"]}
        )
        assert same.status_code == 304
        load_days(tmp_path, *DAYS, "2024-03-07")
        wait_until(lambda: client.get(url).json()["provisional"] == [])
        assert closes(client.get(url).json())[-1] == ("2024-03-07", 102.0)
