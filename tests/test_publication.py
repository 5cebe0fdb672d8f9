"""Publication: at any moment, a reader or a kill finds the version before or after, whole."""

import fcntl
import os
import random
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from etl import extract, load
from etl.__main__ import main as run_all
from etl.settings import PROJECT_ROOT
from tests.conftest import (
    call_stage,
    clean_environ,
    make_bars,
    query_store,
    read_bars,
    read_record,
    run_stage,
)
from tests.stores import copy_folder, load_file

KILLS = 6  # make test-crash has more

IBM_3 = ("IBM", "2012-01-03", 186.3)
IBM_4 = ("IBM", "2012-01-04", 185.5)
FB_3 = ("FB", "2012-01-03", 38.0)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a published store of two bars, to be copied."""
    folder = tmp_path_factory.mktemp("published") / "data"
    load_file(folder, make_bars(folder.parent / "bars.parquet", [IBM_3, FB_3]))
    return folder


@pytest.fixture
def database(published: Path, data_dir: Path) -> Path:
    """A published store of two bars."""
    return copy_folder(published, data_dir) / "market_data.duckdb"


def load_bars(data_dir: Path, *bars: tuple[Any, ...]) -> int:
    return call_stage(load.main, "--input", make_bars(data_dir.parent / "bars.parquet", bars))


def read_generation(database: Path) -> str:
    generation: str = query_store(database, "SELECT generation FROM generation")[0][0]
    return generation


def read_content(database: Path) -> list[tuple[Any, ...]]:
    """All that a store holds but its generation, and what names the run that brought it."""
    return query_store(
        database,
        """SELECT (SELECT list(b ORDER BY symbol, timestamp) FROM ohlcv_data b),
                  (SELECT list(i ORDER BY symbol)
                   FROM (SELECT * EXCLUDE (version) FROM instruments) i),
                  (SELECT list(a ORDER BY symbol, ex_date) FROM corporate_actions a),
                  (SELECT list((symbol, timestamp, known_from, known_at)
                               ORDER BY symbol, timestamp) FROM ohlcv_known),
                  (SELECT list((symbol, timestamp, close, known_from, known_to)
                               ORDER BY symbol, timestamp, known_to) FROM ohlcv_revisions),
                  (SELECT list((symbol, timestamp, reason) ORDER BY symbol, timestamp, reason)
                   FROM bar_notes),
                  (SELECT list(g ORDER BY symbol, session) FROM gaps g)""",
    )


def previous_of(database: Path) -> Path:
    return database.with_name("market_data.previous.duckdb")


def wal_of(database: Path) -> Path:
    return database.with_name(database.name + ".wal")


# Versions


def test_the_published_file_is_for_reading_only(database: Path) -> None:
    assert stat.S_IMODE(database.stat().st_mode) == 0o440


def read_storage(database: Path) -> str:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{database}' AS store (READ_ONLY)")
        return str(
            connection.execute(
                "SELECT tags['storage_version'] FROM duckdb_databases()"
                " WHERE database_name = 'store'"
            ).fetchall()[0][0]
        )


def test_every_published_file_can_be_read_by_duckdb_1_2(data_dir: Path, database: Path) -> None:
    assert read_storage(database) == "v1.2.0+"
    assert load_bars(data_dir, IBM_4) == 0
    assert read_storage(database) == "v1.2.0+"


def test_a_store_of_a_newer_storage_version_is_written_anew_by_the_next_load(
    data_dir: Path, database: Path
) -> None:
    own = database.with_name("own.duckdb")
    with duckdb.connect(str(own)) as connection:  # as a program writes it that says no version
        connection.execute(f"ATTACH '{database}' AS store (READ_ONLY)")
        connection.execute("COPY FROM DATABASE store TO own")
    own.replace(database)
    assert read_storage(database) != "v1.2.0+"
    assert load_bars(data_dir, IBM_4) == 0
    assert read_storage(database) == "v1.2.0+"
    assert [row[5] for row in read_bars(database)] == [38.0, 186.3, 185.5]


def test_the_version_before_stays_as_the_previous_file(data_dir: Path, database: Path) -> None:
    assert not previous_of(database).exists()
    for bar in (IBM_4, ("IBM", "2012-01-05", 184.6)):
        before, inode = read_content(database), database.stat().st_ino
        assert load_bars(data_dir, bar) == 0
        assert read_content(previous_of(database)) == before
        assert previous_of(database).stat().st_ino == inode
        assert read_content(database) != before


def test_a_load_leaves_nothing_unfinished_behind(data_dir: Path, database: Path) -> None:
    assert load_bars(data_dir, IBM_4) == 0
    assert {path.name for path in data_dir.iterdir()} == {
        "etl.lock",
        "etl.log",
        "generation",
        "market_data.duckdb",
        "market_data.previous.duckdb",
        "runs",
    } | ({"tmp"} if (data_dir / "tmp").exists() else set())


def test_each_publication_counts_one_up_under_a_name_never_used_before(
    data_dir: Path, database: Path
) -> None:
    seen = [read_generation(database)]
    for price in range(3):
        assert load_bars(data_dir, ("IBM", "2012-01-03", 100.0 + price)) == 0
        seen.append(read_generation(database))
    assert [re.fullmatch(r"(\d+)-[0-9a-f]{8}", name)[1] for name in seen] == ["1", "2", "3", "4"]  # type: ignore[index]
    assert len({name.partition("-")[2] for name in seen}) == 4


@pytest.mark.long
@pytest.mark.parametrize("lost", ["market_data*", "generation"])
def test_the_counter_goes_on_though_the_database_or_the_counter_is_lost(
    data_dir: Path, database: Path, lost: str
) -> None:
    assert load_bars(data_dir, IBM_4) == 0
    for path in data_dir.glob(lost):
        path.unlink()
    assert load_bars(data_dir, ("IBM", "2012-01-05", 184.6)) == 0
    assert read_generation(database).startswith("3-")


def test_an_old_version_put_back_is_followed_by_a_generation_above_all(
    data_dir: Path, database: Path
) -> None:
    assert load_bars(data_dir, IBM_4) == 0
    previous_of(database).replace(database)
    assert load_bars(data_dir, IBM_4) == 0
    assert read_generation(database).startswith("3-")


def test_the_whole_etl_twice_is_once(own_sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = own_sample / "market_data.duckdb"
    before = read_content(database), read_generation(database)
    assert call_stage(run_all, "--source", "sample") == 0
    assert (read_content(database), read_generation(database)) == before
    assert "12,154 unchanged; nothing to publish" in capsys.readouterr().err


def test_a_file_between_stages_is_replaced_and_never_written_over(own_sample: Path) -> None:
    raw, kept = own_sample / "raw_data.parquet", own_sample / "kept"
    before = raw.read_bytes()
    os.link(raw, kept)
    assert call_stage(extract.main, "--source", "sample", "--symbols", "FB") == 0
    assert kept.read_bytes() == before
    assert raw.read_bytes() != before


# Killed


LOADER = """
import os, sys
from etl import load

ALL_EVENTS = "open os.rename os.link os.remove os.chmod os.mkdir"
FILE_EVENTS = set(os.environ.get("FILE_EVENTS", ALL_EVENTS).split())
folder = os.environ["DATA_DIR"]

def die_at(step):
    def count(event, args):
        nonlocal step
        if event in FILE_EVENTS and str(args[0]).startswith(folder):
            step -= 1
            if step == 0:
                os.kill(os.getpid(), 9)
    sys.addaudithook(count)

for line in sys.stdin:
    child = os.fork()
    if not child:
        die_at(int(line))
        os._exit(load.main(sys.argv[1:]))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Loader:
    """A process that has imported all it needs, and forks one loader for each line it gets."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def start(self, dies_at: int = 0) -> int:
        """Start a loader, which kills itself before file operation `dies_at`; its process id."""
        assert self.process.stdin
        self.process.stdin.write(f"{dies_at}\n")
        self.process.stdin.flush()
        return self.read()

    def has_ended(self, seconds: float) -> bool:
        assert self.process.stdout
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def read(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())


@contextmanager
def prepare_loader(data_dir: Path, path: Path, **environ: str) -> Iterator[Loader]:
    command = [sys.executable, "-c", LOADER, "--input", str(path)]
    with subprocess.Popen(
        command,
        env={**clean_environ(data_dir, LOG_LEVEL="ERROR"), **environ},
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Loader(process)


class Ledger:
    """Checks a store after each death against the contents before and after the load."""

    def __init__(self, data_dir: Path, path: Path) -> None:
        self.database = data_dir / "market_data.duckdb"
        self.start = data_dir.parent / "start.duckdb"
        shutil.copy(self.database, self.start)
        self.before = read_content(self.database)
        self.generations = {read_generation(self.database)}
        assert call_stage(load.main, "--input", path) == 0
        self.after = read_content(self.database)
        assert self.after != self.before
        self.generations.add(read_generation(self.database))
        self.put_back()

    def put_back(self) -> None:
        fresh = self.database.with_name("fresh")
        shutil.copy(self.start, fresh)
        fresh.replace(self.database)

    def check(self, where: object) -> bool:
        """Whether the load was published; the store is then put back as it was before."""
        # each load reads the records of all deaths
        shutil.rmtree(self.database.parent / "runs", ignore_errors=True)
        content = read_content(self.database)
        assert content in (self.before, self.after), where
        assert not wal_of(self.database).exists(), where
        assert read_content(previous_of(self.database)) in (self.before, self.after), where
        if content == self.before:
            return False
        generation = read_generation(self.database)
        assert generation not in self.generations, where
        self.generations.add(generation)
        self.put_back()
        return True


@pytest.mark.long
def test_kill_9_at_random_moments_leaves_the_version_before_or_after(own_sample: Path) -> None:
    days = [f"2013-{month:02}-{day:02}" for month in range(3, 13) for day in range(1, 29)]
    bars = [(symbol, day, 50.0) for symbol in ("IBM", "MSFT", "NEW") for day in days]
    path = make_bars(own_sample.parent / "bars.parquet", bars, source="sample")
    ledger = Ledger(own_sample, path)
    with prepare_loader(own_sample, path) as loader:
        loader.start()
        began = time.monotonic()
        assert loader.read() == 0
        duration = time.monotonic() - began
        assert ledger.check("undisturbed")
        killed = sum(
            kill_after(loader, (i + random.random()) / KILLS * duration, ledger)
            for i in range(KILLS)
        )
        assert killed
        loader.start()
        assert loader.read() == 0
    assert ledger.check("after all deaths")


def kill_after(loader: Loader, seconds: float, ledger: Ledger) -> bool:
    child = loader.start()
    if not loader.has_ended(seconds):
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, signal.SIGKILL)
    status = loader.read()
    ledger.check(f"killed after {seconds} s")
    return os.WIFSIGNALED(status)


@pytest.mark.long
def test_a_death_before_any_file_operation_leaves_the_version_before_or_after(
    data_dir: Path, database: Path
) -> None:
    path = make_bars(data_dir.parent / "more.parquet", [IBM_4, ("IBM", "2012-01-03", 186.4)])
    ledger = Ledger(data_dir, path)
    published = []
    with prepare_loader(data_dir, path) as loader:
        # every sixth; tests/crash.py walks them all
        for step in range(random.randint(1, 6), 200, 6):
            loader.start(dies_at=step)
            status = loader.read()
            published.append(ledger.check(f"died at step {step}"))
            if status == 0:
                break
        assert status == 0
    assert len(published) > 4
    assert published == sorted(published)  # once published, every later death finds it so


# A file that another program wrote to

WRITER = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("PRAGMA disable_checkpoint_on_shutdown")
connection.execute(sys.argv[2])
os._exit(0)
"""


def write_as_a_user(database: Path, query: str) -> None:
    """What a user's shell leaves that changed the published file and died: a WAL beside it."""
    database.chmod(0o644)
    done = run_stage("-c", WRITER, database, query, env=clean_environ(database.parent))
    assert done.returncode == 0, done.stderr
    assert wal_of(database).exists()


def test_a_wal_that_a_writer_left_is_folded_in(data_dir: Path, database: Path) -> None:
    write_as_a_user(database, "UPDATE ohlcv_data SET close = 39.5 WHERE symbol = 'FB'")
    assert load_bars(data_dir, IBM_4) == 0
    assert not wal_of(database).exists()
    assert [(row[1], row[5]) for row in read_bars(database)] == [
        ("FB", 39.5),
        ("IBM", 186.3),
        ("IBM", 185.5),
    ]
    assert [row[5] for row in read_bars(previous_of(database))] == [39.5, 186.3]


@pytest.mark.long
def test_what_a_writer_left_in_a_wal_outlives_a_death_before_any_rename_link_or_remove(
    data_dir: Path, database: Path
) -> None:
    assert load_bars(data_dir, ("IBM", "2012-01-05", 184.6)) == 0  # there is a version before
    write_as_a_user(database, "UPDATE ohlcv_data SET close = 39.5 WHERE symbol = 'FB'")
    base = copy_folder(data_dir, data_dir.with_name("base"))
    path = make_bars(data_dir.parent / "bars.parquet", [IBM_4])
    with prepare_loader(data_dir, path, FILE_EVENTS="os.rename os.link os.remove") as loader:
        for step in range(1, 100):
            loader.start(dies_at=step)
            status = loader.read()
            assert call_stage(load.main, "--input", path) == 0
            closes = {(row[1], str(row[0])[:10]): row[5] for row in read_bars(database)}
            assert closes["FB", "2012-01-03"] == 39.5, step
            assert closes["IBM", "2012-01-04"] == 185.5, step
            shutil.rmtree(data_dir)
            copy_folder(base, data_dir)
            if status == 0:
                break
    assert step > 8


@pytest.mark.parametrize("has_wal", [True, False])
def test_bars_that_a_writer_added_or_deleted_are_taken_into_the_instruments(
    data_dir: Path, database: Path, has_wal: bool
) -> None:
    write_as_a_user(
        database,
        "INSERT INTO ohlcv_data SELECT * REPLACE ('OWN' AS symbol, 1.5 AS close) FROM ohlcv_data"
        " WHERE symbol = 'IBM'; INSERT INTO ohlcv_data SELECT * REPLACE ('TOO' AS symbol)"
        " FROM ohlcv_data WHERE symbol = 'OWN'; DELETE FROM ohlcv_data WHERE symbol = 'FB'",
    )
    if not has_wal:
        duckdb.connect(str(database)).close()
        assert not wal_of(database).exists()
    assert load_bars(data_dir, IBM_4) == 0
    found = "SELECT symbol, bars, last_close FROM instruments ORDER BY symbol"
    assert query_store(database, found) == [("IBM", 2, 185.5), ("OWN", 1, 1.5), ("TOO", 1, 1.5)]


@pytest.mark.long
def test_a_stray_wal_of_another_version_is_set_aside(data_dir: Path, database: Path) -> None:
    kept = data_dir.parent / "kept.duckdb"
    shutil.copy(database, kept)
    write_as_a_user(kept, "UPDATE ohlcv_data SET close = 1.5")
    assert load_bars(data_dir, IBM_4) == 0
    wal_of(kept).replace(wal_of(database))
    assert load_bars(data_dir, ("IBM", "2012-01-05", 184.6)) == 0
    assert [row[5] for row in read_bars(database)] == [38.0, 186.3, 185.5, 184.6]
    assert (data_dir / "market_data.duckdb.wal.stray").exists()


def refuse_to_load(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a load is refused."""
    capsys.readouterr()
    assert load_bars(data_dir, IBM_4) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("damage", [b"not a database", b"", b"\0" * 20_000])
def test_a_damaged_file_is_refused_with_the_remedy_and_not_touched(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    assert load_bars(data_dir, ("IBM", "2012-01-05", 184.6)) == 0
    database.unlink()
    database.write_bytes(damage)
    line = refuse_to_load(data_dir, capsys)
    assert f"{database} is damaged or no DuckDB file: move it away, and copy" in line
    assert "market_data.previous.duckdb in its place" in line
    assert database.read_bytes() == damage


def test_a_damaged_file_with_a_wal_is_refused_with_the_remedy_too(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.unlink()
    database.write_bytes(b"not a database")
    wal_of(database).write_bytes(b"nor this a WAL")
    assert "is damaged or no DuckDB file: move it away" in refuse_to_load(data_dir, capsys)


def test_the_name_of_a_folder_does_not_change_what_is_wrong_with_a_file(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a lock and a block"
    folder.mkdir()
    (folder / "store.duckdb").write_bytes(b"not a database")
    path = make_bars(tmp_path / "bars.parquet", [IBM_3])
    assert call_stage(load.main, "--input", path, "--database", folder / "store.duckdb") == 1
    assert "store.duckdb is damaged or no DuckDB file" in capsys.readouterr().err


def test_the_database_of_another_program_is_refused_and_not_touched(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = data_dir / "market_data.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE ohlcv_data (mine INTEGER)")
    before = database.read_bytes()
    line = refuse_to_load(data_dir, capsys)
    assert (
        "is no store of this service (it has no action_lists, answers, bar_note_revisions, " in line
    )
    assert line.endswith("move it away")
    assert database.read_bytes() == before


def test_the_store_of_a_newer_version_is_refused_with_the_remedy(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.chmod(0o644)
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE generation SET schema_version = 99")
    line = refuse_to_load(data_dir, capsys)
    assert "was written by a newer version (schema 99): update this one" in line


def test_a_file_that_is_open_for_writing_elsewhere_is_refused_with_the_remedy(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.chmod(0o644)
    holder = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    with talk(holder, database) as process:
        assert ask(process) == "1"
        line = refuse_to_load(data_dir, capsys)
    assert f"{database} is open for writing elsewhere: close that program" in line


# Beside others


@contextmanager
def talk(code: str, *args: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """A Python process that says a line and waits for one, as often as it likes."""
    command = [sys.executable, "-c", code, *map(str, args)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: "subprocess.Popen[str]", say: str = "") -> str:
    """Say a line, if any, and hear one."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(say)
    process.stdin.flush()
    return process.stdout.readline().strip()


READER = """
import duckdb, sys
connection = duckdb.connect(":memory:")
connection.execute(f"ATTACH '{sys.argv[1]}' AS market (READ_ONLY)")
while True:
    rows = connection.execute("SELECT count(*), sum(close) FROM market.ohlcv_data").fetchall()
    print(rows[0], flush=True)
    input()
"""


def test_a_reader_keeps_its_version_while_loads_publish(data_dir: Path, database: Path) -> None:
    with talk(READER, database) as reader:
        before = ask(reader)
        for price in (1.5, 2.5, 3.5):
            assert load_bars(data_dir, ("IBM", "2012-01-03", price), IBM_4) == 0
            assert ask(reader, "again\n") == before
    with talk(READER, database) as reader:
        assert ask(reader) == str((3, 38.0 + 3.5 + 185.5))


@pytest.mark.parametrize(
    "args",
    [
        *(("-m", "etl"), ("etl/load.py",)),
        *(
            pytest.param(("-m", f"etl.{stage}"), marks=pytest.mark.long)
            for stage in ("extract", "transform")
        ),
    ],
)
def test_whoever_comes_second_is_refused_at_once_and_told_who_holds_the_lock(
    data_dir: Path, args: tuple[str, ...]
) -> None:
    holder = "load (process 4711, since 2024-01-02T03:04:05Z)"
    env = clean_environ(data_dir, SOURCE="sample")
    with (data_dir / "etl.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # keeps out those alone who want it to themselves
        file.write(holder)
        file.flush()
        done = run_stage(*args, env=env)  # ends while the lock is held: it did not wait
    assert done.returncode == 1
    assert done.stderr == f"ERROR {holder} holds the lock of {data_dir}: wait till it ends\n"
    assert not list(data_dir.glob("*.parquet"))


def test_the_lock_of_a_dead_process_is_no_lock(data_dir: Path, database: Path) -> None:
    (data_dir / "etl.lock").write_text("load (process 4711, since 2024-01-02T03:04:05Z)" * 2)
    assert load_bars(data_dir, IBM_4) == 0
    held_by = (data_dir / "etl.lock").read_text()
    assert re.fullmatch(rf"load \(process {os.getpid()}, since [0-9TZ:-]+\)", held_by)


# Disk errors


def test_a_disk_that_is_full_leaves_the_published_file_and_one_line(
    data_dir: Path, database: Path
) -> None:
    before = read_content(database)
    bars = [(f"S{i}", "2012-01-03", 10.0 + i) for i in range(60_000)]
    path = make_bars(data_dir.parent / "bars.parquet", bars)
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500000,) * 2);"
        " sys.argv[0] = 'load'; runpy.run_module('etl.load', run_name='__main__')"
    )
    done = run_stage("-c", limited, "--input", path, env=clean_environ(data_dir))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("ERROR ")
    assert [file.name for file in data_dir.iterdir() if ".next" in file.name] == []
    assert read_content(database) == before
    assert read_record(data_dir)["stages"]["load"]["status"] == "failed"
    assert load_bars(data_dir, IBM_4) == 0
    assert len(read_bars(database)) == 3


def test_a_folder_that_cannot_be_written_gives_one_line(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_dir / "runs").write_text("a file in the way")
    assert load_bars(data_dir, IBM_4) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR ")
    assert f"{data_dir}/runs" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_the_right_to_write_gives_one_line(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir.chmod(0o555)
    try:
        line = refuse_to_load(data_dir, capsys)
    finally:
        data_dir.chmod(0o755)
    assert "Permission denied" in line


def test_a_data_folder_that_is_a_file_exits_2_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the way")
    done = run_stage("-m", "etl.load", env=clean_environ(tmp_path / "data"))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "data") in line
