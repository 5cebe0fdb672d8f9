"""Since when splits and dividends are known: said wherever adjusted prices are, null for never."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import read_json, serve
from tests.stores import copy_folder, store_of, write_store

OLD, NEW = "2026-11-01T10:00:00Z", "2026-11-20T23:00:05Z"
# symbol → the last answers about its splits and its dividends
KNOWN = {"AAPL": (NEW, OLD), "IBM": (NEW, None), "MSFT": (None, NEW), "GOOG": (None, None)}


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = copy_folder(sample_dir, tmp_path_factory.mktemp("known") / "data")
    write_store(
        store_of(folder),
        *(
            f"""UPDATE instruments SET splits_known_at = {quote(splits)},
            dividends_known_at = {quote(dividends)},
            actions_known_at = {quote(min(splits, dividends) if splits and dividends else None)}
            WHERE symbol = '{symbol}'"""
            for symbol, (splits, dividends) in KNOWN.items()
        ),
    )
    with serve(folder) as client:
        yield client


def quote(instant: str | None) -> str:
    return f"TIMESTAMP '{instant[:-1]}'" if instant else "NULL"


@pytest.mark.parametrize("symbol", KNOWN)
def test_an_instrument_says_since_when_its_actions_are_known(
    client: httpx.Client, symbol: str
) -> None:
    splits, dividends = KNOWN[symbol]
    told = read_json(client, f"/instruments/{symbol}")
    assert (told["splits_known_at"], told["dividends_known_at"]) == (splits, dividends)
    assert told["actions_known_at"] == (OLD if symbol == "AAPL" else None)


SAID: list[tuple[str, str, dict[str, Any]]] = [
    ("AAPL", "raw", {}),
    ("AAPL", "split", {"actions_known_at": NEW}),
    ("AAPL", "all", {"actions_known_at": OLD}),
    ("IBM", "split", {"actions_known_at": NEW}),
    ("IBM", "all", {"actions_known_at": None, "never_asked": ["dividends"]}),
    ("MSFT", "split", {"actions_known_at": None, "never_asked": ["splits"]}),
    ("GOOG", "all", {"actions_known_at": None, "never_asked": ["splits", "dividends"]}),
    ("GOOG", "all&as_of=2026-11-25T00:00:00Z", {"as_of": "2026-11-25T00:00:00Z"}),
]


@pytest.mark.parametrize(("symbol", "adjustment", "said"), SAID)
def test_adjusted_bars_say_what_they_stand_on(
    client: httpx.Client, symbol: str, adjustment: str, said: dict[str, Any]
) -> None:
    query = f"adjustment={adjustment}&limit=1"
    told = read_json(client, f"/instruments/{symbol}/ohlcv?{query}")
    names = ("actions_known_at", "never_asked", "as_of")
    assert {name: told[name] for name in names if name in told} == said
    headers = client.get(f"/instruments/{symbol}/ohlcv?{query}&format=csv").headers
    assert headers.get("X-Never-Asked") == (",".join(said.get("never_asked", [])) or None)
    assert headers.get("X-Actions-Known-At") == said.get("actions_known_at")


@pytest.mark.parametrize("figure", ["statistics", "rolling?what=return", "returns", "drawdowns"])
def test_figures_of_adjusted_prices_say_what_they_stand_on(
    client: httpx.Client, figure: str
) -> None:
    def ask(symbol: str, adjustment: str) -> dict[str, Any]:
        sign = "&" if "?" in figure else "?"
        told = read_json(client, f"/instruments/{symbol}/{figure}{sign}adjustment={adjustment}")
        return {name: told[name] for name in ("actions_known_at", "never_asked") if name in told}

    assert ask("AAPL", "raw") == {}
    assert ask("AAPL", "all") == {"actions_known_at": OLD}
    assert ask("IBM", "all") == {"actions_known_at": None, "never_asked": ["dividends"]}
    assert ask("GOOG", "split") == {"actions_known_at": None, "never_asked": ["splits"]}


def test_bars_of_several_symbols_say_whose_actions_were_never_asked_for(
    client: httpx.Client,
) -> None:
    told = read_json(client, "/ohlcv?symbols=AAPL,IBM,GOOG&adjustment=all&limit=1")
    assert told["actions_known_at"] is None
    assert told["never_asked"] == ["IBM dividends", "GOOG splits", "GOOG dividends"]
    told = read_json(client, "/ohlcv?symbols=AAPL,IBM&adjustment=split&limit=1")
    assert told["actions_known_at"] == NEW
    assert "never_asked" not in told


def test_prices_that_are_stored_split_adjusted_need_no_splits(
    sample_dir: Path, tmp_path: Path
) -> None:
    folder = copy_folder(sample_dir, tmp_path / "data")
    write_store(
        store_of(folder),
        "UPDATE instruments SET basis = 'split', splits_known_at = NULL, dividends_known_at = NULL",
    )
    with serve(folder) as client:
        told = read_json(client, "/instruments/IBM/ohlcv?adjustment=all&limit=1")
        assert told["never_asked"] == ["dividends"]
        told = read_json(client, "/instruments/IBM/ohlcv?adjustment=split&limit=1")
        assert not {"never_asked", "actions_known_at"} & set(told)


def test_a_screen_says_what_the_returns_of_its_rows_stand_on(client: httpx.Client) -> None:
    def ask(query: str) -> tuple[Any, ...]:
        told = read_json(client, f"/screen?{query}")
        return told["adjustment"], told.get("actions_known_at", "absent"), told.get("never_asked")

    assert ask("sort=symbol&limit=1") == ("split", NEW, None)
    assert ask("sort=symbol&limit=4") == ("split", None, ["GOOG splits"])
    assert ask("as_of=2026-11-25") == ("split", "absent", None)
