"""The DuckDB file as a WritableStore (see etl.store)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb

from etl.base import parquet_sql
from etl.base.errors import StoreError
from etl.base.run_records import Run
from etl.settings import Settings
from etl.store import Delta, Known
from etl.store.duckdb_file import attached, build, changes, checks, publish, published, restore
from etl.store.duckdb_file.published import EMPTY


class FileStore:
    """The file at `path`, as one run sees it: as `store`, with the next version as `next`."""

    def __init__(
        self, settings: Settings, path: Path, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.settings = settings
        self.path = path
        self.connection = connection
        self.before = EMPTY

    def read_known(self) -> Known:
        self.before = published.open_published(self.connection, self.path)
        return Known(self.before.is_fresh, self.before.is_touched)

    def begin_anew(self) -> Known:
        attached.detach_store(self.connection, "store")
        self.before = published.open_empty(self.connection)
        return Known(is_fresh=True)

    def preparing(self) -> AbstractContextManager[None]:
        """Copies the published file, if it is one to go on with."""
        if self.before.is_copied:
            return publish.copy_meanwhile(self.path, publish.next_of(self.path))
        return nullcontext()

    def apply(self, delta: Delta, run: Run) -> None:
        build.build_next(self.connection, self.settings, self.path, delta, run, self.before)

    def restore(self, run: Run) -> str:
        return restore.build_previous(self.connection, self.path, run)

    def publish(self) -> str:
        # a copy within this process ends the lock that DuckDB holds on the file (POSIX)
        if not self.before.is_fresh and publish.identify(self.path) != self.before.identity:
            raise StoreError(
                f"{self.path} was changed by another program meanwhile: run load again"
            )
        generation = publish.finish_next(self.connection, publish.next_of(self.path), self.path)
        changes.drop_confirmed(self.path)
        return generation

    def check(self) -> Iterator[tuple[str, str]]:
        attached.attach_store(self.connection, self.path, "store")
        return checks.check_tables(self.connection)


@contextmanager
def open_store(settings: Settings, path: Path) -> Iterator[FileStore]:
    """To be looked at."""
    with parquet_sql.connect(settings) as connection:
        yield FileStore(settings, path, connection)


@contextmanager
def write_store(settings: Settings, path: Path) -> Iterator[FileStore]:
    """To be written to: nothing is left of a next version that an error ended, or a kill before."""
    with publish.discard_on_failure(path):
        publish.discard(publish.next_of(path))
        publish.restore_wal(path)
        with open_store(settings, path) as store:
            yield store
