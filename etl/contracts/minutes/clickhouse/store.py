"""The minute store in ClickHouse: any number of readers, one writer."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, cast

import duckdb
import pyarrow as pa

from etl.contracts.minutes import (
    SESSIONS,
    Batch,
    Counts,
    MinuteInstrument,
    MinuteStoreError,
    MixedSources,
    Outdated,
    find_mixed,
)
from etl.contracts.minutes.clickhouse import checks
from etl.contracts.minutes.clickhouse.accounts import Accounts, read_accounts, to_accounts
from etl.contracts.minutes.clickhouse.address import Address
from etl.contracts.minutes.clickhouse.lease import Lease
from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.load import Load, begin, prepare
from etl.contracts.minutes.clickhouse.published import Published, Question, ask, read_published
from etl.contracts.minutes.clickhouse.snapshot import ClickHouseSnapshot, check_old
from etl.contracts.minutes.clickhouse.tables import TIMED
from etl.contracts.minutes.clickhouse.upsert import Upsert
from etl.contracts.minutes.instruments import ACCOUNTS, describe
from etl.contracts.minutes.verify import verify_rows

TRIES = 3  # to open a snapshot while others publish


class ClickHouseStore:
    def __init__(self, address: Address, memory_mb: int) -> None:
        self.link = Link(address)
        self.memory_mb = memory_mb
        self.lock = threading.Lock()
        self.connection: duckdb.DuckDBPyConnection | None = None
        self.lease: Lease | None = None
        self.load: Load | None = None
        self.is_checked = False
        self.prepared: set[str] = set()  # intervals whose tables are there
        self.is_held = False  # by a block of `writing`
        self.written: tuple[str, Accounts] = "", {}  # generation and accounts

    def newest(self) -> str:
        return read_published(self.link).generation

    def snapshot(self) -> ClickHouseSnapshot:
        """What is published now; once more where something else is by the time it was read."""
        self.check_tables()
        for _ in range(TRIES - 1):
            try:
                return self.open_snapshot(read_published(self.link))
            except Outdated:
                continue
        return self.open_snapshot(read_published(self.link))

    def open_snapshot(self, published: Published) -> ClickHouseSnapshot:
        accounts = check_old(self.link, read_accounts(self.link, published))
        keys = zip(accounts["symbol"].to_pylist(), accounts["interval"].to_pylist(), strict=True)
        instruments = self.describe(accounts, self.read_sessions(published))
        return ClickHouseSnapshot(self.link, published, instruments, frozenset(keys))

    def read_sessions(self, published: Published) -> pa.Table:
        if not published.generation:
            return SESSIONS.empty_table()
        question = Question(TIMED, tuple(SESSIONS.names))
        return check_old(self.link, ask(self.link, question, published, {})).cast(SESSIONS)

    def describe(
        self, accounts: pa.Table, sessions: pa.Table
    ) -> Mapping[tuple[str, str], MinuteInstrument]:
        with self.lock:
            return describe(self.connect(), accounts.cast(ACCOUNTS), sessions)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB that compares and counts; nothing is stored in it."""
        if self.connection is None:
            config: dict[str, Any] = {"memory_limit": f"{self.memory_mb}MiB"}
            self.connection = duckdb.connect(":memory:", config=config)
            self.connection.execute("SET TimeZone = 'UTC'")
        return self.connection

    def check_tables(self) -> None:
        """MinuteStoreError where a table is none of ours; looked at once."""
        if not self.is_checked:
            checks.check_columns(self.link)
            self.is_checked = True

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        load = self.begin()
        if mixed := find_mixed(cast(Any, load.accounts), list_sources(batch)):
            raise MixedSources(
                f"{', '.join(mixed[:5])}: synthetic bars and real ones would be beside each other,"
                " and nothing was stored: give MINUTE_STORE another database, and load again"
            )
        with self.lock:
            upsert = Upsert(self.connect(), load, batch)
            counts = upsert.compute()
            self.prepare(batch.interval)
            with self.breaking(load):
                upsert.write()
        return counts

    def remove(self, symbols: Collection[str]) -> None:
        load = self.begin()
        with self.breaking(load):
            load.remove(symbols)

    def prepare(self, interval: str) -> None:
        """Make its tables, if they are not there."""
        if interval not in self.prepared:
            prepare(self.link, interval)
            self.prepared.add(interval)

    @contextmanager
    def breaking(self, load: Load) -> Iterator[None]:
        """A batch that was written in part is never published."""
        is_whole, load.is_broken = load.is_broken, True
        yield
        load.is_broken = is_whole

    def begin(self) -> Load:
        """The load in the making; the first batch begins it."""
        if self.load is None:
            self.check_tables()
            if self.lease is None:
                self.lease = self.take_place()
            self.load = self.open_load(begin(self.link))
        if self.load.is_broken:
            raise MinuteStoreError(
                f"a batch was written to {self.link.address.shown} in part: discard, and load again"
            )
        return self.load

    def open_load(self, base: Published) -> Load:
        """Accounts are read where they are not those that this store wrote last."""
        if base.generation and base.generation == self.written[0]:
            return Load(self.link, base, dict(self.written[1]))
        rows = check_old(self.link, read_accounts(self.link, base))
        return Load(self.link, base, to_accounts(rows))

    def take_place(self) -> Lease:
        lease = Lease(self.link)
        lease.take()
        return lease

    def publish(self) -> str:
        if self.load is None or self.lease is None:
            return self.newest()
        load = self.begin()
        if not (load.tables or load.touched or load.told):
            self.discard()
            return load.base.generation
        with self.breaking(load):
            published = load.publish(self.lease)
        self.written = published.generation, load.accounts
        self.load = None
        self.end_place()
        return published.generation

    def fold(self, before: datetime) -> None:
        """Nothing to do: what is live and what is history are in one place."""

    def discard(self) -> None:
        load, self.load = self.load, None
        if load is not None:
            with suppress(MinuteStoreError):  # what nothing names is dropped by the next load
                load.drop()
        self.end_place()

    def end_place(self) -> None:
        """Let others write, unless `writing` holds the place on."""
        if self.lease is not None and not self.is_held:
            lease, self.lease = self.lease, None
            lease.end()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What was not published by the end of the block is discarded."""
        self.check_tables()
        self.lease, self.is_held = self.lease or self.take_place(), True
        try:
            yield
        finally:
            self.is_held = False
            self.discard()

    def verify(self) -> Sequence[tuple[str, str]]:
        snapshot = self.snapshot()
        with self.lock:
            return [*checks.list_checks(snapshot), *verify_rows(snapshot, self.connect())]

    def close(self) -> None:
        self.discard()
        self.link.close()
        with self.lock:
            connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def list_sources(batch: Batch) -> dict[str, set[str]]:
    """Symbol → the sources of its bars."""
    found: dict[str, set[str]] = {}
    for row in batch.bars.group_by(["symbol", "source"]).aggregate([]).to_pylist():
        found.setdefault(row["symbol"], set()).add(row["source"])
    return found
