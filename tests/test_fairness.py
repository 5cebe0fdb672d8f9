"""One bad answer costs its own call, no other symbol waits for it; what was not asked is said."""

import json
import os
import subprocess
import sys
import termios
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.calls.forecast import describe_plan
from etl.calls.plan import Plan, find_session, make_plan
from etl.calls.vendor import DAILY
from etl.extract import main
from etl.settings import Settings
from etl.sources.alpha_vantage.source import AlphaVantage
from tests.extraction import (
    KEY,
    ROOT,
    finish_load,
    open_archive,
    raw_symbols,
    read_ledger,
    run_extract,
    set_day,
    settings_for,
)
from tests.vendor import (
    SAYS,
    FakeClock,
    Vendor,
    friday_evening,
    hang_up,
    open_vendor,
    redirect_to,
    reply,
)

DAY = timedelta(days=1)
EIGHT = "S0,S1,S2,S3,S4,S5,S6,S7"
BARS = "TIME_SERIES_DAILY"
BAD = {
    "status 500": reply(b"{}", 500),
    "status 502 with a page": reply(b"<html>", 502),
    "html": b"<html>Welcome</html>",
    "empty": b"",
    "status 429": reply(b"{}", 429),
    "status 403": reply(b"{}", 403),
    "status 401 with a page": reply(b"<html>", 401),
    "no data": b"{}",
    "torn": b'{"Time Series (Daily)": {',
    "redirect": redirect_to("http://127.0.0.1:9/"),
    "hangs up": hang_up,
}


def plan_at(settings: Settings, now: datetime) -> Plan:
    vendor = AlphaVantage(settings)
    return make_plan(settings, vendor, open_archive(settings), read_ledger(settings), now)


def show_plan(settings: Settings, now: datetime) -> str:
    plan = plan_at(settings, now)
    return "\n".join(describe_plan(settings, plan, read_ledger(settings), now))


def count_functions(vendor: Vendor, since: int = 0) -> Counter[str]:
    return Counter(request.function for request in vendor.requests[since:])


SCARCE = [
    pytest.param(script, 2, id=f"{name}, two calls a day", marks=pytest.mark.long)
    for name, script in BAD.items()
]
TELLING = ("status 500", "no data", "hangs up")  # one of each kind of failure
PLENTY = [
    pytest.param(script, 25, id=name, marks=() if name in TELLING else pytest.mark.long)
    for name, script in BAD.items()
]


@pytest.mark.parametrize(
    ("script", "per_day"),
    [*PLENTY, *SCARCE[:-1], pytest.param(hang_up, 2, id="hangs up, two calls a day")],
)
def test_a_symbol_that_always_fails_costs_one_call_a_day_and_keeps_nobody_waiting(
    tmp_path: Path, script: Any, per_day: int
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"S1": script}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=EIGHT, AV_CALLS_PER_DAY=per_day)
        for day in range(4):
            set_day(clock, friday_evening() + day * DAY)
            run_extract(settings, clock)
            run_extract(settings, clock)
        assert set(vendor.symbols) == set(EIGHT.split(","))
        by_day = Counter((request.day, request.symbol) for request in vendor.requests)
        assert max(by_day.values()) == 1
        assert len([day for day, symbol in by_day if symbol == "S1"]) == (4 if per_day > 2 else 1)


@pytest.mark.parametrize("failing", [3, 5, 7])
def test_many_symbols_that_fail_keep_nobody_waiting_for_long(tmp_path: Path, failing: int) -> None:
    clock = FakeClock(friday_evening())
    scripts = {f"S{number}": reply(b"", 503) for number in range(failing)}
    with open_vendor(clock=clock, scripts=scripts) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=EIGHT)
        for day in range(4):
            set_day(clock, friday_evening() + day * DAY)
            run_extract(settings, clock)
        assert raw_symbols(settings) == set(EIGHT.split(",")) - set(scripts)


def test_a_failure_of_today_is_asked_again_by_retry_and_after_the_vendors_midnight(
    tmp_path: Path,
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"A": b"<html>"}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B")
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B"]
        shown = show_plan(settings, clock.now())
        assert "failed: unavailable: A: failed today (the vendor answered HTML, not JSON" in shown
        assert "asked again after 2026-11-21 00:00 EST, or at once by --retry" in shown
        assert "all but A, which failed when last asked, are up to date" in shown
        run_extract(settings, clock, retry=True)
        assert vendor.symbols == ["A", "B", "A"]
        vendor.scripts.clear()
        set_day(clock, friday_evening() + DAY)
        assert "all but A, which failed when last asked, are up to date after the next run" in (
            show_plan(settings, clock.now())
        )
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B", "A", "A"]
        assert "\nall are up to date\n" in show_plan(settings, clock.now())


@pytest.mark.parametrize("script", [reply(b"", 503), hang_up], ids=["503", "hangs up"])
def test_a_vendor_that_was_down_is_asked_again_on_the_same_day(tmp_path: Path, script: Any) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"*": script}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D")
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B", "C"]
        vendor.scripts.clear()
        assert run_extract(settings, clock) is None
        assert vendor.symbols[3:] == ["D", "A", "B", "C"]


def test_a_network_that_was_away_is_no_failure_of_the_only_symbol(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        nobody = settings_for(tmp_path, vendor, SYMBOLS="A", AV_BASE_URL="http://127.0.0.1:9/")
        assert "cannot be reached" in str(run_extract(nobody, clock))
        assert run_extract(settings_for(tmp_path, vendor, SYMBOLS="A"), clock) is None
        assert vendor.symbols == ["A"]


def test_a_good_answer_between_failures_keeps_the_run_going(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    scripts = {name: reply(b"", 503) for name in ("S0", "S1", "S3", "S4", "S6", "S7")}
    with open_vendor(clock=clock, scripts=scripts) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS=EIGHT), clock)
        assert vendor.symbols == EIGHT.split(",")


def test_without_a_daily_budget_each_failing_symbol_has_its_tries_and_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"S0": reply(b"", 503)}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=EIGHT, AV_CALLS_PER_DAY=0)
        run_extract(settings, clock)
        assert Counter(vendor.symbols) == {**dict.fromkeys(EIGHT.split(","), 1), "S0": 4}
        vendor.scripts["*"] = reply(b"", 503)
        set_day(clock, friday_evening() + 3 * DAY)
        since = len(vendor.requests)
        run_extract(settings, clock)
        tried = Counter(vendor.symbols[since:])
        assert set(tried.values()) == {4}
        assert len(tried) in (3, 4), "S0 was failing before: it says nothing of the vendor"


def test_failures_of_two_kinds_do_not_stop_a_run(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    bad = [reply(b"", 503), b"{}"] * 4
    scripts = dict(zip(EIGHT.split(","), bad, strict=True))
    with open_vendor(clock=clock, scripts=scripts) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS=EIGHT), clock)
        assert vendor.symbols == EIGHT.split(",")


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_is_asked_before_the_vendor_wants_it(tmp_path: Path, status: int) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"A": reply(b"{}", status, Retry_After="7")}) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="A,B"), clock)
        gaps = [b.at - a.at for a, b in zip(vendor.requests, vendor.requests[1:], strict=False)]
        assert gaps
        assert gaps[0] == pytest.approx(7)
        assert "B" in vendor.symbols


def test_a_wait_of_an_hour_is_not_waited_for(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    script = reply(b"{}", 429, Retry_After="3600")
    with open_vendor(clock=clock, scripts={"A": script}) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="A,B"), clock)
        assert vendor.symbols == ["A", "B"]
        assert clock.monotonic() < 60


def test_a_try_again_says_that_it_costs_a_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(friday_evening())
    too_fast = json.dumps({"Information": SAYS["second"]}).encode()
    with open_vendor(clock=clock, scripts={"A": too_fast}) as vendor, caplog.at_level("INFO"):
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_DAY=9), clock)
        assert vendor.symbols.count("A") == 2
        assert "A: throttled; asked again in 1 s, which costs one more call (8 left today)" in (
            caplog.text
        )
        set_day(clock, friday_evening() + DAY)
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_DAY=9), clock)
        assert vendor.symbols.count("A") == 3, "it failed the last time: one call"


@pytest.mark.parametrize(
    ("symbols", "per_day"),
    [
        *(pytest.param(n, n_a_day, marks=pytest.mark.long) for n, n_a_day in ((25, 25), (9, 3))),
        (3, 1),
    ],
)
def test_splits_and_dividends_have_their_share_however_many_symbols_there_are(
    tmp_path: Path, symbols: int, per_day: int
) -> None:
    """Every session has a newer bar, so bars alone would take all calls of each day."""
    clock = FakeClock(friday_evening())
    names = [f"S{number:02}" for number in range(symbols)]
    with open_vendor(clock=clock, per_day=per_day) as vendor:
        settings = settings_for(
            tmp_path,
            vendor,
            SYMBOLS=",".join(names),
            AV_CALLS_PER_DAY=per_day,
            AV_CALLS_PER_SECOND=0,
            CORPORATE_ACTIONS_DAYS=400,
        )
        vendor.per_second = 0
        days = -(-3 * symbols // per_day) * 2 + 5
        for day in range(days):
            set_day(clock, friday_evening() + day * DAY)
            run_extract(settings, clock)
        asked = {(request.symbol, request.function) for request in vendor.requests}
        assert asked == {(n, f) for n in names for f in (BARS, "SPLITS", "DIVIDENDS")}
        assert vendor.refused == 0
        done = count_functions(vendor)
        assert done["SPLITS"] == done["DIVIDENDS"] == symbols


def test_actions_never_take_more_than_two_calls_of_five_while_bars_are_due(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    names = ",".join(f"S{number:02}" for number in range(60))
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=names, CORPORATE_ACTIONS_DAYS=30)
        for day in range(4):
            set_day(clock, friday_evening() + day * DAY)
            since = len(vendor.requests)
            run_extract(settings, clock)
            assert count_functions(vendor, since)[BARS] >= 15


def test_a_symbol_without_bars_is_not_asked_for_actions(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, unknown=("A",), scripts={"B": b"{}"}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C", CORPORATE_ACTIONS_DAYS=30)
        run_extract(settings, clock)
        extra = [(r.symbol, r.function) for r in vendor.requests if r.function != BARS]
        assert extra == [("C", "SPLITS"), ("C", "DIVIDENDS")]


@pytest.mark.parametrize(
    ("rules", "kind", "told"),
    [
        ({"premium": ("SPLITS",)}, "premium only", 1),
        ({"broken": ("SPLITS",)}, "unavailable", 2),
    ],
)
def test_actions_that_are_refused_or_fail_are_failures_of_the_run(
    tmp_path: Path, rules: dict[str, Any], kind: str, told: int
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, **rules) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B", CORPORATE_ACTIONS_DAYS=30)
        for _ in range(2):
            assert run_extract(settings, clock) is None
            failures = newest_record(settings)["failures"]
            assert len(failures) == told
            for label, why in failures.items():
                assert label.endswith(" SPLITS")
                assert why.startswith(f"{kind}: {label}: ")
        assert show_plan(settings, clock.now()).count(f"{kind}: ") == told


def newest_record(settings: Settings) -> dict[str, Any]:
    newest = max(settings.runs_dir.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return dict(json.loads(newest.read_text())["stages"]["extract"])


@pytest.mark.parametrize(
    ("symbol", "fetched", "now", "is_due"),
    [
        # London has a bank holiday on 2026-12-28, New York trades
        ("AET.LON", "2026-12-24T18:00", "2026-12-28T23:00", False),
        ("IBM", "2026-12-24T22:00", "2026-12-28T23:00", True),
        # New York is closed on Thanksgiving, London trades
        ("AET.LON", "2026-11-25T23:00", "2026-11-26T23:00", True),
        ("IBM", "2026-11-25T23:00", "2026-11-26T23:00", False),
        # between the two closes: London has ended at 16:30, New York has not
        ("AET.LON", "2026-11-24T18:00", "2026-11-24T23:00", False),
        ("IBM", "2026-11-24T18:00", "2026-11-24T23:00", True),
        # a day of coins ends at midnight UTC, on Sundays too
        ("BTC-USD", "2026-11-21T01:00", "2026-11-22T01:00", True),
    ],
)
def test_a_symbol_is_asked_by_the_sessions_of_its_own_exchange(
    tmp_path: Path, symbol: str, fetched: str, now: str, is_due: bool
) -> None:
    fetched_at = datetime.fromisoformat(fetched).replace(tzinfo=UTC)
    with open_vendor() as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=symbol)
    newest = find_session(next(iter(plan_at(settings, fetched_at).sessions)), fetched_at)
    body = json.dumps({}).encode()
    open_archive(settings).add(symbol, DAILY, str(newest), body, fetched_at)
    plan = plan_at(settings, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert [call.symbol for call, _ in plan.calls] == [symbol] * is_due


@pytest.mark.parametrize(
    ("symbol", "day"),
    [("600519.SHH", "2027-01-05"), ("RELIANCE.BSE", "2027-02-01"), ("IBM", "2041-03-01")],
)
def test_after_the_end_of_a_calendar_a_symbol_is_asked_once_a_day(
    tmp_path: Path, symbol: str, day: str
) -> None:
    now = datetime.fromisoformat(day).replace(hour=23, tzinfo=UTC)
    with open_vendor() as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=symbol)
    archive = open_archive(settings)
    archive.add(symbol, DAILY, str(now.date()), b"{}", now)
    assert plan_at(settings, now + timedelta(hours=1)).calls == []
    tomorrow = now + DAY
    assert [call.symbol for call, _ in plan_at(settings, tomorrow).calls] == [symbol]
    assert "last closed session not known (" in show_plan(settings, tomorrow)
    assert f"sessions not known: {symbol}" in show_plan(settings, tomorrow)


def test_the_plan_counts_and_names_in_groups(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        first = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D")
        run_extract(first, clock)
        set_day(clock, friday_evening() + 3 * DAY)
        names = "A,B,C,D," + ",".join(f"N{number:02}" for number in range(13))
        settings = settings_for(
            tmp_path, vendor, SYMBOLS=names, CORPORATE_ACTIONS_DAYS=30, AV_CALLS_PER_DAY=60
        )
        shown = show_plan(settings, clock.now())
    assert "the next run asks 51: 17 bars, 34 actions" in shown
    assert "  bars      has 2026-11-20: A, B, C, D\n" in shown
    assert "  bars      never fetched: N00, N01" in shown
    assert "N09 and 3 more\n" in shown
    assert len(shown.splitlines()) <= 10
    assert "34 calls for splits and dividends are due" in shown


def test_the_plan_says_since_when_splits_and_dividends_are_known(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(
            tmp_path, vendor, SYMBOLS="A,B", CORPORATE_ACTIONS_DAYS=30, AV_CALLS_PER_DAY=5
        )
        never = "splits and dividends: known of 0 of 2 symbols; never asked: A, B\n"
        assert never in show_plan(settings, clock.now())
        run_extract(settings, clock)
        half = "known of 1 of 2 symbols (all asked on 2026-11-20 or later); never asked: B\n"
        assert half in show_plan(settings, clock.now())
        set_day(clock, friday_evening() + DAY)
        run_extract(settings, clock)
        shown = show_plan(settings, clock.now())
        assert shown.endswith("known of 2 of 2 symbols (all asked on 2026-11-20 or later)")
        off = settings_for(tmp_path, vendor, SYMBOLS="A,B,C")
        assert "never asked: C; CORPORATE_ACTIONS_DAYS=0 asks for none" in (
            show_plan(off, clock.now())
        )


@pytest.mark.parametrize(
    ("unknown", "words"),
    [(("X",), "1 has it, 0 are to ask, 0 wait for the vendor to have it, 1 was refused"),
     (("X", "Y"), "1 has it, 0 are to ask, 0 wait for the vendor to have it, 2 were refused")],
)  # fmt: skip
def test_one_is_told_in_the_singular(tmp_path: Path, unknown: tuple[str, ...], words: str) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, unknown=unknown) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=",".join(("A", *unknown)))
        run_extract(settings, clock)
        assert words in show_plan(settings, clock.now())


def test_a_quota_answer_of_before_midnight_leaves_the_new_day_open(tmp_path: Path) -> None:
    midnight = datetime(2026, 11, 21, 5, tzinfo=UTC)
    clock = FakeClock(midnight - timedelta(seconds=5))

    def answer_late(handler: Any) -> None:
        clock.sleep(20)
        handler.send(json.dumps({"Information": SAYS["day"]}).encode())

    with open_vendor(clock=clock, scripts={"A": answer_late}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C")
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B", "C"]
        assert read_ledger(settings).left(midnight + timedelta(hours=1)) == 23
        assert read_ledger(settings).left(midnight - timedelta(seconds=1)) == 23


class InterruptedClock(FakeClock):
    """Ctrl-C at the third wait."""

    waits = 0

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        if self.waits == 3:
            raise KeyboardInterrupt
        super().sleep(seconds)


def test_a_run_that_the_keyboard_stops_has_its_calls_in_its_record(tmp_path: Path) -> None:
    clock = InterruptedClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=EIGHT)
        with pytest.raises(KeyboardInterrupt):
            run_extract(settings, clock)
        record = newest_record(settings)
        assert record["status"] == "failed"
        assert record["calls"] == len(vendor.requests) == 3


def test_full_history_on_a_free_key_says_what_is_free_and_asks_nothing_more(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(
            tmp_path, vendor, SYMBOLS="A,B,C", AV_OUTPUTSIZE="full", CORPORATE_ACTIONS_DAYS=30
        )
        for _ in range(2):
            error = str(run_extract(settings, clock))
            assert error.startswith("extract: nothing came; premium only: A: ")
            assert "AV_OUTPUTSIZE=compact is free" in error
        assert [(r.symbol, r.function) for r in vendor.requests] == [("A", BARS)]


def test_raw_data_that_were_moved_away_are_no_error_where_nothing_new_came(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A", CORPORATE_ACTIONS_DAYS=30)
        run_extract(settings, clock)
        finish_load(settings)
        settings.raw_path.unlink()
        set_day(clock, friday_evening() + timedelta(hours=1))
        assert run_extract(settings, clock) is None


def use_as_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch, **given: str) -> None:
    named = {
        "DATA_DIR": str(settings.data_dir),
        "SOURCE": "alpha_vantage",
        "AV_API_KEY": KEY,
        "AV_BASE_URL": settings.av_base_url,
        "SYMBOLS": ",".join(settings.symbols or ()),
        "CORPORATE_ACTIONS_DAYS": "0",
        "AV_CALLS_PER_SECOND": "0",
        **given,
    }
    for name, value in named.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("names", ["A,B,C", "A,B"], ids=["one comes", "nothing comes"])
def test_each_failure_is_printed_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: str,
) -> None:
    with open_vendor(per_second=0, scripts={"A": b"<html>"}, unknown=("B",)) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=names)
        use_as_environment(settings, monkeypatch)
        main([])
    printed = capsys.readouterr().err
    assert printed.count("unavailable: A: the vendor answered HTML, not JSON") == 1
    assert printed.count("unknown symbol: B: check its spelling") == 1
    assert printed.count("answered HTML") == 1


def test_the_progress_bar_names_the_symbol_and_the_calls_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 200))
    with open_vendor(per_second=0, scripts={"A": b"{}"}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C", AV_CALLS_PER_DAY=9)
        use_as_environment(settings, monkeypatch, AV_CALLS_PER_DAY="9")
        command = [sys.executable, "-m", "etl.extract"]
        process = subprocess.Popen(command, cwd=ROOT, stderr=theirs, stdout=theirs)
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
        assert process.wait() == 0, shown
    os.close(ours)
    assert "C, 6 calls left today, 1 failed" in shown


def read_terminal(handle: int) -> bytes:
    try:
        return os.read(handle, 65_536)
    except OSError:  # the other end is closed: how Linux says the end
        return b""


def test_key_is_no_part_of_what_the_plan_shows(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    echo = json.dumps({"Error": f"no luck with {KEY}"}).encode()
    with open_vendor(clock=clock, scripts={"A": echo}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A")
        run_extract(settings, clock)
        assert KEY not in show_plan(settings, clock.now())
