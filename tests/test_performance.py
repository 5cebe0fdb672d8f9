"""Figures of performance equal those of empyrical, TA-Lib and pandas; none is NaN or infinite."""

import math
from datetime import date
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bars.series import Series, slice_days, take_slice
from api.figures.comparison import compute_matrices, take_common_days
from api.figures.drawdowns import find_longest_drawdown, find_max_drawdown, list_drawdowns
from api.figures.formulas import FORMULAS, explain_performance
from api.figures.performance import measure_performance, summarize
from api.figures.returns import PERIODS_PER_YEAR, compute_returns, split_rate
from api.figures.rolling import FIGURES, roll
from tests.prices import make_series, read_sample, walk_series

seeds = st.integers(0, 10**6)
rates = st.sampled_from([0.0, 0.03, 0.5, -0.01])
intervals = st.sampled_from(sorted(PERIODS_PER_YEAR))
few = settings(max_examples=60, deadline=None, derandomize=True)


def close_to(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def to_pandas(series: Series) -> "pd.Series[float]":
    return pd.Series(series.close, pd.DatetimeIndex(series.days))


def pair_returns(one: Series, other: Series) -> pd.DataFrame:
    """Returns of both between their common days, by pandas alone."""
    prices = pd.concat({"own": to_pandas(one), "other": to_pandas(other)}, axis=1, join="inner")
    return prices.pct_change().iloc[1:]


def check_reward_and_risk(series: Series, interval: str, risk_free: float) -> None:
    periods = PERIODS_PER_YEAR[interval]
    rate = (1 + risk_free) ** (1 / periods) - 1
    returns = to_pandas(series).pct_change().iloc[1:]
    span = (series.days[-1] - series.days[0]).astype(int) / 365.25
    expected = {
        "total_return": empyrical.cum_returns_final(returns),
        "cagr": empyrical.cagr(returns, annualization=len(returns) / span),
        "annual_volatility": empyrical.annual_volatility(returns, annualization=periods),
        "max_drawdown": empyrical.max_drawdown(returns),
        "sharpe_ratio": empyrical.sharpe_ratio(returns, rate, annualization=periods),
        "sortino_ratio": empyrical.sortino_ratio(returns, rate, annualization=periods),
        "calmar_ratio": empyrical.calmar_ratio(returns, annualization=len(returns) / span),
        "value_at_risk": empyrical.value_at_risk(returns),
        "expected_shortfall": empyrical.conditional_value_at_risk(returns),
        "skew": returns.skew(),
        "kurtosis": returns.kurt(),
        "up_days": (returns > 0).sum(),
        "down_days": (returns < 0).sum(),
        "average_true_range": talib.ATR(series.high, series.low, series.close, 14)[-1],
        "average_dollar_volume": (series.close * series.volume).mean(),
    }
    got = measure_performance(series, interval=interval, risk_free=risk_free)
    for name, value in expected.items():
        assert got[name] == close_to(value), name


@given(seeds, st.integers(25, 400), intervals, rates)
@few
def test_reward_risk_and_shape_are_those_of_independent_libraries(
    seed: int, count: int, interval: str, risk_free: float
) -> None:
    check_reward_and_risk(walk_series(seed, count), interval, risk_free)


@pytest.mark.parametrize("symbol", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_figures_of_real_bars_are_those_of_independent_libraries(symbol: str) -> None:
    check_reward_and_risk(read_sample(symbol), "1d", 0.03)


def check_comparison(series: Series, other: Series, interval: str, risk_free: float) -> None:
    periods = PERIODS_PER_YEAR[interval]
    rate = (1 + risk_free) ** (1 / periods) - 1
    pairs = pair_returns(series, other)
    own, others = pairs["own"], pairs["other"]
    active = own - others
    alpha, beta = empyrical.alpha_beta(own, others, rate, annualization=periods)
    expected = {
        "beta": beta,
        "alpha": alpha,
        "correlation": own.corr(others),
        "tracking_error": empyrical.annual_volatility(active, annualization=periods),
    }
    got = measure_performance(series, other, interval, risk_free)
    for name, value in expected.items():
        assert got[name] == close_to(value), name


@given(seeds, st.integers(25, 400), intervals, rates)
@few
def test_figures_against_a_benchmark_are_those_of_empyrical_on_common_days(
    seed: int, count: int, interval: str, risk_free: float
) -> None:
    series = walk_series(seed, count, "X", shared=0.4)
    check_comparison(series, walk_series(seed, count + 50, "Y", shared=0.8), interval, risk_free)


@pytest.mark.parametrize("symbol", ["FB", "GOOG", "IBM", "MSFT"])
def test_figures_against_a_real_benchmark_are_those_of_empyrical(symbol: str) -> None:
    check_comparison(read_sample("AAPL"), read_sample(symbol), "1d", 0.02)


def test_a_series_against_itself_moves_as_one() -> None:
    series = read_sample("IBM")
    got = measure_performance(series, series, risk_free=0.05)
    assert (got["beta"], got["correlation"]) == (close_to(1), close_to(1))
    assert (got["alpha"], got["tracking_error"]) == (close_to(0), 0)


def test_without_benchmark_its_figures_are_none() -> None:
    got = measure_performance(read_sample("FB"))
    assert [got[name] for name in ("beta", "alpha", "correlation", "tracking_error")] == [None] * 4


@pytest.mark.parametrize("periods", PERIODS_PER_YEAR.values())
def test_the_rate_of_a_bar_compounds_to_that_of_a_year(periods: int) -> None:
    for rate in (0.0, 0.03, 1.0, -0.5):
        assert (1 + split_rate(rate, periods)) ** periods == close_to(1 + rate)


@pytest.mark.parametrize("rate", [-1.0, -3.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"it should be a yearly rate, as 0\.03 for 3 %"):
        measure_performance(read_sample("FB"), risk_free=rate)


def test_an_unknown_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'2h': it should be one of .*1h, 1d, 1wk, 1mo, 3mo, 1y"):
        measure_performance(read_sample("FB"), interval="2h")


LEAST_BARS = {
    1: ("count", "close", "mean_close", "total_volume", "average_dollar_volume"),
    2: (
        *("total_return", "cagr", "max_drawdown", "up_days", "down_days", "std_close"),
        *("longest_drawdown_bars", "longest_drawdown_days"),
    ),
    3: ("annual_volatility", "sharpe_ratio", "beta", "alpha", "correlation", "tracking_error"),
    4: ("skew",),
    5: ("kurtosis",),
    15: ("average_true_range",),
    21: ("value_at_risk", "expected_shortfall"),
}
ZIGZAG = [100.0, 90.0, 95.0, 80.0, 99.0, 91.0, 97.0] * 4


@pytest.mark.parametrize("count", range(1, 24))
def test_a_figure_is_none_exactly_where_there_are_too_few_bars(count: int) -> None:
    series = make_series(ZIGZAG[:count])
    benchmark = make_series([price + day for day, price in enumerate(ZIGZAG[:count])], "Y")
    got = measure_performance(series, benchmark)
    for least, names in LEAST_BARS.items():
        for name in names:
            assert (got[name] is None) == (count < least), name
    for name, figure in explain_performance(series, benchmark)["figures"].items():
        if name not in ("sortino_ratio", "calmar_ratio"):  # they want a fall besides
            assert (got[name] is None) == (figure["n"] < figure["least"]), name


def test_no_bars_give_every_figure_as_none_but_the_count() -> None:
    series = make_series([])
    got = measure_performance(series, series)
    assert list(got) == list(measure_performance(make_series(ZIGZAG)))
    assert {name for name, value in got.items() if value is not None} == {"count"}
    assert {figure["n"] for figure in explain_performance(series, series)["figures"].values()} == {
        0
    }


@pytest.mark.parametrize("price", [5.1, 100.0, 1e-9, 1e300])
def test_constant_prices_have_no_ratio_and_no_risk(price: float) -> None:
    got = measure_performance(make_series([price] * 40), read_sample("FB"))
    names = ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "skew", "kurtosis", "beta")
    assert [got[name] for name in names] == [None] * len(names)
    assert (got["annual_volatility"], got["value_at_risk"], got["max_drawdown"]) == (0, 0, 0)
    assert (got["up_days"], got["down_days"], got["longest_drawdown_days"]) == (0, 0, 0)


def test_constant_growth_has_no_ratio_out_of_rounding() -> None:
    closes = [100 * 1.01**day for day in range(60)]
    series, benchmark = make_series(closes), make_series([2 * close for close in closes])
    got = measure_performance(series, benchmark, risk_free=1.01**252 - 1)
    names = ("sharpe_ratio", "sortino_ratio", "skew", "kurtosis", "beta", "alpha", "correlation")
    assert [got[name] for name in names] == [None] * len(names)
    assert np.nanmax(roll(series, 20, "volatility")) == 0
    for what in ("sharpe", "beta"):
        assert np.isnan(roll(series, 20, what, benchmark)).all()


strange = st.sampled_from([0.0, -1.0, 5.0, 5.0, 5.000001, 1e308, 1.7e308, 1e-300, 5e-324])


@given(st.lists(strange, max_size=30), st.lists(strange, max_size=30), rates)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_figure_of_any_prices_is_nan_or_infinite(
    closes: list[float], others: list[float], risk_free: float
) -> None:
    series, other = make_series(closes), make_series(others, "Y", "2020-01-03")
    got = measure_performance(series, other, risk_free=risk_free)
    values = [value for value in got.values() if isinstance(value, float)]
    matrices = compute_matrices([series, other], "log", 252)
    values += [
        value
        for name in ("correlation", "covariance")
        for row in matrices[name]
        for value in row
        if value is not None
    ]
    falls = list_drawdowns(series.close, series.days, 5)
    values += [fall["depth"] for fall in falls if fall["depth"] is not None]
    assert all(math.isfinite(value) for value in values)
    for what in FIGURES:
        column = roll(series, 3, what, other, risk_free)
        assert len(column) == len(series)
        assert not np.isinf(column).any(), what


def test_measuring_leaves_what_summarize_gives_as_it_is() -> None:
    series = read_sample("MSFT")
    got = measure_performance(series)
    assert {name: got[name] for name in summarize(series)} == summarize(series)


# ---- drawdowns

FALLS = [10.0, 12.0, 9.0, 11.0, 12.0, 6.0, 12.5, 12.5, 10.0, 11.0]


def test_drawdowns_go_from_the_last_high_to_the_recovery_deepest_first() -> None:
    series = make_series(FALLS)
    assert list_drawdowns(series.close, series.days, 10) == [
        {
            **{"peak": "2020-01-05", "trough": "2020-01-06", "recovery": "2020-01-07"},
            **{"depth": -0.5, "days": 2, "bars": 2},
        },
        {
            **{"peak": "2020-01-02", "trough": "2020-01-03", "recovery": "2020-01-05"},
            **{"depth": -0.25, "days": 3, "bars": 3},
        },
        {
            **{"peak": "2020-01-08", "trough": "2020-01-09", "recovery": None},
            **{"depth": 10 / 12.5 - 1, "days": 2, "bars": 2},
        },
    ]
    assert find_longest_drawdown(series.close, series.days) == {
        "longest_drawdown_bars": 3,
        "longest_drawdown_days": 3,
        "longest_drawdown_start": "2020-01-02",
        "longest_drawdown_end": "2020-01-05",
    }


def walk_drawdowns(prices: "pd.Series[float]") -> list[dict[str, Any]]:
    """The same by a walk over the bars, one after another."""
    found: list[dict[str, Any]] = []
    peak, is_below = prices.index[0], False
    for day, price in prices.items():
        if price >= prices[peak]:
            if is_below:
                found[-1]["recovery"] = day
            peak, is_below = day, False
            continue
        if not is_below:
            found.append({"peak": peak, "trough": day, "recovery": None})
        is_below = True
        if price < prices[found[-1]["trough"]]:
            found[-1]["trough"] = day
    for fall in found:
        fall["depth"] = prices[fall["trough"]] / prices[fall["peak"]] - 1
        fall["days"] = ((fall["recovery"] or prices.index[-1]) - fall["peak"]).days
    return sorted(found, key=lambda fall: fall["depth"])


@given(seeds, st.integers(2, 200), st.integers(0, 2))
@few
def test_drawdowns_are_those_of_a_walk_over_the_bars(seed: int, count: int, places: int) -> None:
    walk = walk_series(seed, count)
    prices = np.round(walk.close, places)  # so that highs are met again
    expected = walk_drawdowns(pd.Series(prices, pd.DatetimeIndex(walk.days)))
    got = list_drawdowns(prices, walk.days, 1000)
    for one, other in zip(got, expected, strict=True):
        dates = [
            other[name] and f"{other[name]:%Y-%m-%d}" for name in ("peak", "trough", "recovery")
        ]
        assert [one["peak"], one["trough"], one["recovery"]] == dates
        assert (one["depth"], one["days"]) == (close_to(other["depth"]), other["days"])
    assert list_drawdowns(prices, walk.days, 2) == got[:2]
    longest = find_longest_drawdown(prices, walk.days)
    assert longest["longest_drawdown_days"] == max([fall["days"] for fall in got], default=0)
    deepest = find_max_drawdown(prices, walk.days)
    if got:
        named = (got[0]["depth"], got[0]["peak"], got[0]["trough"])
        assert tuple(deepest.values()) == (close_to(named[0]), *named[1:])


@pytest.mark.parametrize("closes", [[], [1.0], [1.0, 2.0, 2.0, 3.0], [5.0] * 4])
def test_prices_that_never_fall_have_no_drawdown(closes: list[float]) -> None:
    series = make_series(closes)
    assert list_drawdowns(series.close, series.days, 5) == []


def test_a_peak_of_0_or_below_has_no_drawdown() -> None:
    series = make_series([-1.0, -2.0, 0.0, -3.0, 4.0, 3.0])
    assert [fall["peak"] for fall in list_drawdowns(series.close, series.days, 5)] == ["2020-01-05"]
    assert find_longest_drawdown(series.close, series.days)["longest_drawdown_days"] == 1


# ---- rolling

ROLLED = {
    "volatility": "annual_volatility",
    "sharpe": "sharpe_ratio",
    "return": "total_return",
    "beta": "beta",
}


@given(seeds, st.integers(2, 60), rates, intervals)
@few
def test_rolling_figures_are_those_of_empyrical(
    seed: int, window: int, risk_free: float, interval: str
) -> None:
    periods = PERIODS_PER_YEAR[interval]
    rate = (1 + risk_free) ** (1 / periods) - 1
    series = walk_series(seed, 150, shared=0.4)
    returns = to_pandas(series).pct_change().iloc[1:]
    sharpe = empyrical.roll_sharpe_ratio(returns, window, risk_free=rate, annualization=periods)
    volatility = empyrical.roll_annual_volatility(returns, window, annualization=periods)
    expected = {
        "sharpe": sharpe,
        "volatility": volatility,
        "return": to_pandas(series).pct_change(window).dropna(),
    }
    for what, values in expected.items():
        got = roll(series, window, what, None, risk_free, interval)
        assert np.isnan(got[:window]).all()
        np.testing.assert_allclose(got[window:], values, rtol=1e-9, atol=1e-12)


@given(seeds, st.integers(2, 60))
@few
def test_rolling_beta_is_that_of_empyrical_and_absent_on_days_not_common(
    seed: int, window: int
) -> None:
    series, other = walk_series(seed, 150, shared=0.4), walk_series(seed, 140, "Y", shared=0.8)
    pairs = pair_returns(series, other)
    expected = empyrical.roll_beta(pairs["own"], pairs["other"], window)
    got = pd.Series(roll(series, window, "beta", other), pd.DatetimeIndex(series.days)).dropna()
    assert got.index.equals(pairs.index[window - 1 :])
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("what", FIGURES)
@pytest.mark.parametrize("window", [2, 252, 2520])
def test_a_rolling_value_is_the_figure_of_its_window(what: str, window: int) -> None:
    series, other = take_common_days(read_sample("AAPL"), read_sample("IBM"))
    column = roll(series, window, what, other, 0.03)
    for row in (window, window + 1, len(series) - 1):
        part = slice(row - window, row + 1)
        own, benchmark = take_slice(series, part), take_slice(other, part)
        expected = measure_performance(own, benchmark, risk_free=0.03)[ROLLED[what]]
        assert column[row] == close_to(expected)


def test_a_window_beyond_the_bars_has_no_value() -> None:
    series = walk_series(1, 10)
    for what in FIGURES:
        for count in (0, 1, 5, 10):
            part = take_slice(series, slice(count))
            column = roll(part, 10, what, series)
            assert len(column) == count
            assert np.isnan(column).all()


@pytest.mark.parametrize(
    ("window", "what", "message"),
    [
        (20, "alpha", "'alpha': it should be one of return, volatility, sharpe, beta"),
        (1, "volatility", "window 1: for volatility it should be from 2 to 2520"),
        (0, "return", "window 0: for return it should be from 1 to 2520"),
        (2521, "sharpe", "from 2 to 2520"),
        (20, "beta", "needs a benchmark"),
    ],
)
def test_a_rolling_figure_that_is_none_is_refused(window: int, what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        roll(read_sample("FB"), window, what)


# ---- returns and matrices


def test_returns_are_simple_or_log() -> None:
    series = read_sample("IBM")
    simple, log = compute_returns(series), compute_returns(series, "log")
    expected = to_pandas(series).pct_change().iloc[1:]
    np.testing.assert_allclose(simple, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(np.exp(log) - 1, simple, rtol=1e-9, atol=1e-15)
    assert log.sum() == close_to(math.log(series.close[-1] / series.close[0]))
    with pytest.raises(ValueError, match="'excess': it should be simple or log"):
        compute_returns(series, "excess")


@pytest.mark.parametrize("kind", ["simple", "log"])
def test_matrices_are_those_of_pandas_over_the_days_that_all_have(kind: str) -> None:
    series = [read_sample("AAPL"), read_sample("GOOG"), walk_sample_days("IBM")]
    prices = pd.concat([to_pandas(one) for one in series], axis=1, join="inner")
    returns = prices.pct_change().iloc[1:] if kind == "simple" else np.log(prices).diff().iloc[1:]
    got = compute_matrices(series, kind)
    np.testing.assert_allclose(got["correlation"], returns.corr(), rtol=1e-9)
    np.testing.assert_allclose(got["covariance"], returns.cov(), rtol=1e-9)
    assert (got["symbols"], got["count"]) == (["AAPL", "GOOG", "IBM"], len(returns))
    assert got["left_out"] == [len(one) - len(prices) for one in series]
    assert (got["first"], got["last"]) == (f"{prices.index[0]:%F}", f"{prices.index[-1]:%F}")
    annual = compute_matrices(series, kind, 252)
    np.testing.assert_allclose(annual["covariance"], returns.cov() * 252, rtol=1e-9)
    assert annual["correlation"] == got["correlation"]


def walk_sample_days(symbol: str) -> Series:
    """Every third bar of a symbol is gone."""
    series = read_sample(symbol)
    parts = [take_slice(series, slice(first, None, 3)) for first in (0, 1)]
    rows = np.argsort(np.concatenate([part.days for part in parts]))
    names = ("timestamps", "open", "high", "low", "close", "volume")
    columns = [np.ma.concatenate([getattr(part, name) for part in parts])[rows] for name in names]
    return Series(symbol, "split", *(np.asarray(column) for column in columns[:5]), columns[5])


def test_matrices_of_one_series_or_of_no_common_days() -> None:
    one = read_sample("FB")
    assert compute_matrices([one])["correlation"] == [[close_to(1)]]
    early = slice_days(read_sample("IBM"), None, date(2001, 1, 1))
    got = compute_matrices([one, early])
    assert got["correlation"] == got["covariance"] == [[None, None], [None, None]]
    assert (got["count"], got["first"], got["last"]) == (0, None, None)
    assert got["left_out"] == [len(one), len(early)]


def test_a_constant_series_has_a_covariance_of_0_and_no_correlation() -> None:
    flat, moving = make_series([5.1] * 28), make_series(ZIGZAG, "Y")
    got = compute_matrices([flat, moving])
    assert got["correlation"] == [[None, None], [None, close_to(1)]]
    assert got["covariance"][0] == [0, 0]


# ---- explain


def test_explain_counts_what_is_left_out() -> None:
    series, benchmark = make_series(ZIGZAG), make_series(ZIGZAG, "Y", "2020-01-11")
    series.volume[:3] = np.ma.masked
    got = explain_performance(series, benchmark, "1wk", 0.04)
    assert (got["periods_per_year"], got["benchmark"], got["risk_free"]) == (52, "Y", 0.04)
    assert (1 + got["risk_free_per_period"]) ** 52 == close_to(1.04)
    assert got["counts"] == {
        **{"bars": 28, "returns": 27, "volumes": 25, "common_returns": 17},
        **{"bars_without_volume": 3, "bars_without_partner": 10},
        "benchmark_bars_without_partner": 10,
    }
    assert got["figures"]["beta"]["n"] == 17
    assert got["figures"]["average_dollar_volume"]["n"] == 25
    alone = explain_performance(series)
    assert alone["benchmark"] is None
    assert alone["counts"]["bars_without_partner"] == alone["figures"]["alpha"]["n"] == 0


def test_every_reckoned_figure_has_a_formula() -> None:
    got = measure_performance(read_sample("FB"))
    of_one_bar = {"count", "first", "last", "open", "close", "high", "low", "best_day", "worst_day"}
    of_one_bar |= {"best_day_return", "worst_day_return", "longest_drawdown_bars"}
    of_one_bar |= {name for name in got if name.endswith(("_date", "_start", "_end"))}
    assert set(FORMULAS) == set(got) - of_one_bar
