"""The vendor's calls, counted across runs: none too many, whatever happens to clock or process."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from etl.base.errors import InputError, InvalidKey, NotAsked, PremiumOnly, QuotaSpent, UnknownSymbol
from etl.calls.ledger import REFUSALS, Ledger
from etl.calls.ledger_lines import shorten
from etl.calls.pace import Pace, Ticket
from etl.calls.vendor import DAILY, Call, Limits
from tests.extraction import (
    KEY,
    finish_load,
    raw_symbols,
    read_raw,
    run_extract,
    set_day,
    settings_for,
)
from tests.vendor import SAYS, FakeClock, Vendor, friday_evening, open_vendor

ZONE = ZoneInfo("America/New_York")
NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)


def call_for(symbol: str, dataset: str = DAILY, plan: str = "compact") -> Call:
    return Call(symbol, dataset, plan)


def open_ledger(folder: Path, per_day: int = 25, key: str = KEY, **options: Any) -> Ledger:
    return Ledger(folder / "calls.jsonl", Limits(per_day, ZONE), key, **options)


def spend(folder: Path, count: int, now: datetime, per_day: int = 25) -> Ledger:
    budget = open_ledger(folder, per_day)
    for number in range(count):
        budget.spend(call_for(f"S{number}"), now)
    return budget


def test_calls_of_earlier_runs_count(tmp_path: Path) -> None:
    spend(tmp_path, 20, NOON)
    budget = open_ledger(tmp_path)
    assert budget.left(NOON + timedelta(hours=2)) == 5


def test_the_day_ends_at_midnight_in_its_zone(tmp_path: Path) -> None:
    budget = spend(tmp_path, 25, NOON)
    assert budget.left(datetime(2026, 11, 21, 4, 59, tzinfo=UTC)) == 0
    assert budget.left(datetime(2026, 11, 21, 5, 0, tzinfo=UTC)) == 25
    assert "2026-11-21 00:00 EST" in budget.explain(NOON)


def test_a_spent_day_refuses_the_next_call_and_writes_nothing(tmp_path: Path) -> None:
    budget = spend(tmp_path, 25, NOON)
    before = (tmp_path / "calls.jsonl").read_bytes()
    with pytest.raises(NotAsked, match=r"25 calls of 2026-11-20 are spent: run again after"):
        budget.spend(call_for("IBM"), NOON)
    assert (tmp_path / "calls.jsonl").read_bytes() == before


@pytest.mark.parametrize("hours", [1, 10, 30])
def test_a_clock_set_back_gives_no_calls(tmp_path: Path, hours: int) -> None:
    after_midnight = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)
    spend(tmp_path, 25, after_midnight)
    assert open_ledger(tmp_path).left(after_midnight - timedelta(hours=hours)) == 0


def test_calls_made_under_a_clock_set_back_count_for_the_later_day(tmp_path: Path) -> None:
    after_midnight = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)
    spend(tmp_path, 20, after_midnight)
    spend(tmp_path, 5, after_midnight - timedelta(hours=1))
    assert open_ledger(tmp_path).left(after_midnight) == 0


def test_calls_far_in_the_future_are_named_with_the_remedy(tmp_path: Path) -> None:
    spend(tmp_path, 25, NOON + timedelta(days=400))
    assert "put the clock right, or move that file away" in open_ledger(tmp_path).explain(NOON)


def test_a_quota_answer_closes_the_day_though_fewer_were_counted(tmp_path: Path) -> None:
    budget = spend(tmp_path, 3, NOON)
    budget.learn(call_for("IBM"), QuotaSpent("enough"), NOON)
    again = open_ledger(tmp_path)
    assert again.left(NOON + timedelta(hours=1)) == 0
    assert again.left(NOON + timedelta(days=1)) == 25


def test_a_quota_answer_closes_the_day_where_no_number_is_set(tmp_path: Path) -> None:
    budget = open_ledger(tmp_path, per_day=0)
    assert budget.left(NOON) is None
    budget.learn(call_for("IBM"), QuotaSpent("enough"), NOON)
    assert open_ledger(tmp_path, per_day=0).left(NOON) == 0


def count_steps(work: Callable[[], object]) -> int:
    """Lines of Python that the work runs: what it costs, whatever else the machine does."""
    steps = 0

    def trace(frame: Any, event: str, arg: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps


def test_a_call_costs_the_same_however_many_were_made_on_that_day(tmp_path: Path) -> None:
    line = {"at": NOON.isoformat(), "what": "call", "symbol": "X", "function": "TIME_SERIES_DAILY"}
    steps = []
    for count in (10, 10_000):
        path = tmp_path / str(count) / "calls.jsonl"
        path.parent.mkdir()
        path.write_bytes((json.dumps(line) + "\n").encode() * count)
        budget = open_ledger(path.parent, per_day=20_000)
        budget.spend(call_for("IBM"), NOON)
        steps.append(count_steps(lambda budget=budget: budget.spend(call_for("IBM"), NOON)))
        assert budget.left(NOON) == 20_000 - count - 2
    assert steps[1] < steps[0] * 1.5


def test_two_runs_at_once_spend_no_call_twice(tmp_path: Path) -> None:
    budgets = [open_ledger(tmp_path), open_ledger(tmp_path)]
    made = [0, 0]
    for number in range(60):
        try:
            budgets[number % 2].spend(call_for(f"S{number}"), NOON)
            made[number % 2] += 1
        except NotAsked:
            continue
    assert (sum(made), made) == (25, [13, 12])
    assert [budget.made for budget in budgets] == made
    assert open_ledger(tmp_path).count_today(NOON) == 25


def test_what_another_run_learns_is_known_before_the_next_call(tmp_path: Path) -> None:
    one, other = open_ledger(tmp_path), open_ledger(tmp_path)
    one.spend(call_for("IBM"), NOON)
    other.learn(call_for("IBM"), QuotaSpent("enough"), NOON)
    with pytest.raises(NotAsked):
        one.spend(call_for("IBM"), NOON)


def test_a_torn_end_that_another_run_left_hides_no_call(tmp_path: Path) -> None:
    budget = spend(tmp_path, 2, NOON)
    with (tmp_path / "calls.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-11-20T17:00')
    budget.spend(call_for("IBM"), NOON)
    assert open_ledger(tmp_path).count_today(NOON) >= 3


@hypothesis_settings(deadline=None, max_examples=30)
@given(cut=st.integers(1, 120))
def test_a_torn_last_line_loses_no_earlier_call(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    spend(folder, 3, NOON)
    path = folder / "calls.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, len(whole.splitlines(keepends=True)[0]) * 2)])
    budget = open_ledger(folder)
    counted = budget.count_today(NOON)
    assert counted in (2, 3)
    budget.spend(call_for("IBM"), NOON)
    assert open_ledger(folder).count_today(NOON) == counted + 1


def test_a_damaged_line_in_the_middle_counts_as_a_call(tmp_path: Path) -> None:
    spend(tmp_path, 3, NOON)
    path = tmp_path / "calls.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\x00\x00\xff{\n" + lines[2])
    assert open_ledger(tmp_path).count_today(NOON) == 3


@pytest.mark.parametrize("odd", [None, 7, [], {}, [1, 2], [["A", "B"]], "9999-12-31", True])
@pytest.mark.parametrize("name", ["what", "symbol", "dataset", "asked_at", "said", "calls"])
def test_a_line_with_an_odd_value_stops_no_run(tmp_path: Path, name: str, odd: Any) -> None:
    kinds = ("call", "answered", "failed", "vendor down", *REFUSALS, QuotaSpent.kind)
    line = {"at": "2026-11-20T15:00:00+00:00", "symbol": "IBM", "dataset": DAILY}
    lines = [json.dumps({**line, "what": kind, name: odd}) for kind in kinds]
    (tmp_path / "calls.jsonl").write_text("\n".join(lines) + "\n")
    ledger = open_ledger(tmp_path)
    assert ledger.left(NOON) in (24, 25)
    ledger.spend(call_for("B"), NOON)


def test_a_pipe_in_place_of_the_ledger_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "calls.jsonl")
    with pytest.raises(InputError, match="is no file"):
        open_ledger(tmp_path)


def test_the_ledger_tells_keys_apart_but_does_not_hold_them(tmp_path: Path) -> None:
    budget = spend(tmp_path, 1, NOON)
    budget.learn(call_for("IBM"), InvalidKey("no"), NOON)
    assert KEY.encode() not in (tmp_path / "calls.jsonl").read_bytes()
    assert isinstance(open_ledger(tmp_path).refusal(call_for("IBM")), InvalidKey)
    assert open_ledger(tmp_path, key="ANOTHER").refusal(call_for("IBM")) is None


def test_an_invalid_key_rules_out_every_call(tmp_path: Path) -> None:
    open_ledger(tmp_path).learn(call_for("IBM"), InvalidKey("no"), NOON)
    assert open_ledger(tmp_path).refusal(call_for("MSFT", "splits", "SPLITS"))


def test_a_premium_answer_rules_out_the_same_function_and_size_only(tmp_path: Path) -> None:
    open_ledger(tmp_path).learn(call_for("IBM", plan="full"), PremiumOnly("no"), NOON)
    budget = open_ledger(tmp_path)
    assert isinstance(budget.refusal(call_for("MSFT", plan="full")), PremiumOnly)
    assert budget.refusal(call_for("MSFT", plan="compact")) is None


def test_an_unknown_symbol_stays_unknown_for_a_new_key(tmp_path: Path) -> None:
    open_ledger(tmp_path).learn(call_for("APPL"), UnknownSymbol("no"), NOON)
    budget = open_ledger(tmp_path, key="ANOTHER")
    assert isinstance(budget.refusal(call_for("APPL")), UnknownSymbol)
    assert isinstance(budget.refusal(call_for("APPL", "splits")), UnknownSymbol)
    assert budget.refusal(call_for("AAPL")) is None


def test_retry_asks_again_and_a_good_answer_ends_the_refusal(tmp_path: Path) -> None:
    call = call_for("APPL")
    open_ledger(tmp_path).learn(call, UnknownSymbol("no"), NOON)
    retried = open_ledger(tmp_path, is_retry=True)
    assert retried.refusal(call) is None
    assert open_ledger(tmp_path).refusal(call), "not asked yet: it stays refused"
    retried.learn(call, None, NOON)
    assert open_ledger(tmp_path).refusal(call) is None


def test_a_long_ledger_is_cut_to_recent_calls_and_all_refusals() -> None:
    old = {"at": "2026-01-01T00:00:00+00:00", "what": "call"}
    refusal = {"at": "2026-01-01T00:00:00+00:00", "what": "unknown symbol", "symbol": "X"}
    new = {"at": "2026-11-20T00:00:00+00:00", "what": "call"}
    body = b"".join(json.dumps(x).encode() + b"\n" for x in [old] * 30_000 + [refusal, new])
    kept = [json.loads(line) for line in shorten(body).splitlines()]
    assert kept == [refusal, new]


@hypothesis_settings(deadline=None)
@given(
    per_second=st.sampled_from([0, 1, 5, 20]),
    per_minute=st.sampled_from([0, 5, 75, 1200]),
    latencies=st.lists(st.floats(0, 3), min_size=5, max_size=400),
)
def test_no_window_ever_holds_more_calls_than_allowed(
    per_second: int, per_minute: int, latencies: list[float]
) -> None:
    """The vendor may count a call at any time between its leaving and its end."""
    pace, now = Pace(per_second, per_minute), 0.0
    counted: list[tuple[float, float]] = []
    flying: list[tuple[float, Ticket]] = []
    for latency in latencies:
        while (delay := end_calls(flying, now) or pace.delay(now)) != 0:
            now = min(e for e, t in flying if t.ended_at is None) if delay is None else now + delay
        ticket = pace.start(now)
        ticket.sent_at = now
        flying.append((now + latency, ticket))
        # a minute holds wherever the call is counted, a second as calls leave
        counted.append((now, now + latency))
    for limit, seconds in ((per_second, 1), (per_minute, 60)):
        if limit:
            for first, last in zip(counted, counted[limit:], strict=False):
                begin = first[1] if seconds == 60 or limit == 1 else first[0]
                assert last[0] - begin >= seconds - 1e-6


def end_calls(flying: list[tuple[float, Ticket]], now: float) -> None:
    for end, ticket in flying:
        if end <= now:
            ticket.ended_at = end


def test_sixty_symbols_take_three_days_of_a_free_key_and_sixty_calls(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    names = [f"S{number:02}" for number in range(60)]
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=",".join(names))
        for day in range(3):
            set_day(clock, friday_evening() + timedelta(days=day))
            assert run_extract(settings, clock) is None
            assert len(vendor.requests) == (25, 50, 60)[day]
            assert run_extract(settings, clock) is None, "pending answers are published again"
        assert (vendor.symbols, vendor.refused) == (names, 0)
        assert raw_symbols(settings) == set(names)


def test_the_stalest_go_first_on_the_next_session(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, per_day=3) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D", AV_CALLS_PER_DAY=3)
        run_extract(settings, clock)
        set_day(clock, friday_evening() + timedelta(days=3))
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B", "C", "D", "A", "B"]


def test_symbols_that_have_the_last_session_are_not_asked(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B")
        run_extract(settings, clock)
        finish_load(settings)
        before = settings.raw_path.stat()
        assert run_extract(settings, clock) is None
        assert len(vendor.requests) == 2
        assert settings.raw_path.stat() == before
        assert "all up to date" in (list_log(settings))


def test_a_bar_of_an_open_session_is_delivered_and_asked_again_after_the_close(
    tmp_path: Path,
) -> None:
    midday = datetime(2026, 11, 20, 18, 7, tzinfo=UTC)
    clock = FakeClock(midday)
    with open_vendor(clock=clock, last_bar=midday.date()) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        run_extract(settings, clock)
        assert max(row["timestamp"] for row in read_raw(settings)) == "2026-11-20"
        run_extract(settings, clock)
        assert len(vendor.requests) == 1
        set_day(clock, friday_evening())
        run_extract(settings, clock)
        run_extract(settings, clock)
        assert len(vendor.requests) == 2


def test_a_vendor_that_is_late_is_asked_again_after_a_while(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    thursday = friday_evening().date() - timedelta(days=1)
    with open_vendor(clock=clock, last_bar=thursday) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        for hours in (0, 0.5, 3):
            set_day(clock, friday_evening() + timedelta(hours=hours))
            assert run_extract(settings, clock) is None
        assert len(vendor.requests) == 2
        run_extract(settings, clock, retry=True)
        assert len(vendor.requests) == 3, "--retry does not wait"


def test_a_quota_answer_stops_the_run_and_the_day(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, per_day=2) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D,E")
        assert run_extract(settings, clock) is None
        assert run_extract(settings, clock) is None
        assert vendor.symbols == ["A", "B", "C"]
        finish_load(settings)
        error = run_extract(settings, clock)
        assert "nothing came" in str(error)
        assert "run again after 2026-11-21 00:00 EST" in str(error)
        assert len(vendor.requests) == 3


def test_every_retry_of_a_throttled_call_costs_a_call(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    too_fast = json.dumps({"Information": SAYS["second"]}).encode()
    with open_vendor(clock=clock, scripts={"*": too_fast}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_DAY=3)
        run_extract(settings, clock)
        lines = [
            json.loads(x) for x in (settings.data_dir / "calls.jsonl").read_text().splitlines()
        ]
        assert sum(line["what"] == "call" for line in lines) == len(vendor.requests) == 3


@pytest.mark.parametrize(
    ("rules", "given", "calls"),
    [
        ({"keys": ("another",)}, {}, 1),
        ({}, {"AV_OUTPUTSIZE": "full"}, 1),
        ({"unknown": ("A", "B", "C")}, {}, 3),
    ],
    ids=["invalid key", "premium", "unknown symbol"],
)
def test_what_an_answer_rules_out_is_asked_again_with_retry_only(
    tmp_path: Path, rules: dict[str, Any], given: dict[str, str], calls: int
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, **rules) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C", **given)
        for _ in range(3):
            assert "nothing came" in str(run_extract(settings, clock))
        assert len(vendor.requests) == calls
        vendor.keys, vendor.unknown, vendor.premium = (), (), ()
        assert run_extract(settings, clock, retry=True) is None
        assert len(vendor.requests) == calls + 3
        assert raw_symbols(settings) == {"A", "B", "C"}


def test_a_new_key_is_tried_after_an_invalid_one(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, keys=("GOODKEY1",)) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="A,B"), clock)
        good = settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_API_KEY="GOODKEY1")
        assert run_extract(good, clock) is None
        assert vendor.symbols == ["A", "A", "B"]


def test_a_key_that_is_replaced_during_a_run_is_used_from_the_next_call_on(tmp_path: Path) -> None:
    first, second, file = "FIRSTKEY11", "SECONDKEY2", tmp_path / "key"
    file.write_text(first)

    class ReplacingClock(FakeClock):
        """Between two calls the pace waits: then the key is another."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            file.write_text(second)

    clock = ReplacingClock(friday_evening())
    with open_vendor(clock=clock, keys=(first, second)) as vendor:
        given = {"SYMBOLS": "A,B,C", "AV_API_KEY": "", "AV_API_KEY_FILE": file}
        assert run_extract(settings_for(tmp_path / "data", vendor, **given), clock) is None
        assert [r.query["apikey"] for r in vendor.requests] == [first, second, second]
    lines = (tmp_path / "data" / "calls.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines if '"call"' in line}) == 2
    written = [p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert not any(key.encode() in body for body in written for key in (first, second))


def test_unknown_symbols_do_not_fail_a_run_in_which_all_others_are_up_to_date(
    tmp_path: Path,
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, unknown=("APPL",)) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="AAPL,APPL")
        assert run_extract(settings, clock) is None
        finish_load(settings)
        assert run_extract(settings, clock) is None
        assert len(vendor.requests) == 2


def test_splits_and_dividends_are_asked_out_of_what_is_left(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(
            tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_DAY=5, CORPORATE_ACTIONS_DAYS=30
        )
        run_extract(settings, clock)
        asked = [(r.symbol, r.function) for r in vendor.requests]
        daily = "TIME_SERIES_DAILY"
        assert asked[:4] == [("A", daily), ("B", daily), ("A", "SPLITS"), ("B", "SPLITS")]
        assert asked[4:] == [("A", "DIVIDENDS")]
        set_day(clock, friday_evening() + timedelta(days=1))
        run_extract(settings, clock)
        assert [(r.symbol, r.function) for r in vendor.requests[5:]] == [("B", "DIVIDENDS")]
        set_day(clock, friday_evening() + timedelta(days=31))
        run_extract(settings, clock)
        assert [r.function for r in vendor.requests[6:]] == [daily, daily] + ["SPLITS"] * 2 + [
            "DIVIDENDS"
        ]


def list_log(settings: Any) -> str:
    """What the last run recorded, as text."""
    newest = max(settings.runs_dir.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    record = json.loads(newest.read_text())["stages"]["extract"]
    return "all up to date" if record["up_to_date"] and not record["rows"] else str(record)


def test_the_simulated_vendor_refuses_what_the_real_one_refuses(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    vendor = Vendor(clock=clock, per_day=2, per_second=1)
    query = {"function": "TIME_SERIES_DAILY", "symbol": "IBM", "apikey": KEY}
    assert "Time Series (Daily)" in vendor.answer(query)
    assert "1 request per second" in vendor.answer(query)["Information"]
    clock.sleep(1)
    assert "25 requests per day" in vendor.answer(query)["Information"]
