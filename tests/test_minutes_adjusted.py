"""Minutes over the API, adjusted for splits and dividends by their sessions."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.minute_data import Minutes, fill
from tests.server import read_json, serve
from tests.stores import copy_folder, store_of, write_store

# AAPL has daily bars; ONLY and ES=F have none, but actions. IBM's daily prices are stored adjusted.
SPAN = {"first": date(2013, 2, 20), "last": date(2013, 3, 5)}
GIVEN = [
    Minutes("AAPL", **SPAN),
    Minutes("ONLY", **SPAN, source="files"),
    Minutes("ES=F", "CMES", **SPAN, before=0, after=0, source="files"),
    Minutes("BARE", **SPAN, source="files"),
    Minutes("IBM", **SPAN, source="files"),
]
SPLIT, DIVIDEND = date(2013, 2, 28), date(2013, 2, 26)
ACTIONS = f"""INSERT INTO corporate_actions
SELECT symbol, ex_date, kind, ratio, amount, 'test', '2013-01-01', '2013-01-01' FROM
(VALUES ('AAPL'), ('ONLY'), ('ES=F'), ('IBM')) s (symbol),
(VALUES (DATE '{SPLIT}', 'split', 3.0, NULL), (DATE '{DIVIDEND}', 'dividend', NULL, 5.0))
a (ex_date, kind, ratio, amount)"""


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = copy_folder(sample_dir, tmp_path_factory.mktemp("adjusted") / "data")
    based = "UPDATE instruments SET basis = 'split' WHERE symbol = 'IBM'"
    write_store(store_of(folder), "DELETE FROM corporate_actions", ACTIONS, based)
    fill(folder, *GIVEN)
    with serve(folder) as client:
        yield client


def ask(client: httpx.Client, symbol: str, adjustment: str, **query: Any) -> dict[str, Any]:
    params = {"interval": "1h", "adjustment": adjustment, "hours": "extended", **query}
    url = httpx.URL(f"/instruments/{symbol}/ohlcv", params=params)
    answer: dict[str, Any] = read_json(client, str(url))
    return answer


def read_closes(
    client: httpx.Client, symbol: str, adjustment: str, **query: Any
) -> dict[str, float]:
    bars = ask(client, symbol, adjustment, **query)["data"]
    return {bar["timestamp"]: bar["close"] for bar in bars}


def read_factors(
    client: httpx.Client, symbol: str, adjustment: str, **query: Any
) -> dict[str, float]:
    raw = read_closes(client, symbol, "raw", **query)
    adjusted = read_closes(client, symbol, adjustment, **query)
    return {stamp: adjusted[stamp] / raw[stamp] for stamp in raw}


@pytest.mark.parametrize("symbol", ["AAPL", "ONLY", "IBM"])
def test_a_split_turns_with_the_session_before_its_open_and_after_its_close(
    client: httpx.Client, symbol: str
) -> None:
    factors = read_factors(client, symbol, "split")
    turn = f"{SPLIT}T05:00:00Z"  # midnight in New York
    assert {f"{factor:.9f}" for stamp, factor in factors.items() if stamp >= turn} == {
        "1.000000000"
    }
    assert {f"{factor:.9f}" for stamp, factor in factors.items() if stamp < turn} == {"0.333333333"}


def test_a_split_turns_on_the_evening_before_where_the_session_begins_then(
    client: httpx.Client,
) -> None:
    factors = read_factors(client, "ES=F", "split")
    stamps = sorted(factors)
    turn = next(stamp for stamp in stamps if factors[stamp] == 1)
    assert turn == "2013-02-27T23:00:00Z"  # 17:00 in Chicago


def test_a_dividend_is_in_proportion_to_the_daily_close_before(client: httpx.Client) -> None:
    daily = read_json(client, "/instruments/AAPL/ohlcv?start=2013-02-25&end=2013-02-25")["data"]
    factors = read_factors(client, "AAPL", "all")
    before, after = factors["2013-02-25T20:30:00Z"], factors["2013-02-26T14:30:00Z"]
    assert before / after == pytest.approx(1 - 5 / daily[0]["close"])


def test_without_daily_bars_it_is_in_proportion_to_the_last_regular_minute_before(
    client: httpx.Client,
) -> None:
    minutes = read_closes(client, "ONLY", "raw", interval="1m", hours="regular")
    eve = minutes["2013-02-25T20:59:00Z"]
    for span in ({}, {"start": "2013-02-25", "end": "2013-02-26"}):
        factors = read_factors(client, "ONLY", "all", **span)
        before, after = factors["2013-02-25T20:30:00Z"], factors["2013-02-26T14:30:00Z"]
        assert before / after == pytest.approx(1 - 5 / eve)


def test_what_was_never_asked_for_is_said(client: httpx.Client) -> None:
    assert ask(client, "BARE", "all")["never_asked"] == ["splits", "dividends"]
    assert "never_asked" not in ask(client, "ONLY", "all")
    assert ask(client, "IBM", "split").get("never_asked") in (None, ["splits"])
    bare = read_factors(client, "BARE", "all")
    assert set(bare.values()) == {1.0}


def test_actions_after_the_day_count_for_nothing(client: httpx.Client) -> None:
    for symbol in ("AAPL", "ONLY"):
        factors = read_factors(client, symbol, "split")
        early = read_factors(client, symbol, "raw", adjusted_as_of="2013-02-27")
        assert set(early.values()) == {1.0} != set(factors.values())
        known = read_closes(client, symbol, "split", adjusted_as_of="2013-02-27")
        assert known == read_closes(client, symbol, "raw")


def test_volumes_are_scaled_with_their_session(client: httpx.Client) -> None:
    raw, split = (ask(client, "ONLY", each, interval="1m")["data"] for each in ("raw", "split"))
    for one, other in list(zip(raw, split, strict=True))[::400]:
        factor = 3 if one["timestamp"] < f"{SPLIT}T05" else 1
        assert other["volume"] == one["volume"] * factor
