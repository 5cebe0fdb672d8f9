"""Minutes are adjusted by their sessions, with the factors of the daily bars."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from api.bars.adjust import adjust
from api.bars.intraday import find_places
from api.bars.series import PRICES, Series
from api.bars.sessions import Sessions, read_sessions
from etl.market.sessions import list_sessions
from tests.test_intraday import build_minutes, list_minutes
from tests.test_series import make_series

SPLITS = [(date(2024, 3, 12), 3.0), (date(2024, 3, 14), 0.5)]
DIVIDENDS = [(date(2024, 3, 13), 2.0), (date(2024, 3, 14), 7.0), (date(2024, 3, 18), 1.0)]
ACTIONS = {"splits": SPLITS, "dividends": DIVIDENDS}


def read_week(exchange: str) -> Sessions:
    return read_sessions(exchange, list_sessions(exchange, date(2024, 2, 20)).slice(0, 40))


def build_week(known: Sessions) -> Series:
    """Every seventh minute of a week, whatever the hour, raw, with sessions."""
    series = build_minutes(list_minutes("2024-03-09", "2024-03-17")[::7])
    series = replace(series, open=series.open + 40, close=series.close + 50)
    return replace(series, sessions=find_places(series.timestamps, known).days)


def build_daily(known: Sessions) -> Series:
    days = known.days.tolist()
    return make_series([f"{day}" for day in days], np.arange(len(days)) + 100.0)


@pytest.mark.parametrize("exchange", ["XNYS", "CMES", "XTKS", "24/7"])
@pytest.mark.parametrize("adjustment", ["raw", "split", "all"])
@pytest.mark.parametrize("basis", ["raw", "split"])
@pytest.mark.parametrize("day", [None, date(2024, 3, 13)])
def test_the_factor_of_a_minute_is_that_of_the_daily_bar_of_its_session(
    exchange, adjustment, basis, day
):
    known = read_week(exchange)
    minutes, raw = build_week(known), build_daily(known)
    told = {**ACTIONS, "adjusted_as_of": day}
    daily_factors = adjust(raw, adjustment=adjustment, **told).close / raw.close
    stored = adjust(raw, SPLITS, basis)
    if basis == "split":  # a dividend is for a share of the stored prices, before a split that day
        told["dividends"] = [
            (ex, amount / np.prod([ratio for day, ratio in SPLITS if day >= ex]))
            for ex, amount in DIVIDENDS
        ]
    adjusted = adjust(minutes, adjustment=adjustment, daily=stored, **told)
    rows = raw.days.searchsorted(minutes.sessions)
    for name in PRICES:
        expected = getattr(minutes, name) * daily_factors[rows]
        np.testing.assert_allclose(getattr(adjusted, name), expected, 1e-12)
    assert adjusted.adjustment == adjustment


def test_an_evening_of_the_session_of_the_next_day_is_of_the_share_of_that_day():
    known = read_week("CMES")
    minutes = build_week(known)
    adjusted = adjust(minutes, SPLITS[:1], "split", daily=build_daily(known))
    turn = np.datetime64("2024-03-11T22:00")  # 17:00 in Chicago, the eve of the split
    assert (
        adjusted.close[minutes.timestamps >= turn] == minutes.close[minutes.timestamps >= turn]
    ).all()
    before = minutes.timestamps < turn
    np.testing.assert_allclose(adjusted.close[before] * 3, minutes.close[before])


def test_volumes_are_scaled_and_rounded_as_those_of_days_are():
    known = read_week("XNYS")
    minutes = build_week(known)
    minutes.volume[5] = np.ma.masked
    adjusted = adjust(minutes, [(date(2024, 3, 14), 1.5)], "split", daily=build_daily(known))
    ratio = np.where(minutes.sessions < np.datetime64("2024-03-14"), 1.5, 1)
    expected = np.rint(minutes.volume.data * ratio).astype(int)
    assert adjusted.volume.tolist() == [
        None if n == 5 else v for n, v in enumerate(expected.tolist())
    ]
    assert adjusted.volume.dtype == np.int64
