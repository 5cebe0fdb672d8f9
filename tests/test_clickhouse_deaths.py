"""Minutes in ClickHouse: whatever dies when, what was published is there; the next load goes on."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.contracts.minutes import StoreDown
from etl.settings import PROJECT_ROOT
from tests.clickhouse_loads import State, build_generation, bury, list_loads, open_store, read_state
from tests.clickhouse_server import ClickHouseServer, run_clickhouse, share_clickhouse
from tests.minute_stores import closes, load

pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")

from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.store import ClickHouseStore


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
    return pytest.param(*values, marks=pytest.mark.minutes)


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


KILLED_WRITER = """
import os, sys
from etl.contracts.minutes.clickhouse.link import Link
from tests.clickhouse_loads import build_generation
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


@pytest.mark.minutes
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
