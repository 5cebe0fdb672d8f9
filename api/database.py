"""Opens the published file, read-only, once a version: the snapshot that requests read.

The rule it keeps: a request takes its snapshot once and uses no other. A snapshot is never
closed; the last request that holds it frees it.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from api.errors import NoDatabase, QueryTimeout

log = logging.getLogger("api")

T = TypeVar("T")
Question = Callable[[duckdb.DuckDBPyConnection], T]
Identity = tuple[int, int, int, int]

SCHEMA_VERSIONS = (1, 2)
NOT_YET = "There is no database yet: run `make etl`; this service finds it by itself."
UNREADABLE = "The database cannot be read: run `make etl`, or `make load`; the log says why."
THREADS = 8
INTERRUPT_AGAIN = 0.05
HEADER_BYTES = 3 * 4096  # before the first block of a DuckDB file


@dataclass(frozen=True)
class Snapshot:
    """One opened generation."""

    connection: duckdb.DuckDBPyConnection
    generation: str
    published_at: datetime


class Database:
    """Gives each request the newest snapshot; opens a new one when the file has changed."""

    def __init__(self, path: Path, memory_mb: int, timeout: float) -> None:
        self.path = path
        self.memory_mb = memory_mb
        self.timeout = timeout
        self.snapshot: Snapshot | None = None
        self.seen: Identity | None = None
        self.fault: str | None = None
        self.threads = ThreadPoolExecutor(THREADS, "query")

    def take_snapshot(self) -> Snapshot:
        """The snapshot of the file as it is now; NoDatabase if none could ever be opened.

        Costs one stat; a changed file is opened before this returns, so that no client sees an
        older generation after a newer one. A file that does not open leaves the one before.
        """
        identity = self.identify()
        if identity != self.seen:
            self.seen = identity
            self.open(identity)
        if self.snapshot is None:
            raise NoDatabase(self.fault or NOT_YET)
        return self.snapshot

    def identify(self) -> Identity | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 (half the cost of Path.stat)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def open(self, identity: Identity | None) -> None:
        if identity is None:
            self.fault = "The database file is gone: run `make load`." if self.snapshot else None
            return
        try:
            self.snapshot = open_snapshot(self.path, self.memory_mb)
            self.fault = None
        except (duckdb.Error, OSError, ValueError, IndexError) as error:
            self.fault = UNREADABLE
            log.error("the database does not open, the version before goes on: %s", error)

    async def ask(self, snapshot: Snapshot | None, question: Question[T]) -> T:
        """Run a question on a cursor of its own, in a thread; QueryTimeout after the time limit.

        Without a snapshot it takes one: NoDatabase if there still is none.
        """
        snapshot = snapshot or self.take_snapshot()
        cursor = snapshot.connection.cursor()
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self.threads, question, cursor)
        watch = loop.call_later(self.timeout, interrupt, cursor, answer)
        answer.add_done_callback(lambda _: watch.cancel())
        try:
            return await asyncio.shield(answer)
        except duckdb.InterruptException:
            raise QueryTimeout(self.timeout) from None


def interrupt(cursor: duckdb.DuckDBPyConnection, answer: asyncio.Future[Any]) -> None:
    """Until there is an answer, again and again: one that comes between two statements is lost."""
    if not answer.done():
        cursor.interrupt()
        asyncio.get_running_loop().call_later(INTERRUPT_AGAIN, interrupt, cursor, answer)


def refuse_older_wal(path: Path) -> None:
    """A WAL last written before its file is of another version, and DuckDB would replay it."""
    wal = path.with_name(path.name + ".wal")
    if wal.exists() and wal.stat().st_mtime_ns < path.stat().st_mtime_ns:
        raise ValueError("the write-ahead log beside it is of another version")


def open_snapshot(path: Path, memory_mb: int) -> Snapshot:
    """Attach the file read-only to an in-memory database, as `market`.

    Not duckdb.connect(path): while an older handle is open, that gives the older content.
    """
    config: dict[str, Any] = {
        "memory_limit": f"{memory_mb}MiB",
        "threads": 1,
        "temp_directory": str(path.parent / "tmp"),
    }
    size = path.stat().st_size
    refuse_older_wal(path)
    connection = duckdb.connect(":memory:", config=config)
    literal = "'" + str(path).replace("'", "''") + "'"
    connection.execute(f"ATTACH {literal} AS market (READ_ONLY)")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    generation, version, published_at, blocks = connection.execute(
        """SELECT generation, schema_version, published_at,
            (SELECT total_blocks * block_size FROM pragma_database_size()
             WHERE database_name = 'market') FROM market.generation"""
    ).fetchall()[0]
    if version not in SCHEMA_VERSIONS:
        raise ValueError(f"its schema is {version}, this service reads {SCHEMA_VERSIONS}")
    # DuckDB opens a file that is cut short, and fails where it meets a missing block; the larger of
    # two sizes, for the file may have been replaced meanwhile
    if HEADER_BYTES + blocks > max(size, path.stat().st_size):
        raise ValueError("it is cut short: a copy that was not finished?")
    return Snapshot(connection, generation, published_at)
