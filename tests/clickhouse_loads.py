"""Loads into ClickHouse for its tests: generations that can be told apart, and what readers see."""

from pathlib import Path

import pytest

from etl.contracts.minutes import Batch
from tests.clickhouse_server import ClickHouseServer
from tests.minute_stores import at, bar, batch, told

pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")

from etl.contracts.minutes.clickhouse.store import ClickHouseStore

State = list[tuple[object, ...]]


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


def bury(store: ClickHouseStore, server: ClickHouseServer) -> None:
    """What a minute would do: its place is free."""
    if store.lease is not None:
        store.lease.is_over.set()
    server.run("TRUNCATE TABLE writers", store.link.address.database)


def list_loads(server: ClickHouseServer, store: ClickHouseStore) -> str:
    return server.run("SHOW TABLES LIKE 'load%'", store.link.address.database)
