"""Minutes in ClickHouse: a generation is seen whole or not at all, and one writer makes it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteStoreError, Outdated, StoreDown
from etl.settings import PROJECT_ROOT
from tests.clickhouse_loads import build_generation, bury, open_store
from tests.clickhouse_server import ClickHouseServer, share_clickhouse
from tests.minute_stores import at, bar, batch, closes, load, told

pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")

from etl.contracts.minutes.clickhouse.store import ClickHouseStore
from etl.contracts.minutes.clickhouse.tables import BARS, write_ddl


@pytest.fixture(scope="module")
def server() -> ClickHouseServer:
    return share_clickhouse()


@pytest.fixture
def store(server: ClickHouseServer, tmp_path: Path) -> Iterator[ClickHouseStore]:
    opened = open_store(server, tmp_path)
    yield opened
    opened.close()


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
    store.upsert(build_generation(2.5, 0), "run")
    with store.writing():
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


def test_bars_have_the_key_the_engine_and_the_codecs_that_were_measured() -> None:
    ddl = write_ddl(BARS, "1m")
    assert "ReplacingMergeTree(version) PARTITION BY toYear(timestamp)" in ddl
    assert "ORDER BY (`symbol`, `timestamp`)" in ddl
    assert ddl.count("Float64 CODEC(Delta, ZSTD(1))") == 4


IN_PROCESS = """
import sys
from pathlib import Path
from etl.contracts.minutes.engines import Place, open_place
from tests.minute_stores import closes, load
from tests.clickhouse_loads import build_generation
store = open_place(Place(Path(sys.argv[1]), "chdb://" + sys.argv[2]))
for close, hours in ((1.0, 0), (2.0, 1)):
    load(store, build_generation(close, hours))
assert closes(store, "A") == [2.0] * 8
assert all(not wrong for _, wrong in store.verify())
print(store.newest() == store.snapshot().generation, store.link.address.shown)
store.close()
"""


@pytest.mark.minutes
def test_the_engine_serves_within_a_process_too(tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    command = [sys.executable, "-c", IN_PROCESS, str(tmp_path), str(folder)]
    ran = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout == f"True chdb://{folder}\n", ran.stderr
