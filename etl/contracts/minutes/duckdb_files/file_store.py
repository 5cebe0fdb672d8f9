"""The minute store as DuckDB files in a folder."""

import fcntl
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

import duckdb

from etl.contracts.minutes import (
    BadBars,
    Batch,
    Counts,
    MinuteStoreError,
    MixedSources,
    StoreDown,
    find_mixed,
)
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles
from etl.contracts.minutes.duckdb_files.checks import check_store, find_damaged
from etl.contracts.minutes.duckdb_files.index import Known
from etl.contracts.minutes.duckdb_files.manifest import (
    CURRENT,
    Manifest,
    read_manifest,
    write_manifest,
)
from etl.contracts.minutes.duckdb_files.next_generation import NextGeneration, sweep
from etl.contracts.minutes.duckdb_files.snapshot import FileSnapshot
from etl.contracts.minutes.duckdb_files.workspace import Workspace, spill_of


class FileStore:
    """Readers look at the manifest again when its file is another. Who writes holds a lock from
    the first batch till it is published or discarded."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        self.folder = folder
        self.memory_mb = memory_mb
        self.files = AttachedFiles(folder, memory_mb)
        self.known = Known()
        self.reading = threading.Lock()
        self.state: tuple[int, int] | None = None  # of the manifest that was read last
        self.newest_snapshot: FileSnapshot | None = None
        self.space: Workspace | None = None
        self.next: NextGeneration | None = None
        self.coming: dict[str, set[str]] = {}  # symbol → sources of what is not published yet
        self.removed: set[str] = set()
        self.lock: IO[str] | None = None
        self.is_held = False  # by writing(), over several publications

    def newest(self) -> str:
        return self.snapshot().generation

    def snapshot(self) -> FileSnapshot:
        state = self.identify()
        with self.reading:
            if self.newest_snapshot is None or state != self.state:
                manifest = read_manifest(self.folder)
                found = self.known.read(self.files, manifest)
                self.newest_snapshot = FileSnapshot(self.files, manifest, found)
                self.state = state
            return self.newest_snapshot

    def identify(self) -> tuple[int, int] | None:
        """What changes with every publication."""
        try:
            found = (self.folder / CURRENT).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        with self.discarding_on_failure():
            following = self.begin()
        sources = self.check_sources(batch)
        with self.discarding_on_failure():
            counts = following.upsert(batch)
        self.coming |= sources
        return counts

    @contextmanager
    def discarding_on_failure(self) -> Iterator[None]:
        """An error while files are written leaves what was published, and nothing else."""
        try:
            yield
        except (duckdb.Error, OSError) as error:
            before = self.next.before if self.next else Manifest()
            self.discard()
            if damage := find_damaged(self.folder, before):
                raise damage from None
            if isinstance(error, duckdb.ProgrammingError):  # ours
                raise
            raise MinuteStoreError(
                f"{self.folder} cannot be written ({str(error).splitlines()[0]}): it is as it was"
                " before this run; load again"
            ) from None
        except BaseException as error:
            if not isinstance(error, BadBars):
                self.discard()
            raise

    def check_sources(self, batch: Batch) -> dict[str, set[str]]:
        """What the store and this batch have, by symbol; MixedSources if that cannot be."""
        pairs = batch.bars.group_by(["symbol", "source"]).aggregate([]).to_pylist()
        sources = {pair["symbol"]: set(self.coming.get(pair["symbol"], ())) for pair in pairs}
        for pair in pairs:
            sources[pair["symbol"]].add(pair["source"])
        there = {
            key: each
            for key, each in self.snapshot().instruments.items()
            if key[0] in sources and key[0] not in self.removed
        }
        if mixed := find_mixed(there, sources):
            raise MixedSources(tell_mixed(mixed, str(self.folder)))
        return sources

    def remove(self, symbols: Collection[str]) -> None:
        with self.discarding_on_failure():
            self.begin().remove(symbols)
        self.removed |= set(symbols)
        for symbol in symbols:
            self.coming.pop(symbol, None)

    def begin(self) -> NextGeneration:
        if self.next is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.take_lock()
            before = read_manifest(self.folder)
            if self.identify() is None:  # so that files without one are what somebody lost
                write_manifest(self.folder, before, before)
            sweep(self.folder, before)
            self.space = self.space or Workspace(self.folder, self.memory_mb)
            self.next = NextGeneration(self.space, before)
        return self.next

    def fold(self, before: datetime) -> None:
        with self.discarding_on_failure():
            self.begin().fold(before)

    def publish(self) -> str:
        if self.next is None or not self.next.is_changed:
            self.discard()
            return self.newest()
        with self.discarding_on_failure():
            manifest = self.next.publish()
        sweep(self.folder, read_manifest(self.folder))
        self.end()
        return manifest.generation

    def discard(self) -> None:
        if self.next is not None:
            before = self.next.before
            self.close_space()
            sweep(self.folder, before)
        self.end()

    def close_space(self) -> None:
        if self.space:
            self.space.connection.close()
            self.space = None

    def end(self) -> None:
        self.next, self.coming, self.removed = None, {}, set()
        self.release()

    def take_lock(self) -> None:
        """StoreDown where another process writes."""
        if self.lock is not None:
            return
        path = self.folder / "lock"
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            file.close()
            raise StoreDown(f"{who} writes to {self.folder} now: wait till it ends") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self.lock = file

    def release(self) -> None:
        if self.lock is not None and not self.is_held:
            self.lock.close()
            self.lock = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.take_lock()
        self.is_held = True
        try:
            yield
        finally:
            self.is_held = False
            self.discard()
            self.release()

    def verify(self) -> Sequence[tuple[str, str]]:
        """Of the files that the manifest names now; nothing is written."""
        files = AttachedFiles(self.folder, self.memory_mb, spill_of(self.folder))
        try:
            return list(check_store(files, self.folder))
        finally:
            files.close()

    def close(self) -> None:
        self.discard()
        self.close_space()
        self.files.close()


def tell_mixed(symbols: Sequence[str], place: str) -> str:
    some = ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")
    return (
        f"{some}: synthetic bars and real ones would be beside each other, and nothing was stored:"
        f" move {place} away, or choose another MINUTE_STORE, and load again"
    )
