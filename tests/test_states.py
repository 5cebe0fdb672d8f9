"""Bad states of the machine: old data are served, the exit code says so, the next run heals."""

import os
import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl import verify
from etl.__main__ import main as run_all
from etl.base import command, secret_log
from etl.settings import Settings, read_settings
from tests.conftest import call_stage, clean_environ, query_store, read_record, run_stage
from tests.server import read_json, serve
from tests.stores import hash_bars, identify, load_answer, store_of

HEADER = "Symbol,Date,Open,High,Low,Close,Volume"
URL = "/instruments/S1/ohlcv"


def write_inbox(folder: Path, closes: Sequence[float], symbols: int = 1) -> Path:
    """CSV files of a few symbols, with one bar a close."""
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    rows = [
        f"S{number},2024-01-{2 + i:02},{close},{close + 1},{close - 1},{close},{number}"
        for number in range(1, symbols + 1)
        for i, close in enumerate(closes)
    ]
    (inbox / "bars.csv").write_text("\n".join((HEADER, *rows)) + "\n")
    return inbox


def run_etl(
    data_dir: Path, *args: str, before: str = "pass", **environ: str
) -> "subprocess.CompletedProcess[str]":
    """`python -m etl` as a process, after the statement `before`."""
    code = "import sys; from etl.__main__ import main; raise SystemExit(main(sys.argv[1:]))"
    env = clean_environ(data_dir, **environ)
    return run_stage("-c", f"{before}; {code}", *args, env=env)


def read_closes(client: Any) -> list[float]:
    return [row["close"] for row in read_json(client, URL)["data"]]


# The disk


def fill_disk(at_bytes: int) -> str:
    """No file may grow beyond so much, as on a disk that is full."""
    return f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({at_bytes},) * 2)"


@pytest.mark.long
@pytest.mark.parametrize("at_bytes", [1_000, 60_000, 1_500_000], ids=["run", "raw", "database"])
def test_a_full_disk_leaves_the_old_bars_and_the_next_run_heals(
    data_dir: Path, tmp_path: Path, at_bytes: int
) -> None:
    load_answer(data_dir, "2024-01-02", ("S1", "2024-01-02", 5.0))
    before = identify(store_of(data_dir))
    inbox = write_inbox(tmp_path, [6.0, 6.5, 7.0], symbols=4_000)
    options = ("--source", "files", "--path", str(inbox))
    with serve(data_dir) as client:
        done = run_etl(data_dir, *options, before=fill_disk(at_bytes))
        assert done.returncode == 1, done.stderr
        assert sum("ERROR" in line for line in done.stderr.splitlines()) == 1, done.stderr
        assert identify(store_of(data_dir)) == before
        assert read_closes(client) == [5.0]
        assert read_json(client, "/health")["status"] == "ok"
        assert not [path for path in data_dir.iterdir() if ".next" in path.name]
        assert call_stage(run_all, *options) == 0
        assert read_closes(client) == [6.0, 6.5, 7.0]
    assert call_stage(verify.main) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_only_be_read_is_served_and_the_next_run_heals(
    data_dir: Path, tmp_path: Path
) -> None:
    load_answer(data_dir, "2024-01-02", ("S1", "2024-01-02", 5.0))
    options = ("--source", "files", "--path", str(write_inbox(tmp_path, [6.0])))
    folders = [data_dir, *(path for path in data_dir.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with serve(data_dir) as client:
            done = run_etl(data_dir, *options)
            assert done.returncode in (1, 2)
            assert len(done.stderr.splitlines()) == 1
            assert read_closes(client) == [5.0]
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert call_stage(run_all, *options) == 0
    assert query_store(store_of(data_dir), "SELECT close FROM ohlcv_data") == [(6.0,)]


def test_a_folder_in_the_place_of_a_file_leaves_the_old_bars(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_answer(data_dir, "2024-01-02", ("S1", "2024-01-02", 5.0))
    options = ("--source", "files", "--path", str(write_inbox(tmp_path, [6.0])))
    for name in ("raw_data.parquet", "clean_data.parquet.next", "generation.next"):
        (data_dir / name).mkdir()
        capsys.readouterr()
        assert call_stage(run_all, *options) == 1
        assert name in capsys.readouterr().err
        assert query_store(store_of(data_dir), "SELECT close FROM ohlcv_data") == [(5.0,)]
        (data_dir / name).rmdir()
    assert call_stage(run_all, *options) == 0
    assert query_store(store_of(data_dir), "SELECT close FROM ohlcv_data") == [(6.0,)]


# The clock

SHIFTED = """
import datetime, sys
hours = float(sys.argv.pop(1))
real = datetime.datetime
class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + datetime.timedelta(hours=hours)
from etl.base import run_records
run_records.datetime = Shifted
from etl.__main__ import main
raise SystemExit(main(sys.argv[1:]))
"""


def run_shifted(data_dir: Path, hours: float, *args: str) -> None:
    """`python -m etl` on a machine whose clock goes so many hours ahead."""
    done = run_stage("-c", SHIFTED, str(hours), *args, env=clean_environ(data_dir))
    assert done.returncode == 0, done.stderr


def test_a_clock_that_was_an_hour_ahead_changes_neither_bars_nor_proof(
    data_dir: Path, tmp_path: Path
) -> None:
    options = ("--source", "files", "--path", str(write_inbox(tmp_path, [5.0])))
    run_shifted(data_dir, 1, *options)
    ahead = read_record(data_dir)["stages"]["load"]["finished_at"]
    with serve(data_dir) as client:
        for number, closes in enumerate(([6.0], [6.0, 7.0], [6.0, 7.0])):
            file = write_inbox(tmp_path, closes) / "bars.csv"
            os.utime(file, (file.stat().st_mtime + number + 1,) * 2)
            assert call_stage(run_all, *options) == 0
            record = read_record(data_dir)
            assert record["stages"]["load"]["finished_at"] < ahead
            assert read_closes(client) == closes
    assert call_stage(verify.main) == 0


# Time zone and locale

PLACES = [
    {"TZ": "Asia/Tokyo"},
    {"TZ": "America/New_York", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
]


@pytest.fixture(scope="module")
def in_utc(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The hash of the bars as they are without a time zone or locale, and the files they are of."""
    folder = tmp_path_factory.mktemp("utc")
    write_inbox(folder, [5.0, 6.25, 7.125], symbols=3)
    for number, stamps in enumerate(("2012-01-03 00:00:00-05:00", "2012-01-03T23:30:00+09:00")):
        rows = f"Z{number},{stamps},5,6,4,5.5,7\n"
        (folder / "inbox" / f"zone{number}.csv").write_text(f"{HEADER}\n{rows}")
    for path in (folder / "inbox").iterdir():
        os.utime(path, (1_700_000_000,) * 2)
    return run_there(folder / "data", folder / "inbox", {"TZ": "UTC", "LC_ALL": "C.UTF-8"}), folder


def run_there(data_dir: Path, inbox: Path, place: dict[str, str]) -> str:
    """Run the ETL in that place; the hash of the bars and of when they were known."""
    done = run_etl(data_dir, "--source", "files", "--path", str(inbox), **place)
    assert done.returncode == 0, done.stderr
    known = query_store(
        store_of(data_dir),
        "SELECT symbol, timestamp, known_from FROM ohlcv_known ORDER BY symbol, timestamp",
    )
    return hash_bars(store_of(data_dir)) + str(known)


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES, ids=["Tokyo", "plain C", "Turkish"])
def test_time_zone_and_locale_change_nothing(
    data_dir: Path, in_utc: tuple[str, Path], place: dict[str, str]
) -> None:
    wanted, folder = in_utc
    assert run_there(data_dir, folder / "inbox", place) == wanted
    started = read_record(data_dir)["stages"]["extract"]["started_at"]
    [[published]] = query_store(store_of(data_dir), "SELECT published_at FROM generation")
    assert str(published)[:13].replace(" ", "T") in (started[:13], next_hour(started))


def next_hour(instant: str) -> str:
    return (datetime.fromisoformat(instant) + timedelta(hours=1)).isoformat()[:13]


def test_a_folder_with_letters_of_any_language_works_without_a_locale(tmp_path: Path) -> None:
    data_dir = tmp_path / "märkte 市場"
    options = ("--source", "files", "--path", str(write_inbox(tmp_path, [5.0])))
    done = run_etl(data_dir, *options, LC_ALL="C", LANG="C")
    assert done.returncode == 0, done.stderr
    assert len(query_store(store_of(data_dir), "FROM ohlcv_data")) == 1


def test_a_folder_that_is_no_text_in_this_locale_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_etl(tmp_path / "märkte 市場", "--source", "sample", **ascii_only)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: DATA_DIR=")
    assert line.endswith("set LC_ALL=C.UTF-8 and unset PYTHONUTF8")
    given = run_etl(tmp_path / "data", "--source", "files", "--path", "é.csv", **ascii_only)
    assert given.returncode == 2
    assert "unset PYTHONUTF8" in given.stderr.splitlines()[-1]
    assert not (tmp_path / "märkte 市場").exists()


def test_a_message_that_is_no_text_is_logged_all_the_same(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_log.start_logging(read_settings(Settings, {"DATA_DIR": str(data_dir)}, {}))
    try:
        command.log.warning("no symbols in %s", "m\udcc3rkte")
    finally:
        call_stage(lambda argv: 0)  # closes the files
    assert "no symbols in m\\udcc3rkte" in (data_dir / "etl.log").read_text()
    assert "Traceback" not in capsys.readouterr().err
