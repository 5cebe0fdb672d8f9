"""When the ETL runs by itself: after each close, as the exchange's calendar has it."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl import schedule
from etl.market.timetable import find_exchanges, list_due
from etl.schedule import Stopped, follow, main
from etl.settings import Settings, read_settings
from tests.vendor import FakeClock

DELAY = timedelta(minutes=150)


def read(**given: str) -> Settings:
    return read_settings(Settings, {"SOURCE": "sample", **given}, {}, Path("no.env"))


@pytest.mark.parametrize(
    ("exchange", "after", "told"),
    [
        # Thanksgiving has no session, the Friday after it closes at 13:00
        ("XNYS", "2026-11-25T21:00", ["11-25 23:30", "11-27 20:30", "11-30 23:30"]),
        # summer time begins in New York on 8 March: the close moves an hour in UTC
        ("XNYS", "2026-03-06T00:00", ["03-06 23:30", "03-09 22:30", "03-10 22:30"]),
        # London: summer time ends on 25 October, and Christmas Eve closes at 12:30
        ("XLON", "2026-10-23T12:00", ["10-23 18:00", "10-26 19:00", "10-27 19:00"]),
        ("XLON", "2026-12-23T20:00", ["12-24 15:00", "12-29 19:00", "12-30 19:00"]),
        # trades every day
        ("24/7", "2026-11-27T12:00", ["11-28 02:30", "11-29 02:30", "11-30 02:30"]),
    ],
)
def test_the_next_runs_are_after_the_next_closes(
    exchange: str, after: str, told: list[str]
) -> None:
    found = list_due([exchange], datetime.fromisoformat(after + "+00:00"), DELAY, 3)
    assert [f"{due.at:%m-%d %H:%M}" for due in found] == told
    assert {due.exchange for due in found} == {exchange}


def test_the_exchanges_are_those_of_the_symbols() -> None:
    assert find_exchanges(read(SYMBOLS="IBM,VOD.L,BTC-USD")) == {"XNYS", "XLON", "24/7"}
    assert find_exchanges(read(SYMBOLS="IBM", EXCHANGE="nasdaq")) == {"XNYS"}


def test_runs_of_several_exchanges_come_in_the_order_of_their_closes() -> None:
    after = datetime(2026, 11, 24, 12, tzinfo=UTC)
    found = list_due({"XNYS", "XLON"}, after, DELAY, 4)
    assert [due.exchange for due in found] == ["XLON", "XNYS", "XLON", "XNYS"]


def test_without_a_calendar_there_is_a_run_a_day() -> None:
    found = list_due([None], datetime(2026, 11, 24, 12, tzinfo=UTC), DELAY, 2)
    assert [f"{due.at:%m-%d %H:%M}" for due in found] == ["11-25 02:30", "11-26 02:30"]
    late = datetime(2045, 1, 1, tzinfo=UTC)  # after the last day of all calendars
    assert list_due(["XNYS"], late, DELAY, 1)[0].exchange is None


class Runs:
    """What is run: when, and how it ends; the last one stops the schedule."""

    def __init__(self, clock: FakeClock, codes: list[int], hours: float = 0.0) -> None:
        self.clock, self.codes, self.hours = clock, codes, hours
        self.at: list[str] = []

    def run(self) -> int:
        self.at.append(f"{self.clock.now():%m-%d %H:%M}")
        if len(self.at) > len(self.codes):
            raise Stopped
        self.clock.sleep(self.hours * 3600)
        return self.codes[len(self.at) - 1]


def run_schedule(runs: Runs, **given: str) -> list[str]:
    with pytest.raises(Stopped):
        follow(lambda: read(**given), runs.clock, runs.run)
    return runs.at


def start_at(text: str) -> FakeClock:
    return FakeClock(datetime.fromisoformat(text + "+00:00"))


def test_it_runs_at_once_and_then_after_each_close() -> None:
    runs = Runs(start_at("2026-11-25T22:00"), [0, 0])
    assert run_schedule(runs, SYMBOLS="IBM") == ["11-25 22:00", "11-25 23:30", "11-27 20:30"]


def test_a_run_that_failed_is_tried_again_after_an_hour() -> None:
    runs = Runs(start_at("2026-11-26T12:00"), [1, 1, 0])
    told = ["11-26 12:00", "11-26 13:00", "11-26 14:00", "11-27 20:30"]
    assert run_schedule(runs, SYMBOLS="IBM") == told


def test_a_close_during_a_run_is_not_passed_over() -> None:
    runs = Runs(start_at("2026-11-24T18:00"), [0, 0], hours=6)
    # London was due at 19:00, New York at 23:30: one run after both
    told = ["11-24 18:00", "11-25 00:00", "11-25 19:00"]
    assert run_schedule(runs, SYMBOLS="IBM,VOD.L") == told


def test_other_settings_count_from_the_next_wait_on() -> None:
    runs, symbols = Runs(start_at("2026-11-24T12:00"), [0, 0]), iter(["VOD.L", "IBM"])
    with pytest.raises(Stopped):
        follow(lambda: read(SYMBOLS=next(symbols)), runs.clock, runs.run)
    assert runs.at == ["11-24 12:00", "11-24 19:00", "11-24 23:30"]


def test_what_it_will_run_next_is_shown(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYMBOLS", "IBM")
    monkeypatch.setattr(schedule, "Clock", lambda: start_at("2026-11-25T21:00"))
    assert main(["--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[1] == "2026-11-27 20:30 UTC, for the session of 2026-11-27 in XNYS"
    assert list(data_dir.iterdir()) == []


def test_an_exchange_that_is_none_is_a_setting_that_cannot_be_used(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXCHANGE", "XNOP")
    assert main([]) == 2
    assert "EXCHANGE=XNOP" in capsys.readouterr().err


def test_settings_that_can_no_longer_be_used_end_it_with_one_line(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE", "sample")

    def run() -> int:
        monkeypatch.setenv("EXCHANGE", "XNOP")
        return 0

    monkeypatch.setattr(schedule, "run_etl", run)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main([]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "EXCHANGE=XNOP" in capsys.readouterr().err
