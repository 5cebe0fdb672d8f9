"""Figures of bars shorter than a day: their periods a year, and instants where days have days."""

from collections import Counter
from dataclasses import replace
from datetime import date

import empyrical
import numpy as np
import pandas as pd
import pytest

from api.bars.hours import USUAL_HOURS, count_minutes
from api.bars.intraday import resample_minutes
from api.bars.series import Series, take_slice
from api.bars.sessions import read_sessions
from api.figures.comparison import take_common_days
from api.figures.drawdowns import list_drawdowns
from api.figures.formulas import explain_performance
from api.figures.indicators import compute_indicators, parse_indicators
from api.figures.performance import EMPTY, measure_performance
from api.figures.returns import get_periods
from api.figures.rolling import roll
from etl.contracts.zones import ZONES
from etl.market.sessions import list_sessions
from tests.test_intraday import build_minutes, list_minutes

# What a calendar does not know: the hour in which nothing is traded.
KNOWN_BETTER = {"CMES": 60}


def walk_minutes(calendar: str = "XNYS", interval: str = "5m") -> Series:
    """Bars of three days with a random walk of closes."""
    stamps = list_minutes("2024-03-06T14:30", "2024-03-08T21:00")
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 1e-3, len(stamps))))
    prices = {"open": closes, "high": closes * 1.001, "low": closes * 0.999, "close": closes}
    series = replace(build_minutes(stamps), **prices, calendar=calendar)
    known = read_sessions("XNYS", list_sessions("XNYS", date(2024, 2, 20)).slice(0, 40))
    return resample_minutes(series, known, interval)


@pytest.mark.parametrize(
    "exchange", ["XNYS", "XTKS", "XHKG", "XLON", "CMES", "IEPA", "24/5", "24/7"]
)
def test_usual_hours_are_as_long_as_most_sessions_of_the_calendar(exchange):
    table = list_sessions(exchange, date(2025, 1, 1)).slice(0, 200).to_pydict()
    lengths: Counter[float] = Counter()
    for opened, closed, *pause in zip(
        table["open"], table["close"], table["break_start"], table["break_end"], strict=True
    ):
        rest = (pause[1] - pause[0]).total_seconds() if pause[0] else 0
        lengths[((closed - opened).total_seconds() - rest) / 60] += 1
    usual = lengths.most_common(1)[0][0]
    assert count_minutes(exchange) == usual - KNOWN_BETTER.get(exchange, 0)


def test_every_calendar_has_usual_hours():
    assert set(USUAL_HOURS) == set(ZONES)


@pytest.mark.parametrize(
    ("calendar", "interval", "periods"),
    [
        ("XNYS", "1m", 252 * 390),
        ("XNYS", "5m", 252 * 78),
        ("XNYS", "1h", 252 * 6.5),
        ("XNYS", "1s", 252 * 390 * 60),
        ("XTKS", "15m", 252 * 22),
        ("XHKG", "30m", 252 * 11),
        ("XLON", "1h", 252 * 8.5),
        ("CMES", "1h", 252 * 23),
        ("24/5", "1h", 260 * 24),
        ("24/7", "1h", 365 * 24),
        ("24/7", "1m", 365 * 1440),
        ("", "1m", 252 * 390),
        ("XNYS", "1d", 252),
        ("24/7", "1d", 365),
    ],
)
def test_periods_are_sessions_a_year_times_bars_of_a_usual_session(calendar, interval, periods):
    series = walk_minutes(calendar)
    assert get_periods(interval, series) == periods
    coin = walk_minutes("24/7")
    assert get_periods(interval, series, coin) == min(periods, get_periods(interval, coin))


def test_an_interval_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="one of 1s, 1m, 5m, 15m, 30m, 1h, 1d, 1wk"):
        get_periods("2h")


def test_annual_figures_of_five_minutes_are_those_of_empyrical():
    series = walk_minutes()
    returns = pd.Series(series.close).pct_change().iloc[1:]
    told = measure_performance(series, interval="5m", risk_free=0.03)
    periods = 252 * 78
    rate = 1.03 ** (1 / periods) - 1
    expected = {
        "annual_volatility": empyrical.annual_volatility(returns, annualization=periods),
        "sharpe_ratio": empyrical.sharpe_ratio(returns, rate, annualization=periods),
        "sortino_ratio": empyrical.sortino_ratio(returns, rate, annualization=periods),
        "max_drawdown": empyrical.max_drawdown(returns),
    }
    for name, value in expected.items():
        assert told[name] == pytest.approx(value, rel=1e-9), name
    rolled = roll(series, 20, "volatility", interval="5m")
    assert rolled[-1] == pytest.approx(returns[-20:].std() * periods**0.5)


def test_days_of_figures_are_the_instants_of_their_bars():
    series = walk_minutes()
    told = measure_performance(series, interval="5m")
    high, low = int(series.high.argmax()), int(series.low.argmin())
    assert told["first"] == "2024-03-06T14:30:00Z"
    assert told["last"] == "2024-03-08T20:55:00Z"
    assert told["high_date"] == f"{series.timestamps[high]}Z"
    assert told["low_date"] == f"{series.timestamps[low]}Z"
    for name in ("peak_date", "trough_date", "best_day", "worst_day", "longest_drawdown_start"):
        assert told[name] in [f"{stamp}Z" for stamp in series.timestamps], name
    elapsed = (series.timestamps[-1] - series.timestamps[0]).item().total_seconds() / 86_400
    growth = (series.close[-1] / series.close[0]) ** (365.25 / elapsed) - 1
    assert told["cagr"] == pytest.approx(growth)


def test_a_range_within_a_day_has_no_annual_growth():
    series = walk_minutes()
    morning = take_slice(series, slice(0, 20))
    told = measure_performance(morning, interval="5m")
    assert told["cagr"] is told["calmar_ratio"] is None
    assert told["total_return"] is not None
    assert told["longest_drawdown_days"] == 0
    assert told["longest_drawdown_bars"] > 0


def test_drawdowns_are_from_instant_to_instant():
    series = take_slice(walk_minutes(), slice(0, 6))
    closes = np.array([10.0, 9, 10, 8, 7, 7.5])
    first, second = list_drawdowns(closes, series.stamps, 5)
    assert first == {
        **{"peak": "2024-03-06T14:40:00Z", "trough": "2024-03-06T14:50:00Z", "recovery": None},
        **{"depth": pytest.approx(-0.3), "days": 0, "bars": 3},
    }
    assert second["recovery"] == "2024-03-06T14:40:00Z"


def test_a_night_is_one_step_as_a_weekend_is_of_days():
    series = walk_minutes()
    (column,) = compute_indicators(series, parse_indicators("sma:3")).values()
    night = int(np.flatnonzero(np.diff(series.days.astype(int)))[0]) + 1
    assert column[night] == pytest.approx(series.close[night - 2 : night + 1].mean())
    assert np.isnan(column[:2]).all()


def test_a_benchmark_counts_on_the_bars_that_begin_together():
    series, other = walk_minutes(), walk_minutes("24/7", "15m")
    mine, theirs = take_common_days(series, other)
    assert mine.timestamps.tolist() == theirs.timestamps.tolist() == other.timestamps.tolist()
    assert len(mine.sessions) == len(mine.complete) == len(mine) == 78
    told = measure_performance(series, other, "15m")
    assert told["correlation"] == pytest.approx(
        np.corrcoef(mine.close[1:] / mine.close[:-1], theirs.close[1:] / theirs.close[:-1])[0, 1]
    )
    explained = explain_performance(series, other, "15m")
    assert explained["figures"]["beta"]["n"] == 77
    assert explained["periods_per_year"] == 252 * 26


def test_no_bars_have_no_figures():
    empty = take_slice(walk_minutes(), slice(0))
    told = measure_performance(empty, interval="5m")
    assert told["count"] == 0
    assert {told[name] for name in EMPTY if name != "count"} == {None}
