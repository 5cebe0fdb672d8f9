"""A PostgreSQL that is killed, or whose disk is full: what was stored stays."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteStoreError, StoreDown
from etl.contracts.minutes.engines import Place, open_place
from tests.minute_stores import at, bar, batch, load, told
from tests.postgres_server import ADMIN, PostgresServer, run_postgres
from tests.test_minute_kills import load_batches

pytestmark = pytest.mark.minutes


@pytest.fixture
def durable_server() -> Iterator[PostgresServer]:
    with run_postgres(is_durable=True) as server:
        yield server


def test_a_server_that_is_killed_has_what_was_published_and_nothing_of_what_was_not(
    durable_server: PostgresServer, tmp_path: Path
) -> None:
    store = open_place(Place(tmp_path, durable_server.create()))
    first = load_batches(store, 0)
    durable_server.kill()
    with pytest.raises(StoreDown):
        store.newest()
    durable_server.start()
    assert store.newest() == first
    with store.writing():
        store.upsert(batch(bar("A", at(0), 50.0, told(9)), bar("D", at(days=99))), "run")
        durable_server.kill()
        with pytest.raises(StoreDown, match=r"lost|does not answer|shutting down"):
            store.publish()
    durable_server.start()
    assert store.newest() == first
    assert store.snapshot().bars("A", "1m")["close"][0].as_py() == 100.0
    assert [fault for _, fault in store.verify() if fault] == []
    assert load_batches(store, 1) != first
    store.close()


def test_a_full_disk_is_told_and_costs_nothing_that_was_stored(tmp_path: Path) -> None:
    with run_postgres() as server, mount_small(server.folder / "small") as small:
        server.execute(f"CREATE TABLESPACE small LOCATION '{small}'")
        server.execute("CREATE DATABASE little TEMPLATE template0 TABLESPACE small")
        store = open_place(Place(tmp_path, server.address("little")))
        before = load(store, batch(bar("A", at(0))))
        many = [bar("B", at(minute)) for minute in range(100_000)]
        with store.writing():
            with pytest.raises(MinuteStoreError, match="has no room left on its disk: make room"):
                store.upsert(batch(*many), "run")
            assert store.publish() == before
        assert [fault for _, fault in store.verify() if fault] == []
        load(store, batch(bar("A", at(1))))
        store.close()


@contextmanager
def mount_small(folder: Path) -> Iterator[Path]:
    """A file system of 10 MB, of which a database takes 2; skipped for who may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m,mode=777", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    shutil.chown(folder, ADMIN)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
