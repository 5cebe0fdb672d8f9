"""Statistics equal an independent computation, with pandas, over any range."""

import math
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.bars.adjust import adjust, compute_split_factors
from api.bars.series import PRICES, Series, slice_days
from api.figures.performance import summarize
from etl import load
from tests.conftest import call_stage, clean_environ, make_bars, query_store
from tests.server import read_json, serve

SPLITS = {
    "AAPL": [("2000-06-21", 2.0), ("2005-02-28", 2.0)],
    "MSFT": [("2003-02-18", 2.0)],
}
SYMBOLS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
FIRST, LAST = date(2000, 2, 1), date(2013, 4, 1)

days = st.dates(FIRST, LAST)


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def frames(sample_dir: Path) -> dict[str, pd.DataFrame]:
    """Symbol → its bars as traded, by timestamp."""
    rows = query_store(
        sample_dir / "market_data.duckdb",
        "SELECT symbol, timestamp, open, high, low, close, volume FROM ohlcv_data",
    )
    names = ["symbol", "timestamp", *PRICES, "volume"]
    whole = pd.DataFrame(rows, columns=names).set_index("timestamp").sort_index()
    return {str(symbol): frame for symbol, frame in whole.groupby("symbol")}


def split_adjust(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """Bars as if all splits had always been, computed split by split."""
    frame = frame.copy().astype({"volume": "float64"})
    for day, ratio in SPLITS.get(symbol, []):
        before = frame.index < pd.Timestamp(day)
        frame.loc[before, list(PRICES)] /= ratio
        frame.loc[before, "volume"] *= ratio
    return frame


def compute_expected(frame: pd.DataFrame) -> dict[str, Any]:
    """Every figure of /statistics by pandas, from its definition."""
    if frame.empty:
        return {"count": 0, "first": None, "last": None, "total_volume": None, "cagr": None}
    close = frame["close"]
    returns = close.pct_change().dropna()
    volume = frame["volume"].astype("float64").dropna()
    span = (frame.index[-1] - frame.index[0]).days / 365.25
    drawdown = close.div(close.cummax()) - 1
    trough = drawdown.idxmin()
    has_fall = drawdown.min() < 0
    two, three = len(frame) > 1, len(frame) > 2
    return {
        "count": len(frame),
        "first": show(frame.index[0]),
        "last": show(frame.index[-1]),
        "open": frame["open"].iloc[0],
        "close": close.iloc[-1],
        "high": frame["high"].max(),
        "high_date": show(frame["high"].idxmax()),
        "low": frame["low"].min(),
        "low_date": show(frame["low"].idxmin()),
        "mean_close": close.mean(),
        "median_close": close.median(),
        "std_close": close.std() if two else None,
        "total_volume": volume.sum() if len(volume) else None,
        "mean_volume": volume.mean() if len(volume) else None,
        "total_return": close.iloc[-1] / close.iloc[0] - 1 if two else None,
        "cagr": (close.iloc[-1] / close.iloc[0]) ** (1 / span) - 1 if two else None,
        "annual_volatility": returns.std() * 252**0.5 if three else None,
        "max_drawdown": drawdown.min() if two else None,
        "peak_date": show(close[:trough][::-1].idxmax()) if two and has_fall else None,
        "trough_date": show(trough) if two and has_fall else None,
        "best_day": show(returns.idxmax()) if two else None,
        "best_day_return": returns.max() if two else None,
        "worst_day": show(returns.idxmin()) if two else None,
        "worst_day_return": returns.min() if two else None,
    }


def show(day: Any) -> str:
    return f"{day:%Y-%m-%d}"


def check_figures(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        got = answer[name]
        if value is None or isinstance(value, str):
            assert got == value, name
        elif math.isinf(value):  # beyond what JSON can say
            assert got is None, name
        else:
            assert got == pytest.approx(value, rel=1e-9, abs=1e-12), name


@given(symbol=st.sampled_from(SYMBOLS), ends=st.tuples(days, days), is_split=st.booleans())
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_statistics_of_any_range_are_those_of_pandas(
    client: httpx.Client,
    frames: dict[str, pd.DataFrame],
    symbol: str,
    ends: tuple[date, date],
    is_split: bool,
) -> None:
    start, end = sorted(ends)
    adjustment = "split" if is_split else "raw"
    frame = split_adjust(frames[symbol], symbol) if is_split else frames[symbol]
    url = f"/instruments/{symbol}/statistics?start={start}&end={end}&adjustment={adjustment}"
    check_figures(read_json(client, url), compute_expected(frame[str(start) : str(end)]))


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("adjustment", ["raw", "split"])
def test_statistics_of_all_bars_are_those_of_pandas(
    client: httpx.Client, frames: dict[str, pd.DataFrame], symbol: str, adjustment: str
) -> None:
    frame = frames[symbol]
    if adjustment == "split":
        frame = split_adjust(frame, symbol)
    answer = read_json(client, f"/instruments/{symbol}/statistics?adjustment={adjustment}")
    check_figures(answer, compute_expected(frame))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("first", range(0, 196, 39))
def test_statistics_of_few_bars_are_those_of_pandas(
    client: httpx.Client, frames: dict[str, pd.DataFrame], count: int, first: int
) -> None:
    frame = frames["FB"].iloc[first : first + count]
    url = f"/instruments/FB/statistics?start={show(frame.index[0])}&end={show(frame.index[-1])}"
    check_figures(read_json(client, url), compute_expected(frame))


NEEDS = {
    1: ("first", "open", "close", "high", "high_date", "low", "mean_close", "median_close"),
    2: ("std_close", "total_return", "cagr", "max_drawdown", "best_day", "worst_day_return"),
    3: ("annual_volatility",),
}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_figure_is_null_where_there_are_too_few_bars(client: httpx.Client, count: int) -> None:
    last = {0: "2012-05-17", 1: "2012-05-18", 2: "2012-05-21", 3: "2012-05-22"}[count]
    answer = read_json(client, f"/instruments/FB/statistics?end={last}")
    assert answer["count"] == count
    for least, names in NEEDS.items():
        for name in names:
            assert (answer[name] is None) == (count < least), name
    if count == 0:
        given_names = {name for name, value in answer.items() if value is not None}
        assert given_names - {"actions_known_at"} == {
            *("symbol", "interval", "adjustment", "periods", "count")
        }


ODD = {
    "ALL.NULL": [(5.0, None), (6.0, None), (7.0, None)],
    "SOME.NULL": [(5.0, None), (6.0, 10), (7.0, 25), (6.5, None)],
    "ZERO.VOLUME": [(5.0, 0), (6.0, 0), (7.0, 0)],
    "FLAT": [(5.0, 1), (5.0, 1), (5.0, 1)],
    "RISING": [(5.0, 1), (6.0, 1), (7.0, 1)],
    "FALLING": [(7.0, 1), (6.0, 1), (5.0, 1)],
    "TWO.EQUAL.FALLS": [(10.0, 1), (5.0, 1), (20.0, 1), (10.0, 1)],
    "ROCKET": [(2.0, 1), (2000.0, 1), (2e6, 1)],
    "STEADY": [(9.0, 1), (9.5, 1), (9.25, 1), (9.75, 1), (9.5, 1), (10.0, 1), (10.5, 1)],
    "BEYOND": [(2.0, 1), (2e9, 1)],
}
STRANGE = {
    "NEGATIVE=F": [(18.0, 1), (-37.63, 1), (12.0, 1), (-1.0, 1)],
    "ZERO=F": [(0.0, 1), (1.0, 1), (0.0, 1), (0.0, 1)],
    "DIPPED=F": [(20.0, 1), (15.0, 1), (21.0, 1), (-2.5, 1), (22.0, 1), (23.0, 1), (23.5, 1)],
    "HUGE": [(1e308, 2**63 - 1), (1.7e308, 2**63 - 1), (1e-300, 2**63 - 1)],
}


OF_RETURNS = (
    *("total_return", "cagr", "annual_volatility", "max_drawdown", "peak_date", "trough_date"),
    *("best_day", "best_day_return", "worst_day", "worst_day_return", "sharpe_ratio"),
    *("sortino_ratio", "calmar_ratio", "skew", "kurtosis", "value_at_risk", "expected_shortfall"),
    *("longest_drawdown_days", "up_days", "down_days", "average_dollar_volume"),
)


@pytest.fixture(scope="module")
def odd_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A store of bars that few have, each symbol from 2020-01-01 on."""
    folder = tmp_path_factory.mktemp("odd")
    bars = [
        (symbol, str(date(2020, 1, 1) + timedelta(days=day)), close, volume)
        for symbol, rows in (ODD | STRANGE).items()
        for day, (close, volume) in enumerate(rows)
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        assert call_stage(load.main, "--input", make_bars(folder / "bars.parquet", bars)) == 0
    with serve(folder) as client:
        yield client


@pytest.mark.parametrize("symbol", ODD)
def test_statistics_of_odd_bars_are_those_of_pandas(odd_client: httpx.Client, symbol: str) -> None:
    rows = ODD[symbol]
    index = pd.date_range("2020-01-01", periods=len(rows))
    closes = pd.Series([close for close, _ in rows], index)
    frame = pd.DataFrame({"open": closes, "high": closes + 1, "low": closes - 1, "close": closes})
    frame["volume"] = pd.Series([volume for _, volume in rows], index, dtype="float64")
    answer = read_json(odd_client, f"/instruments/{symbol}/statistics")
    with np.errstate(over="ignore"):
        check_figures(answer, compute_expected(frame))


@pytest.mark.parametrize("symbol", STRANGE)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_prices_without_a_return_give_null_and_no_fault(
    odd_client: httpx.Client, symbol: str, count: int
) -> None:
    answer = read_json(odd_client, f"/instruments/{symbol}/statistics?end=2020-01-0{count}")
    assert answer["count"] == min(count, len(STRANGE[symbol]))
    closes = [close for close, _ in STRANGE[symbol][:count]]
    if min(closes) <= 0 and count > 1:
        assert (answer["mean_close"], answer["close"]) == (pytest.approx(mean(closes)), closes[-1])
        assert [name for name in OF_RETURNS if answer[name] is not None] == []


@pytest.mark.parametrize("symbol", ["NEGATIVE=F", "ZERO=F", "DIPPED=F"])
def test_what_is_a_share_of_a_price_of_0_or_below_is_null_everywhere(
    odd_client: httpx.Client, symbol: str
) -> None:
    closes = [close for close, _ in STRANGE[symbol]]
    url = f"/instruments/{symbol}"
    for kind in ("simple", "log"):
        returns = read_json(odd_client, f"{url}/returns?kind={kind}")["data"]
        for row, (before, close) in zip(returns, pairwise(closes), strict=True):
            assert (row["return"] is not None) == (before > 0 and close > 0), (kind, row)
    for what in ("return", "volatility", "sharpe", f"beta&benchmark={symbol}"):
        rows = read_json(odd_client, f"{url}/rolling?what={what}&window=2")["data"]
        for place, row in enumerate(rows):
            window = closes[max(0, place - 2) : place + 1]
            has_value = row[what.partition("&")[0]] is not None
            assert not has_value or (len(window) == 3 and min(window) > 0), (what, row)
    falls = read_json(odd_client, f"{url}/drawdowns?most=9")["data"]
    assert all(fall["depth"] is None or -1 < fall["depth"] < 0 for fall in falls)
    found = read_json(odd_client, "/screen?sort=symbol&limit=100")["data"]
    row = next(row for row in found if row["symbol"] == symbol)
    assert (row["total_return"], row["dollar_volume"]) == (None, None)
    for matrix in ("correlation", "covariance"):
        answer = read_json(odd_client, f"/statistics/{matrix}?symbols={symbol},STEADY")
        assert answer[matrix][0] == [None, None]


def test_a_fall_to_below_0_is_listed_first_and_has_no_depth(odd_client: httpx.Client) -> None:
    falls = read_json(odd_client, "/instruments/DIPPED=F/drawdowns")["data"]
    assert [(fall["peak"], fall["depth"]) for fall in falls] == [
        ("2020-01-03", None),
        ("2020-01-01", pytest.approx(-0.25)),
    ]


def test_an_unknown_volume_is_null_and_counts_for_nothing(odd_client: httpx.Client) -> None:
    bars = read_json(odd_client, "/instruments/SOME.NULL/ohlcv")["data"]
    assert [bar["volume"] for bar in bars] == [None, 10, 25, None]
    answer = read_json(odd_client, "/instruments/SOME.NULL/statistics")
    assert (answer["total_volume"], answer["mean_volume"]) == (35, 17.5)
    answer = read_json(odd_client, "/instruments/ALL.NULL/statistics")
    assert (answer["total_volume"], answer["mean_volume"]) == (None, None)


def test_a_whole_volume_stays_whole(client: httpx.Client) -> None:
    assert type(read_json(client, "/instruments/AAPL/statistics")["total_volume"]) is int


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_split_adjusted_bars_are_those_of_pandas(
    client: httpx.Client, frames: dict[str, pd.DataFrame], symbol: str
) -> None:
    answer = read_json(client, f"/instruments/{symbol}/ohlcv?adjustment=split")["data"]
    got = pd.DataFrame(answer).drop(columns="timestamp")
    expected = split_adjust(frames[symbol], symbol).drop(columns="symbol")
    np.testing.assert_allclose(got.to_numpy(float), expected.to_numpy(float), rtol=1e-12)


def test_the_day_of_a_split_is_as_traded_and_the_day_before_is_not(client: httpx.Client) -> None:
    url = "/instruments/AAPL/ohlcv?start=2005-02-25&end=2005-02-28&adjustment="
    raw, split = (read_json(client, url + adjustment)["data"] for adjustment in ("raw", "split"))
    assert split[1] == raw[1]
    assert split[0]["close"] == raw[0]["close"] / 2
    assert split[0]["volume"] == raw[0]["volume"] * 2


@st.composite
def series_and_splits(draw: st.DrawFn) -> tuple[Series, list[tuple[date, float]]]:
    """Bars on some days of a year with volumes that may be unknown, and splits."""
    count = draw(st.integers(0, 20))
    offsets = draw(st.sets(st.integers(0, 365), min_size=count, max_size=count))
    axis = np.datetime64("2020-01-01") + np.array(sorted(offsets), dtype="timedelta64[D]")
    prices = st.lists(st.floats(0.01, 1e6), min_size=count, max_size=count).map(np.array)
    columns = {name: draw(prices).astype(float) for name in PRICES}
    volumes = draw(st.lists(st.integers(0, 10**9), min_size=count, max_size=count))
    unknown = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    volume = np.ma.masked_array(np.array(volumes, np.int64), np.array(unknown, bool))
    splits = st.tuples(
        st.dates(date(2019, 12, 1), date(2021, 2, 1)), st.sampled_from([2.0, 3.0, 7.0, 20.0])
    )
    series = Series("X", "raw", axis.astype("datetime64[s]"), **columns, volume=volume)
    return series, draw(st.lists(splits, max_size=3, unique_by=lambda split: split[0]))


@given(series_and_splits())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_adjusting_there_and_back_changes_nothing(
    case: tuple[Series, list[tuple[date, float]]],
) -> None:
    series, splits = case
    there = adjust(series, splits, "split")
    back = adjust(there, splits, "raw")
    assert (there.adjustment, back.adjustment) == ("split", "raw")
    for name in PRICES:
        np.testing.assert_allclose(getattr(back, name), getattr(series, name), rtol=1e-12)
    assert back.volume.tolist() == series.volume.tolist()
    factors = compute_split_factors(series.days, splits)
    np.testing.assert_allclose(there.close * factors, series.close, rtol=1e-12)


@given(series_and_splits())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_every_bar_is_in_one_of_two_ranges_that_meet(
    case: tuple[Series, list[tuple[date, float]]],
) -> None:
    series, _ = case
    for middle in (date(2019, 1, 1), date(2020, 6, 30), date(2022, 1, 1)):
        left = slice_days(series, None, middle)
        right = slice_days(series, middle + timedelta(days=1), None)
        assert [*left.days, *right.days] == list(series.days)


def test_summarize_gives_no_bars_the_same_fields_as_bars() -> None:
    one = Series(
        *("X", "raw", np.array(["2020-01-01"], "datetime64[s]")),
        *(np.array([1.0]) for _ in PRICES),
        np.ma.masked_array(np.array([1])),
    )
    none = slice_days(one, date(2021, 1, 1), None)
    assert list(summarize(none)) == list(summarize(one))
