"""SOURCE=a,b: the first vendor goes before, the next fill what it lacks, and both are compared."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.base.clock import Clock
from etl.base.errors import EtlError
from etl.extract import main as extract_main
from etl.settings import PROJECT_ROOT, Settings, SettingsError, read_settings
from etl.verify import main as verify_main
from tests.conftest import call_stage, clean_environ, query_store, read_record
from tests.extraction import finish_load, run_extract
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET, Bar, RestVendors, Script, open_vendors
from tests.stores import make_older
from tests.vendor import FakeClock, Vendor, friday_evening, open_vendor

AV_KEY = "QX7SECRETKEY42"
FRIDAY = date(2026, 11, 20)
WEEK = [FRIDAY - timedelta(days=n) for n in (4, 3, 2, 1, 0)]  # Monday to Friday


class TickingClock(FakeClock):
    """No two instants are the same, as with a real one."""

    def now(self) -> datetime:
        self.sleep(0.001)
        return self.at


def bar_of(day: date, close: float | None = None, volume: int | None = None) -> Bar:
    """The bar that the Alpha Vantage of the tests has of a day, but for close and volume."""
    plain = (day.day + 100.1, day.day + 102.0, day.day + 99.0)
    return (day, *plain, close or day.day + 101.5, volume or 1000 + day.day)


@pytest.fixture
def first() -> Iterator[Vendor]:
    with open_vendor(clock=TickingClock(friday_evening()), bars=3, per_second=0) as vendor:
        yield vendor


@pytest.fixture
def second() -> Iterator[RestVendors]:
    with open_vendors(bars={"IBM": [bar_of(day) for day in WEEK]}) as vendors:
        yield vendors


def settings_for(
    folder: Path,
    first: Vendor,
    second: RestVendors,
    source: str = "alpha_vantage,alpaca",
    **given: Any,
) -> Settings:
    options = {
        "DATA_DIR": str(folder),
        "SOURCE": source,
        "SYMBOLS": "IBM",
        "AV_API_KEY": AV_KEY,
        "AV_BASE_URL": first.url,
        "ALPACA_KEY_ID": KEY_ID,
        "ALPACA_SECRET_KEY": SECRET,
        "ALPACA_BASE_URL": second.url,
        "MASSIVE_API_KEY": MASSIVE_KEY,
        "MASSIVE_BASE_URL": second.url,
        "CORPORATE_ACTIONS_DAYS": "0",
        "HTTP_TIMEOUT": "5",
        **{key: str(value) for key, value in given.items()},
    }
    return read_settings(Settings, options, {}, folder / "no.env")


def run(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Extract, transform and load; the record of extract."""
    error = run_extract(settings, clock)
    assert error is None, error
    record: dict[str, Any] = read_record(settings.data_dir)["stages"]["extract"]
    finish_load(settings)
    return record


def read_sources(settings: Settings) -> list[tuple[Any, ...]]:
    """(symbol, day, close, source) of each bar."""
    return query_store(
        settings.database_path,
        """SELECT symbol, timestamp::DATE, close, source FROM ohlcv_data
        JOIN ohlcv_known USING (symbol, timestamp) ORDER BY ALL""",
    )


def read_notes(settings: Settings) -> list[tuple[Any, ...]]:
    query = """SELECT timestamp::DATE, detail FROM bar_notes WHERE reason = 'vendors disagree'
        ORDER BY ALL"""
    return query_store(settings.database_path, query)


def test_days_and_symbols_that_the_first_lacks_are_the_next_ones(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.unknown = ("ONLYNEXT",)
    second.bars["ONLYNEXT"] = [(FRIDAY, 1.0, 2.0, 0.5, 1.5, 7)]
    settings = settings_for(tmp_path, first, second, SYMBOLS="IBM,ONLYNEXT")
    record = run(settings, TickingClock(friday_evening()))
    # of five days the first gives three
    assert read_sources(settings) == [
        *(("IBM", day, day.day + 101.5, "alpaca") for day in WEEK[:2]),
        *(("IBM", day, day.day + 101.5, "alpha_vantage") for day in WEEK[2:]),
        ("ONLYNEXT", FRIDAY, 1.5, "alpaca"),
    ]
    assert record["failures"] == {}
    assert record["filled"] == {"alpha_vantage did not give, alpaca": ["ONLYNEXT"]}
    query = "SELECT symbol, source FROM instruments ORDER BY symbol"
    assert query_store(settings.database_path, query) == [
        ("IBM", "alpha_vantage"),
        ("ONLYNEXT", "alpaca"),
    ]
    assert read_notes(settings) == []


def test_what_two_vendors_disagree_about_is_noted_with_both_values_and_the_first_is_kept(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    second.bars["IBM"][-2] = bar_of(WEEK[-2], volume=5_000)
    settings = settings_for(tmp_path, first, second)
    clock = TickingClock(friday_evening())
    run(settings, clock)
    wanted = [
        (WEEK[-2], "volume 1019 of alpha_vantage (kept), 5000 of alpaca"),
        (FRIDAY, "close 121.5 of alpha_vantage (kept), 118.25 of alpaca"),
    ]
    assert read_notes(settings) == wanted
    assert read_sources(settings)[-1] == ("IBM", FRIDAY, 121.5, "alpha_vantage")
    assert query_store(settings.database_path, "FROM ohlcv_revisions") == []
    # a later answer that agrees makes the note one that was known once
    second.bars["IBM"][-1] = bar_of(FRIDAY)
    second.bars["IBM"].append(bar_of(date(2026, 11, 23)))
    first.last_bar = FRIDAY
    clock.sleep(3 * 86_400)
    run(settings, clock)
    assert read_notes(settings) == wanted[:1]
    query = "SELECT detail FROM bar_note_revisions WHERE reason = 'vendors disagree'"
    assert query_store(settings.database_path, query) == [(wanted[1][1],)]
    assert read_sources(settings)[-1] == ("IBM", date(2026, 11, 23), 124.5, "alpaca")


@pytest.mark.parametrize(
    ("share", "volume", "is_noted"),
    [
        *((0.0009, 1.04, False), (-0.0011, 1, True)),
        pytest.param(0, 1.07, True, marks=pytest.mark.long),
        pytest.param(0.0011, 1, True, marks=pytest.mark.long),
        pytest.param(0, 1, False, marks=pytest.mark.long),
    ],
)
def test_differences_within_a_tenth_of_a_percent_and_a_twentieth_of_a_volume_are_usual(
    tmp_path: Path,
    first: Vendor,
    second: RestVendors,
    share: float,
    volume: float,
    is_noted: bool,
) -> None:
    second.bars["IBM"][-1] = bar_of(FRIDAY, 121.5 * (1 + share), round(1020 * volume))
    settings = settings_for(tmp_path, first, second)
    run(settings, TickingClock(friday_evening()))
    assert bool(read_notes(settings)) == is_noted


def test_a_first_vendor_that_comes_later_takes_its_days_and_the_old_values_stay_known(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.scripts["IBM"] = b""
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    settings = settings_for(tmp_path, first, second)
    clock = TickingClock(friday_evening())
    record = run(settings, clock)
    assert {row[3] for row in read_sources(settings)} == {"alpaca"}
    assert record["filled"]
    first.scripts.clear()
    clock.sleep(86_400)
    run(settings, clock)
    assert read_sources(settings)[-1] == ("IBM", FRIDAY, 121.5, "alpha_vantage")
    assert read_notes(settings) == [
        (FRIDAY, "close 121.5 of alpha_vantage (kept), 118.25 of alpaca")
    ]
    assert query_store(settings.database_path, "SELECT close FROM ohlcv_revisions") == [(118.25,)]


@pytest.mark.long
@pytest.mark.parametrize("later", ["alpaca,alpha_vantage", "alpaca"])
def test_another_order_of_source_rewrites_nothing_without_a_word(
    tmp_path: Path,
    first: Vendor,
    second: RestVendors,
    later: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    clock = TickingClock(friday_evening())
    run(settings_for(tmp_path, first, second), clock)
    before = read_sources(settings_for(tmp_path, first, second))
    settings = settings_for(tmp_path, first, second, later)
    caplog.clear()
    # nothing is new: nothing is asked, and nothing changes
    assert run_extract(settings, clock) is None
    assert read_sources(settings) == before
    # with the next session the new first one's answers have these days again
    second.bars["IBM"].append(bar_of(date(2026, 11, 23)))
    clock.sleep(3 * 86_400)
    run(settings, clock)
    assert read_sources(settings)[-2:] == [
        ("IBM", FRIDAY, 118.25, "alpaca"),
        ("IBM", date(2026, 11, 23), 124.5, "alpaca"),
    ]
    assert "1 bar of alpha_vantage became that of alpaca with other values" in caplog.text
    assert query_store(settings.database_path, "SELECT close FROM ohlcv_revisions") == [(121.5,)]
    assert read_notes(settings) == [
        (FRIDAY, "close 118.25 of alpaca (kept), 121.5 of alpha_vantage")
    ]


@pytest.mark.long
def test_a_vendor_taken_out_of_source_leaves_its_bars(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    clock = TickingClock(friday_evening())
    run(settings_for(tmp_path, first, second), clock)
    settings = settings_for(tmp_path, first, second, "alpha_vantage")
    clock.sleep(3 * 86_400)
    run(settings, clock)
    sources = [row[3] for row in read_sources(settings)]
    assert sources[:2] == ["alpaca", "alpaca"]
    assert set(sources[2:]) == {"alpha_vantage"}


@pytest.mark.long
def test_bars_of_a_store_of_before_are_those_of_its_instruments_vendor(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    clock = TickingClock(friday_evening())
    settings = settings_for(tmp_path, first, second, "alpha_vantage")
    run(settings, clock)
    make_older(settings.database_path, 3)
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    run(settings_for(tmp_path, first, second), clock)
    assert [row[3] for row in read_sources(settings)] == ["alpaca"] * 2 + ["alpha_vantage"] * 3
    assert read_sources(settings)[-1][2] == 121.5


@pytest.mark.long
def test_a_store_rebuilt_from_the_archives_of_both_is_the_same(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    settings = settings_for(tmp_path, first, second)
    clock = TickingClock(friday_evening())
    run(settings, clock)
    second.bars["IBM"].append(bar_of(date(2026, 11, 23), 130.0))
    clock.sleep(3 * 86_400)
    run(settings, clock)
    grown = read_sources(settings), read_notes(settings)
    asked = len(first.requests), len(second.requests)
    settings.database_path.unlink()
    assert run_extract(settings, clock, replay=True) is None
    finish_load(settings)
    assert (read_sources(settings), read_notes(settings)) == grown
    assert (len(first.requests), len(second.requests)) == asked
    query = """SELECT received = inserted + revised + unchanged + stale + superseded + rejected
        + out_of_range FROM etl_run_symbols"""
    assert {row[0] for row in query_store(settings.database_path, query)} == {True}


@pytest.mark.long
def test_three_vendors_make_one_note_a_bar_which_a_replay_leaves_as_it_is(
    tmp_path: Path, first: Vendor, second: RestVendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    settings = settings_for(tmp_path, first, second, "alpha_vantage,alpaca,massive")
    clock = TickingClock(friday_evening())
    run(settings, clock)
    kept = "close 121.5 of alpha_vantage (kept), 118.25 of"
    wanted = [(FRIDAY, f"{kept} alpaca | {kept} massive")]
    assert read_notes(settings) == wanted
    grown = query_store(settings.database_path, "FROM bar_notes ORDER BY ALL")
    assert run_extract(settings, clock, replay=True) is None
    finish_load(settings)
    assert query_store(settings.database_path, "FROM bar_notes ORDER BY ALL") == grown
    for name, value in clean_environ(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert call_stage(verify_main) == 0


def test_each_vendor_has_its_own_budget_archive_and_plan(
    tmp_path: Path,
    first: Vendor,
    second: RestVendors,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"AV_CALLS_PER_DAY": 1, "SYMBOLS": "AAPL,IBM"}
    second.bars["AAPL"] = [bar_of(day) for day in WEEK]
    settings = settings_for(tmp_path, first, second, "alpha_vantage,massive", **given)
    record = run(settings, TickingClock(friday_evening()))
    assert record["calls"] == 3
    assert {name: notes["calls"] for name, notes in record["vendors"].items()} == {
        "alpha_vantage": 1,
        "massive": 2,
    }
    assert record["not_asked"] == [], "the next one has what was not asked"
    assert sorted(path.name for path in settings.archive_dir.iterdir()) == [
        "alpha_vantage",
        "massive",
    ]
    keys = {"AV_API_KEY": AV_KEY, "MASSIVE_API_KEY": MASSIVE_KEY}
    more = {"SOURCE": settings.source, "SYMBOLS": "AAPL,IBM", "CORPORATE_ACTIONS_DAYS": "0"}
    for name, value in clean_environ(tmp_path, **keys, **more).items():
        monkeypatch.setenv(name, value)
    assert call_stage(extract_main, "--plan") == 0
    told = capsys.readouterr().out
    assert told.index("alpha_vantage:\n") < told.index("massive:\n")
    assert told.count("the next run asks") == 2


def test_a_plan_counts_splits_and_dividends_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"AV_API_KEY": AV_KEY, "MASSIVE_API_KEY": MASSIVE_KEY}
    more = {"SOURCE": "alpha_vantage,massive", "SYMBOLS": "AAPL,IBM"}
    for name, value in clean_environ(tmp_path, **keys, **more).items():
        monkeypatch.setenv(name, value)
    assert call_stage(extract_main, "--plan") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "next run asks" in line]
    assert told == ["the next run asks 6: 2 bars, 4 actions", "the next run asks 2: 2 bars"]


def test_splits_and_dividends_come_from_the_first_that_gives_them(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.actions[("SPLITS", "IBM")] = [{"effective_date": str(FRIDAY), "split_factor": "2.0"}]
    first.premium = ("full", "DIVIDENDS")
    second.splits["IBM"] = [(FRIDAY, 3, 1)]
    second.dividends["IBM"] = [(FRIDAY, 0.25)]
    settings = settings_for(tmp_path, first, second, CORPORATE_ACTIONS_DAYS=30)
    run(settings, TickingClock(friday_evening()))
    query = "SELECT kind, coalesce(ratio, amount), source FROM corporate_actions ORDER BY kind"
    assert query_store(settings.database_path, query) == [
        ("dividend", 0.25, "alpaca"),
        ("split", 2.0, "alpha_vantage"),
    ]


def test_what_no_vendor_has_is_told_of_each(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.unknown = ("NONE",)
    settings = settings_for(tmp_path, first, second, SYMBOLS="IBM,NONE")
    record = run(settings, TickingClock(friday_evening()))
    assert sorted(record["failures"]) == ["NONE", "NONE (alpaca)"]


def test_a_first_vendor_that_is_down_stops_no_other(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.scripts["*"] = b""
    names = ["A", "B", "C", "D", "E"]
    second.bars |= {name: [bar_of(day) for day in WEEK] for name in names}
    settings = settings_for(tmp_path, first, second, SYMBOLS=",".join(names))
    record = run(settings, TickingClock(friday_evening()))
    assert {row[0] for row in read_sources(settings)} == set(names)
    assert record["failures"] == {}
    assert record["not_asked"] == []


def test_all_vendors_down_is_an_error_that_names_both(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.scripts["*"] = b""
    second.scripts["IBM"] = [Script(b"<html>", 502)]
    error = run_extract(settings_for(tmp_path, first, second), TickingClock(friday_evening()))
    assert isinstance(error, EtlError)
    assert "an empty answer" in str(error)
    assert "HTTP status 502" in str(error)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("alpha_vantage,files", "files stands alone"),
        ("sample,alpaca", "sample stands alone"),
        ("alpaca,yahoo", "one of sample"),
    ],
)
def test_only_vendors_stand_beside_each_other(
    tmp_path: Path, first: Vendor, second: RestVendors, source: str, wanted: str
) -> None:
    with pytest.raises(SettingsError, match=f"SOURCE.*{wanted}"):
        settings_for(tmp_path, first, second, source)


@pytest.mark.parametrize("missing", ["AV_API_KEY", "ALPACA_SECRET_KEY"])
def test_a_key_that_any_named_vendor_lacks_is_told_before_a_call(
    tmp_path: Path, first: Vendor, second: RestVendors, missing: str
) -> None:
    settings = settings_for(tmp_path, first, second, **{missing: ""})
    with pytest.raises(SettingsError, match=missing):
        run_extract(settings, TickingClock(friday_evening()))
    assert (first.requests, second.requests) == ([], [])


def test_a_bar_of_an_open_session_is_no_disagreement(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    noon = datetime.fromisoformat("2026-11-20T17:00:00+00:00")
    first.clock, first.last_bar = TickingClock(noon), FRIDAY
    second.bars["IBM"][-1] = bar_of(FRIDAY, 118.25)
    settings = settings_for(tmp_path, first, second)
    clock = TickingClock(noon)
    run(settings, clock)
    assert read_notes(settings) == []
    clock.sleep(6 * 3600)
    run(settings, clock)
    assert read_notes(settings) == [
        (FRIDAY, "close 121.5 of alpha_vantage (kept), 118.25 of alpaca")
    ]


@pytest.mark.long
def test_a_run_killed_at_the_second_vendor_loses_no_answer_of_the_first(
    tmp_path: Path, first: Vendor, second: RestVendors
) -> None:
    first.clock = Clock()
    second.held = threading.Event()
    settings = settings_for(tmp_path, first, second)
    keys = {"AV_API_KEY": AV_KEY, "ALPACA_KEY_ID": KEY_ID, "ALPACA_SECRET_KEY": SECRET}
    urls = {"AV_BASE_URL": first.url, "ALPACA_BASE_URL": second.url}
    more = {"SOURCE": settings.source, "SYMBOLS": "IBM", "CORPORATE_ACTIONS_DAYS": "0"}
    killed = subprocess.Popen(
        [sys.executable, "-m", "etl.extract"],
        cwd=PROJECT_ROOT,
        env=clean_environ(tmp_path, **keys, **urls, **more),
        stderr=subprocess.DEVNULL,
    )
    try:
        assert second.asked.wait(120)
    finally:
        killed.kill()
        killed.wait()
        second.held.set()
    assert (len(first.requests), len(second.requests)) == (1, 1)
    run(settings, Clock())
    assert (len(first.requests), len(second.requests)) == (1, 2)
    sources = [row[3] for row in read_sources(settings)]
    assert sources.count("alpha_vantage") == 3
    assert "alpaca" in sources
