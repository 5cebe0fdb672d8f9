"""The data source of TradingView's charts, held to the shapes that their protocol documents."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from api.bars.hours import USUAL_HOURS
from api.bars.series import Series
from api.main import create_app
from api.protocols.udf.shapes import place_on_bars
from api.protocols.udf.symbols import SAME_CLOCKS, build_symbol, count_decimals, find_venue
from etl import load
from etl.contracts.zones import ZONES
from tests.conftest import call_stage, clean_environ, make_bars
from tests.server import make_settings, read_json, serve, serve_app
from tests.stores import store_of, write_store

DAY = 86_400
FUTURE = 4_102_444_800  # 2100-01-01
# field → type of what a chart needs, and of what it may get beside that
SYMBOL_FIELDS = {
    **{"name": str, "description": str, "type": str, "session": str, "timezone": str},
    **{"exchange": str, "listed_exchange": str, "format": str, "minmov": int, "pricescale": int},
}
OPTIONAL_FIELDS = {
    **{"ticker": str, "full_name": str, "has_intraday": bool, "has_daily": bool},
    **{"has_weekly_and_monthly": bool, "monthly_multipliers": list, "data_status": str},
    **{"supported_resolutions": list, "visible_plots_set": str, "volume_precision": int},
}
RESULT_FIELDS = {
    **{"symbol": str, "full_name": str, "description": str, "exchange": str},
    **{"ticker": str, "type": str},
}
MARK_FIELDS = {
    **{"id": str, "time": int, "color": str, "text": str, "label": str},
    **{"labelFontColor": str, "minSize": int},
}
TIMESCALE_FIELDS = {"id": str, "color": str, "label": str, "time": int, "tooltip": list}
RESOLUTIONS = {"1D": "1d", "1W": "1wk", "1M": "1mo", "3M": "3mo", "12M": "1y"}


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def restated(restated_dir: Path) -> Iterator[httpx.Client]:
    with serve(restated_dir) as client:
        yield client


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A store of symbols of every kind; EURUSD=X has no volumes, IBM lacks one."""
    folder = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        symbols = ("^GSPC", "BTC-USD", "GC=F", "AET.L", "IBM", "AI", "XAI")
        bars: list[tuple[Any, ...]] = [(symbol, "2020-01-06", 5.0) for symbol in symbols]
        bars += [("EURUSD=X", "2020-01-06", 1.12345, None), ("IBM", "2020-01-07", 6.0, None)]
        path = make_bars(folder / "bars.parquet", bars)
        assert call_stage(load.main, "--input", path) == 0
    with serve(folder) as client:
        yield client


def check_fields(answer: dict[str, Any], needed: dict[str, type], more: dict[str, type]) -> None:
    assert set(needed) <= set(answer) <= set(needed) | set(more)
    for name, value in answer.items():
        assert type(value) is {**needed, **more}[name], name


def to_seconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def ask_history(client: httpx.Client, symbol: str = "AAPL", **query: Any) -> dict[str, Any]:
    asked = {"symbol": symbol, "resolution": "1D", "to": FUTURE, **query}
    answer = client.get("/udf/history", params=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body: dict[str, Any] = answer.json()
    check_history(body)
    return body


def check_history(body: dict[str, Any]) -> None:
    if body["s"] == "error":
        assert list(body) == ["s", "errmsg"]
        assert body["errmsg"]
    elif body["s"] == "no_data":
        assert set(body) <= {"s", "nextTime"}
        assert type(body.get("nextTime", 0)) is int
    else:
        assert body["s"] == "ok"
        assert {"t", "o", "h", "l", "c"} <= set(body) - {"s"} <= {*"tohlcv"}
        columns = [column for name, column in body.items() if name != "s"]
        assert len({len(column) for column in columns}) == 1
        assert {type(value) for column in columns for value in column} <= {int, float}
        assert body["t"] == sorted(set(body["t"]))
        assert all(second % DAY == 0 for second in body["t"])


# What there is


def test_config_has_the_documented_shape(client: httpx.Client) -> None:
    config = read_json(client, "/udf/config")
    assert config.pop("exchanges") == [
        {"value": "", "name": "All exchanges", "desc": ""},
        {"value": "XNYS", "name": "XNYS", "desc": "XNYS"},
    ]
    types = config.pop("symbols_types")
    assert types[0] == {"name": "All types", "value": ""}
    assert all(set(each) == {"name", "value"} for each in types)
    assert config == {
        "supported_resolutions": ["1D", "1W", "1M", "3M", "12M"],
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": True,
        "supports_timescale_marks": True,
        "supports_time": True,
    }


def test_a_symbol_has_the_documented_fields_and_no_other(client: httpx.Client) -> None:
    symbol = read_json(client, "/udf/symbols?symbol=AAPL")
    check_fields(symbol, SYMBOL_FIELDS, OPTIONAL_FIELDS)
    assert (symbol["name"], symbol["ticker"], symbol["type"]) == ("AAPL", "AAPL", "stock")
    assert (symbol["timezone"], symbol["session"]) == ("America/New_York", "0930-1600")
    assert symbol["has_intraday"] is False
    assert symbol["data_status"] == "endofday"
    assert symbol["visible_plots_set"] == "ohlcv"


@pytest.mark.parametrize("name", ["aapl", "XNYS:AAPL", "nyse:aapl", "%20AAPL"])
def test_a_symbol_is_found_in_any_case_and_behind_an_exchange(
    client: httpx.Client, name: str
) -> None:
    upper = read_json(client, "/udf/symbols?symbol=AAPL")
    assert read_json(client, f"/udf/symbols?symbol={name}") == upper
    assert ask_history(client, "aapl", countback=3) == ask_history(client, countback=3)


@pytest.mark.parametrize("name", ["ZZZ:AAPL", "xlon:aapl", "24/7:AAPL", "LSE:AAPL", "AAPL:IBM"])
def test_a_symbol_behind_an_exchange_that_is_not_its_own_is_unknown(
    client: httpx.Client, name: str
) -> None:
    answer = read_json(client, f"/udf/symbols?symbol={name}")
    assert (answer["s"], name.upper() in answer["errmsg"]) == ("error", True)
    assert ask_history(client, name, countback=3)["s"] == "error"
    assert read_json(client, f"/udf/search?query={name}") == []


@pytest.mark.parametrize(
    ("symbol", "kind", "timezone", "session"),
    [
        ("^GSPC", "index", "Etc/UTC", "24x7"),  # its calendar is not known
        ("BTC-USD", "crypto", "Etc/UTC", "24x7"),
        ("GC=F", "futures", "America/Chicago", "1700-1600"),
        ("EURUSD=X", "forex", "Etc/UTC", "0000-0000"),
        ("AET.L", "stock", "Europe/London", "0800-1630"),
    ],
)
def test_a_symbol_says_what_it_is_and_when_it_trades(
    mixed: httpx.Client, symbol: str, kind: str, timezone: str, session: str
) -> None:
    found = mixed.get("/udf/symbols", params={"symbol": symbol}).json()
    check_fields(found, SYMBOL_FIELDS, OPTIONAL_FIELDS)
    assert (found["type"], found["timezone"], found["session"]) == (kind, timezone, session)
    (result,) = mixed.get("/udf/search", params={"query": symbol}).json()
    assert (result["symbol"], result["type"]) == (symbol, kind)


def test_an_unknown_exchange_trades_at_all_hours() -> None:
    listing = {"symbol": "A", "exchange": "XXXX", "kind": "stock"}
    symbol = build_symbol(listing, make_series([1.25]))
    assert (symbol["timezone"], symbol["session"]) == ("Etc/UTC", "24x7")
    assert "XXXX" not in USUAL_HOURS


@pytest.mark.parametrize(
    ("prices", "decimals"),
    [
        ([5.0, 411.23], 2),
        ([411.23, 118.5625], 4),
        ([1.12345], 5),
        ([0.00001234, 5.0], 8),
        ([float(np.float32(12.34))], 2),
        ([100 / 3], 6),
    ],
)
def test_prices_are_shown_with_the_decimals_they_have(prices: list[float], decimals: int) -> None:
    assert count_decimals(make_series(prices)) == decimals


def make_series(prices: list[float]) -> Series:
    column = np.array(prices)
    days = np.datetime64("2020-01-06") + np.arange(len(prices))
    volume = np.ma.masked_array(np.ones(len(prices), np.int64))
    return Series("A", "raw", days.astype("datetime64[s]"), column, column, column, column, volume)


def test_search_gives_the_documented_fields_and_no_other(client: httpx.Client) -> None:
    found = read_json(client, "/udf/search?query=&type=&exchange=&limit=30")
    assert [result["symbol"] for result in found] == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    for result in found:
        check_fields(result, RESULT_FIELDS, {})


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("query=ai", ["AI", "XAI"]),
        ("query=x", ["XAI", "EURUSD=X"]),
        ("query=XNYS:AI", ["AI", "XAI"]),
        ("query=ai&limit=1", ["AI"]),
        ("type=crypto", ["BTC-USD"]),
        ("exchange=XLON", ["AET.L"]),
        ("exchange=XLON&type=crypto", []),
        ("query=QQQQ", []),
    ],
)
def test_search_finds_by_part_kind_and_exchange(
    mixed: httpx.Client, query: str, symbols: list[str]
) -> None:
    found = read_json(mixed, f"/udf/search?{query}")
    assert [result["symbol"] for result in found] == symbols


# Bars


@pytest.mark.parametrize("resolution", [*RESOLUTIONS, "D", "W", "M"])
def test_bars_are_those_of_the_service_adjusted_for_splits(
    client: httpx.Client, resolution: str
) -> None:
    interval = RESOLUTIONS.get(resolution) or RESOLUTIONS[f"1{resolution}"]
    url = f"/instruments/AAPL/ohlcv?adjustment=split&interval={interval}&format=columns"
    columns = read_json(client, url)["data"]
    bars = ask_history(client, resolution=resolution, **{"from": 0})
    assert bars["t"] == [to_seconds(day) for day in columns["timestamp"]]
    for name in ("open", "high", "low", "close", "volume"):
        assert bars[name[0]] == columns[name]


def test_from_is_inclusive_and_to_is_not(client: httpx.Client) -> None:
    first, last = to_seconds("2012-01-03"), to_seconds("2012-01-06")
    days = [to_seconds(day) for day in ("2012-01-03", "2012-01-04", "2012-01-05")]
    assert ask_history(client, **{"from": first, "to": last})["t"] == days
    assert ask_history(client, **{"from": first + 1, "to": last})["t"] == days[1:]
    assert ask_history(client, **{"from": first, "to": last + 1})["t"] == [*days, last]


@pytest.mark.parametrize("start", ["2012-01-03", "2012-01-06", "2013-01-03", "1970-01-01"])
def test_countback_stands_above_from(client: httpx.Client, start: str) -> None:
    query = {"from": to_seconds(start), "to": to_seconds("2012-01-06"), "countback": 4}
    assert ask_history(client, **query)["t"] == [
        to_seconds(day) for day in ("2011-12-30", "2012-01-03", "2012-01-04", "2012-01-05")
    ]


def test_countback_gives_what_there_is(client: httpx.Client) -> None:
    assert len(ask_history(client, countback=1_000_000)["t"]) == 3270
    assert len(ask_history(client, "FB", countback=300)["t"]) == 196


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("countback", [2, 329])
def test_walking_back_as_a_chart_does_meets_every_bar_once(
    client: httpx.Client, resolution: str, countback: int
) -> None:
    symbol = "FB" if countback == 2 else "AAPL"
    whole = ask_history(client, symbol, resolution=resolution, **{"from": 0})
    met: list[int] = []
    until, asked = FUTURE, 0
    while True:
        query = {"from": until - countback * DAY, "to": until, "countback": countback}
        page = ask_history(client, symbol, resolution=resolution, **query)
        asked += 1
        if page["s"] == "no_data":
            break
        assert page["t"][-1] < until
        met = [*page["t"], *met]
        until = page["t"][0]
    assert page == {"s": "no_data"}  # nothing older: the chart asks no more
    assert met == whole["t"]
    assert asked == -(-len(met) // countback) + 1


def test_walking_back_by_windows_alone_follows_next_time(client: httpx.Client) -> None:
    whole = ask_history(client, "FB", **{"from": 0})["t"]
    met: list[int] = []
    start = until = to_seconds("2013-06-01")
    while True:
        start, until = start - 2 * DAY, start
        assert start > to_seconds("2012-01-01")
        page = ask_history(client, "FB", **{"from": start, "to": until})
        if page["s"] == "ok":
            met = [*page["t"], *met]
        elif "nextTime" not in page:
            break
        else:
            assert page["nextTime"] == max(second for second in whole if second < start)
            start = page["nextTime"] + DAY
    assert met == whole


def test_a_weekend_has_no_data_and_names_the_bar_before(client: httpx.Client) -> None:
    saturday, monday = to_seconds("2013-02-23"), to_seconds("2013-02-25")
    body = ask_history(client, **{"from": saturday, "to": monday})
    assert body == {"s": "no_data", "nextTime": to_seconds("2013-02-22")}


def test_before_the_first_bar_there_is_nothing_to_ask_for(client: httpx.Client) -> None:
    first = to_seconds("2000-03-01")
    assert ask_history(client, **{"from": -DAY, "to": first}) == {"s": "no_data"}
    assert ask_history(client, to=first, countback=300) == {"s": "no_data"}
    assert ask_history(client, to=first + 1, countback=300)["t"] == [first]


def test_an_answer_is_cut_to_the_latest_bars_that_it_may_hold(sample_dir: Path) -> None:
    with serve(sample_dir, MAX_ROWS=5) as client:
        for query in ({"from": 0}, {"countback": 300}):
            assert ask_history(client, **query)["t"][0] == to_seconds("2013-02-25")
        assert len(read_json(client, "/udf/search?query=&limit=300")) == 5


def test_a_missing_volume_is_0_and_a_symbol_without_any_has_no_column(mixed: httpx.Client) -> None:
    assert ask_history(mixed, "IBM", countback=5)["v"] == [1000, 0]
    assert "v" not in ask_history(mixed, "EURUSD=X", countback=5)
    found = mixed.get("/udf/symbols", params={"symbol": "EURUSD=X"}).json()
    assert found["visible_plots_set"] == "ohlc"
    assert found["pricescale"] == 100_000


# Marks


def ask_marks(client: httpx.Client, kind: str, **query: Any) -> Any:
    asked = {"symbol": "IBM", "resolution": "1D", "from": 0, "to": FUTURE, **query}
    return client.get(f"/udf/{kind}", params=asked).json()


def test_notes_are_marks_on_their_bars(restated: httpx.Client) -> None:
    marks = ask_marks(restated, "marks")
    assert list(marks) == list(MARK_FIELDS)
    for name, values in marks.items():
        assert {type(value) for value in values} == {MARK_FIELDS[name]}
    assert marks["time"] == [to_seconds("2020-05-01"), to_seconds("2020-05-11")]
    assert marks["label"] == ["O", "P"]
    assert marks["text"][0] == (
        "2020-05-01 open outside range: open 123.1 is not within low 119.8 to high 122.12"
    )
    assert len(set(marks["id"])) == 2


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_mark_lies_on_a_bar(
    restated: httpx.Client, client: httpx.Client, resolution: str
) -> None:
    bars = ask_history(restated, "IBM", resolution=resolution, **{"from": 0})["t"]
    for kind in ("marks", "timescale_marks"):
        marks = ask_marks(restated, kind, resolution=resolution)
        times = marks["time"] if kind == "marks" else [mark["time"] for mark in marks]
        assert set(times) <= set(bars)
        assert times
    bars = ask_history(client, resolution=resolution, **{"from": 0})["t"]
    marks = ask_marks(client, "timescale_marks", symbol="AAPL", resolution=resolution)
    splits = (to_seconds("2000-06-21"), to_seconds("2005-02-28"))
    held = [max(second for second in bars if second <= split) for split in splits]
    assert [mark["time"] for mark in marks] == held


def test_many_notes_of_one_bar_are_few_marks(data_dir: Path) -> None:
    days = [f"2020-01-{day:02}" for day in (6, 7, 8, 9, 10, 13, 14)]
    path = make_bars(data_dir / "bars.parquet", [("IBM", day, 5.0) for day in days])
    assert call_stage(load.main, "--input", path) == 0
    notes = [(day, reason) for day in days for reason in "abcdefghijkl"]
    rows = [f"('IBM', '{day}', '{reason}', 'so', 'run', now())" for day, reason in notes]
    write_store(
        store_of(data_dir),
        "DELETE FROM bar_notes",
        "INSERT INTO bar_notes (symbol, timestamp, reason, detail, run_id, known_from) VALUES"
        f" {','.join(rows)}",
    )
    with serve(data_dir) as client:
        assert len(ask_marks(client, "marks")["id"]) == 10 * len(days)
        month = ask_marks(client, "marks", resolution="1M")
    assert month["time"] == [to_seconds("2020-01-06")] * 10
    assert month["label"] == [*"ABCDEFGHIJ"]
    assert month["text"][0] == "2020-01-06 a: so (and 6 more)"


def test_splits_and_dividends_are_marks_on_the_time_scale(
    client: httpx.Client, restated: httpx.Client
) -> None:
    marks = ask_marks(client, "timescale_marks", symbol="AAPL")
    marks += ask_marks(restated, "timescale_marks")
    for mark in marks:
        check_fields(mark, TIMESCALE_FIELDS, {})
    assert [(mark["label"], mark["tooltip"]) for mark in marks] == [
        ("S", ["Split 2:1", "Ex-date 2000-06-21"]),
        ("S", ["Split 2:1", "Ex-date 2005-02-28"]),
        ("D", ["Dividend 1.63", "Ex-date 2020-05-07"]),
    ]
    assert [mark["time"] for mark in marks] == [
        to_seconds(day) for day in ("2000-06-21", "2005-02-28", "2020-05-07")
    ]


def test_marks_are_those_of_the_range_that_is_shown(
    client: httpx.Client, restated: httpx.Client
) -> None:
    day = to_seconds("2020-05-11")
    assert ask_marks(restated, "marks", **{"from": day, "to": day})["label"] == ["P"]
    assert ask_marks(restated, "marks", **{"from": day + 1})["label"] == []
    assert ask_marks(restated, "marks", to=day - 1)["label"] == ["O"]
    split = to_seconds("2005-02-28")
    query = {"symbol": "AAPL", "from": split, "to": split}
    assert len(ask_marks(client, "timescale_marks", **query)) == 1
    assert ask_marks(client, "timescale_marks", **{**query, "from": split + 1, "to": FUTURE}) == []


# The clock, the cache and faults


def test_time_is_the_clock_of_the_server_and_is_not_kept(client: httpx.Client) -> None:
    for _ in range(2):
        before = int(time.time())
        answer = client.get("/udf/time")
        assert before <= int(answer.text) <= time.time()
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["cache-control"] == "no-store"
        assert "x-cache" not in answer.headers


@pytest.mark.parametrize(
    "url",
    [
        *("/udf/config", "/udf/symbols?symbol=IBM", "/udf/search?query=I"),
        "/udf/history?symbol=IBM&resolution=1D&to=1262304000&countback=1",
        "/udf/marks?symbol=IBM&resolution=1D&from=0&to=1262304000",
        "/udf/timescale_marks?symbol=IBM&resolution=1D&from=0&to=1262304000",
    ],
)
def test_all_but_the_clock_is_kept_and_told_apart_by_generation(
    client: httpx.Client, url: str
) -> None:
    client.get(url)
    answer = client.get(url)
    assert answer.headers["x-cache"] == "HIT"
    unchanged = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert unchanged.status_code == 304


H, RANGE = "/udf/history?symbol=AAPL", "resolution=1D&from=0&to=86400"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/udf/symbols?symbol=APPL", "Unknown symbol APPL: did you mean AAPL?"),
        ("/udf/symbols?symbol=", "Unknown symbol"),
        ("/udf/symbols", "symbol is missing: add symbol="),
        (f"/udf/symbols?symbol={'A' * 65}", "at most 64 characters"),
        ("/udf/symbols?symbol=A&symbol=B", "symbol is given 2 times: give it once"),
        ("/udf/search?limit=0", "limit=0: it should be greater than or equal to 1"),
        (f"/udf/history?symbol=APPL&{RANGE}", "Unknown symbol APPL: did you mean AAPL?"),
        (f"{H}&resolution=5&from=0&to=1", "resolution=5: possible are 1D, 1W, 1M, 3M, 12M"),
        (f"{H}&resolution=1m&from=0&to=1", "resolution=1m: possible are"),
        (f"{H}&from=0&to=1", "resolution is missing: add resolution="),
        (f"{H}&resolution=1D&from=0", "to is missing: add to="),
        (f"{H}&resolution=1D&to=1", "from is missing: give the unix time of the first bar"),
        (f"{H}&resolution=1D&from=x&to=1", "from=x: it should be a valid integer"),
        (f"{H}&resolution=1D&from=0&to={'9' * 30}", "it should be less than or equal to 9007199"),
        (f"{H}&resolution=1D&from=2&to=1", "from 2 is after to 1: swap them"),
        (f"{H}&{RANGE}&countback=-1", "countback=-1: it should be greater than or equal to 0"),
        (f"/udf/marks?symbol=APPL&{RANGE}", "Unknown symbol APPL"),
        ("/udf/marks?symbol=AAPL&resolution=1D&from=2&to=1", "swap them"),
        (f"/udf/timescale_marks?symbol=APPL&{RANGE}", "Unknown symbol APPL"),
        ("/udf/timescale_marks?symbol=AAPL&resolution=7&from=0&to=1", "resolution=7"),
    ],
)
def test_a_bad_request_is_answered_as_a_chart_can_read(
    client: httpx.Client, url: str, message: str
) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    check_history(answer.json())
    assert message in answer.json()["errmsg"]


def test_parameters_beside_those_of_the_protocol_are_passed_over(client: httpx.Client) -> None:
    plain = read_json(client, f"{H}&{RANGE}&countback=3")
    assert read_json(client, f"{H}&{RANGE}&countback=3&currencyCode=USD&unitId=x") == plain
    symbol = read_json(client, "/udf/symbols?symbol=AAPL&currencyCode=USD")
    assert symbol == read_json(client, "/udf/symbols?symbol=AAPL")


def test_without_a_database_a_chart_reads_the_remedy(data_dir: Path) -> None:
    with serve(data_dir) as client:
        for url in ("/udf/config", "/udf/symbols?symbol=A", "/udf/search", f"{H}&{RANGE}"):
            answer = client.get(url)
            assert (answer.status_code, answer.json()["s"]) == (503, "error")
            assert "run `make etl`" in answer.json()["errmsg"]
            assert answer.headers["retry-after"] == "5"
        assert client.get("/udf/time").status_code == 200


@pytest.fixture
def faulty_app(own_sample: Path) -> FastAPI:
    """An app over a store that lacks the table of instruments."""
    write_store(store_of(own_sample), "DROP TABLE instruments")
    return create_app(make_settings(own_sample))


def test_a_fault_of_ours_tells_a_chart_nothing(
    faulty_app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with serve_app(faulty_app) as client:
        answer = client.get("/udf/symbols?symbol=AAPL")
        assert (answer.status_code, answer.json()["s"]) == (500, "error")
        assert answer.json()["errmsg"].startswith("Something went wrong here")
    assert "instruments does not exist" in caplog.text


def test_no_other_method_than_to_read(client: httpx.Client) -> None:
    assert client.post("/udf/config").status_code == 405
    assert client.head("/udf/config").status_code == 200


def test_what_lies_before_the_first_bar_is_drawn_on_none() -> None:
    series = make_series([5.0, 6.0, 7.0])
    first: date = series.days[0].item()
    days = [first - timedelta(days=400), first, first + timedelta(days=4000)]
    assert place_on_bars(days, series, series).tolist() == [-1, 0, -1]


@pytest.mark.parametrize("exchange", sorted(USUAL_HOURS))
def test_the_clock_of_each_exchange_is_one_that_the_library_knows(exchange: str) -> None:
    zone, hours = find_venue(exchange)
    assert zone not in SAME_CLOCKS
    assert hours == USUAL_HOURS[exchange]
    for month in range(1, 13):
        instant = datetime(2025, month, 20, tzinfo=UTC)
        same = {instant.astimezone(ZoneInfo(each)).utcoffset() for each in (zone, ZONES[exchange])}
        assert len(same) == 1


def test_hours_have_their_break_and_begin_the_evening_before() -> None:
    assert find_venue("XTKS") == ("Asia/Tokyo", "0900-1130,1230-1530")
    assert find_venue("XHKG")[1] == "0930-1200,1300-1600"
    assert find_venue("CMES")[1] == "1700-1600"
    assert find_venue("XSAU")[1] == "1000-1500:12345"
