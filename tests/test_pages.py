"""Answers of several pages: each page a call that is counted and a file of the archive."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl import settings as etl_settings
from etl.calls.archive import Archive
from etl.calls.ledger import open_ledger
from etl.calls.vendor import DAILY
from etl.settings import Settings, read_settings
from etl.sources import registry
from tests.conftest import read_record
from tests.extraction import read_raw, run_extract
from tests.toy_vendor import Toy, open_toy, toy_now, write_bars
from tests.vendor import FakeClock

KEY = "TOYSECRETKEY"
FRIDAY = date(2026, 11, 20)
DAYS = [FRIDAY - timedelta(days=n) for n in range(4)]
PAGES = {
    "/eod/IBM": write_bars(DAYS[:1]) + b"\n> two",
    "/eod/IBM?page=two": write_bars(DAYS[1:3]) + b"\n> three",
    "/eod/IBM?page=three": write_bars(DAYS[3:]),
}


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    def use_toy(url: str) -> Settings:
        monkeypatch.setitem(registry.VENDORS, "toy", lambda settings: Toy(url, KEY))
        monkeypatch.setattr(etl_settings, "SOURCES", (*etl_settings.SOURCES, "toy"))
        options = {"DATA_DIR": str(tmp_path), "SYMBOLS": "IBM", "SOURCE": "toy"}
        more = {"CORPORATE_ACTIONS_DAYS": "0"}
        return read_settings(Settings, options | more, {}, tmp_path / "no.env")

    return use_toy


def days_of(settings: Settings) -> list[str]:
    return sorted(row["timestamp"] for row in read_raw(settings))


def list_files(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.archive_dir.rglob("*.gz"))


def test_every_page_is_a_counted_call_and_all_make_one_answer(
    tmp_path: Path, use: Callable[[str], Settings]
) -> None:
    clock = FakeClock(toy_now())
    with open_toy(PAGES) as (url, asked):
        settings = use(url)
        assert run_extract(settings, clock) is None
        assert asked == list(PAGES)
        assert open_ledger(tmp_path, Toy(url, KEY)).count_today(clock.now()) == 3
        fetched = days_of(settings)
        assert fetched == sorted(map(str, DAYS))
        assert [name.split(".")[3] for name in list_files(settings)] == [
            "part",
            "part",
            "2026-11-17-of-3",
        ]
        settings.raw_path.unlink()
        assert run_extract(settings, clock, replay=True) is None
    assert days_of(settings) == fetched
    assert read_record(tmp_path)["stages"]["extract"]["rows"] == 4


def test_pages_of_an_answer_that_was_cut_off_are_no_answer_and_mix_with_none(
    tmp_path: Path, use: Callable[[str], Settings]
) -> None:
    """As after a kill, or a page that fails: the next run begins the answer anew."""
    clock = FakeClock(toy_now())
    with open_toy({**PAGES, "/eod/IBM?page=three": b""}) as (url, _):
        assert run_extract(use(url), clock) is not None
    archive = Archive(tmp_path / "archive" / "toy", Toy.datasets)
    assert ("IBM", DAILY) not in archive.latest
    clock.sleep(86_400)
    whole = {"/eod/IBM": write_bars(DAYS[:2])}
    with open_toy(whole) as (url, asked):
        settings = use(url)
        assert run_extract(settings, clock) is None
        assert asked == ["/eod/IBM"]
    assert days_of(settings) == sorted(map(str, DAYS[:2])), "no page of the answer before"


def test_a_page_that_was_lost_makes_its_answer_be_asked_again(
    tmp_path: Path, use: Callable[[str], Settings], caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(toy_now())
    with open_toy(PAGES) as (url, asked):
        settings = use(url)
        assert run_extract(settings, clock) is None
        next(settings.archive_dir.rglob("*.part.json.gz")).unlink()
        assert run_extract(settings, clock) is None
        assert asked == list(PAGES) * 2
    assert days_of(settings) == sorted(map(str, DAYS))
    assert "IBM is asked for again" in caplog.text


@pytest.mark.parametrize("token", ["two", "one"])
def test_pages_that_lead_round_in_a_circle_end(
    tmp_path: Path, use: Callable[[str], Settings], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.sources.paid.MOST_PAGES", 4)
    again = write_bars(DAYS[:1]) + b"\n> two"
    circle: dict[str, Any] = {
        "/eod/IBM": again,
        "/eod/IBM?page=two": write_bars(DAYS[:1]) + f"\n> {token}".encode(),
        "/eod/IBM?page=one": again,
    }
    with open_toy(circle) as (url, asked):
        error = run_extract(use(url), FakeClock(toy_now()))
    assert "lead on for ever" in str(error)
    assert len(asked) <= 4
