"""The minute store in PostgreSQL: many readers, one writer, one transaction a generation."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any

import duckdb
import psycopg

from etl.contracts.minutes import Batch, Counts, MinuteStoreError, StoreDown
from etl.contracts.minutes.postgresql.address import Address
from etl.contracts.minutes.postgresql.checks import check_tables
from etl.contracts.minutes.postgresql.connections import READING, Connection, Pool, connect
from etl.contracts.minutes.postgresql.faults import translate
from etl.contracts.minutes.postgresql.generation import Generation, read_generation, read_head
from etl.contracts.minutes.postgresql.load import Load
from etl.contracts.minutes.postgresql.lock import let_go, take_place
from etl.contracts.minutes.postgresql.snapshot import PostgresSnapshot
from etl.contracts.minutes.verify import verify_rows

# Room for what staged rows are sorted and joined in.
WRITING = {"work_mem": "64MB", "jit": "off", "plan_cache_mode": "force_custom_plan"}


class PostgresStore:
    def __init__(self, address: Address, memory_mb: int, timeout: float | None = None) -> None:
        """timeout: seconds that a question may take."""
        self.address = address
        self.memory_mb = memory_mb
        self.pool = Pool(address, timeout)
        self.lock = threading.Lock()
        self.engine: duckdb.DuckDBPyConnection | None = None
        self.newest_snapshot: PostgresSnapshot | None = None
        self.breaks = 0  # of connections, when it was read
        self.writer: Connection | None = None
        self.load: Load | None = None
        self.is_broken = False  # a transaction was lost: what was upserted in it is not there
        self.is_held = False  # the place of the writer, by a block of `writing`

    def newest(self) -> str:
        return self.pool.ask(read_head).name

    def snapshot(self) -> PostgresSnapshot:
        name = self.newest()
        with self.lock:
            kept = self.newest_snapshot
            if kept is None or kept.generation != name:
                kept = self.newest_snapshot = self.read_snapshot(kept)
            return kept

    def read_snapshot(self, before: PostgresSnapshot | None) -> PostgresSnapshot:
        """A server that went away may have come back with an older store: then all is read."""
        engine, breaks = self.connect_engine(), self.pool.breaks
        known = before.of if before and breaks == self.breaks else Generation()
        generation = self.pool.ask(lambda c: read_generation(c, engine, known))
        if breaks != self.pool.breaks:
            return self.read_snapshot(None)
        self.breaks = breaks
        return PostgresSnapshot(self.pool, generation)

    def connect_engine(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB that compares and adds up; nothing is stored in it."""
        if self.engine is None:
            config: dict[str, Any] = {"memory_limit": f"{self.memory_mb}MiB"}
            self.engine = duckdb.connect(":memory:", config=config)
            self.engine.execute("SET TimeZone = 'UTC'")
        return self.engine

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        with self.telling():
            load = self.begin()
            with self.lock:
                return load.upsert(batch, run_id)

    def remove(self, symbols: Collection[str]) -> None:
        with self.telling():
            load = self.begin()
            with self.lock:
                load.remove(symbols)

    def begin(self) -> Load:
        """The transaction that is open; the first batch begins it."""
        if self.is_broken:
            raise StoreDown(
                f"{self.address.shown} lost what this load had brought: nothing of it is stored;"
                " load again"
            )
        if self.load is None:
            self.take_place()
            assert self.writer is not None
            with self.lock:
                self.load = Load(self.writer, self.connect_engine())
        return self.load

    def publish(self) -> str:
        if self.load is None and not self.is_broken:
            return self.newest()
        with self.telling():
            load = self.begin()
            if not load.is_changed:
                self.discard()
                return load.before.name
            try:
                load.publish()
            except psycopg.Error:
                if self.ask_after(load.name) != load.name:
                    raise
                self.is_broken = False  # it was stored, only the answer got lost
            self.load = None
            self.end_place()
            return load.name

    def ask_after(self, name: str) -> str:
        """Whether a commit whose answer got lost was one."""
        with suppress(MinuteStoreError):
            return self.newest()
        raise StoreDown(
            f"{self.address.shown} was lost while {name} was published: the store is as before or"
            " as after, whole; load again"
        )

    def discard(self) -> None:
        load, self.load, self.is_broken = self.load, None, False
        if load is not None and not load.connection.closed:
            with suppress(psycopg.Error):
                load.connection.execute(b"ROLLBACK")
        self.end_place()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors of the client as those of the contract; a transaction that was lost is known."""
        try:
            yield
        except psycopg.Error as error:
            self.is_broken = self.writer is None or self.writer.closed
            raise translate(error, self.address) from None

    def take_place(self) -> None:
        if self.writer is None or self.writer.closed:
            writer = connect(self.address, WRITING)
            try:
                take_place(writer, self.address.shown)
            except BaseException:
                writer.close()
                raise
            self.writer = writer

    def end_place(self) -> None:
        """Let others write, unless `writing` holds the place on."""
        if self.writer is not None and not self.is_held:
            let_go(self.writer)
            self.writer.close()
            self.writer = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What was not published by the end of the block is discarded."""
        with self.telling():
            self.take_place()
        self.is_held = True
        try:
            yield
        finally:
            self.is_held = False
            self.discard()

    def fold(self, before: datetime) -> None:
        """Nothing to do: what live batches bring is where all bars are."""

    def verify(self) -> Sequence[tuple[str, str]]:
        with closing(connect(self.address, READING)) as connection, self.telling():
            lines = list(check_tables(connection))
        snapshot = self.snapshot()
        with self.lock:
            lines += verify_rows(snapshot, self.connect_engine())
        return lines

    def close(self) -> None:
        self.discard()
        self.pool.close()
        with self.lock:
            engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()
