"""Figures over HTTP: each answer is the pure function of the same series."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx
import numpy as np
import pytest

from api.bars.adjust import adjust
from api.bars.resample import resample
from api.bars.series import Series, slice_days
from api.figures.comparison import compute_matrices
from api.figures.drawdowns import list_drawdowns
from api.figures.formulas import explain_performance
from api.figures.indicators import compute_indicators, parse_indicators
from api.figures.performance import measure_performance
from api.figures.returns import PERIODS_PER_YEAR, compute_returns
from api.figures.rolling import roll
from api.store.duckdb_file.reader import FileReader
from etl import load
from tests.conftest import call_stage, clean_environ, make_bars, query_store
from tests.server import read_json, serve, walk_pages
from tests.stores import copy_folder, store_of, write_store

AAPL = "/instruments/AAPL"
DAYS = "start=2004-03-05&end=2008-10-10"
START, END = date(2004, 3, 5), date(2008, 10, 10)
EVERY = "sma:20,ema:50,rsi:14,macd,bbands:20:2,atr:14,vwap:20,obv,stoch:14"
Stored = dict[str, Series]


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def stored(sample_dir: Path) -> Stored:
    """Every symbol's bars after splits, read from the published file itself."""
    series = {}
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{sample_dir}/market_data.duckdb' AS market (READ_ONLY)")
        for symbol in ("AAPL", "FB", "GOOG", "IBM", "MSFT"):
            reader = FileReader(connection)
            bars = reader.read_series(symbol, "raw")
            splits, dividends = reader.read_adjusting([symbol])[0]
            series[symbol] = adjust(bars, splits, "split", dividends=dividends)
    return series


def clean(values: Any) -> list[float | None]:
    """As JSON has them: what is not a finite number is null."""
    return [value if math.isfinite(value) else None for value in np.asarray(values).tolist()]


def read_column(answer: dict[str, Any], name: str) -> list[float | None]:
    return [row[name] for row in answer["data"]]


def list_days(series: Series) -> list[str]:
    return [str(day) for day in series.days]


# Statistics.


@pytest.mark.parametrize("interval", ["1d", "1wk", "1mo", "3mo", "1y"])
@pytest.mark.parametrize("symbol", ["AAPL", "FB"])
def test_statistics_are_the_figures_of_the_range(
    client: httpx.Client, stored: Stored, symbol: str, interval: str
) -> None:
    url = f"/instruments/{symbol}/statistics?interval={interval}&risk_free=0.03"
    for query, days in (("", (None, None)), (f"&{DAYS}", (START, END))):
        series = slice_days(resample(stored[symbol], interval), *days)
        answer = read_json(client, url + query)
        told = {name: answer.pop(name) for name in ("symbol", "interval", "adjustment")}
        assert told == {"symbol": symbol, "interval": interval, "adjustment": "split"}
        assert answer.pop("actions_known_at") == "2026-10-21T00:00:00Z"  # of the sample
        assert answer.pop("periods") == PERIODS_PER_YEAR[interval]
        assert answer == measure_performance(series, None, interval, 0.03)
        for name in ("beta", "alpha", "correlation", "tracking_error"):
            assert answer[name] is None


@pytest.mark.parametrize("interval", ["1d", "1mo"])
def test_a_benchmark_is_compared_on_the_same_range(
    client: httpx.Client, stored: Stored, interval: str
) -> None:
    query = f"benchmark=ibm&interval={interval}&risk_free=0.02&{DAYS}"
    answer = read_json(client, f"{AAPL}/statistics?{query}")
    own, other = (
        slice_days(resample(stored[name], interval), START, END) for name in ("AAPL", "IBM")
    )
    expected = measure_performance(own, other, interval, 0.02)
    assert {name: answer[name] for name in expected} == expected
    assert None not in (answer["beta"], answer["alpha"], answer["tracking_error"])
    assert -1 <= answer["correlation"] <= 1


def test_a_symbol_is_its_own_benchmark(client: httpx.Client) -> None:
    answer = read_json(client, f"{AAPL}/statistics?benchmark=AAPL")
    assert answer["beta"] == pytest.approx(1, abs=1e-12)
    assert answer["correlation"] == pytest.approx(1, abs=1e-12)
    assert answer["alpha"] == pytest.approx(0, abs=1e-12)
    assert answer["tracking_error"] == 0


def test_a_benchmark_without_common_days_gives_null(client: httpx.Client) -> None:
    answer = read_json(client, f"{AAPL}/statistics?benchmark=FB&end=2012-05-01")
    assert answer["total_return"] is not None
    for name in ("beta", "alpha", "correlation", "tracking_error"):
        assert answer[name] is None


def test_explain_names_formula_source_and_observations(
    client: httpx.Client, stored: Stored, sample_dir: Path
) -> None:
    query = f"benchmark=IBM&{DAYS}&risk_free=0.01"
    plain = read_json(client, f"{AAPL}/statistics?{query}")
    answer = read_json(client, f"{AAPL}/statistics?{query}&explain=true")
    told = answer.pop("explain")
    assert answer == plain
    own, other = (slice_days(stored[name], START, END) for name in ("AAPL", "IBM"))
    [(gaps,)] = query_store(
        sample_dir / "market_data.duckdb",
        "SELECT count(*) FROM gaps"
        f" WHERE symbol = 'AAPL' AND session BETWEEN '{START}' AND '{END}'",
    )
    assert told.pop("sessions_missing") == gaps
    assert told == explain_performance(own, other, "1d", 0.01)


def test_one_bar_or_none_gives_null_and_never_nan(client: httpx.Client, stored: Stored) -> None:
    for query, series in (
        ("end=1999-01-01", slice_days(stored["AAPL"], None, date(1999, 1, 1))),
        ("end=2000-03-01", slice_days(stored["AAPL"], None, date(2000, 3, 1))),
        ("end=2000-03-02", slice_days(stored["AAPL"], None, date(2000, 3, 2))),
    ):
        answer = read_json(client, f"{AAPL}/statistics?{query}&benchmark=IBM&explain=true")
        assert answer["count"] == len(series)
        assert answer["annual_volatility"] is None
        assert answer["sharpe_ratio"] is None
        assert (answer["total_return"] is None) == (len(series) < 2)


# Bars in a year.

YEAR = [date(2023, 1, 1) + timedelta(days=number) for number in range(400)]
WEEKDAYS = [day for day in YEAR if day.weekday() < 5]
# symbol → (its days, days of its calendar in a year)
TRADED = {
    "ETH-EUR": (YEAR, 365),
    "GBPUSD": (WEEKDAYS, 260),
    "IBM": (WEEKDAYS, 252),
    "BHP.AX": (WEEKDAYS, 252),
    "^MOVES": (YEAR, 365),  # of unknown calendar: its days say that it trades on all
    "^FTSE": (WEEKDAYS, 252),
}


@pytest.fixture(scope="module")
def calendars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A store of symbols that trade on all days, on weekdays, and on an exchange."""
    folder = tmp_path_factory.mktemp("calendars")
    bars = [
        (symbol, str(day), 100 + 7 * math.sin(place * len(symbol)), 1)
        for symbol, (days, _) in TRADED.items()
        for place, day in enumerate(days)
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        assert call_stage(load.main, "--input", make_bars(folder / "bars.parquet", bars)) == 0
    with serve(folder) as client:
        yield client


# An instant → the day of it on the clock of each symbol's exchange.
CLOCKS = {
    "2023-03-14T23:30:00Z": {"IBM": 14, "BHP.AX": 15, "GBPUSD": 14, "^FTSE": 14},
    "2023-03-15T01:30:00Z": {"IBM": 14, "BHP.AX": 15, "ETH-EUR": 15, "^FTSE": 15},
    "2023-03-15T16:00:00-04:00": {"IBM": 15, "BHP.AX": 16, "ETH-EUR": 15},
    "2023-03-15T01:30:00 05:30": {"IBM": 14, "BHP.AX": 15},  # a plus that was not written as %2B
    "20230315T013000Z": {"IBM": 14, "BHP.AX": 15},
    "2023-03-15T00:00:00Z": {"IBM": 15, "BHP.AX": 15, "^MOVES": 15},  # as programs write a day
    "2023-03-15T03:00:00": {"IBM": 15, "BHP.AX": 15},  # of no clock but the exchange's
}


@pytest.mark.parametrize("instant", CLOCKS)
@pytest.mark.parametrize("side", ["start", "end"])
def test_an_instant_is_the_day_on_the_clock_of_the_exchange(
    calendars: httpx.Client, instant: str, side: str
) -> None:
    timed = f"{side}={quote(instant)}"
    screen = read_json(calendars, f"/screen?{timed}")["data"]
    for symbol, number in CLOCKS[instant].items():
        day, url = f"{side}=2023-03-{number}", f"/instruments/{symbol}"
        for resource in ("ohlcv", "statistics", "returns", "notes", "rolling?what=return"):
            sign = "&" if "?" in resource else "?"
            told = read_json(calendars, f"{url}/{resource}{sign}{timed}")
            assert told == read_json(calendars, f"{url}/{resource}{sign}{day}"), symbol
        [row] = [row for row in screen if row["symbol"] == symbol]
        assert row in read_json(calendars, f"/screen?{day}")["data"], symbol
    names = ",".join(CLOCKS[instant])
    bars = read_json(calendars, f"/ohlcv?symbols={names}&{timed}&interval=1d")["data"]
    ends = {bar["symbol"]: bar["timestamp"] for bar in (bars if side == "end" else bars[::-1])}
    assert {name: int(end[-2:]) for name, end in ends.items()} == CLOCKS[instant]


@pytest.mark.parametrize("query", ["start=0001-01-01T10:00+12:00", "end=9999-12-31T23:30-12:00"])
def test_an_instant_at_the_end_of_all_days_is_the_day_written(
    calendars: httpx.Client, query: str
) -> None:
    whole = read_json(calendars, "/instruments/BHP.AX/ohlcv")
    assert read_json(calendars, f"/instruments/BHP.AX/ohlcv?{query}") == whole
    assert read_json(calendars, f"/screen?{query}") == read_json(calendars, "/screen")


def test_two_instants_are_in_order_by_the_clock_and_not_as_written(
    calendars: httpx.Client,
) -> None:
    early, late = quote("2023-03-15T00:30:00+11:00"), "2023-03-14T14:00:00Z"
    url = "/instruments/IBM/ohlcv?start={}&end={}"
    bars = read_json(calendars, url.format(early, late))["data"]
    assert [bar["timestamp"] for bar in bars] == ["2023-03-14"]
    answer = calendars.get(url.format(late, early))
    assert (answer.status_code, "swap them" in answer.text) == (422, True)


def test_an_instant_adjusts_for_what_the_clock_of_the_exchange_has_seen(
    client: httpx.Client,
) -> None:
    url = f"{AAPL}/ohlcv?adjustment=split&limit=1&adjusted_as_of="
    before = read_json(client, f"{url}2005-02-27")["data"]
    assert read_json(client, f"{url}2005-02-28")["data"] != before
    assert read_json(client, f"{url}2005-02-28T04:59:00Z")["data"] == before  # 23:59 in New York


@pytest.mark.parametrize("symbol", TRADED)
def test_annual_figures_are_of_the_days_that_a_symbol_trades_on(
    calendars: httpx.Client, symbol: str
) -> None:
    days, periods = TRADED[symbol]
    url = f"/instruments/{symbol}"
    closes = [bar["close"] for bar in read_json(calendars, f"{url}/ohlcv")["data"]]
    returns = np.diff(closes) / closes[:-1]
    answer = read_json(calendars, f"{url}/statistics?explain=true")
    assert (answer["periods"], answer["explain"]["periods_per_year"]) == (periods, periods)
    deviation = returns.std(ddof=1)
    assert answer["annual_volatility"] == pytest.approx(deviation * math.sqrt(periods))
    assert answer["sharpe_ratio"] == pytest.approx(returns.mean() / deviation * periods**0.5)
    part = read_json(calendars, f"{url}/statistics?start={days[-9]}")
    assert part["periods"] == periods  # a short range shows no weekends
    rolled = read_json(calendars, f"{url}/rolling?what=volatility&window={len(returns)}")
    assert rolled["periods"] == periods
    assert rolled["data"][-1]["volatility"] == pytest.approx(answer["annual_volatility"])


def test_bars_in_a_year_may_be_given(calendars: httpx.Client) -> None:
    url = "/instruments/ETH-EUR/statistics"
    own, given = (read_json(calendars, f"{url}{query}") for query in ("", "?periods=100"))
    assert given["periods"] == 100
    assert given["annual_volatility"] == pytest.approx(
        own["annual_volatility"] * (100 / 365) ** 0.5
    )
    weekly = read_json(calendars, f"{url}?interval=1wk")
    assert weekly["periods"] == 52
    plain, annual = (
        read_json(calendars, f"/statistics/covariance?symbols=IBM,GBPUSD{query}")
        for query in ("", "&periods=260")
    )
    assert ("periods" in plain, annual["periods"]) == (False, 260)
    assert annual["covariance"][0][1] == pytest.approx(260 * plain["covariance"][0][1])
    assert calendars.get(f"{url}?periods=0").status_code == 422


def test_figures_against_a_benchmark_are_of_the_days_that_both_trade_on(
    calendars: httpx.Client,
) -> None:
    url = "/instruments/ETH-EUR/statistics?benchmark="
    answers = [read_json(calendars, f"{url}{other}&explain=true") for other in ("IBM", "GBPUSD")]
    told = [answer["explain"]["benchmark_periods_per_year"] for answer in answers]
    assert told == [252, 260]
    assert [answer["periods"] for answer in answers] == [365, 365]
    closes = {
        symbol: {bar["timestamp"]: bar["close"] for bar in page["data"]}
        for symbol in ("ETH-EUR", "IBM")
        for page in walk_pages(calendars, f"/instruments/{symbol}/ohlcv")
    }
    own, other = (
        np.array([closes[symbol][day] for day in closes["IBM"]]) for symbol in ("ETH-EUR", "IBM")
    )
    active = np.diff(own) / own[:-1] - np.diff(other) / other[:-1]
    error = active.std(ddof=1) * math.sqrt(252)
    assert answers[0]["tracking_error"] == pytest.approx(error)


# Rolling and indicators.


@pytest.mark.parametrize("what", ["return", "volatility", "sharpe"])
@pytest.mark.parametrize(
    ("window", "interval"), [(20, "1d"), (2, "1mo"), (250, "1d"), (2520, "1y")]
)
def test_rolling_is_reckoned_over_the_whole_history(
    client: httpx.Client, stored: Stored, what: str, window: int, interval: str
) -> None:
    series = resample(stored["AAPL"], interval)
    values = clean(roll(series, window, what, None, 0.03, interval))
    url = f"{AAPL}/rolling?what={what}&window={window}&interval={interval}&risk_free=0.03"
    answer = read_json(client, url)
    assert read_column(answer, what) == values
    assert read_column(answer, "timestamp") == list_days(series)
    assert (answer["count"], answer["next"]) == (len(series), None)
    part = slice_days(series, START, END)
    cut = read_json(client, f"{url}&{DAYS}")
    first = list_days(series).index(str(part.days[0]))
    assert read_column(cut, "timestamp") == list_days(part)
    assert read_column(cut, what) == values[first : first + len(part)]


@pytest.mark.parametrize("query", ["", f"&{DAYS}"])
def test_rolling_beta_does_not_depend_on_the_range(
    client: httpx.Client, stored: Stored, query: str
) -> None:
    answer = read_json(client, f"{AAPL}/rolling?what=beta&window=60&benchmark=ibm{query}")
    series = stored["AAPL"]
    values = clean(roll(series, 60, "beta", stored["IBM"], 0.0, "1d"))
    by_day = dict(zip(list_days(series), values, strict=True))
    assert answer["count"] == len(answer["data"]) > 1000
    assert [row["beta"] for row in answer["data"]] == pytest.approx(
        [by_day[row["timestamp"]] for row in answer["data"]], abs=1e-12
    )


def test_a_window_longer_than_the_history_is_all_null(client: httpx.Client) -> None:
    answer = read_json(client, "/instruments/FB/rolling?window=2520")
    assert answer["count"] == 196
    assert set(read_column(answer, "volatility")) == {None}


@pytest.mark.parametrize("names", [EVERY, "sma:3", "ema:5,ema:9", "bbands:10:1.5,obv"])
def test_indicators_are_reckoned_over_the_whole_history(
    client: httpx.Client, stored: Stored, names: str
) -> None:
    columns = compute_indicators(stored["AAPL"], parse_indicators(names))
    answer = read_json(client, f"{AAPL}/indicators?names={names}")
    assert list(answer["data"][0]) == ["timestamp", *columns]
    for name, column in columns.items():
        assert read_column(answer, name) == clean(column), name
    cut = read_json(client, f"{AAPL}/indicators?names={names}&{DAYS}")
    rows = {row["timestamp"]: row for row in answer["data"]}
    assert cut["data"] == [rows[day] for day in list_days(slice_days(stored["AAPL"], START, END))]


def test_the_indicators_that_are_not_named_are_all(client: httpx.Client) -> None:
    days = "start=2012-12-01"
    all_of_them = read_json(client, f"{AAPL}/indicators?names={EVERY}&{days}")
    assert read_json(client, f"{AAPL}/indicators?{days}") == all_of_them


# Returns and drawdowns.


@pytest.mark.parametrize("kind", ["simple", "log"])
@pytest.mark.parametrize("interval", ["1d", "1wk", "1y"])
def test_returns_are_those_of_the_range(
    client: httpx.Client, stored: Stored, kind: str, interval: str
) -> None:
    series = slice_days(resample(stored["AAPL"], interval), START, END)
    answer = read_json(client, f"{AAPL}/returns?kind={kind}&interval={interval}&{DAYS}")
    assert read_column(answer, "return") == clean(compute_returns(series, kind))
    assert read_column(answer, "timestamp") == list_days(series)[1:]
    assert answer["count"] == len(series) - 1


@pytest.mark.parametrize("query", ["end=1999-01-01", "end=2000-03-01"])
def test_no_bars_or_one_have_no_returns_and_no_drawdowns(client: httpx.Client, query: str) -> None:
    for resource in ("returns", "drawdowns"):
        answer = read_json(client, f"{AAPL}/{resource}?{query}")
        assert (answer["count"], answer["data"]) == (0, [])


@pytest.mark.parametrize("most", [1, 5, 1000])
def test_drawdowns_are_the_deepest_first(client: httpx.Client, stored: Stored, most: int) -> None:
    series = slice_days(stored["AAPL"], START, END)
    answer = read_json(client, f"{AAPL}/drawdowns?most={most}&{DAYS}")
    assert answer["data"] == list_drawdowns(series.close, series.days, most)
    depths = [row["depth"] for row in answer["data"]]
    assert depths == sorted(depths)
    assert answer["count"] == len(depths) <= most


# Several symbols.


@pytest.mark.parametrize("kind", ["simple", "log"])
@pytest.mark.parametrize("interval", ["1d", "1mo"])
def test_matrices_are_those_of_the_common_days(
    client: httpx.Client, stored: Stored, kind: str, interval: str
) -> None:
    names = ["GOOG", "AAPL", "MSFT"]
    parts = [slice_days(resample(stored[name], interval), START, END) for name in names]
    expected = compute_matrices(parts, kind)
    for what in ("correlation", "covariance"):
        url = f"/statistics/{what}?symbols=goog,XX,AAPL,MSFT"
        answer = read_json(client, f"{url}&kind={kind}&interval={interval}&{DAYS}")
        told = {name: answer.pop(name) for name in ("interval", "adjustment", "unknown")}
        assert told == {"interval": interval, "adjustment": "split", "unknown": ["XX"]}
        del answer["actions_known_at"]
        left_out = "covariance" if what == "correlation" else "correlation"
        assert answer == {name: value for name, value in expected.items() if name != left_out}


def test_matrices_without_common_days_are_null(client: httpx.Client) -> None:
    for what in ("correlation", "covariance"):
        answer = read_json(client, f"/statistics/{what}?symbols=AAPL,FB&end=2012-05-01")
        assert answer["count"] == 0
        assert answer[what] == [[None, None], [None, None]]


# What cannot be had.


@pytest.mark.parametrize(
    ("path", "possible"),
    [
        ("indicators?names=smma:20", "sma[:window]"),
        ("indicators?names=", "sma[:window]"),
        ("indicators?names=sma:0", "window should be"),
        ("indicators?names=sma:99999999", "window should be"),
        ("indicators?names=sma:x", "window should be"),
        ("indicators?names=macd:26:12", "fast 26 should be less than slow 12"),
        ("indicators?names=" + ",".join(["obv"] * 101), "400"),
        ("rolling?window=1", "greater than or equal to 2"),
        ("rolling?window=2521", "less than or equal to 2520"),
        ("rolling?window=x", "window=x"),
        ("rolling?what=alpha", "return, volatility, sharpe or beta"),
        ("rolling?what=beta", "add benchmark=SYMBOL"),
        ("returns?kind=squared", "simple or log"),
        ("drawdowns?most=0", "greater than or equal to 1"),
        ("drawdowns?most=1001", "less than or equal to 1000"),
        ("statistics?interval=2d", "1d, 1wk, 1mo, 3mo or 1y"),
        ("statistics?adjustment=dividends", "raw, split or all"),
        ("statistics?risk_free=-1", "greater than -1"),
        ("statistics?risk_free=nan", "risk_free"),
        ("statistics?risk_free=inf", "risk_free"),
        ("statistics?explain=perhaps", "explain=perhaps"),
        ("statistics?adjusted_as_of=today", "write it as 2012-01-31"),
        ("statistics?start=2012-02-01&end=2012-01-01", "swap them"),
        ("statistics?bench=IBM", "unknown parameter bench: possible are"),
    ],
)
def test_the_impossible_is_422_and_says_what_is_possible(
    client: httpx.Client, path: str, possible: str
) -> None:
    answer = client.get(f"{AAPL}/{path}")
    assert answer.status_code == 422, answer.text
    assert possible in answer.json()["detail"]


@pytest.mark.parametrize("path", ["statistics?", "rolling?what=beta&", "rolling?"])
def test_an_unknown_benchmark_is_named_with_the_nearest(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{AAPL}/{path}benchmark=MSTF")
    assert answer.status_code == 404
    assert answer.json()["nearest"] == ["MSFT"]


@pytest.mark.parametrize("path", ["statistics", "rolling", "indicators", "returns", "drawdowns"])
def test_an_unknown_symbol_is_a_404(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/instruments/APPL/{path}")
    assert (answer.status_code, answer.json()["nearest"]) == (404, ["AAPL"])


@pytest.mark.parametrize("path", ["rolling", "indicators", "returns"])
def test_more_rows_than_max_rows_are_refused(sample_dir: Path, path: str) -> None:
    with serve(sample_dir, MAX_ROWS=100) as client:
        answer = client.get(f"{AAPL}/{path}")
        assert answer.status_code == 422
        assert "ask for a shorter range" in answer.json()["detail"]
        assert client.get(f"{AAPL}/{path}?start=2013-01-01").status_code == 200


def test_too_many_rows_are_refused_before_any_is_reckoned(
    sample_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise AssertionError("it was reckoned")

    for name in ("compute_indicators", "roll"):
        monkeypatch.setattr(f"api.routes.figures.{name}", fail)
    with serve(sample_dir, MAX_ROWS=100) as client:
        for figure in ("indicators", "rolling"):
            answer = client.get(f"/instruments/AAPL/{figure}")
            assert answer.status_code == 422
            assert "3270 rows are more than 100" in answer.json()["detail"]


# The screen.


def test_the_screen_has_every_instrument_by_return(client: httpx.Client, stored: Stored) -> None:
    rows = read_json(client, "/screen")["data"]
    assert {row["symbol"] for row in rows} == set(stored)
    returns = [row["total_return"] for row in rows]
    assert returns == sorted(returns, reverse=True)
    for row in rows:
        series = stored[row["symbol"]]
        statistics = read_json(client, f"/instruments/{row['symbol']}/statistics")
        assert row["total_return"] == pytest.approx(statistics["total_return"], rel=1e-12)
        assert (row["first"], row["last"]) == (str(series.days[0]), str(series.days[-1]))
        assert (row["bars"], row["last_close"]) == (len(series), series.close[-1])


@pytest.mark.parametrize(
    "query", ["", "start=2003-01-01", "end=2003-02-17", DAYS, "start=2005-02-28"]
)
def test_the_screen_of_a_range_is_the_statistics_of_that_range(
    client: httpx.Client, query: str
) -> None:
    for row in read_json(client, f"/screen?{query}")["data"]:
        url = f"/instruments/{row['symbol']}"
        split = read_json(client, f"{url}/statistics?{query}")
        raw = read_json(client, f"{url}/statistics?{query}&adjustment=raw")
        assert row["total_return"] == pytest.approx(split["total_return"], rel=1e-12)
        assert row["mean_volume"] == pytest.approx(raw["mean_volume"], rel=1e-12)
        assert row["dollar_volume"] == pytest.approx(raw["average_dollar_volume"], rel=1e-12)
        assert (row["last_close"], row["bars"]) == (raw["close"], raw["count"])


# Each bar came a day after its session, and was half as dear again for the day before that; the
# splits came late, one of them with another ratio first.
PAST = (
    "UPDATE ohlcv_known SET known_from = timestamp + INTERVAL 1 DAY",
    """INSERT INTO ohlcv_revisions
    SELECT symbol, timestamp, open, high * 2, low, close * 1.5, volume * 3,
           timestamp, timestamp + INTERVAL 1 DAY, 'r' FROM ohlcv_data""",
    "UPDATE corporate_actions SET known_from = TIMESTAMP '2005-06-01' + to_days(7)",
    """INSERT INTO corporate_action_revisions
    SELECT symbol, ex_date, kind, ratio * 7, amount, source,
           TIMESTAMP '2003-01-01', TIMESTAMP '2005-06-08', 'r' FROM corporate_actions""",
)


@pytest.mark.parametrize(
    "query",
    [
        *("as_of=2003-02-18T20:00:00Z", "as_of=2005-03-01", "as_of=2005-06-07T23:59:59Z"),
        *("as_of=2011-12-30T00:00:00Z", "as_of=2013", "as_of=2000-02-20"),
        *("as_of=2005-06-08T00:00:00Z&start=2003", "as_of=2012-06-15&start=2012-05&end=2012-08"),
    ],
)
def test_the_screen_as_of_an_instant_is_the_statistics_as_of_it(
    past: httpx.Client, query: str
) -> None:
    found = read_json(past, f"/screen?min_bars=0&{query}")
    rows = {row["symbol"]: row for row in found["data"]}
    for symbol in ("AAPL", "FB", "GOOG", "IBM", "MSFT"):
        url = f"/instruments/{symbol}/statistics?{query}"
        split, raw = read_json(past, url), read_json(past, f"{url}&adjustment=raw")
        assert found["as_of"] == split["as_of"]
        row = rows.get(symbol, {"bars": 0, "mean_volume": None, "total_return": None})
        assert row["bars"] == raw["count"]
        for name in ("mean_volume", "total_return"):
            told = (raw if name == "mean_volume" else split)[name]
            assert row[name] == (told if told is None else pytest.approx(told, rel=1e-12)), name
        if raw["count"]:
            assert (row["last_close"], row["first"]) == (raw["close"], raw["first"])
    assert ("detail" in found) == (query == "as_of=2000-02-20")


@pytest.fixture(scope="module")
def past(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = copy_folder(sample_dir, tmp_path_factory.mktemp("past") / "data")
    write_store(store_of(folder), *PAST)
    with serve(folder) as client:
        yield client


@pytest.mark.parametrize(
    "column", ["symbol", "bars", "last_close", "total_return", "mean_volume", "dollar_volume"]
)
def test_the_screen_is_sorted_by_any_column_both_ways(client: httpx.Client, column: str) -> None:
    up, down = (
        [row[column] for row in read_json(client, f"/screen?sort={sign}{column}")["data"]]
        for sign in ("", "-")
    )
    assert up == sorted(up)
    assert down == up[::-1]


def test_filters_keep_what_reaches_them(client: httpx.Client) -> None:
    rows = read_json(client, "/screen")["data"]
    for name, column in (
        ("min_volume", "mean_volume"),
        ("min_dollar_volume", "dollar_volume"),
        ("min_price", "last_close"),
        ("min_bars", "bars"),
    ):
        for least in sorted(row[column] for row in rows):
            kept = read_json(client, f"/screen?{name}={least!r}")["data"]
            assert kept == [row for row in rows if row[column] >= least], name
    assert read_json(client, "/screen?min_price=1e300")["data"] == []


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("sort", ["-total_return", "symbol"])
def test_pages_of_the_screen_give_each_once(client: httpx.Client, limit: int, sort: str) -> None:
    whole = read_json(client, f"/screen?sort={sort}")["data"]
    pages = list(walk_pages(client, f"/screen?sort={sort}&limit={limit}"))
    assert [row for page in pages for row in page["data"]] == whole
    assert len(pages) == -(-5 // limit)


@pytest.mark.parametrize(
    ("query", "possible"),
    [
        ("sort=beta", "total_return"),
        ("sort=", "total_return"),
        ("sort=-symbol;DROP", "total_return"),
        ("min_volume=-1", "greater than or equal to 0"),
        ("min_volume=x", "min_volume=x"),
        ("min_bars=-1", "greater than or equal to 0"),
        ("limit=0", "from 1 to 50000"),
        ("after=-1", "greater than or equal to 0"),
        ("start=2012-02-01&end=2012-01-01", "swap them"),
        ("min_beta=1", "unknown parameter min_beta"),
    ],
)
def test_a_screen_that_cannot_be_is_422(client: httpx.Client, query: str, possible: str) -> None:
    answer = client.get(f"/screen?{query}")
    assert answer.status_code == 422
    assert possible in answer.json()["detail"]


def test_symbols_without_volume_or_return_are_null_and_last(data_dir: Path) -> None:
    days = ("2020-01-02", "2020-01-03")
    bars: list[Any] = [("NOVOL", day, 5.0 + n, None) for n, day in enumerate(days)]
    bars += [("UP", day, 2.0 * n + 2, 10) for n, day in enumerate(days)]
    bars += [("ONE", days[0], 7.0, 10), *(("ZERO=F", day, 0.0, 10) for day in days)]
    path = make_bars(data_dir / "bars.parquet", bars)
    assert call_stage(load.main, "--input", path) == 0
    with serve(data_dir) as client:
        rows = read_json(client, "/screen?min_bars=0")["data"]
        assert [row["symbol"] for row in rows] == ["UP", "NOVOL", "ONE", "ZERO=F"]
        assert [row["total_return"] for row in rows[2:]] == [None, None]
        assert (rows[1]["mean_volume"], rows[1]["dollar_volume"]) == (None, None)
        for sort in ("mean_volume", "-mean_volume"):
            rows = read_json(client, f"/screen?min_bars=0&sort={sort}")["data"]
            assert rows[-1]["symbol"] == "NOVOL"
        rows = read_json(client, "/screen?min_volume=1&min_price=1")["data"]
        assert [row["symbol"] for row in rows] == ["UP"]


def test_figures_of_raw_prices_are_those_of_the_bars_as_stored(
    client: httpx.Client, stored: Stored, sample_dir: Path
) -> None:
    rows = query_store(
        sample_dir / "market_data.duckdb",
        "SELECT close FROM ohlcv_data WHERE symbol = 'AAPL' ORDER BY timestamp",
    )
    series = replace(stored["AAPL"], close=np.array([close for (close,) in rows]))
    answer = read_json(client, f"{AAPL}/returns?adjustment=raw")
    assert read_column(answer, "return") == clean(compute_returns(series))


@pytest.mark.parametrize(
    "path",
    [
        *("instruments/AAPL/statistics?", "instruments/AAPL/rolling?", "instruments/AAPL/returns?"),
        *("instruments/AAPL/drawdowns?", "instruments/AAPL/indicators?names=obv"),
        *("statistics/correlation?symbols=AAPL,IBM", "statistics/covariance?symbols=AAPL,IBM"),
    ],
)
def test_figures_say_as_of_when_they_are(client: httpx.Client, path: str) -> None:
    answer = read_json(client, f"/{path}&as_of=2099-12-31T20:00:00%2B02:00&end=2012-02")
    assert answer["as_of"] == "2099-12-31T18:00:00Z"
    assert "as_of" not in read_json(client, f"/{path}&end=2012-02")


@pytest.mark.parametrize("what", ["correlation", "covariance"])
def test_matrices_say_since_when_their_adjusted_prices_are_known(
    client: httpx.Client, what: str
) -> None:
    asked = f"/statistics/{what}?symbols=AAPL,IBM"
    assert read_json(client, asked)["actions_known_at"] == "2026-10-21T00:00:00Z"
    never = read_json(client, f"{asked}&adjustment=all")
    assert never["actions_known_at"] is None
    assert never["never_asked"] == ["AAPL dividends", "IBM dividends"]
    assert "actions_known_at" not in read_json(client, f"{asked}&adjustment=raw")
