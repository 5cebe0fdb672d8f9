"""`make minutes` that dies, that has no room, or whose engine is down: the next run heals all."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from etl import minutes
from etl.settings import PROJECT_ROOT
from tests.conftest import call_stage, clean_environ, read_record, run_stage
from tests.crash import FORKER
from tests.minutes import look_at, use_folder

FORKER_OF_MINUTES = FORKER.replace("from etl.__main__ import main", "from etl.minutes import main")
BEFORE = ["--source", "sample", "--symbols", "FB", "--since", "2013-02-28"]
AFTER = ["--source", "sample", "--symbols", "FB,IBM", "--since", "2013-02-26"]
# Run with a bound on the size of each file: what is written beyond it fails as on a full disk.
BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from etl.minutes import main
sys.exit(main(sys.argv[2:]))
"""
Content = dict[str, Any]


def read_content(folder: Path) -> Content:
    """All that the store says of each symbol, but for the runs that brought it."""
    with look_at(use_folder(folder)) as snapshot:
        return {
            symbol: (
                each.digest,
                each.bars,
                snapshot.notes(symbol, "1m", None, None).to_pylist(),
                snapshot.spans(symbol, "1m").to_pylist(),
                snapshot.sessions(each.exchange, None, None).num_rows,
            )
            for (symbol, _), each in snapshot.instruments.items()
        }


@contextmanager
def fork_minutes(folder: Path) -> Iterator[Callable[[list[str], int | None], int]]:
    """Runs `make minutes` in a fork, to its end or to the step at which it kills itself."""
    files = {"DEATHS": str(folder.with_name("deaths")), "STEPS": str(folder.with_name("steps"))}
    with subprocess.Popen(
        [sys.executable, "-c", FORKER_OF_MINUTES],
        env={**clean_environ(folder, LOG_LEVEL="ERROR"), **files},
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forker:

        def run(args: list[str], dies_at: int | None = None) -> int:
            assert forker.stdin
            assert forker.stdout
            forker.stdin.write(dumps([args, dies_at]) + "\n")
            forker.stdin.flush()
            forker.stdout.readline()  # its process id
            return os.waitstatus_to_exitcode(int(forker.stdout.readline()))

        yield run


def put_back(base: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(base, folder)


@pytest.mark.minutes
def test_after_a_death_anywhere_the_store_is_as_before_or_as_after_and_the_next_run_heals_it(
    tmp_path: Path,
) -> None:
    folder, base = tmp_path / "data", tmp_path / "base"
    folder.mkdir()
    with fork_minutes(folder) as run:
        assert run(BEFORE, None) == 0
        before = read_content(folder)
        shutil.copytree(folder, base)
        assert run(AFTER, 0) == 0
        after = read_content(folder)
        assert (len(before), len(after)) == (1, 2)
        steps = loads((tmp_path / "steps").read_text())
        told = [n + 1 for n, name in enumerate(steps) if name.endswith(" replace")]
        chosen = {told[-4], told[-3], told[-2], told[-1], *random.sample(range(1, len(steps)), 4)}
        for step in sorted(chosen):
            put_back(base, folder)
            assert run(AFTER, step) == -signal.SIGKILL, steps[step - 1]
            assert read_content(folder) in (before, after), steps[step - 1]
            assert run(AFTER, None) == 0, steps[step - 1]
            assert read_content(folder) == after, steps[step - 1]
            left = [path for path in folder.rglob("*.next*") if path.is_file()]
            assert left == [], steps[step - 1]


@pytest.mark.parametrize(
    "room", [900_000, *(pytest.param(r, marks=pytest.mark.minutes) for r in (20_000, 300_000))]
)
def test_where_there_is_no_room_the_store_stays_and_one_line_says_what_to_do(
    data_dir: Path, room: int
) -> None:
    folder, env = data_dir, clean_environ(data_dir)
    assert call_stage(minutes.main, *BEFORE) == 0
    before = read_content(folder)
    failed = run_stage("-c", BOUNDED, str(room), *AFTER, "--since", "2012-12-01", env=env)
    assert failed.returncode == 1, failed.stderr
    errors = [line for line in failed.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, failed.stderr
    assert "room" in errors[0] or "load again" in errors[0]
    assert "Traceback" not in failed.stderr
    assert read_content(folder) == before
    assert call_stage(minutes.main, *AFTER) == 0
    assert set(read_content(folder)) == {"FB", "IBM"}


def test_an_engine_that_is_down_costs_nothing_and_is_named(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("psycopg")
    called = tmp_path / "called"
    monkeypatch.setenv("ON_FAILURE", f"sh -c 'echo $ETL_STAGE $ETL_EXIT_CODE > {called}'")
    address = "postgresql://ann:secret@127.0.0.1:1/market"
    monkeypatch.setenv("MINUTE_STORE", address)
    assert call_stage(minutes.main, *BEFORE) == 1
    told = capsys.readouterr().err
    assert "127.0.0.1:1/market" in told
    assert "secret" not in told
    stages = read_record(data_dir)["stages"]
    assert (stages["transform"]["clean"], stages["load"]["status"]) == (2 * 390, "failed")
    assert "secret" not in str(stages)
    assert called.read_text() == "load 1\n"
    monkeypatch.setenv("MINUTE_STORE", "")
    assert call_stage(minutes.main, *BEFORE) == 0
    assert list(read_content(data_dir)) == ["FB"]


def test_minutes_and_days_have_one_lock(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from etl.base.locks import hold_lock

    with hold_lock(data_dir, "etl"):
        assert call_stage(minutes.main, *BEFORE) == 1
    assert "etl (process" in capsys.readouterr().err
