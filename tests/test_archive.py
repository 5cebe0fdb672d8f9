"""Every paid answer is kept: killed anywhere, no call is lost and none is made twice."""

import argparse
import gzip
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from etl import extract, rollback
from etl.__main__ import run_all
from etl.base.clock import Clock
from etl.calls.archive import Archive, name_folder, read_body
from etl.calls.vendor import DAILY, SPLITS
from etl.load import load
from etl.settings import Settings, SettingsError, to_symbols
from etl.sources.alpha_vantage.plan import DATASETS
from etl.store.duckdb_file.marks import read_marks
from etl.transform import transform
from tests.conftest import call_stage, clean_environ, query_store
from tests.extraction import (
    KEY,
    finish_load,
    raw_symbols,
    read_everything,
    read_raw,
    run_extract,
    set_day,
    settings_for,
    start_process,
)
from tests.vendor import FakeClock, build_answer, friday_evening, open_vendor

DAY = timedelta(days=1)
AT = datetime(2026, 11, 20, 23, 0, 5, 123456, tzinfo=UTC)


def run_transform_and_load(settings: Settings, database: Path | None = None) -> None:
    args = argparse.Namespace(database=database)
    transform(settings, args)
    load(settings, args)


def stored_symbols(settings: Settings) -> set[str]:
    with duckdb.connect(str(settings.database_path), read_only=True) as connection:
        return {row[0] for row in connection.execute("SELECT symbol FROM ohlcv_data").fetchall()}


def test_an_answer_is_kept_byte_for_byte_under_a_name_that_tells_what_it_is(
    tmp_path: Path,
) -> None:
    archive = Archive(tmp_path, DATASETS)
    body = b'{"any": "\xff bytes"}'
    entry = archive.add("BRK.B", DAILY, "2026-11-20", body, AT)
    again = Archive(tmp_path, DATASETS).latest["BRK.B", DAILY]
    assert again == entry
    assert (again.fetched_at, again.last_bar) == (AT, date(2026, 11, 20))
    assert read_body(again) == gzip.decompress(entry.path.read_bytes()) == body


@pytest.mark.parametrize(
    "symbol", ["^GSPC", "-P-HIZ", "..", ".HID", "BTC:USD", "A*B", "É" * 32, "NA", "A.B", "€/$"[:1]]
)
def test_any_symbol_has_a_folder_of_its_own(tmp_path: Path, symbol: str) -> None:
    entry = Archive(tmp_path / "archive", DATASETS).add(symbol, SPLITS, "data", b"{}", AT)
    assert entry.path.parent.parent == tmp_path / "archive"
    assert Archive(tmp_path / "archive", DATASETS).latest[symbol, SPLITS].symbol == symbol
    assert not name_folder(symbol).startswith(".")


def test_a_half_written_answer_is_no_answer_and_is_swept(tmp_path: Path) -> None:
    entry = Archive(tmp_path, DATASETS).add("IBM", SPLITS, "data", b"{}", AT)
    torn = entry.path.with_name(entry.path.name.replace("000000001", "000000002") + ".next")
    torn.write_bytes(b"\x1f\x8b")
    archive = Archive(tmp_path, DATASETS)
    assert archive.last_number == 1
    archive.sweep()
    assert list(entry.path.parent.iterdir()) == [entry.path]


def test_numbers_grow_whatever_the_clock_does(tmp_path: Path) -> None:
    Archive(tmp_path, DATASETS).add("IBM", DAILY, "2026-11-20", b"new", AT)
    Archive(tmp_path, DATASETS).add("IBM", DAILY, "2026-11-21", b"newer", AT - DAY)
    assert read_body(Archive(tmp_path, DATASETS).latest["IBM", DAILY]) == b"newer"


def test_a_run_reads_the_names_of_the_archive_once(tmp_path: Path) -> None:
    """Of 100,000 answers that takes half a second; it took 17, and was done twice."""
    clock = FakeClock(friday_evening())
    scanned: list[str] = []
    is_watching = False

    def watch(event: str, args: tuple[object, ...]) -> None:
        if is_watching and event in ("os.scandir", "os.listdir"):
            scanned.append(str(args[0]))

    sys.addaudithook(watch)
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C")
        run_extract(settings, clock)
        set_day(clock, friday_evening() + 3 * DAY)
        is_watching = True
        assert run_extract(settings, clock) is None
        is_watching = False
        assert len(vendor.requests) == 6
    folders = [settings.archive_dir / "alpha_vantage" / name for name in ("", "A", "B", "C")]
    assert [scanned.count(str(folder)) for folder in folders] == [1, 1, 1, 1]


def test_foreign_files_in_the_archive_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "IBM"
    folder.mkdir()
    for name in ("notes.txt", "000000001.20261399T000000000000Z.SPLITS.data.json.gz"):
        (folder / name).write_text("mine")
    (tmp_path / "README").write_text("mine")
    assert Archive(tmp_path, DATASETS).last_number == 0


@pytest.mark.long
@pytest.mark.parametrize("moment", ["in flight", "answered"])
def test_after_kill_9_the_next_run_repeats_at_most_the_call_in_flight(
    tmp_path: Path, moment: str
) -> None:
    with open_vendor(per_second=0, latency=0.2) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D")
        process = start_process(settings, "etl.extract")
        while len(vendor.requests) < 2 or (
            moment == "answered" and len(list(settings.archive_dir.glob("*/*/*.gz"))) < 2
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)  # for the process to get there, not for time to pass
        process.kill()
        process.communicate()
        assert not settings.raw_path.exists()
        vendor.latency = 0
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D", AV_CALLS_PER_SECOND=0)
        assert run_extract(settings, Clock()) is None
        assert vendor.symbols[:2] == ["A", "B"]
        repeated = ["B"] if moment == "in flight" else []
        assert sorted(vendor.symbols[2:]) == [*repeated, "C", "D"]
        assert raw_symbols(settings) == {"A", "B", "C", "D"}
        calls = [
            json.loads(x) for x in (settings.data_dir / "calls.jsonl").read_text().splitlines()
        ]
        assert len(calls) == len(vendor.requests)


def test_what_was_never_loaded_is_published_again_and_what_was_loaded_is_not(
    tmp_path: Path,
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D,E,F", AV_CALLS_PER_DAY=2)
        run_extract(settings, clock)
        set_day(clock, friday_evening() + DAY)
        run_extract(settings, clock)
        assert raw_symbols(settings) == {"A", "B", "C", "D"}, "the first two were never loaded"
        run_transform_and_load(settings)
        set_day(clock, friday_evening() + 2 * DAY)
        run_extract(settings, clock)
        assert raw_symbols(settings) == {"E", "F"}
        run_transform_and_load(settings)
        assert stored_symbols(settings) == set("ABCDEF")


def test_a_run_of_another_source_in_between_loses_nothing(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A")
        run_extract(settings, clock)
        run_extract(settings_for(tmp_path, vendor, SOURCE="sample", SYMBOLS="IBM"), clock)
        run_transform_and_load(settings)
        run_extract(settings, clock)
        assert raw_symbols(settings) == {"A"}
        assert len(vendor.requests) == 1


def test_replay_gives_the_whole_history_as_it_was_fetched_without_a_call(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM", CORPORATE_ACTIONS_DAYS=400)
        vendor.actions["SPLITS", "IBM"] = [
            {"effective_date": "1999-05-27", "split_factor": "2.0000"}
        ]
        fetched = []
        for day in (0, 3):
            set_day(clock, friday_evening() + day * DAY)
            run_extract(settings, clock)
            fetched += read_raw(settings)
            run_transform_and_load(settings)
        asked = len(vendor.requests)
        settings.raw_path.unlink()
        no_key = settings_for(tmp_path, vendor, AV_API_KEY="", SOURCE="")
        assert run_extract(no_key, clock, replay=True) is None
        assert len(vendor.requests) == asked
        without_run = [{**row, "run_id": None} for row in read_raw(settings)]
        assert without_run == [{**row, "run_id": None} for row in fetched]
        assert len({row["fetched_at"] for row in without_run}) == 2
        run_transform_and_load(settings)
        with duckdb.connect(str(settings.database_path), read_only=True) as connection:
            rows = connection.execute("SELECT ratio FROM corporate_actions").fetchall()
        assert rows == [(2.0,)]


def test_a_lost_database_is_built_again_from_the_archive_by_one_etl_run(tmp_path: Path) -> None:
    args = argparse.Namespace(if_needed=False, strict=False, json=False)
    with open_vendor(per_second=0) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_SECOND=0)
        run_all(settings, args)
        settings.database_path.unlink()
        run_all(settings, args)
        assert stored_symbols(settings) == {"A", "B"}
        assert len(vendor.requests) == 2
        before = settings.raw_path.stat(), settings.clean_path.stat()
        run_all(settings, args)
        assert (settings.raw_path.stat(), settings.clean_path.stat()) == before


def test_actions_that_come_alone_bring_their_symbols_bars_along(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        options = {"SYMBOLS": "IBM", "CORPORATE_ACTIONS_DAYS": 30}
        vendor.actions["DIVIDENDS", "IBM"] = [
            {"ex_dividend_date": "2024-05-09", "declaration_date": "None", "amount": "1.67"}
        ]
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="IBM"), clock)
        settings = settings_for(tmp_path, vendor, **options)
        run_transform_and_load(settings)
        assert run_extract(settings, clock) is None
        assert raw_symbols(settings) == {"IBM"}
        run_transform_and_load(settings)
        with duckdb.connect(str(settings.database_path), read_only=True) as connection:
            rows = connection.execute("SELECT kind, amount FROM corporate_actions").fetchall()
        assert rows == [("dividend", 1.67)]


def test_an_empty_list_of_actions_is_an_answer_that_says_so(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        run_extract(settings_for(tmp_path, vendor, SYMBOLS="IBM"), clock)
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM", CORPORATE_ACTIONS_DAYS=30)
        run_transform_and_load(settings)
        known = "SELECT actions_known_at FROM instruments"
        assert query_store(settings.database_path, known) == [(None,)]
        assert run_extract(settings, clock) is None
        run_transform_and_load(settings)
        [[known_at]] = query_store(settings.database_path, known)
        assert f"{known_at:%Y-%m-%d}" == f"{clock.now():%Y-%m-%d}"
        assert len(vendor.requests) == 3


def test_what_a_rollback_took_back_is_handed_on_again_without_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        for day in (0, 3):
            set_day(clock, friday_evening() + day * DAY)
            run_extract(settings, clock)
            run_transform_and_load(settings)
        wanted = query_store(settings.database_path, "FROM ohlcv_known ORDER BY ALL")
        for name, value in clean_environ(tmp_path).items():
            monkeypatch.setenv(name, value)
        assert call_stage(rollback.main) == 0
        assert call_stage(extract.main, "--plan", "--source", "alpha_vantage") == 0
        assert "the store has not taken 1 answer of the archive" in capsys.readouterr().out
        assert run_extract(settings, clock) is None
        assert len({row["fetched_at"] for row in read_raw(settings)}) == 1
        run_transform_and_load(settings)
        found = query_store(settings.database_path, "FROM ohlcv_known ORDER BY ALL")
        assert [row[:4] for row in found] == [row[:4] for row in wanted]
        assert len(vendor.requests) == 2


def test_a_load_into_another_database_marks_only_that_one(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        run_extract(settings, clock)
        other = tmp_path / "other.duckdb"
        run_transform_and_load(settings, database=other)
        assert len(read_marks(other, "alpha_vantage")) == 1
        assert read_marks(settings.database_path, "alpha_vantage") == set()
        settings.raw_path.unlink()
        assert run_extract(settings, clock) is None
        assert raw_symbols(settings) == {"IBM"}


def test_a_key_that_the_vendor_echoes_is_not_archived(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    answer = build_answer("IBM", [date(2026, 11, 20)])
    answer["Meta Data"]["6. Note"] = f"asked with {KEY} and {KEY.lower()}"
    with open_vendor(clock=clock, scripts={"IBM": json.dumps(answer).encode()}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        assert run_extract(settings, clock) is None
        found = read_everything(tmp_path)
        assert b"asked with *** and ***" in found
        assert KEY.encode() not in found.upper()


def test_a_damaged_archive_file_is_named_and_the_rest_comes(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B")
        run_extract(settings, clock)
        path = next((settings.archive_dir / "alpha_vantage" / "A").iterdir())
        path.write_bytes(path.read_bytes()[:-20])
        assert run_extract(settings, clock, replay=True) is None
        assert raw_symbols(settings) == {"B"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(body[:30] + bytes([body[30] ^ 0xFF]) + body[31:])


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil", [flip, *(pytest.param(harm, marks=pytest.mark.long) for harm in (cut, put_pipe))]
)
def test_an_answer_that_is_damaged_before_the_store_takes_it_is_asked_for_again(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B")
        run_extract(settings, clock)
        path = next(settings.archive_dir.glob("*/A/*.gz"))
        spoil(path)
        assert run_extract(settings, clock) is None
        assert vendor.symbols == ["A", "B", "A"]
        assert raw_symbols(settings) == {"A", "B"}
        assert path.with_name(f"{path.name}.damaged").exists()
        finish_load(settings)
        assert run_extract(settings, clock) is None  # all up to date
        assert len(vendor.requests) == 3


def test_the_plan_shows_what_will_be_asked_and_why_and_asks_nothing(tmp_path: Path) -> None:
    with open_vendor() as vendor:
        settings = settings_for(
            tmp_path, vendor, SYMBOLS="A,B,C", AV_CALLS_PER_DAY=2, CORPORATE_ACTIONS_DAYS=30
        )
        process = start_process(settings, "etl.extract", "--plan")
        shown, log = process.communicate(timeout=300)
        assert process.returncode == 0, log
        assert "the next run asks 2: 2 bars\n  bars      never fetched: A, B\n" in shown
        assert "in 2 days of runs" in shown
        assert "6 calls for splits and dividends are due" in shown
        assert vendor.requests == []
        assert {path.name for path in tmp_path.iterdir()} <= {"etl.log"}


def test_a_list_of_ten_thousand_symbols_is_read_from_a_file(tmp_path: Path) -> None:
    names = [f"S{number}" for number in range(10_000)]
    lines = ["# the list", "S0, S1 # two", "", *names[2:], "s5"]
    (tmp_path / "list.txt").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    assert to_symbols(f"@{tmp_path}/list.txt") == tuple(names)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, "No such file"),
        ("# none\n", "at least one symbol"),
        ("A B\n", "one a line; line 1 is none"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, text: str | None, wanted: str
) -> None:
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with (
        open_vendor() as vendor,
        pytest.raises(SettingsError, match=rf"SYMBOLS=.*wanted .*{wanted}"),
    ):
        settings_for(tmp_path, vendor, SYMBOLS=f"@{tmp_path}/list.txt")
