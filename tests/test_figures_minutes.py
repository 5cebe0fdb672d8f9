"""Figures of bars shorter than a day over the API: those of the bars that /ohlcv gives."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from api.bars.series import Axis, Series, take_slice
from api.figures.indicators import count_past, parse_indicators
from api.models import DrawdownsAnswer, FiguresPage, MatrixAnswer, Statistics
from api.routes.taken import Taken, cut_past
from tests.minute_data import Minutes, fill
from tests.server import check_answer, forbid_more, read_json, serve

AAPL = Minutes(first=date(2013, 2, 26), last=date(2013, 3, 1))
IBM = Minutes("IBM", "XNYS", date(2013, 2, 27), date(2013, 3, 4), source="files")
COIN = Minutes("COIN", "24/7", date(2013, 2, 28), date(2013, 3, 1), source="files")
TOLD = {"hours": "regular", "timezone": "America/New_York", "synthetic": True}
NAMES = "sma:20,ema:9,rsi:14,obv,vwap:5"


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("figures") / "data"))
    fill(data_dir, AAPL, IBM, COIN)
    with serve(data_dir) as client:
        yield client


def ask(client: httpx.Client, figure: str, symbol: str = "AAPL", **query: Any) -> dict[str, Any]:
    url = httpx.URL(f"/instruments/{symbol}/{figure}", params={"interval": "5m", **query})
    answer: dict[str, Any] = read_json(client, str(url))
    return answer


def read_bars(client: httpx.Client, symbol: str = "AAPL", **query: Any) -> pd.DataFrame:
    """The bars that figures are reckoned of: adjusted for splits."""
    answer = ask(client, "ohlcv", symbol, adjustment="split", **query)
    return pd.DataFrame(answer["data"]).set_index("timestamp")


def test_statistics_are_of_the_bars_of_the_interval(client: httpx.Client) -> None:
    bars, told = read_bars(client), ask(client, "statistics")
    check_answer(told, Statistics)
    returns = bars["close"].pct_change().iloc[1:]
    assert {name: told[name] for name in TOLD} == TOLD
    assert (told["interval"], told["count"]) == ("5m", len(bars)) == ("5m", 4 * 78)
    assert (told["first"], told["last"]) == (bars.index[0], bars.index[-1])
    assert told["high_date"] == bars["high"].idxmax() == "2013-03-01T20:55:00Z"
    assert told["periods"] == 252 * 78
    assert told["annual_volatility"] == pytest.approx(returns.std() * (252 * 78) ** 0.5)
    assert told["total_volume"] == bars["volume"].sum()
    assert told["best_day_return"] == pytest.approx(returns.max())


@pytest.mark.parametrize(
    ("symbol", "interval", "periods"),
    [("AAPL", "1m", 98_280), ("AAPL", "1h", 1638), ("COIN", "1h", 8760), ("AAPL", "1d", 252)],
)
def test_a_year_is_told_by_exchange_and_interval(
    client: httpx.Client, symbol: str, interval: str, periods: int
) -> None:
    start = {"start": "2013-02-26", "end": "2013-03-01"}
    for figure in ("statistics", "rolling"):
        assert ask(client, figure, symbol, interval=interval, **start)["periods"] == periods
    given = ask(client, "statistics", symbol, interval=interval, periods=150_000, **start)
    assert given["periods"] == 150_000


def test_a_range_of_instants_is_that_of_the_bars(client: httpx.Client) -> None:
    span = {"start": "2013-02-28T10:00", "end": "2013-02-28T15:29:59Z"}
    told, bars = ask(client, "statistics", **span), read_bars(client, **span)
    assert (told["count"], told["first"]) == (6, "2013-02-28T15:00:00Z") == (6, bars.index[0])
    assert told["cagr"] is None  # within a day
    assert ask(client, "returns", **span)["count"] == 5


@pytest.mark.parametrize("hours", ["regular", "extended"])
@pytest.mark.parametrize(
    ("figure", "query"),
    [
        ("indicators", {"names": NAMES}),
        ("indicators", {"names": "sma:20,vwap:5,bbands:30:2,stoch:14:3:5"}),
        ("indicators", {"names": "sma:400"}),
        *(("rolling", {"window": 7, "what": what}) for what in ("return", "volatility", "sharpe")),
        ("rolling", {"window": 7, "what": "beta", "benchmark": "IBM"}),
    ],
)
def test_a_range_does_not_change_the_values_of_its_bars(
    client: httpx.Client, figure: str, query: dict[str, Any], hours: str
) -> None:
    whole = ask(client, figure, hours=hours, **query)
    part = ask(client, figure, hours=hours, start="2013-02-27T12:00", end="2013-02-28", **query)
    check_answer(part, FiguresPage)
    stamps = [
        row["timestamp"] for row in read_bars(client, hours=hours).reset_index().to_dict("records")
    ]
    assert [row["timestamp"] for row in whole["data"]] == stamps
    rows = [
        row for row in whole["data"] if "2013-02-27T17:00" <= row["timestamp"] < "2013-03-01T05"
    ]
    assert part["data"] == rows
    assert (part["count"], part["hours"]) == (len(rows), hours)
    assert len(rows) > 78


def test_of_a_window_no_more_is_read_than_it_holds(client: httpx.Client) -> None:
    whole = ask(client, "indicators", names="sma:20", interval="1m")["data"]
    asked = {"names": "sma:20", "interval": "1m", "start": "2013-03-01T15:59"}
    (last,) = ask(client, "indicators", **asked)["data"]
    assert last == whole[-1]
    assert count_past(parse_indicators("sma:20,bbands:30:2.5,stoch:14:3:5")) == 33
    assert count_past(parse_indicators("sma:20,ema:3")) is None


def test_windows_are_of_bars_and_run_over_the_night(client: httpx.Client) -> None:
    bars = read_bars(client)
    rows = ask(client, "indicators", names="sma:20")["data"]
    means = bars["close"].rolling(20).mean()
    assert rows[18]["sma_20"] is None
    np.testing.assert_allclose([row["sma_20"] for row in rows[19:]], means.iloc[19:])
    rolled = ask(client, "rolling", window=5, what="return")["data"]
    assert rolled[78]["return"] == pytest.approx(
        bars["close"].iloc[78] / bars["close"].iloc[73] - 1
    )


def test_returns_and_drawdowns_are_from_bar_to_bar(client: httpx.Client) -> None:
    bars = read_bars(client)
    answer = ask(client, "returns")
    assert [row["timestamp"] for row in answer["data"]] == bars.index[1:].tolist()
    returns = bars["close"].pct_change().iloc[1:]
    np.testing.assert_allclose([row["return"] for row in answer["data"]], returns)
    falls = ask(client, "drawdowns")
    forbid_more(DrawdownsAnswer).model_validate(falls)
    assert {name: falls[name] for name in TOLD} == TOLD


def test_a_benchmark_is_of_the_same_interval(client: httpx.Client) -> None:
    mine, other = read_bars(client)["close"], read_bars(client, "IBM")["close"]
    both = pd.concat([mine, other], axis=1, join="inner").pct_change().iloc[1:]
    told = ask(client, "statistics", benchmark="IBM", explain=True)
    assert told["correlation"] == pytest.approx(both.corr().iloc[0, 1])
    assert told["explain"]["figures"]["beta"]["n"] == len(both) == 3 * 78 - 1
    assert "sessions_missing" not in told["explain"]
    beta = ask(client, "rolling", what="beta", benchmark="IBM", window=10)["data"]
    assert sum(row["beta"] is not None for row in beta) == len(both) - 9


def test_matrices_are_of_the_bars_that_begin_together(client: httpx.Client) -> None:
    url = "/statistics/{}?symbols=AAPL,IBM,COIN&interval=15m"
    names = ("AAPL", "IBM", "COIN")
    frames = {name: read_bars(client, name, interval="15m")["close"] for name in names}
    returns = pd.concat(frames, axis=1, join="inner").pct_change().iloc[1:]
    told = read_json(client, url.format("correlation"))
    check_answer(told, MatrixAnswer)
    np.testing.assert_allclose(told["correlation"], returns.corr())
    assert told["synthetic"] is True
    assert told["timezone"]["COIN"] == "UTC"
    assert (told["first"], told["count"]) == ("2013-02-28T14:30:00Z", len(returns))
    told = read_json(client, url.format("covariance") + "&periods=6552")
    np.testing.assert_allclose(told["covariance"], returns.cov() * 6552)


@pytest.mark.parametrize("figure", ["statistics", "rolling", "indicators", "returns", "drawdowns"])
@pytest.mark.parametrize(
    ("symbol", "query", "status", "words"),
    [
        ("AAPL", {"interval": "1s"}, 422, "interval=1s cannot be made"),
        ("MSFT", {}, 404, "MSFT has no bars shorter than a day"),
        ("NONE", {}, 404, "NONE"),
        ("AAPL", {"interval": "1d", "hours": "extended"}, 422, "hours=extended"),
        ("AAPL", {"start": "2013-03-10T02:30"}, 422, "does not exist on the clock"),
        ("AAPL", {"start": "2013-03-01T12:00Z", "end": "2013-03-01T11:00Z"}, 422, "swap them"),
    ],
)
def test_what_is_not_there_is_refused_and_never_daily(
    client: httpx.Client, figure: str, symbol: str, query: dict[str, str], status: int, words: str
) -> None:
    answer = client.get(f"/instruments/{symbol}/{figure}", params={"interval": "5m", **query})
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_a_range_without_bars_has_no_figures(client: httpx.Client) -> None:
    saturday = {"start": "2013-03-02", "end": "2013-03-03"}
    assert ask(client, "statistics", **saturday)["count"] == 0
    for figure in ("rolling", "indicators", "returns", "drawdowns"):
        assert ask(client, figure, **saturday)["data"] == []


URLS = {
    "/instruments/AAPL/statistics?interval=5m": 312,
    "/instruments/AAPL/returns?interval=5m": 312,
    "/instruments/AAPL/drawdowns?interval=5m": 312,
    "/instruments/AAPL/indicators?names=ema:9&interval=5m&start=2013-03-01": 312,
    "/instruments/IBM/rolling?what=beta&benchmark=AAPL&interval=5m&start=2013-03-01": 312,
    "/statistics/correlation?symbols=AAPL,IBM&interval=5m": 624,
    "/openbb/statistics?symbol=AAPL&interval=5m": 312,
}


@pytest.mark.parametrize("url", URLS)
def test_figures_of_too_many_bars_are_refused(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("api.routes.context.MOST_BARS", URLS[url] - 1)
    answer = client.get(f"{url}&adjustment=raw")
    assert (answer.status_code, "ask for a shorter range" in answer.text) == (422, True)
    monkeypatch.setattr("api.routes.context.MOST_BARS", URLS[url])
    assert client.get(f"{url}&adjustment=raw").status_code == 200


def test_more_rows_than_a_page_has_are_refused(sample_dir: Path, tmp_path: Path) -> None:
    data_dir = Path(copytree(sample_dir, tmp_path / "data"))
    fill(data_dir, AAPL)
    with serve(data_dir, MAX_ROWS=311) as small:
        for figure in ("indicators", "rolling", "returns"):
            answer = small.get(f"/instruments/AAPL/{figure}?interval=5m")
            assert (answer.status_code, "than 311 " in answer.text) == (422, True), answer.text
            answer = small.get(f"/instruments/AAPL/{figure}?interval=5m&start=2013-03-01")
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "start", ["2013-02-27", "2013-02-28T12:00", "2013-03-01T15:55", "2013-03-02"]
)
@pytest.mark.parametrize("window", [2, 50, 400])
def test_beta_of_a_range_is_that_of_the_whole_history(
    client: httpx.Client, start: str, window: int
) -> None:
    asked = {"what": "beta", "benchmark": "IBM", "window": window}
    whole = ask(client, "rolling", **asked)["data"]
    part = ask(client, "rolling", start=start, **asked)["data"]
    assert part == whole[len(whole) - len(part) :]


def test_no_more_is_kept_for_beta_than_its_window_wants() -> None:
    stamps = np.arange(1000).astype("datetime64[s]")
    ones = np.ones(1000)
    volume = np.ma.masked_array(np.arange(1000), False)
    series = Series("A", "raw", stamps, ones, ones, ones, ones, volume, axis=Axis("instant"))
    other = take_slice(series, np.s_[::3])
    taken, benchmark = cut_past(Taken(series, {}, 900, 1000), other, 20)
    assert (len(taken.series), taken.first, taken.last) == (160, 60, 160)
    assert benchmark.timestamps[0] == taken.series.timestamps[0]
    same, _ = cut_past(Taken(series, {}, 10, 1000), other, 20)
    assert same.first == 10
