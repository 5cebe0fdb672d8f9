"""Indicators equal those of TA-Lib; a spec says what it means, and a bad one what is possible."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bars.series import Floats, Series, take_slice
from api.figures.comparison import take_days
from api.figures.indicators import (
    KINDS,
    MOST_WINDOW,
    Indicator,
    compute_indicators,
    list_forms,
    parse_indicators,
)
from api.figures.rolling import roll
from tests.prices import make_series, read_sample, walk_series

ALL = "sma:20,ema:50,rsi:14,macd,bbands:20:2,atr:14,vwap:20,obv,stoch:14"
NAMES = (
    *("sma_20", "ema_50", "rsi_14", "macd_12_26_9", "macd_signal_12_26_9"),
    *("macd_histogram_12_26_9", "bbands_upper_20_2", "bbands_middle_20_2", "bbands_lower_20_2"),
    *("atr_14", "vwap_20", "obv", "stoch_k_14_3_3", "stoch_d_14_3_3"),
)
# Bars before the first value of the last column to begin, of the parameters of an indicator.
WARMUPS: dict[str, Callable[..., int]] = {
    "sma": lambda window: window - 1,
    "ema": lambda window: window - 1,
    "rsi": lambda window: window,
    "macd": lambda fast, slow, signal: slow + signal - 2,
    "bbands": lambda window, deviations: window - 1,
    "atr": lambda window: window,
    "vwap": lambda window: window - 1,
    "obv": lambda: 0,
    "stoch": lambda k, smooth, d: k + smooth + d - 3,
}
WITH_MEMORY = {"ema", "rsi", "macd", "atr", "obv"}  # a value depends on all bars before it
windows = st.integers(2, 60)


def compute(series: Series, text: str) -> dict[str, Floats]:
    return compute_indicators(series, parse_indicators(text))


def count_warmup(spec: Indicator) -> int:
    return WARMUPS[spec.name](*spec.values)


def without_volume_gaps(series: Series) -> Series:
    """The bars that have a volume: TA-Lib knows no absent one."""
    return take_days(series, series.timestamps[~np.ma.getmaskarray(series.volume)])


def compute_by_talib(series: Series, name: str, *values: Any) -> tuple[Floats, ...]:
    high, low, close = series.high, series.low, series.close
    volume = series.volume.data.astype(float)
    typical = talib.TYPPRICE(high, low, close) * volume
    compute: dict[str, Any] = {
        "sma": lambda window: (talib.SMA(close, window),),
        "ema": lambda window: (talib.EMA(close, window),),
        "rsi": lambda window: (talib.RSI(close, window),),
        "macd": lambda *periods: talib.MACD(close, *periods),
        "bbands": lambda window, width: talib.BBANDS(close, window, width, width),
        "atr": lambda window: (talib.ATR(high, low, close, window),),
        "vwap": lambda window: (talib.SUM(typical, window) / talib.SUM(volume, window),),
        "obv": lambda: (talib.OBV(close, volume),),
        "stoch": lambda k, smooth, d: talib.STOCH(high, low, close, k, smooth, 0, d, 0),
    }
    found: tuple[Floats, ...] = compute[name](*values)
    return found


def check_talib(series: Series, name: str, *values: Any) -> None:
    """Equal where TA-Lib has a value; the last column has a value exactly where TA-Lib has."""
    spec = Indicator(name, values)
    got = compute_indicators(series, [spec])
    expected = compute_by_talib(series, name, *values)
    for column, other in zip(got.values(), expected, strict=True):
        has_value = np.isfinite(other)
        np.testing.assert_allclose(column[has_value], other[has_value], rtol=1e-9, atol=1e-9)
    assert np.isnan(list(got.values())[-1]).tolist() == np.isnan(expected[-1]).tolist()


@pytest.mark.parametrize("symbol", ["AAPL", "FB", "IBM"])
@pytest.mark.parametrize("spec", parse_indicators(ALL), ids=lambda spec: spec.name)
def test_indicators_of_real_bars_are_those_of_talib(spec: Indicator, symbol: str) -> None:
    check_talib(read_sample(symbol), spec.name, *spec.values)


@given(
    st.integers(0, 10**6),
    st.sampled_from(["sma", "ema", "rsi", "atr", "vwap"]),
    windows,
    st.integers(60, 400),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_window_is_that_of_talib(seed: int, name: str, window: int, count: int) -> None:
    check_talib(without_volume_gaps(walk_series(seed, count + 90)), name, window)


@given(st.integers(0, 10**6), windows, windows, st.integers(1, 30), st.integers(200, 300))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_macd_is_that_of_talib(seed: int, one: int, two: int, signal: int, count: int) -> None:
    fast, slow = sorted((one, two + (one == two)))
    check_talib(walk_series(seed, count), "macd", fast, max(slow, 3), signal)


@given(st.integers(0, 10**6), windows, st.sampled_from([0.1, 0.75, 1.0, 2.0, 2.5, 10.0]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_bands_are_those_of_talib(seed: int, window: int, deviations: float) -> None:
    check_talib(walk_series(seed, 150), "bbands", window, deviations)


@given(st.integers(0, 10**6), windows, st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_stochastic_is_that_of_talib(seed: int, k: int, smooth: int, d: int) -> None:
    check_talib(walk_series(seed, 150), "stoch", k, smooth, d)


@pytest.mark.parametrize("window", [1, 500, MOST_WINDOW])
def test_windows_wider_than_a_block_of_reckoning_are_those_of_talib(window: int) -> None:
    for name in ("sma", "ema", "atr"):
        check_talib(read_sample("IBM"), name, window)


def test_the_widest_deviation_is_that_of_pandas() -> None:
    series = read_sample("IBM")
    got = compute(series, "bbands:1000:2.5")["bbands_upper_1000_2.5"]
    rolling = pd.Series(series.close).rolling(1000)
    expected = rolling.mean() + 2.5 * rolling.std(ddof=0)
    np.testing.assert_allclose(got, expected.to_numpy(), rtol=1e-9)


def test_columns_are_named_after_the_specs_with_all_parameters() -> None:
    assert tuple(compute(read_sample("FB"), ALL)) == NAMES
    assert tuple(compute(read_sample("FB"), "bbands:10:2.50")) == (
        *("bbands_upper_10_2.5", "bbands_middle_10_2.5", "bbands_lower_10_2.5"),
    )


@pytest.mark.parametrize("spec", parse_indicators(f"{ALL},sma:3,macd:3:10:20,stoch:5:2:2"), ids=str)
def test_warmup_is_the_gap_of_the_last_column_to_begin(spec: Indicator) -> None:
    columns = compute_indicators(without_volume_gaps(walk_series(1, 200)), [spec]).values()
    gaps = [int(np.isfinite(column).argmax()) for column in columns]
    assert count_warmup(spec) == max(gaps)
    assert all(np.isfinite(column[gap:]).all() for column, gap in zip(columns, gaps, strict=True))


@pytest.mark.parametrize("spec", parse_indicators(ALL), ids=lambda spec: spec.name)
def test_only_indicators_with_memory_change_with_the_bars_before_the_warmup(
    spec: Indicator,
) -> None:
    series = read_sample("IBM")
    start = 400
    whole = compute_indicators(series, [spec])
    part = take_slice(series, slice(start - count_warmup(spec), None))
    fresh = compute_indicators(part, [spec])
    is_same = all(
        np.allclose(fresh[name][-(len(series) - start) :], whole[name][start:], rtol=1e-12)
        for name in whole
    )
    assert is_same != (spec.name in WITH_MEMORY)


@pytest.mark.parametrize("count", range(60))
def test_too_few_bars_are_a_gap_as_long_as_the_bars(count: int) -> None:
    specs = parse_indicators(ALL)
    columns = compute_indicators(walk_series(3, count), specs)
    assert {len(column) for column in columns.values()} == {count}
    assert not any(np.isinf(column).any() for column in columns.values())
    if count < 15:
        assert np.isnan(columns["rsi_14"]).all()
        assert np.isnan(columns["atr_14"]).all()


def test_constant_prices_have_averages_and_no_oscillation() -> None:
    flat = Series("X", "raw", *flat_columns(5.1, 60))
    got = {name: column[-1] for name, column in compute(flat, ALL).items()}
    for name in ("sma_20", "ema_50", "vwap_20", "bbands_upper_20_2", "bbands_lower_20_2"):
        assert got[name] == pytest.approx(5.1, rel=1e-14), name
    assert got["macd_12_26_9"] == pytest.approx(0, abs=1e-14)
    assert (got["atr_14"], got["obv"]) == (0, 100)
    assert np.isnan([got["rsi_14"], got["stoch_k_14_3_3"], got["stoch_d_14_3_3"]]).all()


def flat_columns(price: float, count: int) -> list[Any]:
    days = np.datetime64("2020-01-01") + np.arange(count)
    volume = np.ma.masked_array(np.full(count, 100), False)
    return [days.astype("datetime64[s]"), *[np.full(count, price)] * 4, volume]


def test_a_stochastic_goes_on_after_bars_without_a_range() -> None:
    moving = walk_series(5, 40)
    columns = flat_columns(10.0, 30)
    names = ("open", "high", "low", "close", "volume")
    joined = [
        np.ma.concatenate((column, getattr(moving, name)))
        for name, column in zip(names, columns[1:], strict=True)
    ]
    days = np.datetime64("2020-01-01") + np.arange(70)
    prices = [np.asarray(column) for column in joined[:4]]
    series = Series("X", "raw", days.astype("datetime64[s]"), *prices, joined[4])
    k = compute(series, "stoch:5")["stoch_k_5_3_3"]
    assert np.isnan(k[:30]).all()
    assert np.isfinite(k[32:]).all()


def test_a_bar_without_volume_counts_for_nothing() -> None:
    series = make_series([10.0, 11.0, 12.0, 11.0])
    series.volume[:] = np.ma.masked_array([0, 100, 0, 300], [True, False, True, False])
    got = compute(series, "vwap:2,obv")
    np.testing.assert_allclose(got["vwap_2"], [np.nan, 11, 11, 11])
    np.testing.assert_allclose(got["obv"], [np.nan, 100, 100, -200])
    series.volume[:] = np.ma.masked
    got = compute(series, "vwap:2,obv")
    assert np.isnan([*got["vwap_2"], *got["obv"]]).all()


@pytest.mark.parametrize("closes", [[0.0] * 60, [1e308, 1e-300] * 30, [-5.0, 5.0, 0.0] * 20])
def test_strange_prices_give_gaps_and_no_infinity(closes: list[float]) -> None:
    columns = compute(make_series(closes), ALL)
    assert not any(np.isinf(column).any() for column in columns.values())


def test_specs_have_the_usual_defaults() -> None:
    text = "sma,ema,rsi,macd,bbands,atr,vwap,obv,stoch"
    assert [(spec.name, *spec.values) for spec in parse_indicators(text)] == [
        *(("sma", 20), ("ema", 20), ("rsi", 14), ("macd", 12, 26, 9), ("bbands", 20, 2)),
        *(("atr", 14), ("vwap", 20), ("obv",), ("stoch", 14, 3, 3)),
    ]
    assert text.split(",") == list(KINDS)


def test_specs_are_read_in_any_case_with_blanks_and_once() -> None:
    assert parse_indicators(" SMA:020 , macd:5,sma:20,stoch:5:2") == (
        *(Indicator("sma", (20,)), Indicator("macd", (5, 26, 9)), Indicator("stoch", (5, 2, 3))),
    )


BAD = {
    "": "'' is no indicator: possible are sma[:window], ema[:window], rsi[:window], "
    "macd[:fast[:slow[:signal]]], bbands[:window[:deviations]], atr[:window], vwap[:window], "
    "obv, stoch[:k[:smooth[:d]]]",
    "sma,": "'' is no indicator",
    "foo:3": "'foo:3' is no indicator: possible are sma[:window]",
    "x" * 500: f"'{'x' * 40}' is no indicator",
    "obv:3": "'obv:3' has too many parameters: write obv",
    "sma:1:2": "'sma:1:2' has too many parameters: write sma[:window]",
    "sma:0": "'sma:0': window should be a whole number from 1 to 1000",
    "sma:1001": "window should be a whole number from 1 to 1000",
    "rsi:1": "window should be a whole number from 2 to 1000",
    "ema:2.5": "window should be a whole number",
    "ema:": "window should be a whole number",
    "ema:-3": "window should be a whole number",
    "ema:٣": "window should be a whole number",
    "ema:" + "9" * 5000: "window should be a whole number",
    "macd:12:26:x": "signal should be a whole number from 1 to 1000",
    "macd:26:12": "'macd:26:12': fast 26 should be less than slow 12",
    "macd:30": "'macd:30': fast 30 should be less than slow 26",
    "bbands:20:0": "deviations should be a number with at most 2 decimals from 0.1 to 10",
    "bbands:20:nan": "deviations should be a number",
    "bbands:20:2.001": "deviations should be a number with at most 2 decimals",
    "stoch:14:3:0": "d should be a whole number from 1 to 1000",
    ",".join(f"sma:{n}" for n in range(1, 22)): "21 indicators: at most 20 at once",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:20])
def test_a_bad_spec_says_what_is_possible(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(BAD[text])) as caught:
        parse_indicators(text)
    assert len(str(caught.value)) < 300


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("sma:0123,.")))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_is_specs_or_a_value_error(text: str) -> None:
    try:
        specs = parse_indicators(text)
    except ValueError:
        return
    assert specs


def test_every_form_names_every_parameter() -> None:
    for form, (name, kind) in zip(list_forms(), KINDS.items(), strict=True):
        assert re.findall(r"\w+", form) == [name, *(one.name for one in kind.parameters)]


@pytest.mark.parametrize("cut", [1, 2, 3, 60])
@pytest.mark.parametrize("window", [2, 20, 500])
def test_a_value_is_that_of_its_window_to_the_last_digit(cut: int, window: int) -> None:
    series = read_sample("IBM")
    part = take_slice(series, slice(len(series) - cut - window, None))
    specs = parse_indicators(f"sma:{window},bbands:{window}:2,vwap:{window}")
    whole = compute_indicators(series, specs)
    for name, column in compute_indicators(part, specs).items():
        assert column[-cut:].tolist() == whole[name][-cut:].tolist(), name
    for what in ("return", "volatility", "sharpe"):
        rolled = roll(part, window, what)[-cut:].tolist()
        assert rolled == roll(series, window, what)[-cut:].tolist(), what
