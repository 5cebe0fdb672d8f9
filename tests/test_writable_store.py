"""What every store that the ETL may write to keeps to (etl.store), whatever keeps the rows."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from etl.base import run_records
from etl.base.errors import StoreError
from etl.load import compare, describe, take_input
from etl.settings import PROJECT_ROOT, Settings, read_settings
from etl.store import KNOWN, Delta, WritableStore
from etl.store.duckdb_file.file_store import write_store
from tests.stores import Answer, copy_folder, make_answer

Opener = Callable[[Settings], AbstractContextManager[WritableStore]]
OPENERS: dict[str, Opener] = {
    "a DuckDB file": lambda settings: write_store(settings, settings.database_path)
}
FIRST: Answer = (
    "2012-02-01T00:00:00",
    [("IBM", "2012-01-03", 186.3, 200), ("IBM", "2012-01-05", 180.0), ("AAPL", "2012-01-03", 58.7)],
)
SECOND: Answer = (
    "2012-02-02T00:00:00",
    [("IBM", "2012-01-03", 187.0, 200), ("IBM", "2012-01-06", 181.0)],
)
NOTHING: Answer = ("2012-02-02T00:00:00", [])
# What is told of a run, and of the publication itself: these grow with each.
OF_RUNS = ("known_runs", "known_run_symbols", "known_generation")
CONTENT = [name for name in KNOWN if name not in OF_RUNS]


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder an implementation, in which FIRST is published."""
    folders = {name: tmp_path_factory.mktemp("writable") / "data" for name in OPENERS}
    for name, folder in folders.items():
        put(OPENERS[name], folder, FIRST)
    return folders


@pytest.fixture
def data(loaded: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    name = request.node.callspec.params["opener"]
    return copy_folder(loaded[name], tmp_path / "data")


def settle(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    return read_settings(Settings, {"DATA_DIR": str(folder)}, {}, Path("no .env"))


def put(
    opener: Opener, folder: Path, answer: Answer, reach: Callable[[str], None] = lambda moment: None
) -> None:
    """Decide what an answer changes, apply it whether it changes anything or not, and publish.

    reach: told of each moment.
    """
    settings = settle(folder)
    path = make_answer(folder.parent / "answers" / "one.parquet", answer)
    run = run_records.open_run(settings)
    with run.record_stage("load") as record, opener(settings) as store:
        take_input(store.connection, settings, path)
        compare(store, record)
        with store.preparing():
            describe(store.connection, settings, run)
        reach("prepared")
        store.apply(Delta(record["inserted"], settings.exchange), run)
        reach("applied")
        store.publish()
        reach("published")


def die_at(wanted: str) -> Callable[[str], None]:
    def reach(moment: str) -> None:
        if moment == wanted:
            os._exit(9)

    return reach


def read(opener: Opener, folder: Path, *names: str) -> dict[str, list[Any]]:
    """The rows of what is known; of the whole content where nothing is named."""
    with opener(settle(folder)) as store:
        store.read_known()
        return {
            name: store.connection.execute(f"FROM {name} ORDER BY ALL").fetchall()
            for name in names or CONTENT
        }


def ask(opener: Opener, folder: Path, query: str) -> list[Any]:
    with opener(settle(folder)) as store:
        store.read_known()
        return store.connection.execute(query).fetchall()


BARS = "SELECT symbol, timestamp::DATE::VARCHAR, close, volume FROM known_bars ORDER BY ALL"


def test_of_nothing_everything_is_known_as_empty(opener: Opener, tmp_path: Path) -> None:
    with opener(settle(tmp_path / "data")) as store:
        assert store.read_known().is_fresh
    found = read(opener, tmp_path / "data", *KNOWN)
    assert found == {name: [] for name in KNOWN}


def test_what_was_applied_is_what_is_known(opener: Opener, data: Path) -> None:
    put(opener, data, SECOND)
    bars = ask(opener, data, BARS)
    assert [(symbol, day, close) for symbol, day, close, _ in bars] == [
        ("AAPL", "2012-01-03", 58.7),
        ("IBM", "2012-01-03", 187.0),
        ("IBM", "2012-01-05", 180.0),
        ("IBM", "2012-01-06", 181.0),
    ]
    assert ask(opener, data, "SELECT close FROM known_revisions") == [(186.3,)]
    assert ask(opener, data, "SELECT symbol, session::VARCHAR FROM known_gaps") == [
        ("IBM", "2012-01-04")
    ]
    spans = ask(opener, data, "SELECT symbol, bars FROM known_instruments ORDER BY symbol")
    assert spans == [("AAPL", 1), ("IBM", 3)]


def test_applying_nothing_changes_nothing_that_is_known(opener: Opener, data: Path) -> None:
    before = read(opener, data)
    put(opener, data, NOTHING)
    assert read(opener, data) == before


def test_applying_the_same_twice_is_once(opener: Opener, data: Path) -> None:
    put(opener, data, SECOND)
    once = read(opener, data)
    put(opener, data, SECOND)
    assert read(opener, data) == once


def test_the_versions_of_untouched_symbols_stay(opener: Opener, data: Path) -> None:
    query = "SELECT symbol, version FROM known_instruments"
    before = dict(ask(opener, data, query))
    put(opener, data, SECOND)
    after = dict(ask(opener, data, query))
    assert after["AAPL"] == before["AAPL"]
    assert after["IBM"] != before["IBM"]


@pytest.mark.parametrize("wanted", ["prepared", "applied"])
def test_a_run_that_fails_before_it_publishes_leaves_what_was(
    opener: Opener, data: Path, wanted: str
) -> None:
    before = read(opener, data, *KNOWN)

    def fail(moment: str) -> None:
        if moment == wanted:
            raise StoreError("stopped here")

    with pytest.raises(StoreError, match="stopped here"):
        put(opener, data, SECOND, fail)
    assert read(opener, data, *KNOWN) == before


@pytest.mark.parametrize(
    "moment", [pytest.param("prepared", marks=pytest.mark.long), "applied", "published"]
)
def test_a_killed_run_leaves_what_was_before_or_after(
    opener: Opener, data: Path, moment: str, request: pytest.FixtureRequest
) -> None:
    before = read(opener, data)
    name = request.node.callspec.params["opener"]
    program = (
        "from pathlib import Path; from tests.test_writable_store import *;"
        f" put(OPENERS[{name!r}], Path({str(data)!r}), SECOND, die_at({moment!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, timeout=120, check=False
    )
    assert done.returncode == 9
    assert (read(opener, data) != before) == (moment == "published")
    put(opener, data, SECOND)  # and the next run goes on from there
    assert len(ask(opener, data, BARS)) == 4


def test_what_was_before_is_restored_and_restored_again(opener: Opener, data: Path) -> None:
    first = read(opener, data)
    put(opener, data, SECOND)
    second = read(opener, data)
    for wanted in (first, second):
        settings = settle(data)
        run = run_records.open_run(settings)
        with run.record_stage("rollback"), opener(settings) as store:
            store.restore(run)
            store.publish()
        assert read(opener, data) == wanted


def test_of_one_version_alone_nothing_is_restored(opener: Opener, data: Path) -> None:
    settings = settle(data)
    run = run_records.open_run(settings)
    with pytest.raises(StoreError), run.record_stage("rollback"), opener(settings) as store:
        store.restore(run)


def test_each_publication_has_a_generation_of_its_own_that_counts_up(
    opener: Opener, data: Path
) -> None:
    numbers = []
    for _ in range(3):
        put(opener, data, NOTHING)
        [(generation,)] = ask(opener, data, "SELECT generation FROM known_generation")
        numbers.append(int(generation.partition("-")[0]))
    assert numbers == sorted(set(numbers))


def test_what_is_published_holds_all_that_must_hold(opener: Opener, data: Path) -> None:
    put(opener, data, SECOND)
    with opener(settle(data)) as store:
        said = list(store.check())
    assert len(said) > 10
    assert [line for line in said if line[1]] == []
