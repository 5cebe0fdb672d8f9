"""Opens the published file, read-only, once a version: the snapshot that requests read.

The rule it keeps: a request takes its snapshot once and uses no other. A snapshot is never
closed; the last request that holds it frees it. A file that turns out to be damaged makes room for
the version before, as it lies beside it.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from api.counts import Counts
from api.faults import Damaged, NoDatabase, OutOfMemory, QueryTimeout
from api.store import Question
from api.store.duckdb_file.reader import FileReader
from api.store.workers import CORES, Job, Workers
from etl.contracts.tables import HEADER_BYTES, SCHEMA_VERSION, list_older_views

log = logging.getLogger("api")

T = TypeVar("T")
Identity = tuple[int, int, int, int]

SCHEMA_VERSIONS = tuple(range(1, SCHEMA_VERSION + 1))
NOT_YET = "There is no database yet: run `make etl`; this service finds it by itself."
UNREADABLE = "The database cannot be read: run `make etl`, or `make load`; the log says why."
DAMAGED = "The database is damaged: run `make load`, or `make rollback`; the log says where."
WIDE_SHARE = 2  # one in so many cores, at least one, reads what takes long
DAMAGE = (
    *(duckdb.IOException, duckdb.SerializationException),
    *(duckdb.InternalException, duckdb.FatalException),
)


@dataclass(frozen=True)
class Snapshot:
    """One opened generation.

    versions: symbol → what moves with each answer about it; bars: symbol → how many it has. Both
    are empty for a file of an older schema.
    """

    connection: duckdb.DuckDBPyConnection
    generation: str
    published_at: datetime
    versions: Mapping[str, str] = field(default_factory=dict)
    bars: Mapping[str, int] = field(default_factory=dict)

    def find_version(self, symbol: str) -> str:
        """Of a symbol (upper case); where it has none, that of the whole store."""
        return self.versions.get(symbol, self.generation)


class Database:
    """Gives each request the newest snapshot; opens a new one when the file has changed.

    timeout: seconds that a question may run; patience: seconds that it may wait before it runs.
    What scans the whole store has threads of its own, so that a quick question waits for quick
    ones only. There are no more threads than cores: each more makes every question slower.
    """

    def __init__(self, path: Path, memory_mb: int, timeout: float, patience: float = 10) -> None:
        self.path = path
        self.memory_mb = memory_mb
        self.timeout = timeout
        self.snapshot: Snapshot | None = None
        self.seen: Identity | None = None
        self.fault: str | None = None
        self.tell_waiting: Callable[[], str] = lambda: NOT_YET  # while there never was one
        self.counts: Counts | None = None  # where the time of questions is counted, if anywhere
        self.quick = Workers(CORES, "query", patience)
        self.wide = Workers(max(1, CORES // WIDE_SHARE), "scan", patience)

    def newest(self) -> Snapshot:
        """The snapshot of the file as it is now; NoDatabase if none could ever be opened.

        Costs one stat; a changed file is opened before this returns, so that no client sees an
        older generation after a newer one. A file that does not open leaves the one before.
        """
        identity = self.identify()
        if identity != self.seen:
            self.seen = identity
            self.open(identity)
        if self.snapshot is None:
            raise NoDatabase(self.fault or self.tell_waiting())
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
        snapshot = self.try_to_open(self.path)
        self.fault = None if snapshot else UNREADABLE
        self.snapshot = snapshot or self.snapshot or self.open_previous()

    def try_to_open(self, path: Path) -> Snapshot | None:
        try:
            return open_snapshot(path, self.memory_mb)
        except (duckdb.Error, OSError, ValueError, IndexError) as error:
            log.error("%s does not open, the version before goes on: %s", path.name, error)
            return None

    def open_previous(self) -> Snapshot | None:
        """The version before, as load leaves it beside the file."""
        previous = self.path.with_name(f"{self.path.stem}.previous{self.path.suffix}")
        return self.try_to_open(previous) if previous.exists() else None

    async def ask(
        self, snapshot: Snapshot | None, question: Question[T], is_wide: bool = False
    ) -> T:
        """Run a question on a cursor of its own, in a thread.

        Raises QueryTimeout where it runs too long, Busy where it waits too long for a thread,
        OutOfMemory and Damaged. Without a snapshot it takes one: NoDatabase if there still is none.
        Who stops waiting for the answer stops the question.
        """
        snapshot = snapshot or self.newest()
        cursor = snapshot.connection.cursor()
        reader = FileReader(cursor)
        job = Job(lambda: question(reader), cursor.interrupt, self.timeout)
        try:
            return await (self.wide if is_wide else self.quick).run(job)
        except duckdb.InterruptException:
            if self.counts is not None:
                self.counts.add("timeouts")
            raise QueryTimeout(self.timeout) from None
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise self.report_memory(error) from None
        except duckdb.Error as error:
            if not isinstance(error, DAMAGE) and type(error) is not duckdb.Error:
                raise
            if str(self.path.parent / "tmp") in str(error):  # no room for what does not fit
                raise self.report_memory(error) from None
            raise self.report_damage(snapshot, error) from None
        finally:
            if self.counts is not None:
                count_question(self.counts, job)

    def report_memory(self, error: Exception) -> OutOfMemory:
        log.warning("a query needs more memory than DB_MEMORY_MB=%s: %s", self.memory_mb, error)
        return OutOfMemory()

    def report_damage(self, snapshot: Snapshot, error: Exception) -> Damaged:
        """Go on with the version before, if there is one that opens; else with what can be read."""
        if snapshot is self.snapshot:
            log.error("generation %s is damaged: %s", snapshot.generation, error)
            self.fault = DAMAGED
            previous = self.open_previous()
            if previous is not None and previous.generation != snapshot.generation:
                self.snapshot = previous
            elif isinstance(error, duckdb.FatalException):  # this connection answers no more
                self.snapshot = self.try_to_open(self.path)
        return Damaged(DAMAGED)


def count_question(counts: Counts, job: Job[Any]) -> None:
    """How long it waited for a thread, and how long it ran, if it did."""
    now = time.monotonic()
    began = now if job.ends_at is None else job.ends_at - job.timeout
    counts.observe(("questions", "wait"), began - job.asked_at)
    if job.ends_at is not None:
        counts.observe(("questions", "run"), now - began)


def identify_handle(handle: int) -> Identity:
    """As `Database.identify`, of an open file."""
    found = os.fstat(handle)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


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
        "temp_directory": str(path.parent / "tmp-api"),
    }
    if not path.is_file():  # a pipe would be waited for without end
        raise ValueError("it is no file")
    size = path.stat().st_size
    refuse_older_wal(path)
    connection = duckdb.connect(":memory:", config=config)
    literal = "'" + str(path).replace("'", "''") + "'"
    connection.execute(f"ATTACH {literal} AS market (READ_ONLY)")
    generation, version, published_at = connection.execute(
        "SELECT generation, schema_version, published_at FROM market.generation"
    ).fetchall()[0]
    blocks = connection.execute(
        """SELECT block_size, total_blocks, used_blocks FROM pragma_database_size()
        WHERE database_name = 'market'"""
    ).fetchall()[0]
    if version not in SCHEMA_VERSIONS:
        raise ValueError(f"its schema is {version}, this service reads {SCHEMA_VERSIONS}")
    if version < SCHEMA_VERSION:
        show_as_of_today(connection, literal, version)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    # DuckDB opens a file that is cut short, and fails where it meets a missing block; the larger of
    # two sizes, for the file may have been replaced meanwhile
    if is_cut_short(max(size, path.stat().st_size), *blocks):
        raise ValueError("it is cut short: a copy that was not finished?")
    rows = read_versions(connection) if version >= 3 else []
    versions = {symbol: f"{digest:016x}" for symbol, digest, _ in rows}
    bars = {symbol: count for symbol, _, count in rows}
    return Snapshot(connection, generation, published_at, versions, bars)


def read_versions(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int]]:
    """symbol, version, bars; nothing where they cannot be read: questions meet the damage."""
    try:
        return connection.execute(
            "SELECT symbol, version, bars FROM market.instruments WHERE version IS NOT NULL"
        ).fetchall()
    except duckdb.Error:
        return []


def is_cut_short(size: int, block: int, total: int, used: int) -> bool:
    """Whether blocks are missing at the end of a file. DuckDB itself cuts free ones off there,
    which it goes on to count; it leaves whole blocks, and never fewer than are in use."""
    is_whole = (size - HEADER_BYTES) % block == 0
    return size < HEADER_BYTES + block * (used if is_whole else total)


def show_as_of_today(connection: duckdb.DuckDBPyConnection, literal: str, version: int) -> None:
    """Attach a file of an older schema under another name; `market` are views of it that have
    today's tables."""
    connection.execute("DETACH market")
    connection.execute(f"ATTACH {literal} AS older (READ_ONLY)")
    connection.execute("CREATE SCHEMA market")
    for statement in list_older_views("market", "older", version):
        connection.execute(statement)
