"""Stores of minute bars for tests: one factory an engine, and what is put into them."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etl.contracts.minutes import BATCH_BARS, NOTES, SESSIONS, SPANS, Batch, MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from tests.clickhouse_server import open_clickhouse
from tests.postgres_server import shared_server

# Name → what opens the one store of this engine in a folder: called again it opens the same store,
# as another process would. It calls pytest.skip with the reason where the engine is missing.
Opener = Callable[[Path], MinuteStore]


def open_files(folder: Path) -> MinuteStore:
    return open_place(Place(folder / "data"))


def open_postgres(folder: Path) -> MinuteStore:
    return open_place(Place(folder / "data", shared_server().address_of(folder)))


OPENERS: dict[str, Opener] = {
    "DuckDB files": open_files,
    "ClickHouse": open_clickhouse,
    "PostgreSQL": open_postgres,
}
# What the contract test of make test does not show of the others runs in make test-minutes.
IN_TURN = [
    pytest.param(name, marks=() if name == "DuckDB files" else pytest.mark.minutes)
    for name in OPENERS
]

OPEN = datetime(2024, 3, 7, 14, 30)  # noqa: DTZ001
FETCHED = datetime(2024, 3, 8, 2)  # noqa: DTZ001


def at(minutes: float = 0, days: float = 0) -> datetime:
    """An instant, counted from the open of 2024-03-07 in New York (14:30 UTC)."""
    return OPEN + timedelta(days=days, minutes=minutes)


def told(hours: float = 0) -> datetime:
    """When an answer was fetched, counted from the night after."""
    return FETCHED + timedelta(hours=hours)


def bar(
    symbol: str,
    when: datetime,
    close: float = 10.0,
    fetched_at: datetime = FETCHED,
    volume: int | None = 100,
    decimals: int | None = 0,
    source: str = "alpaca",
) -> dict[str, Any]:
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return {
        **{"symbol": symbol, "timestamp": when, **prices, "volume": volume},
        **{"volume_decimals": decimals, "source": source, "fetched_at": fetched_at},
    }


def batch(
    *bars: dict[str, Any],
    interval: str = "1m",
    notes: Sequence[tuple[Any, ...]] = (),
    spans: Sequence[tuple[Any, ...]] = (),
    sessions: Sequence[tuple[Any, ...]] = (),
    exchanges: dict[str, str] | None = None,
) -> Batch:
    return Batch(
        interval,
        pa.Table.from_pylist(list(bars), schema=BATCH_BARS),
        exchanges or {},
        *(make_table(rows, each) for rows, each in ((notes, NOTES), (sessions, SESSIONS))),
        make_table(spans, SPANS),
    )


def make_table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema
    )


def session(exchange: str, day: date, hours: float = 6.5) -> tuple[Any, ...]:
    """A row of sessions that opens at 14:30 UTC."""
    opens = datetime.combine(day, OPEN.time(), UTC).replace(tzinfo=None)
    return exchange, day, opens, opens + timedelta(hours=hours), None, None


def load(store: MinuteStore, *batches: Batch, run_id: str = "run") -> str:
    """Upsert and publish; the generation."""
    with store.writing():
        for each in batches:
            store.upsert(each, run_id)
        return store.publish()


def closes(store: MinuteStore, symbol: str, interval: str = "1m", **asked: Any) -> list[Any]:
    return store.snapshot().bars(symbol, interval, **asked)["close"].to_pylist()  # type: ignore[no-any-return]
