"""Adjusting, resampling and cutting agree with pandas, DuckDB and the published factors."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bars.adjust import adjust
from api.bars.resample import INTERVALS, resample
from api.bars.series import (
    FIELDS,
    PRICES,
    Axis,
    Series,
    cut_page,
    cut_range,
    find_range,
    reverse_bars,
    select_fields,
    show_day,
    slice_days,
)
from etl.settings import PROJECT_ROOT

SAMPLE = PROJECT_ROOT / "data" / "sample" / "bars.csv.gz"
SPLITS = {
    "AAPL": [(date(2000, 6, 21), 2.0), (date(2005, 2, 28), 2.0)],
    "MSFT": [(date(2003, 2, 18), 2.0)],
}
# As the company lists them on its investor pages; the sample has no dividends of its own.
MSFT_DIVIDENDS = [
    (date(2003, 2, 19), 0.08),
    (date(2003, 10, 15), 0.16),
    (date(2004, 8, 23), 0.08),
    (date(2004, 11, 15), 3.08),
    *((date(2005, month, day), 0.08) for month, day in ((2, 15), (5, 16), (8, 15), (11, 15))),
]
PERIODS = {"1wk": "W-SUN", "1mo": "M", "3mo": "Q", "1y": "Y"}
LONGER = INTERVALS[1:]


def make_series(days: list[str] | np.ndarray, closes: Any = None, **others: Any) -> Series:
    axis = np.array(days, "datetime64[D]")
    close = np.arange(1.0, len(axis) + 1) if closes is None else np.array(closes, float)
    columns = {**dict.fromkeys(PRICES, close), "volume": [100] * len(axis), **others}
    columns["volume"] = np.ma.masked_equal(
        np.array([-1 if v is None else v for v in columns["volume"]], np.int64), -1
    )
    return Series("X", "raw", axis.astype("datetime64[s]"), **columns)


def make_frame(series: Series) -> pd.DataFrame:
    columns = {name: getattr(series, name) for name in PRICES}
    volume = pd.array(series.volume.tolist(), "Int64")
    return pd.DataFrame({**columns, "volume": volume}, pd.DatetimeIndex(series.days))


def list_bars(series: Series) -> list[tuple[Any, ...]]:
    names = ("days", *FIELDS)
    return list(zip(*(getattr(series, name).tolist() for name in names), strict=True))


def read_sample(symbol: str) -> tuple[Series, Any]:
    """Its bars as traded, and its adjusted closes as the source gives them."""
    frame = pd.read_csv(SAMPLE, keep_default_na=False)
    frame = frame[frame["symbol"] == symbol]
    prices = {name: frame[name].to_numpy(float) for name in PRICES}
    volume = frame["volume"].tolist()
    series = make_series(frame["timestamp"].to_numpy(str), **prices, volume=volume)
    return series, frame["adj_close"].to_numpy(float)


@st.composite
def all_series(draw: st.DrawFn, least: int = 0) -> Series:
    """Bars on some days of two years, weekends too, with volumes that may be unknown."""
    offsets = draw(st.sets(st.integers(0, 730), min_size=least, max_size=60))
    count = len(offsets)
    prices = st.lists(st.floats(-1e6, 1e6), min_size=count, max_size=count)
    volumes = st.lists(st.none() | st.integers(0, 10**9), min_size=count, max_size=count)
    return make_series(
        np.datetime64("1999-06-01") + np.array(sorted(offsets), "timedelta64[D]"),
        **{name: np.array(draw(prices), float) for name in PRICES},
        volume=draw(volumes),
    )


actions = st.lists(
    st.tuples(st.dates(date(1999, 1, 1), date(2002, 1, 1)), st.sampled_from([2.0, 3.0, 0.1])),
    max_size=4,
    unique_by=lambda action: action[0],
)


# Resampling.


@given(all_series(), st.sampled_from(LONGER))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_resampled_bars_are_exactly_those_of_pandas(series: Series, interval: str) -> None:
    frame = make_frame(series).reset_index(names="day")
    groups = frame.groupby(frame["day"].dt.to_period(PERIODS[interval]))
    expected = pd.DataFrame(
        {
            "day": groups["day"].first(),
            "open": groups["open"].first(),
            "high": groups["high"].max(),
            "low": groups["low"].min(),
            "close": groups["close"].last(),
            "volume": groups["volume"].sum(min_count=1),
        }
    )
    got = resample(series, interval)
    assert got.interval == interval
    assert len(got) == len(expected)
    rows = expected.astype(object).where(expected.notna(), None).itertuples(index=False)
    assert list_bars(got) == [(row[0].date(), *row[1:]) for row in rows]


@pytest.mark.parametrize("symbol", ["AAPL", "FB"])
@pytest.mark.parametrize(
    ("interval", "unit"), [("1wk", "week"), ("1mo", "month"), ("3mo", "quarter"), ("1y", "year")]
)
def test_resampled_real_bars_are_exactly_those_of_duckdb(
    symbol: str, interval: str, unit: str
) -> None:
    expected = duckdb.sql(
        f"""SELECT min(timestamp), arg_min(open, timestamp), max(high), min(low),
            arg_max(close, timestamp), sum(volume)::BIGINT
        FROM read_csv('{SAMPLE}', nullstr='') WHERE symbol = '{symbol}'
        GROUP BY date_trunc('{unit}', timestamp) ORDER BY 1"""
    ).fetchall()
    assert list_bars(resample(read_sample(symbol)[0], interval)) == expected


@given(all_series())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_years_made_of_months_are_years_made_of_days(series: Series) -> None:
    months = list_bars(resample(series, "1mo"))
    years: dict[int, list[Any]] = {}
    for day, o, h, lo, c, v in months:
        year = years.setdefault(day.year, [day, o, h, lo, c, None])
        year[2], year[3], year[4] = max(year[2], h), min(year[3], lo), c
        year[5] = v if year[5] is None else year[5] + (v or 0)
    assert list_bars(resample(series, "1y")) == [tuple(year) for year in years.values()]


def test_daily_bars_stay_as_they_are_and_only_they_can_be_resampled() -> None:
    series = make_series(["2012-01-03", "2012-01-04"])
    assert resample(series, "1d") is series
    assert series.complete is None
    with pytest.raises(ValueError, match="bars of 1wk cannot be resampled"):
        resample(resample(series, "1wk"), "1mo")
    with pytest.raises(ValueError, match=r"interval=1h: possible are 1d, 1wk, 1mo, 3mo, 1y"):
        resample(series, "1h")


def test_a_sum_of_volumes_counts_those_known_and_none_is_unknown() -> None:
    days = ["2012-01-02", "2012-01-03", "2012-01-09", "2012-01-10", "2012-01-16", "2012-01-23"]
    big = 2**63 - 1
    series = make_series(days, volume=[None, 5, None, None, big, 7])
    assert resample(series, "1wk").volume.tolist() == [5, None, big, 7]
    # more than 64 bits hold: unknown rather than wrong
    assert resample(series, "1mo").volume.tolist() == [None]


@pytest.mark.parametrize(
    ("interval", "last", "is_complete"),
    [
        ("1wk", "2012-05-16", False),  # a Wednesday
        ("1wk", "2012-05-18", True),  # a Friday
        ("1wk", "2012-04-05", False),  # the Thursday before Good Friday: not known to be the last
        ("1mo", "2012-06-28", False),
        ("1mo", "2012-06-29", True),  # a Friday, the 30th is a Saturday
        ("3mo", "2012-05-31", False),
        ("3mo", "2012-06-29", True),
        ("1y", "2012-12-28", False),
        ("1y", "2012-12-31", True),
    ],
)
def test_the_last_bar_is_complete_only_on_the_last_weekday_of_its_period(
    interval: str, last: str, is_complete: bool
) -> None:
    whole = np.arange("2011-01-03", np.datetime64(last) + 1, dtype="datetime64[D]")
    series = make_series(whole[np.is_busday(whole)])
    complete = resample(series, interval).complete
    assert complete is not None
    assert complete.dtype == bool
    assert complete[-1] == is_complete
    assert complete[:-1].all()


def test_a_bar_in_a_later_period_completes_the_one_before() -> None:
    short = make_series(["2012-04-04", "2012-04-05"])
    longer = make_series(["2012-04-04", "2012-04-05", "2012-04-09"])
    assert resample(short, "1wk").complete.tolist() == [False]
    assert resample(longer, "1wk").complete.tolist() == [True, False]


def test_a_symbol_that_trades_at_weekends_has_longer_weeks() -> None:
    friday = make_series(["2020-01-03", "2020-01-06", "2020-01-10"])
    sunday = make_series(["2020-01-05", "2020-01-06", "2020-01-10"])
    assert resample(friday, "1wk").complete.tolist() == [True, True]
    assert resample(sunday, "1wk").complete.tolist() == [True, False]


@given(all_series(least=1), st.sampled_from(LONGER), st.integers(1, 60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_complete_bar_never_changes_when_weekdays_are_added(
    series: Series, interval: str, cut: int
) -> None:
    weekdays = np.is_busday(series.days)
    series = make_series(
        series.days[weekdays],
        **{name: getattr(series, name)[weekdays] for name in PRICES},
        volume=series.volume[weekdays].tolist(),
    )
    early = resample(
        slice_days(series, None, date(1999, 6, 1) + timedelta(days=12 * cut)), interval
    )
    late = list_bars(resample(series, interval))
    for bar, is_complete in zip(list_bars(early), early.complete.tolist(), strict=True):
        assert not is_complete or bar in late


def test_slicing_and_reversing_carry_the_flag_along() -> None:
    months = resample(make_series(["2012-01-03", "2012-02-01", "2012-03-01"]), "1mo")
    assert slice_days(months, None, date(2012, 2, 1)).complete.tolist() == [True, True]
    assert reverse_bars(months).complete.tolist() == [False, True, True]


# Adjusting.


@pytest.mark.parametrize("symbol", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_split_adjusting_takes_every_jump_out_of_the_published_factor(symbol: str) -> None:
    series, published = read_sample(symbol)
    factors = published / adjust(series, SPLITS.get(symbol, []), "split").close
    steps = factors[1:] / factors[:-1]
    # what is left are dividends: up, and by the greatest of them (MSFT, 3.08 on 27.39) a tenth
    assert (steps > 1 - 1e-9).all()
    assert steps.max() < 1.12
    if symbol in SPLITS:
        raw = published / series.close
        assert (raw[1:] / raw[:-1]).max() == pytest.approx(2)
    if symbol in ("FB", "GOOG"):  # neither paid any
        np.testing.assert_allclose(steps, 1, rtol=1e-9)


def test_all_gives_the_worked_example_of_the_vendors() -> None:
    series, _ = read_sample("MSFT")
    adjusted = adjust(series, SPLITS["MSFT"], "all", dividends=MSFT_DIVIDENDS[:1])
    week = slice_days(adjusted, date(2003, 2, 13), date(2003, 2, 19))
    # 0.5 × 0.9968 × 46.99, 0.5 × 0.9968 × 48.30, 0.9968 × 24.96, 24.53
    assert week.close.round(2).tolist() == [23.42, 24.07, 24.88, 24.53]
    assert adjusted.adjustment == "all"


def test_all_follows_the_published_closes_of_three_years_of_dividends() -> None:
    """The source reckons with close / (close + dividend) of the ex-date, which differs from
    1 - dividend / close before by the dividend's yield times that day's return."""
    series, published = read_sample("MSFT")
    adjusted = adjust(series, SPLITS["MSFT"], "all", dividends=MSFT_DIVIDENDS)
    part = series.days <= np.datetime64("2006-02-14")
    ratio = published[part] / adjusted.close[part]
    ratio /= ratio[-1]
    assert np.abs(ratio - 1).max() < 0.012
    without = published[part] / adjust(series, SPLITS["MSFT"], "split").close[part]
    assert np.abs(without / without[-1] - 1).max() > 0.12


def test_dividends_leave_volumes_alone() -> None:
    series, _ = read_sample("MSFT")
    split = adjust(series, SPLITS["MSFT"], "split")
    both = adjust(series, SPLITS["MSFT"], "all", dividends=MSFT_DIVIDENDS)
    assert both.volume.tolist() == split.volume.tolist() != series.volume.tolist()


@given(all_series(least=2), actions, st.dates(date(1999, 1, 1), date(2002, 1, 1)))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_both_stored_bases_give_the_same_prices_as_of_any_day(
    raw: Series, splits: list[tuple[date, float]], day: date
) -> None:
    stored = adjust(raw, splits, "split")
    for adjustment in ("raw", "split"):
        one, other = (
            adjust(each, splits, adjustment, adjusted_as_of=day) for each in (raw, stored)
        )
        assert one.adjustment == other.adjustment == adjustment
        for name in PRICES:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), 1e-12, 1e-300)
    known = [split for split in splits if split[0] <= day]
    as_of = adjust(raw, splits, "split", adjusted_as_of=day)
    assert list_bars(as_of) == list_bars(adjust(raw, known, "split"))


def test_dividends_after_the_day_do_not_count() -> None:
    series = make_series(["2020-01-01", "2020-01-02", "2020-01-03"], [10, 10, 10])
    paid = [(date(2020, 1, 2), 1.0), (date(2020, 1, 3), 5.0)]
    day = date(2020, 1, 2)
    known = adjust(series, [], "all", dividends=paid, adjusted_as_of=day)
    assert known.close.tolist() == [9, 10, 10]
    assert adjust(series, [], "all", dividends=paid).close.tolist() == [4.5, 5, 10]
    assert adjust(series, [], "split", dividends=paid).close.tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("dividend", "closes"),
    [
        ((date(2020, 1, 1), 1.0), [10, 20]),  # no bar before
        ((date(2019, 1, 1), 1.0), [10, 20]),
        ((date(2021, 1, 1), 5.0), [7.5, 15]),  # after the last bar
        ((date(2020, 1, 2), 10.0), [10, 20]),  # as much as the close: there is no such factor
        ((date(2020, 1, 2), 11.0), [10, 20]),
        ((date(2020, 1, 2), 2.5), [7.5, 20]),
    ],
)
def test_a_dividend_at_the_edges(dividend: tuple[date, float], closes: list[float]) -> None:
    series = make_series(["2020-01-01", "2020-01-02"], [10, 20])
    assert adjust(series, [], "all", dividends=[dividend]).close.tolist() == closes


@pytest.mark.parametrize(
    ("split_day", "factor"),
    [
        (date(2020, 1, 1), 0.9),  # the close of 10 is after the split already
        (date(2020, 1, 3), 0.8),  # between: a share then is half the one that closed at 10
        (date(2020, 1, 6), 0.9),  # on the same day: the dividend is for a share before the split
        (date(2020, 1, 7), 0.9),
    ],
)
def test_a_split_near_a_dividend_changes_what_a_share_is(split_day: date, factor: float) -> None:
    series = make_series(["2020-01-01", "2020-01-02", "2020-01-06", "2020-01-07"], [10] * 4)
    splits, dividends = [(split_day, 2.0)], [(date(2020, 1, 6), 1.0)]
    split = adjust(series, splits, "split").close
    both = adjust(series, splits, "all", dividends=dividends).close
    np.testing.assert_allclose(both / split, [factor, factor, 1, 1], rtol=1e-15)


def test_a_volume_keeps_every_digit_where_nothing_changes_it_and_is_unknown_past_64_bits() -> None:
    odd = 2**62 + 1
    series = make_series(["2020-01-01", "2020-01-02", "2020-01-03"], volume=[odd, 5, odd])
    adjusted = adjust(series, [(date(2020, 1, 3), 2.0)], "split")
    assert adjusted.volume.tolist() == [None, 10, odd]


def test_what_cannot_be_adjusted_is_refused() -> None:
    series = make_series(["2020-01-01"])
    with pytest.raises(ValueError, match=r"adjustment=none: possible are raw, split, all"):
        adjust(series, [], "none")
    with pytest.raises(ValueError, match="dividends put in cannot be adjusted again"):
        adjust(adjust(series, [], "all"), [], "raw")


# Fields, ranges and pages.


def test_fields_are_selected_by_name_in_the_order_given() -> None:
    assert select_fields(None) == FIELDS
    assert select_fields(None, "1wk") == (*FIELDS, "complete")
    assert select_fields("volume, close") == ("volume", "close")
    assert select_fields("close,timestamp") == ("close",)
    assert select_fields("timestamp") == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("close,clsoe", "'clsoe' is none; possible are open, high, low, close, volume"),
        ("", "'' is none"),
        ("complete", "'complete' is none"),
        ("close,close", "close is given 2 times: give it once"),
    ],
)
def test_fields_that_are_none_are_refused(fields: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_fields(fields)


@given(all_series(), st.integers(1, 20), st.sampled_from(["asc", "desc"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pages_one_after_the_other_are_the_whole(series: Series, limit: int, order: str) -> None:
    page, following = cut_page(series, limit, order)
    bars = list_bars(page)
    while following:
        assert len(page) == limit
        start, end = (following, None) if order == "asc" else (None, following)
        page, following = cut_page(slice_days(series, start, end), limit, order)
        bars += list_bars(page)
        assert len(bars) <= len(series)
    whole = list_bars(series)
    assert bars == (whole if order == "asc" else whole[::-1])


@given(all_series(), st.integers(1, 20), st.sampled_from(["asc", "desc"]), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_page_by_index_is_the_page_by_slicing(
    series: Series, limit: int, order: str, data: st.DataObject
) -> None:
    start, end = data.draw(
        st.tuples(*[st.none() | st.dates(date(1999, 5, 1), date(2001, 7, 1))] * 2)
    )
    first, last, following = cut_range(*find_range(series, start, end), limit, order)
    page, day = cut_page(slice_days(series, start, end), limit, order)
    bars = list_bars(series)
    by_index = bars[first:last] if order == "asc" else bars[first:last][::-1]
    assert by_index == list_bars(page)
    assert (None if following is None else bars[following][0]) == day


@given(all_series(), st.sampled_from(INTERVALS))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_days_stay_sorted_and_none_comes_twice(series: Series, interval: str) -> None:
    days = resample(series, interval).days.tolist()
    assert all(one < other for one, other in pairwise(days))


# Timestamps that are instants, as of bars shorter than a day.

TOKYO = Axis("instant", "Asia/Tokyo")
NEW_YORK = Axis("instant", "America/New_York")


def make_minutes(axis: Axis, *times: str) -> Series:
    return replace(make_series(list(times)), timestamps=np.array(times, "datetime64[s]"), axis=axis)


@pytest.mark.parametrize(
    ("axis", "time", "day"),
    [
        (TOKYO, "2024-01-08T15:00", "2024-01-09"),
        (TOKYO, "2024-01-08T14:59:59", "2024-01-08"),
        (NEW_YORK, "2024-01-09T04:59", "2024-01-08"),
        (NEW_YORK, "2024-07-09T04:00", "2024-07-09"),  # summer: midnight is an hour earlier
        (Axis("instant"), "2024-01-08T23:59", "2024-01-08"),
        (Axis("session", "Asia/Tokyo"), "2024-01-08", "2024-01-08"),
    ],
)
def test_an_instant_has_its_day_on_the_clock_of_its_exchange(
    axis: Axis, time: str, day: str
) -> None:
    series = make_minutes(axis, "2023-12-29T12:00", time, "2024-11-29T12:00")
    assert str(series.days[1]) == day == show_day(series, 1)
    assert str(reverse_bars(series).days[1]) == day
    wanted = date.fromisoformat(day)
    assert slice_days(series, wanted, wanted).timestamps.tolist() == series.timestamps.tolist()[1:2]


def test_a_range_of_instants_ends_with_the_last_one_of_its_day() -> None:
    times = ("2024-01-08T14:30", "2024-01-08T20:59", "2024-01-09T14:30")
    series = make_minutes(NEW_YORK, *times)
    assert len(slice_days(series, None, date(2024, 1, 8))) == 2
    assert len(slice_days(series, date(2024, 1, 9), date.max)) == 1
    assert len(slice_days(series, date(2024, 1, 9), date(2024, 1, 8))) == 0


def test_timestamps_weigh_as_much_as_days_did() -> None:
    series = make_series(["2024-01-08", "2024-01-09"])
    assert series.timestamps.dtype == np.dtype("datetime64[s]")
    assert series.timestamps.nbytes == series.days.nbytes == 16
