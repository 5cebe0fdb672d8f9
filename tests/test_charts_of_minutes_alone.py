"""Charts and widgets of symbols that have bars shorter than a day and no others."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest

from tests.minute_data import Minutes, fill
from tests.server import read_json, serve
from tests.test_openbb import ask_widget

GIVEN = [
    Minutes("SONY", "XTKS", date(2013, 4, 1), date(2013, 4, 3), source="files"),
    Minutes("AACOIN", "24/7", date(2013, 3, 30), date(2013, 4, 1), source="files"),
]
END = 4_102_444_800


@pytest.fixture(scope="module", params=["beside days", "alone"])
def client(
    request: pytest.FixtureRequest, sample_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("alone") / "data"
    data_dir = folder if request.param == "alone" else Path(copytree(sample_dir, folder))
    fill(data_dir, *GIVEN)
    with serve(data_dir) as client:
        yield client


def ask(client: httpx.Client, kind: str, **query: Any) -> Any:
    return client.get(
        f"/udf/{kind}", params={"symbol": "SONY", "from": 0, "to": END, **query}
    ).json()


@pytest.mark.parametrize("name", ["SONY", "sony", "XTKS:SONY", "TSE:SONY"])
def test_a_symbol_has_the_resolutions_of_its_minutes(client: httpx.Client, name: str) -> None:
    symbol = ask(client, "symbols", symbol=name)
    assert (symbol["has_intraday"], symbol["has_daily"]) == (True, False)
    assert symbol["has_weekly_and_monthly"] is False
    assert symbol["supported_resolutions"] == ["1", "5", "15", "30", "60"]
    assert (symbol["timezone"], symbol["session"]) == ("Asia/Tokyo", "0900-1130,1230-1530")
    assert (symbol["type"], symbol["exchange"], symbol["pricescale"]) == ("stock", "XTKS", 100)
    bars = ask(client, "history", symbol=name, resolution="60")
    assert len(bars["t"]) == 3 * 6


def test_what_it_has_not_is_refused_with_what_it_has(client: httpx.Client) -> None:
    for resolution in ("1D", "1W"):
        body = ask(client, "history", resolution=resolution)
        assert body["s"] == "error"
        assert "run `make etl`" in body["errmsg"]
    assert "possible are 1, 5, 15, 30, 60" in ask(client, "history", resolution="7")["errmsg"]
    assert ask(client, "symbols", symbol="XNYS:SONY")["s"] == "error"
    assert ask(client, "timescale_marks", resolution="5") == []


def test_it_is_found_with_the_exchanges_that_there_are(client: httpx.Client) -> None:
    found = ask(client, "search", query="son", type="", exchange="")
    assert [(each["symbol"], each["exchange"]) for each in found] == [("SONY", "XTKS")]
    found = ask(client, "search", query="a", type="", exchange="", limit=1)
    assert [each["symbol"] for each in found] == ["AACOIN"]
    found = ask(client, "search", query="", type="crypto", exchange="")
    assert [each["symbol"] for each in found] == ["AACOIN"]
    assert ask(client, "search", query="SONY", type="", exchange="XNYS") == []
    config = read_json(client, "/udf/config")
    assert {"24/7", "XTKS"} <= {each["value"] for each in config["exchanges"]}


def test_a_widget_offers_it(client: httpx.Client) -> None:
    names = [each["value"] for each in read_json(client, "/openbb/symbols")]
    assert names == sorted(names)
    assert {"AACOIN", "SONY"} <= set(names)
    assert read_json(client, "/openbb/bars?symbol=SONY&interval=1h")[0]["timestamp"]
    widgets = read_json(client, "/widgets.json")
    assert widgets["bars"]["params"][0]["value"] == ("AAPL" if "AAPL" in names else "AACOIN")
    for name in ("bars", "price_chart", "statistics"):
        assert ask_widget(client, widgets[name])
