"""Which months of minutes are asked for, when, and within which calls."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.extraction import run_extract, set_day, settings_for
from tests.minute_runs import Got, months_asked, naive, open_case
from tests.rest_vendors import Script, as_json, open_vendors
from tests.vendor import FakeClock, Vendor, friday_evening, open_vendor


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with open_vendor(clock=FakeClock(friday_evening())) as found:
        yield found


def test_months_are_asked_newest_first_once_over_and_the_running_one_after_each_session(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM,MSFT", MINUTES_SINCE="2026-09-17")
    clock = vendor.clock
    Got(settings, clock)
    months = ("2026-11", "2026-10", "2026-09")
    assert months_asked(vendor) == [(s, m) for m in months for s in ("IBM", "MSFT")]
    again = Got(settings, clock)
    assert again.notes["calls"] == 0
    assert len(again.spans) == 6, "the store has taken none of them"
    set_day(clock, friday_evening() + timedelta(days=2))  # Sunday
    assert Got(settings, clock).notes["calls"] == 0
    set_day(clock, friday_evening() + timedelta(days=3))
    Got(settings, clock)
    assert months_asked(vendor)[6:] == [("IBM", "2026-11"), ("MSFT", "2026-11")]


def test_a_month_is_asked_for_once_more_after_its_end(tmp_path: Path, vendor: Vendor) -> None:
    """The last session's evening was not over when it was asked for."""
    settings, clock = settings_for(tmp_path, vendor, SYMBOLS="IBM"), vendor.clock
    set_day(clock, datetime(2026, 11, 30, 21, 30, tzinfo=UTC))  # 16:30 in New York
    Got(settings, clock)
    assert Got(settings, clock).notes["calls"] == 0
    set_day(clock, datetime(2026, 12, 1, 6, tzinfo=UTC))
    got = Got(settings, clock)
    assert months_asked(vendor)[2:] == [("IBM", "2026-11")], "no session of December is over"
    newest = max(got.spans, key=lambda span: span["fetched_at"])
    assert (newest["start"], newest["end"]) == (naive(2026, 11, 1, 4), naive(2026, 12, 1, 5))
    set_day(clock, datetime(2027, 1, 20, 6, tzinfo=UTC))
    Got(settings, clock)
    assert ("IBM", "2026-11") not in months_asked(vendor)[3:]


def test_a_vendor_that_lags_behind_gets_its_time_and_the_span_ends_where_its_bars_do(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings, clock = settings_for(tmp_path, vendor, SYMBOLS="IBM"), vendor.clock
    vendor.lag = timedelta(days=2)
    got = Got(settings, clock)
    newest = max(got.spans, key=lambda span: span["start"])
    assert newest["end"] == naive(2026, 11, 18, 21), "the last bar before: 15:59 in New York"
    assert Got(settings, clock).notes["waiting"] == 1
    vendor.lag = timedelta()
    clock.sleep(6 * 3600)
    assert Got(settings, clock).notes["calls"] == 1
    (tmp_path / "late").mkdir()
    settings = settings_for(tmp_path / "late", vendor, SYMBOLS="IBM")
    set_day(clock, datetime(2026, 12, 1, 6, tzinfo=UTC))
    vendor.lag = timedelta(days=4)
    Got(settings, clock)
    vendor.lag = timedelta()
    clock.sleep(2 * 86_400)
    Got(settings, clock)
    assert months_asked(vendor)[-1] == ("IBM", "2026-11"), "it lacked its last session"


def test_months_before_the_first_that_is_given_are_not_asked_for(
    tmp_path: Path, vendor: Vendor
) -> None:
    vendor.listed = date(2026, 9, 8)
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM", MINUTES_SINCE="2020-01-01")
    got = Got(settings, vendor.clock)
    assert [month for _, month in months_asked(vendor)] == [
        "2026-11",
        "2026-10",
        "2026-09",
        "2026-08",
    ]
    assert got.errors == {}
    assert got.notes["months_left_out"] == 80
    asked = len(vendor.requests)
    again = Got(settings, vendor.clock)
    assert (again.errors, again.notes["up_to_date"]) == ({}, 1)
    assert len(vendor.requests) == asked


def test_a_symbol_whose_answers_fail_costs_one_call_a_day_whatever_months_it_lacks(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="GE,IBM", MINUTES_SINCE="2026-06-01")
    vendor.scripts["IBM"] = b"{}"
    for _ in range(2):
        got = Got(settings, vendor.clock)
        assert list(got.errors) == ["IBM minutes of 2026-11"]
    assert vendor.symbols.count("IBM") == 1
    assert vendor.symbols.count("GE") == 6
    vendor.clock.sleep(86_400)
    Got(settings, vendor.clock)
    assert vendor.symbols.count("IBM") == 2


def test_a_key_that_does_not_reach_so_far_back_is_asked_for_no_older_month_of_any_symbol(
    tmp_path: Path,
) -> None:
    clock = FakeClock(friday_evening())
    said = {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this timeframe."}
    with open_vendors(minutes=("IBM", "MSFT", "GE")) as peer:
        settings = open_case(
            "massive", tmp_path, peer.url, SYMBOLS="IBM", MINUTES_SINCE="2026-11-01"
        )
        Got(settings, clock)
        settings = open_case(
            "massive",
            tmp_path,
            peer.url,
            SYMBOLS="IBM,MSFT,GE",
            MINUTES_SINCE="2025-01-01",
            MASSIVE_CALLS_PER_SECOND=1,
        )
        peer.scripts["IBM"] = [Script(as_json(said).body, 403)]
        peer.requests.clear()
        got = Got(settings, clock)
        assert got.errors == {}
        asked = [path.split("/")[4] for path in peer.paths]
        assert asked == ["MSFT", "GE", "IBM"], "October was refused to IBM, and so to all"
        del peer.requests[:]
        assert Got(settings, clock).errors == {}
        assert peer.requests == []


def test_days_and_minutes_share_the_calls_of_a_day(tmp_path: Path, vendor: Vendor) -> None:
    """Of 25 calls minutes may take 10 and days 15, as long as the other has some left to ask."""
    symbols = ",".join(f"S{n}" for n in range(30))
    settings = settings_for(tmp_path, vendor, SYMBOLS=symbols)
    clock = vendor.clock
    got = Got(settings, clock)
    assert (got.notes["calls"], got.notes["calls_left"]) == (10, 15)
    told = {str(error) for error in got.errors.values()}
    assert told == {"15 calls of today are kept for bars of days: run again tomorrow"}
    run_extract(settings, clock)
    assert len(vendor.requests) == 25
    clock.sleep(86_400)
    run_extract(settings, clock)
    assert len(vendor.requests) == 25 + 15, "and the other way round"
    assert Got(settings, clock).notes["calls"] == 10
    clock.sleep(9 * 86_400)
    run_extract(settings, clock)
    assert len(vendor.requests) == 50 + 25, "who asks for no minutes is not kept waiting"
    assert vendor.refused == 0


def test_what_one_of_days_and_minutes_does_not_want_is_the_others(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings = settings_for(tmp_path, vendor, SYMBOLS="IBM,GE", MINUTES_SINCE="2025-03-01")
    got = Got(settings, vendor.clock)
    assert (got.notes["calls"], got.notes["calls_left"]) == (23, 2)
    run_extract(settings, vendor.clock)
    assert [r.function for r in vendor.requests][23:] == ["TIME_SERIES_DAILY"] * 2
