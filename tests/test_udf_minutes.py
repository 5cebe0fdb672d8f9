"""Bars shorter than a day for TradingView's charts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest

from api.protocols.udf.symbols import build_multipliers, list_resolutions
from tests.minute_data import Minutes, fill
from tests.server import read_json, serve
from tests.test_udf import FUTURE, OPTIONAL_FIELDS, SYMBOL_FIELDS, check_fields

SPLIT = "2005-02-28"  # of AAPL, two for one: the daily sample knows it
AAPL = Minutes("AAPL", "XNYS", date(2005, 2, 24), date(2005, 3, 2))
IBM = Minutes("IBM", "XNYS", date(2005, 3, 1), date(2005, 3, 1), 0, 0, "files", "1s")
NOTES = [
    ("AAPL", datetime(2005, 3, 1, 15, 2), "spike", "back within minutes"),  # noqa: DTZ001
    ("AAPL", datetime(2005, 3, 1, 14, 10), "spike", "before the open"),  # noqa: DTZ001
    ("AAPL", datetime(2005, 3, 1, 20, 59), "frozen", "the same for long"),  # noqa: DTZ001
]
INTRADAY = {"1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1h"}
MINUTE_FIELDS = {
    **OPTIONAL_FIELDS,
    **{"intraday_multipliers": list, "has_seconds": bool, "seconds_multipliers": list},
}


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("udf") / "data"))
    fill(data_dir, AAPL, IBM, notes=NOTES)
    with serve(data_dir) as client:
        yield client


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def ask(client: httpx.Client, kind: str = "history", **query: Any) -> Any:
    asked = {"symbol": "AAPL", "resolution": "5", "to": FUTURE, **query}
    answer = client.get(f"/udf/{kind}", params=asked)
    assert answer.status_code == 200
    return answer.json()


def between(start: str, end: str) -> dict[str, int]:
    return {"from": second(start), "to": second(end)}


def test_config_and_symbols_tell_the_resolutions_that_are_stored(client: httpx.Client) -> None:
    daily = ["1D", "1W", "1M", "3M", "12M"]
    config = read_json(client, "/udf/config")
    assert config["supported_resolutions"] == ["1S", *INTRADAY, *daily]
    symbols = {name: read_json(client, f"/udf/symbols?symbol={name}") for name in ("AAPL", "IBM")}
    for symbol in symbols.values():
        check_fields(symbol, SYMBOL_FIELDS, MINUTE_FIELDS)
        assert symbol["has_intraday"] is True
        assert symbol["intraday_multipliers"] == [*INTRADAY]
    assert symbols["AAPL"]["supported_resolutions"] == [*INTRADAY, *daily]
    assert "has_seconds" not in symbols["AAPL"]
    assert symbols["IBM"]["seconds_multipliers"] == ["1"]
    none = read_json(client, "/udf/symbols?symbol=MSFT")
    assert (none["has_intraday"], none["supported_resolutions"]) == (False, daily)
    assert "intraday_multipliers" not in none


def test_minutes_that_were_made_are_said_to_be(client: httpx.Client) -> None:
    assert (
        read_json(client, "/udf/symbols?symbol=AAPL")["description"] == "AAPL (synthetic minutes)"
    )
    assert read_json(client, "/udf/symbols?symbol=IBM")["description"] == "IBM"


@pytest.mark.parametrize("resolution", INTRADAY)
def test_bars_are_those_of_the_service_adjusted_for_splits(
    client: httpx.Client, resolution: str
) -> None:
    url = "/instruments/AAPL/ohlcv?adjustment=split&format=columns&interval="
    columns = read_json(client, url + INTRADAY[resolution])["data"]
    bars = ask(client, resolution=resolution, **{"from": 0})
    assert bars["t"] == [second(text) for text in columns["timestamp"]]
    for name in ("open", "high", "low", "close", "volume"):
        assert bars[name[0]] == columns[name]


def test_a_split_halves_the_prices_before_its_session(client: httpx.Client) -> None:
    raw = read_json(client, "/instruments/AAPL/ohlcv?format=columns&interval=5m")["data"]
    bars = ask(client, **{"from": 0})
    turn = raw["timestamp"].index(f"{SPLIT}T14:30:00Z")
    assert bars["c"][:turn] == [close / 2 for close in raw["close"][:turn]]
    assert bars["c"][turn:] == raw["close"][turn:]


def test_from_is_inclusive_and_to_is_not(client: httpx.Client) -> None:
    asked = between("2005-03-01T14:30", "2005-03-01T14:40")
    first = asked["from"]
    assert ask(client, **asked)["t"] == [first, first + 300]
    assert ask(client, **{**asked, "from": first + 1})["t"] == [first + 300]
    assert ask(client, **{**asked, "to": first + 601})["t"] == [first, first + 300, first + 600]


@pytest.mark.parametrize("start", [0, second("2005-03-01T14:40"), FUTURE])
def test_countback_stands_above_from_and_goes_over_nights(client: httpx.Client, start: int) -> None:
    asked = {"from": start, "to": second("2005-03-01T14:40"), "countback": 4}
    assert ask(client, **asked)["t"] == [
        *(second("2005-02-28T20:50"), second("2005-02-28T20:55")),
        *(second("2005-03-01T14:30"), second("2005-03-01T14:35")),
    ]


def test_countback_gives_what_there_is(client: httpx.Client) -> None:
    assert len(ask(client, countback=10_000)["t"]) == 5 * 78
    assert len(ask(client, symbol="IBM", resolution="1S", countback=10_000)["t"]) == 10_000


@pytest.mark.parametrize("countback", [7, 329])
def test_walking_back_as_a_chart_does_meets_every_bar_once(
    client: httpx.Client, countback: int
) -> None:
    whole, met, until = ask(client, resolution="15", **{"from": 0})["t"], [], FUTURE
    while (page := ask(client, resolution="15", to=until, countback=countback))["s"] == "ok":
        assert page["t"][-1] < until
        met, until = [*page["t"], *met], page["t"][0]
    assert page == {"s": "no_data"}
    assert met == whole


def test_a_range_without_bars_names_the_bar_before(client: httpx.Client) -> None:
    weekend = between("2005-02-26T10:00", "2005-02-28T14:30")
    body = ask(client, **weekend)
    assert body == {"s": "no_data", "nextTime": second("2005-02-25T20:55")}
    assert ask(client, **{**weekend, "to": weekend["from"]}) == body
    assert ask(client, **between("2005-01-01", "2005-02-24T14:30")) == {"s": "no_data"}
    assert ask(client, to=second("2005-02-24T14:30"), countback=5) == {"s": "no_data"}


@pytest.mark.parametrize("bound", [-(2**53), 2**53])
def test_instants_that_have_no_year_bound_nothing(client: httpx.Client, bound: int) -> None:
    page = ask(client, resolution="60", **{"from": -(2**53), "to": bound})
    assert page["s"] == ("ok" if bound > 0 else "no_data")


def test_an_answer_is_cut_to_the_latest_bars_that_it_may_hold(
    client: httpx.Client, sample_dir: Path, tmp_path: Path
) -> None:
    data_dir = Path(copytree(sample_dir, tmp_path / "data"))
    fill(data_dir, AAPL)
    whole = ask(client, **{"from": 0})["t"]
    with serve(data_dir, MAX_ROWS=5) as small:
        for query in ({"from": 0}, {"countback": 300}):
            assert ask(small, **query)["t"] == whole[-5:]


def test_notes_are_marks_on_the_bars_that_hold_them(client: httpx.Client) -> None:
    asked = between("2005-03-01T14:30", "2005-03-01T20:55")
    marks = ask(client, "marks", **asked)
    assert marks["time"] == [second("2005-03-01T15:00"), second("2005-03-01T20:55")]
    assert marks["text"][0] == "2005-03-01T15:02:00Z spike: back within minutes"
    assert ask(client, "marks", **between("2005-03-01T15:05", "2005-03-01T20:50"))["time"] == []
    assert ask(client, "marks", **between("2001-03-01", "2001-03-02"))["time"] == []


def test_a_split_is_marked_on_the_first_bar_of_its_session(client: httpx.Client) -> None:
    (mark,) = ask(client, "timescale_marks", **{"from": 0})
    assert mark["time"] == second(f"{SPLIT}T14:30")
    assert mark["label"] == "S"
    later = between("2005-03-01T00:00", "2005-03-03T00:00")
    assert ask(client, "timescale_marks", **later) == []


@pytest.mark.parametrize(
    ("symbol", "resolution", "possible"),
    [
        ("MSFT", "5", "possible are 1D, 1W, 1M, 3M, 12M"),
        ("AAPL", "1S", "possible are 1, 5, 15, 30, 60, 1D"),
        ("AAPL", "10", "possible are 1, 5, 15, 30, 60, 1D"),
        ("IBM", "2", "possible are 1S, 1, 5"),
        ("NONE", "5", "NONE"),
    ],
)
def test_a_resolution_that_a_symbol_has_not_is_refused_with_those_it_has(
    client: httpx.Client, symbol: str, resolution: str, possible: str
) -> None:
    for kind in ("history", "marks", "timescale_marks"):
        body = ask(client, kind, symbol=symbol, resolution=resolution, **{"from": 0})
        assert body["s"] == "error"
        assert possible in body["errmsg"]


def test_what_no_minutes_can_make_is_not_offered() -> None:
    assert list_resolutions(["1h"])[:2] == ["60", "1D"]
    assert build_multipliers(["1h"]) == {"has_intraday": True, "intraday_multipliers": ["60"]}
    assert build_multipliers([]) == {"has_intraday": False}


def read_text(client: httpx.Client, url: str) -> str:
    """What is told; of a problem without what names the one request."""
    return client.get(url).text.partition('"request_id"')[0]


def test_a_load_of_minutes_is_seen_by_every_protocol_and_figure(
    sample_dir: Path, tmp_path: Path
) -> None:
    data_dir = Path(copytree(sample_dir, tmp_path / "data"))
    fill(data_dir, replace(AAPL, last=date(2005, 2, 25)))
    urls = [
        "/udf/config",
        "/udf/symbols?symbol=MSFT",
        "/udf/history?symbol=AAPL&resolution=60&from=0&to=4102444800",
        "/udf/history?symbol=AAPL&resolution=1S&from=0&to=4102444800",
        "/openbb/bars?symbol=AAPL&interval=60min",
        "/openbb/statistics?symbol=AAPL&interval=1h&theme=dark",
        "/openbb/price_chart?symbol=AAPL&interval=1H",
        "/widgets.json",
        "/instruments/AAPL/statistics?interval=1h",
        "/instruments/MSFT/rolling?benchmark=AAPL&what=beta&interval=1h",
        "/statistics/correlation?symbols=AAPL,MSFT&interval=hourly",
    ]
    with serve(data_dir) as client:
        before = [read_text(client, url) for url in urls]
        assert before == [read_text(client, url) for url in urls]
        daily = client.get("/udf/history?symbol=AAPL&resolution=1D&from=0&to=4102444800")
        seconds = replace(IBM, symbol="AAPL", source=AAPL.source)
        fill(data_dir, AAPL, replace(AAPL, symbol="MSFT"), seconds)
        after = [read_text(client, url) for url in urls]
        pairs = zip(urls, before, after, strict=True)
        unchanged = [url for url, old, new in pairs if old == new]
        assert unchanged == []
        again = client.get("/udf/history?symbol=AAPL&resolution=1D&from=0&to=4102444800")
        assert again.headers["etag"] == daily.headers["etag"]


def test_charts_of_days_go_on_while_minutes_cannot_be_read(
    sample_dir: Path, tmp_path: Path
) -> None:
    data_dir = Path(copytree(sample_dir, tmp_path / "data"))
    fill(data_dir, AAPL)
    manifest = data_dir / "minutes" / "current.json"
    whole = manifest.read_bytes()
    manifest.write_text("broken")
    daily = ["1D", "1W", "1M", "3M", "12M"]
    asked = "symbol=AAPL&from=0&to=4102444800"
    with serve(data_dir) as client:
        assert read_json(client, "/udf/config")["supported_resolutions"] == daily
        assert read_json(client, "/udf/symbols?symbol=AAPL")["has_intraday"] is False
        assert read_json(client, f"/udf/history?{asked}&resolution=1D")["s"] == "ok"
        assert read_json(client, "/widgets.json")
        assert read_json(client, "/openbb/bars?symbol=AAPL")
        assert read_json(client, "/instruments/AAPL/statistics")
        for url in (
            f"/udf/history?{asked}&resolution=5",
            "/openbb/bars?symbol=AAPL&interval=5m",
            "/instruments/AAPL/statistics?interval=5m",
            "/statistics/correlation?symbols=AAPL,IBM&interval=5m",
        ):
            answer = client.get(url)
            assert (answer.status_code, "minute store" in answer.text) == (503, True), url
    manifest.write_bytes(whole)
    with serve(data_dir) as client:
        assert read_json(client, "/udf/symbols?symbol=AAPL")["has_intraday"] is True
