"""Ranges of bars shorter than a day, bars that no session owns, and whether a last bar is over."""

from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from api.bars.intraday import FIRST, find_places, resample_minutes
from api.bars.series import Series
from api.bars.sessions import Sessions, find_span, read_sessions, resolve_instant
from etl.contracts.minutes import SESSIONS
from etl.market.session_spans import list_spanned
from etl.market.sessions import list_sessions
from tests.test_intraday import build_minutes, list_minutes, show


@cache
def read_exchange(exchange: str, first: str = "2023-01-01", count: int = 700) -> Sessions:
    table = list_sessions(exchange, date.fromisoformat(first)) if exchange else None
    return read_sessions(exchange, table.slice(0, count) if table else SESSIONS.empty_table())


def read_at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def show_span(exchange: str, start, end) -> list[str | None]:
    span = find_span(read_exchange(exchange), start, end)
    return [None if each is None else str(each)[:16] for each in span]


@pytest.mark.parametrize(
    ("exchange", "start", "end", "expected"),
    [
        ("XNYS", "2024-03-08", "2024-03-08", ["2024-03-08T05:00", "2024-03-10T05:15"]),
        ("XNYS", "2024-03-09", "2024-03-10", ["2024-03-10T05:15", "2024-03-10T05:15"]),
        ("XNYS", "2024-03-11", "2024-03-11", ["2024-03-10T05:15", "2024-03-12T04:00"]),
        ("CMES", "2024-03-11", "2024-03-11", ["2024-03-09T22:30", "2024-03-11T22:00"]),
        ("CMES", "2024-03-12", "2024-03-12", ["2024-03-11T22:00", "2024-03-12T22:00"]),
        ("XTKS", "2024-03-11", "2024-03-11", ["2024-03-09T15:00", "2024-03-11T15:00"]),
        ("24/7", "2024-03-10", "2024-03-10", ["2024-03-10T00:00", "2024-03-11T00:00"]),
        ("", "2024-03-10", "2024-03-10", ["2024-03-10T00:00", "2024-03-11T00:00"]),
        ("XNYS", "1960-03-10", None, ["1960-03-10T05:00", None]),
        ("XNYS", None, "2051-07-01", [None, "2051-07-02T04:00"]),
        ("XNYS", "0001-01-01", "9999-12-31", ["0001-01-01T00:00", None]),
    ],
)
def test_a_day_is_a_session_with_the_hours_around_it(exchange, start, end, expected):
    days = [None if each is None else date.fromisoformat(each) for each in (start, end)]
    assert show_span(exchange, *days) == expected


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "CMES", "XASX", "24/7", ""])
@pytest.mark.parametrize("count", [700, 0])
def test_days_lie_edge_to_edge(exchange, count):
    known = read_exchange(exchange, count=count)
    first = date(2022, 12, 1)
    for day in (first + timedelta(days=n) for n in range(0, 1200)):
        begin, _ = find_span(known, day, None)
        assert begin == find_span(known, None, day - timedelta(days=1))[1]


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "CMES", "24/7", ""])
def test_the_span_of_a_day_holds_the_bars_of_its_session_and_no_others(exchange):
    known = read_exchange(exchange)
    stamps = list_minutes("2024-03-06", "2024-03-14")[::7]
    days = find_places(stamps, known).days
    for day in (date(2024, 3, 6) + timedelta(days=n) for n in range(1, 7)):
        begin, before = find_span(known, day, day)
        assert ((stamps >= begin) & (stamps < before)).tolist() == (days == day).tolist()


@pytest.mark.parametrize(
    ("written", "zone", "expected"),
    [
        ("2026-11-24T14:30", "America/New_York", "2026-11-24T19:30:00"),
        ("2026-07-24T14:30", "America/New_York", "2026-07-24T18:30:00"),
        ("2026-11-24T14:30:15", "Asia/Tokyo", "2026-11-24T05:30:15"),
        ("2026-11-24T14:30", "UTC", "2026-11-24T14:30:00"),
        ("2026-11-24T14:30Z", "America/New_York", "2026-11-24T14:30:00"),
        ("2026-03-08T02:30-05:00", "America/New_York", "2026-03-08T07:30:00"),
        ("2026-03-08T01:59:59", "America/New_York", "2026-03-08T06:59:59"),
        ("2026-03-08T03:00", "America/New_York", "2026-03-08T07:00:00"),
        ("2026-10-25T02:00", "Europe/London", "2026-10-25T02:00:00"),
    ],
)
def test_an_instant_is_on_the_clock_of_the_exchange_or_of_its_offset(written, zone, expected):
    found = resolve_instant(read_at(written), zone)
    assert found == read_at(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "zone", "words"),
    [
        (
            "2026-03-08T02:00",
            "America/New_York",
            "2026-03-08T02:00:00 does not exist on the clock of America/New_York, which was put"
            " forward then: write it with its offset, as 2026-03-08T03:00:00-04:00 or"
            " 2026-03-08T01:00:00-05:00",
        ),
        (
            "2026-11-01T01:59:59",
            "America/New_York",
            "comes twice on the clock of America/New_York, which was put back then: write it with"
            " its offset, as 2026-11-01T01:59:59-04:00 or 2026-11-01T01:59:59-05:00",
        ),
        ("2026-03-29T01:30", "Europe/London", "put forward then"),
        ("2026-10-25T01:00", "Europe/London", "put back then"),
    ],
)
def test_a_time_that_a_clock_skips_or_shows_twice_is_refused_with_what_may_be_meant(
    written, zone, words
):
    with pytest.raises(ValueError, match=words):
        resolve_instant(read_at(written), zone)


def test_a_bar_that_begins_at_the_end_counts_and_one_that_began_before_the_start_does_not():
    span = find_span(
        read_exchange("XNYS"), read_at("2024-03-08T09:30:00.5"), read_at("2024-03-08T14:31Z")
    )
    assert [str(each) for each in span] == ["2024-03-08T14:30:01", "2024-03-08T14:31:01"]


def list_days(stamps, sessions: Sessions) -> list[str]:
    return [str(day) for day in find_places(np.array(stamps, "datetime64[s]"), sessions).days]


def test_without_a_calendar_days_are_those_of_utc_and_every_hour_is_regular():
    known = read_exchange("")
    stamps = ["2024-03-08T23:59", "2024-03-09T00:00", "2024-03-20T12:00"]
    assert list_days(stamps, known) == ["2024-03-08", "2024-03-09", "2024-03-20"]
    series = build_minutes(list_minutes("2024-03-09T22:10", "2024-03-10T01:00"))
    bars = resample_minutes(series, known, "1h")
    assert show(bars) == ["03-09T22:00", "03-09T23:00", "03-10T00:00"]


def test_days_beyond_all_sessions_are_local_days_of_their_own():
    known = read_exchange("XSHG", "2024-11-01", 20)  # to 2024-11-28, a Thursday
    stamps = ["2024-11-29T02:00", "2024-12-01T02:00", "2024-12-01T16:30", "2024-12-03T02:00"]
    assert list_days(stamps, known) == ["2024-11-28", "2024-11-28", "2024-12-02", "2024-12-03"]
    places = find_places(np.array(stamps, "datetime64[s]"), known)
    assert np.repeat(places.parts, places.counts).tolist()[2:] == [FIRST, FIRST]
    assert list_days(["2024-10-20T02:00", "2024-10-31T02:00"], known) == [
        "2024-10-20",
        "2024-11-01",
    ]


def test_days_inside_a_long_hole_of_the_table_are_days_of_their_own():
    table = list_sessions("XNYS", date(2024, 3, 1))
    rows = [*range(5), *range(40, 50)]  # to 2024-03-07, then from 2024-04-29
    known = read_sessions("XNYS", table.take(rows))
    stamps = ["2024-03-09T15:00", "2024-04-01T15:00", "2024-04-02T01:00", "2024-04-27T15:00"]
    found = list_days(stamps, known)
    assert found == ["2024-03-07", "2024-04-01", "2024-04-01", "2024-04-29"]


@pytest.mark.parametrize(
    "exchange", ["XNYS", "XLON", "XTKS", "XSHG", "CMES", "XSAU", "24/5", "24/7"]
)
def test_etl_and_api_give_each_session_the_same_reach(exchange):
    table = list_spanned(exchange, date(1999, 1, 1), date(2003, 1, 1))
    known = read_sessions(exchange, table)
    for name, there in (("begins", "begins"), ("stops", "ends")):
        seconds = table[there].to_numpy().astype("datetime64[s]").astype(int)
        assert getattr(known, name)[:-1].tolist() == seconds[:-1].tolist()
    assert (np.diff(known.edges.ravel()) >= 0).all()


def test_the_order_of_the_table_does_not_matter():
    table = list_sessions("XTKS", date(2024, 3, 1)).slice(0, 30)
    straight, mixed = (
        read_sessions("XTKS", table),
        read_sessions("XTKS", table.take([*range(29, -1, -1)])),
    )
    assert straight.edges.tolist() == mixed.edges.tolist()


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "24/7", ""])
@pytest.mark.parametrize("hours", ["regular", "extended"])
@pytest.mark.parametrize("interval", ["1m", "1h"])
def test_of_no_bars_none_are_made(exchange, hours, interval):
    for known in (read_exchange(exchange), read_exchange(exchange, count=0)):
        bars = resample_minutes(build_minutes([]), known, interval, hours)
        assert len(bars) == len(bars.complete) == len(bars.days) == 0
        assert bars.timestamps.dtype == "datetime64[s]"


def make_hour(first: str, last: str, hours="regular", until=None, interval="1h") -> Series:
    series = build_minutes(list_minutes(first, last))
    return resample_minutes(series, read_exchange("XNYS"), interval, hours, 60, until)


def test_a_last_bar_is_complete_once_its_bucket_is_over_as_far_as_bars_tell():
    assert make_hour("2024-03-08T14:30", "2024-03-08T16:29").complete.tolist() == [True, False]
    assert make_hour("2024-03-08T14:30", "2024-03-08T16:30").complete.tolist() == [True, True]
    until = np.datetime64("2024-03-08T16:31", "s")  # a bar that is not of this range
    assert make_hour("2024-03-08T14:30", "2024-03-08T16:20", until=until).complete.all()


def test_a_last_bar_ends_with_its_part_of_the_session():
    assert make_hour("2024-03-08T20:30", "2024-03-08T21:00").complete.all()  # the close is at 21:00
    assert not make_hour("2024-03-08T20:30", "2024-03-08T20:59").complete.any()
    early = make_hour("2024-11-29T17:30", "2024-11-29T18:00")  # an early close, at 13:00 there
    assert early.complete.tolist() == [True]


def test_what_is_traded_after_the_close_tells_that_the_last_regular_bar_is_over():
    series = build_minutes(
        [*list_minutes("2024-03-08T20:30", "2024-03-08T20:50"), np.datetime64("2024-03-08T21:04")]
    )
    bars = resample_minutes(series, read_exchange("XNYS"), "1h")
    assert show(bars) == ["03-08T20:30"]
    assert bars.complete.all()


def test_a_bucket_before_the_open_counts_back_from_it_and_begins_no_earlier_than_its_day():
    bars = make_hour("2024-03-08T05:00", "2024-03-08T14:30", "extended")
    assert show(bars)[:2] == ["03-08T05:00", "03-08T05:30"]  # midnight in New York, then half hours
    assert show(bars)[-1] == "03-08T13:30"
    assert not len(make_hour("2024-03-08T05:00", "2024-03-08T14:30"))


def test_bars_of_a_second_are_summed_up_by_the_same_rule():
    stamps = np.arange(
        np.datetime64("2024-03-08T14:29:30", "s"), np.datetime64("2024-03-08T14:31:10")
    )
    series = build_minutes(stamps)
    bars = resample_minutes(series, read_exchange("XNYS"), "1m", "regular", 1)
    assert show(bars) == ["03-08T14:30", "03-08T14:31"]
    assert bars.open.tolist() == [31.0, 91.0]
    assert bars.complete.tolist() == [True, False]
    assert len(resample_minutes(series, read_exchange("XNYS"), "1s", "extended", 1)) == 100


def test_what_stored_bars_cannot_make_is_refused_with_what_they_can():
    with pytest.raises(ValueError, match="possible are 1m, 5m, 15m, 30m, 1h"):
        resample_minutes(build_minutes([]), read_exchange(""), "1s")
    with pytest.raises(ValueError, match="hours=all"):
        resample_minutes(build_minutes([]), read_exchange(""), "1m", "all")


def test_unknown_volumes_count_for_nothing_and_none_of_them_is_unknown():
    series = build_minutes(list_minutes("2024-03-08T14:30", "2024-03-08T14:40"))
    series.volume[:6] = np.ma.masked
    bars = resample_minutes(series, read_exchange("XNYS"), "5m")
    assert bars.volume.tolist() == [None, 6 + 7 + 8 + 9]
