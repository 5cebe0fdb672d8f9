"""Bars shorter than a day in the widgets of OpenBB Workspace."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import numpy as np
import pytest

from api.bars.sessions import find_clock_times
from tests.minute_data import Minutes, fill
from tests.server import read_json, serve
from tests.test_openbb import ask_widget

AAPL = Minutes(first=date(2013, 3, 7), last=date(2013, 3, 12))  # clocks are put on the tenth
IBM = Minutes("IBM", "XNYS", date(2013, 3, 8), date(2013, 3, 8), 0, 0, "files", "1s")
SHORT = {"1m": "Minute", "5m": "5 minutes", "15m": "15 minutes", "30m": "30 minutes", "1h": "Hour"}


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("openbb") / "data"))
    fill(data_dir, AAPL, IBM)
    with serve(data_dir) as client:
        yield client


def list_choices(widget: dict[str, Any]) -> dict[str, str]:
    (interval,) = (each for each in widget["params"] if each["paramName"] == "interval")
    return {option["value"]: option["label"] for option in interval["options"]}


def test_a_widget_offers_the_intervals_that_are_stored(client: httpx.Client) -> None:
    widgets = read_json(client, "/widgets.json")
    for name in ("price_chart", "statistics", "bars"):
        choices = list_choices(widgets[name])
        assert list(choices)[:7] == ["1s", *SHORT, "1d"]
        assert {name: choices[name] for name in SHORT} == SHORT
        assert ask_widget(client, widgets[name])
    (column, *_) = widgets["bars"]["data"]["table"]["columnsDefs"]
    assert (column["headerName"], column["cellDataType"]) == ("Time", "text")


@pytest.mark.parametrize("widget", ["price_chart", "statistics", "bars"])
@pytest.mark.parametrize("interval", SHORT)
def test_every_interval_works(client: httpx.Client, widget: str, interval: str) -> None:
    assert read_json(client, f"/openbb/{widget}?symbol=AAPL&interval={interval}")


def test_rows_are_newest_first_with_the_time_of_the_exchange(client: httpx.Client) -> None:
    rows = read_json(client, "/openbb/bars?symbol=AAPL&interval=1h")
    assert [row["timestamp"] for row in rows[:8]] == [
        *(f"2013-03-12 {hour}:30" for hour in (15, 14, 13, 12, 11, 10)),
        *("2013-03-12 09:30", "2013-03-11 15:30"),
    ]
    assert [row["timestamp"] for row in rows[14:16]] == ["2013-03-08 15:30", "2013-03-08 14:30"]
    url = "/instruments/AAPL/ohlcv?interval=1h&adjustment=split&order=desc"
    bars = read_json(client, url)["data"]
    for name in ("open", "high", "low", "close", "volume"):
        assert [row[name] for row in rows] == [bar[name] for bar in bars]
    (second, *_) = read_json(client, "/openbb/bars?symbol=IBM&interval=1s&start=2013-03-08")
    assert second["timestamp"] == "2013-03-08 15:59:59"


def test_a_chart_of_minutes_has_no_gaps_of_nights(client: httpx.Client) -> None:
    figure = read_json(client, "/openbb/price_chart?symbol=AAPL&interval=30m&start=2013-03-11")
    candles, volumes = figure["data"]
    assert figure["layout"]["xaxis"]["type"] == "category"
    assert candles["x"][0] == volumes["x"][0] == "2013-03-11 09:30"
    assert len(candles["x"]) == 2 * 13
    daily = read_json(client, "/openbb/price_chart?symbol=AAPL&start=2013-02-11")
    assert daily["layout"]["xaxis"]["type"] == "date"


def test_a_page_of_bars_is_cut_to_the_newest(client: httpx.Client) -> None:
    assert len(read_json(client, "/openbb/bars?symbol=IBM&interval=1s")) == 23_400
    rows = read_json(client, "/openbb/bars?symbol=AAPL&interval=1m&start=2013-03-12")
    assert len(rows) == 390


def test_statistics_are_of_the_interval(client: httpx.Client) -> None:
    metrics = read_json(client, "/openbb/statistics?symbol=AAPL&interval=5m")
    told = {metric["label"]: metric["value"] for metric in metrics}
    assert told["Bars"] == f"{4 * 78}"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("symbol=MSFT&interval=5m", 404, "MSFT has no bars shorter than a day"),
        ("symbol=AAPL&interval=1s", 422, "interval=1s cannot be made"),
    ],
)
def test_what_is_not_stored_is_refused(
    client: httpx.Client, query: str, status: int, words: str
) -> None:
    answer = client.get(f"/openbb/bars?{query}")
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("America/New_York", ["2013-03-10T01:59:59", "2013-03-10T03:00:00", "2013-03-10T03:15:00"]),
        ("Asia/Kolkata", ["2013-03-10T12:29:59", "2013-03-10T12:30:00", "2013-03-10T12:45:00"]),
        ("", ["2013-03-10T06:59:59", "2013-03-10T07:00:00", "2013-03-10T07:15:00"]),
    ],
)
def test_a_clock_shows_what_it_is_put_to(zone: str, expected: list[str]) -> None:
    stamps = ["2013-03-10T06:59:59", "2013-03-10T07:00:00", "2013-03-10T07:15:00"]
    shown = find_clock_times(np.array(stamps, "datetime64[s]"), zone)
    assert np.datetime_as_string(shown).tolist() == expected
