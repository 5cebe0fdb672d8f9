"""Damaged, foreign and strange things in the data folder: one clear line each, and nothing lost."""

import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.store.duckdb_file.snapshots import Database
from etl import load, report, rollback, transform, verify
from etl.__main__ import main as run_all
from etl.base import locks, parquet_sql, whole_files
from etl.contracts.files import RAW_ACTIONS
from etl.rules.clean_actions import type_actions
from etl.store.duckdb_file import attached, publish
from etl.store.duckdb_file.attached import previous_of
from tests.conftest import call_stage, clean_environ, make_bars, read_bars, run_stage
from tests.stores import copy_folder, load_answer, store_of

DAY = "2024-01-09"
BAR = ("IBM", "2024-01-02", 5.0)
NEXT = ("IBM", "2024-01-03", 6.0)


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some size, and the version before it."""
    folder = tmp_path_factory.mktemp("versions") / "data"
    load_answer(folder, DAY, BAR)
    load_answer(folder, DAY, *((f"S{n}", "2024-01-02", 5.0 + n % 7) for n in range(3000)))
    return folder


@pytest.fixture
def own_store(two_versions: Path, data_dir: Path) -> Path:
    return copy_folder(two_versions, data_dir)


def load_next(data_dir: Path) -> int:
    return call_stage(load.main, "--input", make_bars(data_dir.parent / "next.parquet", [NEXT]))


def read_line(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = capsys.readouterr().err.splitlines()
    return line


def put(path: Path, kind: str) -> None:
    """Something that is no file, under the name of one."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))


@pytest.mark.parametrize(
    "kind", ["pipe", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("folder", "socket"))]
)
def test_what_is_no_file_is_named_at_once(own_store: Path, kind: str) -> None:
    env = clean_environ(own_store, SOURCE="sample")
    put(store_of(own_store), kind)
    for args in (("etl", "--if-needed"), ("etl.verify",)):
        done = run_stage("-m", *args, env=env)
        assert done.returncode == 1
        assert f"{store_of(own_store)} is no file" in done.stderr.splitlines()[-1]
    snapshot = Database(store_of(own_store), 64, 1).newest()
    assert snapshot.generation.startswith("1-")  # the version before


@pytest.mark.parametrize(
    ("name", "main"),
    [
        *(("raw_data.parquet", transform.main), ("etl.lock", load.main)),
        pytest.param("clean_data.parquet", load.main, marks=pytest.mark.long),
        pytest.param("etl.log", load.main, marks=pytest.mark.long),
    ],
)
def test_a_pipe_under_any_name_of_the_data_folder_is_named_at_once(
    own_store: Path, name: str, main: Callable[[list[str]], int]
) -> None:
    put(own_store / name, "pipe")
    done = run_stage("-m", main.__module__, env=clean_environ(own_store))
    assert done.returncode in (1, 2)
    [line] = done.stderr.splitlines()
    assert f"{own_store / name} is no file (a pipe, a socket or a device): move it away" in line


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_file_that_was_cut_short_is_refused_with_the_remedy_and_rolls_back(
    own_store: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    path = store_of(own_store)
    body = path.read_bytes()
    path.unlink()
    path.write_bytes(body[: int(share * len(body))])
    assert load_next(own_store) == 1
    assert f"{path} is damaged or no DuckDB file: move it away, and copy" in read_line(capsys)
    assert call_stage(rollback.main) == 0
    assert len(read_bars(path)) == 1


@pytest.mark.long
def test_a_flipped_bit_within_the_database_is_one_line_and_rolls_back(
    own_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, previous = store_of(own_store), previous_of(store_of(own_store))
    whole, before = path.read_bytes(), previous.read_bytes()
    refused = 0
    for share in (0.01, 0.2, 0.4, 0.6, 0.8, 0.93):
        at = int(share * len(whole))
        for file, body in (
            (path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]),
            (previous, before),
        ):
            file.unlink()
            file.write_bytes(body)
        capsys.readouterr()
        if load_next(own_store):  # a block that is not read is found out by who reads it
            line = read_line(capsys)
            assert "rollback" in line or "move it away" in line, line
            refused += 1
            assert call_stage(rollback.main) == 0, share
            assert len(read_bars(path)) == 1
    assert refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM generation", "does not say which version it is"),
        ("ALTER TABLE ohlcv_data DROP volume", "it has no ohlcv_data.volume"),
        ("ALTER TABLE bar_notes RENAME reason TO why", "it has no bar_notes.reason"),
        ("DROP TABLE gaps", "it has no gaps"),
        ("DROP TABLE generation", "it has no generation"),
    ],
)
def test_a_database_with_other_tables_or_columns_is_refused_with_what_it_lacks(
    own_store: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    with duckdb.connect() as connection:  # a copy: what depends on a column is left behind
        path = store_of(own_store)
        path.chmod(0o644)
        connection.execute(f"ATTACH '{path}' AS store")
        connection.execute("USE store")
        if "DROP volume" in change:
            change = (
                "CREATE TABLE o AS SELECT * EXCLUDE (volume) FROM ohlcv_data;"
                "DROP TABLE ohlcv_data; ALTER TABLE o RENAME TO ohlcv_data"
            )
        connection.execute(change)
    before = path.read_bytes()
    assert load_next(own_store) == 1
    line = read_line(capsys)
    assert said in line
    assert "move it away" in line
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        *(b"\xff\xfe", b"-3"),
        *(
            pytest.param(text, marks=pytest.mark.long)
            for text in (b"9" * 5000, b"12 bars", b"", b"1e3")
        ),
    ],
)
def test_a_damaged_counter_is_set_aside_and_goes_on(
    own_store: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    (own_store / "generation").write_bytes(text)
    assert load_next(own_store) == 0
    assert "generation is damaged: set aside as generation.damaged" in capsys.readouterr().err
    assert (own_store / "generation.damaged").read_bytes() == text
    assert (own_store / "generation").read_text() == "3\n"


def test_what_is_set_aside_replaces_nothing(tmp_path: Path) -> None:
    for text in ("a", "b", "c"):
        (tmp_path / "x").write_text(text)
        whole_files.set_aside(tmp_path / "x", "")
    assert [p.read_text() for p in sorted(tmp_path.iterdir())] == ["a", "b", "c"]


def test_a_file_that_is_damaged_inside_is_named_by_the_stage_that_reads_it(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = [(f"S{n}", "2024-01-02", 5.0 + n / 7) for n in range(3000)]
    path = make_bars(tmp_path / "bars.parquet", bars)
    whole = path.read_bytes()
    refused = 0
    for at in range(100, len(whole), len(whole) // 9):
        path.write_bytes(whole[:at] + bytes(40) + whole[at + 40 :])
        capsys.readouterr()
        code = call_stage(load.main, "--input", path, "--database", tmp_path / f"{at}.duckdb")
        lines = capsys.readouterr().err.splitlines()
        refused += code
        if code:
            assert len(lines) == 1
            assert str(path) in lines[0], lines
    assert refused


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (duckdb.OutOfMemoryException("Out of Memory Error: x"), "set ETL_MEMORY_MB higher"),
        (MemoryError(), "set ETL_MEMORY_MB higher"),
        (duckdb.IOException('IO Error: Could not write "x": No space left on device'), "make room"),
        (OSError(28, "No space left on device", "a/b"), "a/b: No space left on device: the disk"),
        (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied: give this us"),
        (IsADirectoryError(21, "Is a directory", "a/b"), "a folder is in the place of a file"),
        (duckdb.Error("Corrupt database file: computed checksum 1"), "`make rollback`"),
        (duckdb.Error("Invalid Input Error: one\ntwo"), "one"),
    ],
)
def test_an_error_of_the_machine_is_one_line_with_the_remedy(error: Exception, said: str) -> None:
    text = parquet_sql.describe(error)
    assert said in text
    assert "\n" not in text


# Leftovers of a kill


def test_what_a_killed_run_left_goes_at_the_next_run(own_store: Path) -> None:
    left = [
        *("raw_data.parquet.next", "clean_actions.parquet.next", "generation.next"),
        *("market_data.next.duckdb", "market_data.next.duckdb.wal", "report.html.4711.next"),
        *("market_data.next.duckdb.sorted", "market_data.previous.duckdb.next"),
        *("runs/20240101T000000Z-000000.json.next", "tmp/judged.parquet"),
        *("tmp/duckdb_temp_storage_DEFAULT-0.tmp", "tmp/etl-x/duckdb_temp_block-1.block"),
        f"tmp/etl-{os.getpid()}/duckdb_temp_block-1.block",
    ]
    kept = [f"tmp/etl-{os.getppid()}/duckdb_temp_block-1.block", "notes.next", "mine/a.next"]
    for name in (*left, *kept):
        (own_store / name).parent.mkdir(parents=True, exist_ok=True)
        (own_store / name).write_bytes(b"half")
    assert load_next(own_store) == 0
    assert [name for name in left if (own_store / name).exists()] == []
    assert [name for name in kept if not (own_store / name).exists()] == []


# Locks, and folders that may only be read


def test_those_who_read_share_the_lock_and_keep_out_who_writes(
    own_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locks.hold_lock(own_store, "verify", is_shared=True):
        for main in (verify.main, report.main):
            assert call_stage(main) == 0
        capsys.readouterr()
        assert load_next(own_store) == 1
        assert f"report (process {os.getpid()}, since" in read_line(capsys)
    with locks.hold_lock(own_store, "load"):
        for main in (verify.main, report.main):
            assert call_stage(main) == 1
            assert "load (process" in read_line(capsys)
    assert not list(own_store.glob("report.html.*"))


@pytest.mark.parametrize("source", ["sample", "files"])
def test_a_store_is_served_whoever_holds_the_lock(
    own_sample: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """What `make serve` calls first: `files` would add to the sample, if it could."""
    monkeypatch.setenv("SOURCE", source)
    with locks.hold_lock(own_sample, "load"):
        assert call_stage(run_all, "--if-needed") == 0
        assert call_stage(run_all) == 1


@pytest.mark.parametrize("name", ["etl.log", "etl.lock", "tmp"])
def test_who_only_reads_needs_to_write_nothing(
    own_sample: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As in a folder that may only be read, where none of these can be opened for writing."""
    if name == "tmp":
        (own_sample / name).rmdir()
    else:
        (own_sample / name).unlink()
    (own_sample / name).symlink_to(own_sample / "missing" / "folder")
    assert call_stage(run_all, "--if-needed") == 0
    assert call_stage(verify.main) == 0
    assert call_stage(run_all) == (1 if name == "etl.lock" else 2) or name == "tmp"


# Rights


def test_what_the_etl_makes_is_not_for_other_users(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    old = os.umask(0o022)
    try:
        done = run_stage("-m", "etl", env=clean_environ(folder, SOURCE="sample", SYMBOLS="FB"))
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    made = [folder, *folder.rglob("*")]
    assert len(made) > 8
    assert [p for p in made if stat.S_IMODE(p.stat().st_mode) & 0o027] == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


# A write-ahead log that a user left


def test_a_wal_goes_back_where_it_was_if_it_is_not_what_is_wrong(own_store: Path) -> None:
    path = store_of(own_store)
    path.unlink()
    path.write_bytes(b"no database")
    attached.wal_of(path).write_bytes(b"rows of a user")
    assert load_next(own_store) == 1
    assert attached.wal_of(path).read_bytes() == b"rows of a user"
    assert not list(own_store.glob("*.stray*"))


# Corporate actions that are none


def test_corporate_actions_that_cannot_be_read_are_one_line_and_nan_is_none(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actions = [
        {"symbol": "A", "ex_date": "2024-01-02", "kind": "dividend", "value": value}
        for value in ("NaN", *("nan",) * 500, *("free",) * 20)
    ]
    path = data_dir / "actions.parquet"
    pq.write_table(pa.Table.from_pylist(actions, schema=RAW_ACTIONS), path)
    logging.getLogger("etl").handlers = [logging.StreamHandler()]
    with duckdb.connect() as connection:
        assert type_actions(connection, path) == 0
    line = read_line(capsys)
    assert line.startswith("transform: left out 20 corporate actions that cannot be read: A 2024-")
    assert line.count("free") == 3


def test_a_pipe_in_place_of_a_log_of_the_database_is_named(
    own_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(attached.wal_of(store_of(own_store)), "pipe")
    assert load_next(own_store) == 1
    assert "market_data.duckdb.wal is no file (a pipe" in read_line(capsys)


def test_a_pipe_where_a_stage_writes_is_taken_away(own_store: Path) -> None:
    put(own_store / "clean_data.parquet.next", "pipe")
    put(publish.next_of(store_of(own_store)), "pipe")
    assert load_next(own_store) == 0
    assert list(own_store.glob("*.next*")) == []
