"""A copy of the data folder, made while runs publish: it is consistent, and the ETL goes on in it.

What copies is deploy/backup.sh.
"""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from etl import __main__ as whole
from etl import verify
from etl.settings import PROJECT_ROOT
from tests.conftest import call_stage, read_bars
from tests.server import serve, wait_until

BACKUP = PROJECT_ROOT / "deploy" / "backup.sh"
RUNS = 6
needs_flock = pytest.mark.skipif(not shutil.which("flock"), reason="flock is not installed")


def write_prices(path: Path, close: int) -> None:
    rows = [f"2012-01-{day:02},{close},{close + 1},{close - 1},{close},1000" for day in (3, 4, 5)]
    path.write_text("\n".join(["date,open,high,low,close,volume", *rows, ""]))


def run_etl(prices: Path) -> int:
    return call_stage(whole.main, "--source", "files", "--path", prices)


def copy_while_runs_publish(data_dir: Path, copy: Callable[[Path], None]) -> list[Path]:
    """Copies made one after the other while the ETL loads other prices again and again."""
    prices = data_dir.parent / "IBM.csv"
    write_prices(prices, 100)
    assert run_etl(prices) == 0
    ends: list[int] = []

    def publish() -> None:
        for close in range(101, 101 + RUNS):
            write_prices(prices, close)
            wait_until(lambda: run_etl(prices) == 0)  # a copy that holds the lock is waited for
            ends.append(close)

    thread = threading.Thread(target=publish)
    thread.start()
    copies: list[Path] = []
    while thread.is_alive():
        copies.append(data_dir.parent / f"copy{len(copies)}")
        copy(copies[-1])
    thread.join()
    assert len(ends) == RUNS
    assert len(copies) > 2
    return copies[:: -(-len(copies) // 4)]  # some of them: to verify one takes longer than to copy


def run_backup(data_dir: Path, target: Path) -> Path:
    """The copy that the script made, below the target."""
    command = [BACKUP, data_dir, target]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(made.stdout.strip())


def list_closes(folder: Path) -> set[float]:
    return {bar[5] for bar in read_bars(folder / "market_data.duckdb")}


@pytest.mark.long
@needs_flock
def test_a_copy_made_by_the_script_verifies_in_every_point(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(target: Path) -> None:
        made = subprocess.run(
            [BACKUP, data_dir, target], check=True, capture_output=True, text=True
        )
        Path(made.stdout.strip()).rename(target / "data")

    seen = set()
    for folder in (copy / "data" for copy in copy_while_runs_publish(data_dir, copy)):
        closes = list_closes(folder)
        assert len(closes) == 1, "bars of two publications"
        seen |= closes
        monkeypatch.setenv("DATA_DIR", str(folder))
        assert call_stage(verify.main) == 0
    assert len(seen) > 1  # the copies were made while the store changed


@pytest.mark.long
def test_a_copy_made_without_the_lock_has_a_whole_database_and_the_etl_goes_on_in_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(target: Path) -> None:  # files that a run removes meanwhile are missed: exit code 1
        subprocess.run(["cp", "-a", data_dir, target], check=False, stderr=subprocess.DEVNULL)

    copies = copy_while_runs_publish(data_dir, copy)
    for folder in copies:
        assert len(list_closes(folder)) == 1, "bars of two publications"
    prices = data_dir.parent / "IBM.csv"
    write_prices(prices, 500)
    for folder in copies:
        monkeypatch.setenv("DATA_DIR", str(folder))
        assert run_etl(prices) == 0
        assert list_closes(folder) == {500}
        assert call_stage(verify.main) == 0


def test_a_restored_or_moved_folder_serves_the_same_bars(own_sample: Path) -> None:
    moved = own_sample.parent / "moved"
    shutil.copytree(own_sample, moved)
    with serve(own_sample) as before, serve(moved) as after:
        asked = "/ohlcv?symbols=AAPL,IBM&limit=50"
        assert before.get(asked).content == after.get(asked).content
        assert (
            before.get("/health").json()["generation"] == after.get("/health").json()["generation"]
        )


@needs_flock
def test_users_are_copied_whole_though_a_change_is_under_way(data_dir: Path) -> None:
    users = data_dir / "users.sqlite"
    (data_dir / "etl.lock").touch()
    with closing(sqlite3.connect(users, isolation_level=None)) as file:
        file.execute("CREATE TABLE users (name TEXT)")
        file.execute("INSERT INTO users VALUES ('ann')")
        users.chmod(0o600)
        file.execute("BEGIN IMMEDIATE")
        file.execute("INSERT INTO users VALUES ('bob')")  # and its journal lies beside the file
        copy = run_backup(data_dir, data_dir.parent / "copies") / "users.sqlite"
        file.execute("ROLLBACK")
    with closing(sqlite3.connect(copy)) as file:
        assert file.execute("SELECT name FROM users").fetchall() == [("ann",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in copy.parent.glob("users*")] == ["users.sqlite"]
