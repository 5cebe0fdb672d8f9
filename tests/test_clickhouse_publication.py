"""Minutes in ClickHouse: a generation is seen whole or not at all, whatever dies when."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.contracts.minutes import Batch, MinuteStoreError, Outdated, StoreDown
from etl.settings import PROJECT_ROOT
from tests.clickhouse_server import ClickHouseServer, run_clickhouse, share_clickhouse
from tests.minute_stores import at, bar, batch, closes, load, told

pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")

from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.store import ClickHouseStore
from etl.contracts.minutes.clickhouse.tables import BARS, write_ddl

State = list[tuple[object, ...]]


class Killed(BaseException):
    """The process is gone: no clause that tidies up may run a statement after it."""


@pytest.fixture(scope="module")
def server() -> ClickHouseServer:
    return share_clickhouse()


@pytest.fixture
def store(server: ClickHouseServer, tmp_path: Path) -> Iterator[ClickHouseStore]:
    opened = open_store(server, tmp_path)
    yield opened
    opened.close()


def open_store(server: ClickHouseServer, folder: Path) -> ClickHouseStore:
    found = server.open_store(folder)
    assert isinstance(found, ClickHouseStore)
    return found


def build_generation(close: float, hours: float) -> Batch:
    """Bars of two symbols and two years, all of one close, and a note; one more bar each time."""
    bars = [
        bar(symbol, at(minute, days), close, told(hours))
        for symbol in ("A", "B")
        for days in (0, 365)
        for minute in range(3 + int(hours))
    ]
    return batch(*bars, notes=[("A", at(0), "spike", f"{close}")])


def read_state(store: ClickHouseStore) -> State:
    """All that readers see of both symbols."""
    seen = store.snapshot()
    return [
        (
            seen.bars(symbol, "1m").to_pylist(),
            seen.bars(symbol, "1m", as_of=told(0.5)).to_pylist(),
            seen.revisions(symbol, "1m", None, None).to_pylist(),
            seen.notes(symbol, "1m", None, None).to_pylist(),
            seen.instruments[symbol, "1m"],
        )
        for symbol in ("A", "B")
    ]


def die_at(store: ClickHouseStore, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this writer be gone in front of the first statement that begins so."""
    is_dead = threading.Event()
    command = Link.command

    def run(link: Link, sql: str, values: object = None) -> None:
        if sql.startswith(statement):
            is_dead.set()
            raise Killed
        command(link, sql, values)  # type: ignore[arg-type]

    def connect(link: Link) -> object:
        if is_dead.is_set():
            raise Killed
        return Link.connect(link)

    monkeypatch.setattr(store.link, "command", run.__get__(store.link))
    monkeypatch.setattr(store.link, "connect", connect.__get__(store.link))


def bury(store: ClickHouseStore, server: ClickHouseServer) -> None:
    """What a minute would do: its place is free."""
    if store.lease is not None:
        store.lease.is_over.set()
    server.run("TRUNCATE TABLE writers", store.link.address.database)


@pytest.fixture(scope="module")
def states(
    server: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[State, State]:
    """What readers see before and after a load that nothing stops."""
    store = open_store(server, tmp_path_factory.mktemp("reference"))
    load(store, build_generation(1.0, 0))
    before = read_state(store)
    load(store, build_generation(2.0, 1))
    after = read_state(store)
    store.close()
    return before, after


def long(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("statement", "is_after"),
    [
        long("CREATE TABLE load_", False),
        ("INSERT INTO generation", False),
        long("ALTER TABLE bars_1m ATTACH PARTITION ID '2024'", True),
        ("ALTER TABLE bars_1m ATTACH PARTITION ID '2025'", True),
        long("ALTER TABLE revisions_1m", True),
        long("DROP TABLE", True),
    ],
)
def test_a_writer_that_dies_leaves_what_was_or_what_comes_and_the_next_one_goes_on(
    server: ClickHouseServer,
    store: ClickHouseStore,
    states: tuple[State, State],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    is_after: bool,
) -> None:
    load(store, build_generation(1.0, 0))
    dying = open_store(server, tmp_path)
    with monkeypatch.context() as patch:
        die_at(dying, statement, patch)
        with pytest.raises(Killed):
            load(dying, build_generation(2.0, 1))
    assert read_state(store) == states[is_after]
    bury(dying, server)
    load(store, build_generation(3.0, 2))
    assert closes(store, "A") == [3.0] * 10
    old = store.snapshot().revisions("A", "1m", None, None)["close"].to_pylist()
    assert (old.count(1.0), old.count(2.0)) == (6, 8 if is_after else 0)
    assert list_loads(server, store) == ""
    assert all(not wrong for _, wrong in store.verify())


def list_loads(server: ClickHouseServer, store: ClickHouseStore) -> str:
    return server.run("SHOW TABLES LIKE 'load%'", store.link.address.database)


def test_merges_take_nothing_from_readers_before_a_generation_is_published(
    server: ClickHouseServer, store: ClickHouseStore
) -> None:
    load(store, build_generation(1.0, 0))
    reader = store.snapshot()
    with store.writing():
        store.upsert(build_generation(2.0, 1), "run")
        merge(server, store)
        assert closes(store, "A") == reader.bars("A", "1m")["close"].to_pylist() == [1.0] * 6
        store.publish()
    merge(server, store)
    assert closes(store, "A") == [2.0] * 8


def merge(server: ClickHouseServer, store: ClickHouseStore) -> None:
    database = store.link.address.database
    for name in server.run("SHOW TABLES", database).split():
        server.run(f"OPTIMIZE TABLE {name} FINAL", database)


def test_merges_leave_one_row_a_bar(server: ClickHouseServer, store: ClickHouseStore) -> None:
    for number in range(4):
        load(store, build_generation(1.0, number))
    merge(server, store)
    count = server.run("SELECT count() FROM bars_1m", store.link.address.database)
    assert int(count) == store.snapshot().stored(["A", "B"], "1m", None, None).num_rows == 24


def test_a_snapshot_gives_what_no_later_load_touched_and_says_where_one_did(
    store: ClickHouseStore,
) -> None:
    load(store, batch(*(bar(symbol, at(i)) for symbol in ("A", "B") for i in range(3))))
    old = store.snapshot()
    load(store, batch(bar("A", at(1), 11.0, told(1)), bar("A", at(3)), bar("A", at(4))))
    assert old.bars("B", "1m").num_rows == 3
    assert old.bars("A", "1m", at(2)).num_rows == 1, "what came behind its last bar is not seen"
    assert old.bars("A", "1m", None, at(1)).num_rows == 1
    for as_of in (None, told()):
        with pytest.raises(Outdated, match="another generation by now: ask once more"):
            old.bars("A", "1m", as_of=as_of)
    assert store.snapshot().bars("A", "1m").num_rows == 5


def test_readers_beside_a_writer_see_one_generation_in_each_answer(
    server: ClickHouseServer, store: ClickHouseStore, tmp_path: Path
) -> None:
    load(store, build_generation(0.0, 0))
    reader = open_store(server, tmp_path)
    is_over = threading.Event()
    seen: list[set[float]] = []

    def read() -> None:
        while not is_over.is_set():
            try:
                snapshot = reader.snapshot()
                found = snapshot.bars("A", "1m")["close"].to_pylist()
            except StoreDown:
                continue
            seen.append(set(found))
            assert len(found) == snapshot.instruments["A", "1m"].bars

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 4):
        load(store, build_generation(float(number), number))
    is_over.set()
    thread.join()
    reader.close()
    assert {len(each) for each in seen} == {1}
    assert len({each.pop() for each in seen}) > 1


def test_a_second_writer_is_told_who_writes(
    server: ClickHouseServer, store: ClickHouseStore, tmp_path: Path
) -> None:
    other = open_store(server, tmp_path)
    with store.writing():
        with pytest.raises(StoreDown, match=rf"process {os.getpid()} writes into .* now: wait"):
            other.upsert(build_generation(1.0, 0), "run")
        store.upsert(build_generation(2.0, 0), "run")
        store.publish()
    load(other, build_generation(3.0, 1))
    assert set(closes(store, "A")) == {3.0}
    other.close()


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_writer_that_lost_its_place_publishes_nothing(
    server: ClickHouseServer, store: ClickHouseStore, tmp_path: Path, is_followed: bool
) -> None:
    load(store, build_generation(1.0, 0))
    late = open_store(server, tmp_path)
    late.upsert(build_generation(2.0, 1), "run")
    bury(late, server)
    if is_followed:
        load(store, build_generation(3.0, 2))
    generation = store.newest()
    with pytest.raises(MinuteStoreError):
        late.publish()
    assert store.newest() == generation
    assert set(closes(store, "A")) == {3.0 if is_followed else 1.0}
    late.close()


KILLED_WRITER = """
import os, sys
from etl.contracts.minutes.clickhouse.link import Link
from tests.test_clickhouse_publication import build_generation
from etl.contracts.minutes.engines import Place, open_place
left = int(sys.argv[2])
connect = Link.connect
def count(link):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return connect(link)
Link.connect = count
store = open_place(Place(None, sys.argv[1]))
store.upsert(build_generation(2.0, 1), "run")
print(store.publish())
"""


@pytest.mark.long
def test_kill_9_of_a_writer_at_any_request_leaves_what_was_or_what_comes(
    server: ClickHouseServer, tmp_path: Path
) -> None:
    is_whole = False
    for number in range(4, 200, 5):
        store = open_store(server, tmp_path / str(number))
        load(store, build_generation(1.0, 0))
        url = server.name_url(store.link.address.database)
        command = [sys.executable, "-c", KILLED_WRITER, url, str(number)]
        process = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, check=False)
        assert set(closes(store, "A")) in ({1.0}, {2.0})
        load(store, build_generation(3.0, 2))
        assert closes(store, "B") == [3.0] * 10
        assert list_loads(server, store) == ""
        store.close()
        if is_whole := process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert is_whole


def test_a_server_that_is_killed_comes_back_with_what_was_published(tmp_path: Path) -> None:
    with run_clickhouse(tmp_path) as server:
        store = open_store(server, tmp_path)
        load(store, build_generation(1.0, 0))
        store.upsert(build_generation(2.0, 1), "run")
        server.kill()
        with pytest.raises(StoreDown, match="does not answer"):
            store.newest()
        with pytest.raises(StoreDown, match="does not answer"):
            store.publish()
        server.start()
        again = open_store(server, tmp_path)
        assert set(closes(again, "A")) == {1.0}
        assert all(not wrong for _, wrong in again.verify())
        for each in (store, again):
            each.close()


def test_bars_have_the_key_the_engine_and_the_codecs_that_were_measured() -> None:
    ddl = write_ddl(BARS, "1m")
    assert "ReplacingMergeTree(version) PARTITION BY toYear(timestamp)" in ddl
    assert "ORDER BY (`symbol`, `timestamp`)" in ddl
    assert ddl.count("Float64 CODEC(Delta, ZSTD(1))") == 4
