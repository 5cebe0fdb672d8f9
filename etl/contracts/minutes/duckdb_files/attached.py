"""Published files, attached READ_ONLY to one connection: when first asked for, a bounded number."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl.contracts.minutes import MinuteStoreError
from etl.contracts.minutes.duckdb_files.layout import connect, quote
from etl.contracts.minutes.duckdb_files.manifest import PublishedFile

MOST = 64  # files that stay attached though nobody reads them


class AttachedFiles:
    """The files that readers have asked for, by name; those that were read last stay attached.

    A file that is attached can be read on when it is deleted. One connection holds them all, for a
    month that no load touches is of many generations.
    """

    def __init__(self, folder: Path, memory_mb: int, spill: Path | str = "") -> None:
        """spill: a folder for what memory does not hold; "": then a question fails."""
        self.folder = folder
        self.connection = connect({"memory_limit": f"{memory_mb}MiB", "temp_directory": str(spill)})
        self.lock = threading.Lock()
        self.names: OrderedDict[str, str] = OrderedDict()  # file → its name here, last used last
        self.readers: dict[str, int] = {}
        self.count = 0

    @contextmanager
    def reading(self, files: Sequence[PublishedFile]) -> Iterator[list[str]]:
        """The names under which these files are attached while the block runs."""
        taken: list[str] = []
        try:
            with self.lock:
                for file in files:
                    self.take(file)
                    taken.append(file.name)
            yield [self.names[name] for name in taken]
        finally:
            with self.lock:
                for name in taken:
                    self.readers[name] -= 1
                self.let_go()

    def read(self, query: str, values: dict[str, Any]) -> pa.Table:
        with self.lock:
            cursor = self.connection.cursor()
        with cursor:
            return cursor.sql(query, params=values).to_arrow_table()

    def take(self, file: PublishedFile) -> None:
        if file.name not in self.names:
            self.attach(file)
        self.names.move_to_end(file.name)
        self.readers[file.name] = self.readers.get(file.name, 0) + 1

    def attach(self, file: PublishedFile) -> None:
        """MinuteStoreError for a file that is gone, of another size, or none of DuckDB."""
        path = self.folder / file.name
        name = f"file_{self.count}"
        self.count += 1
        try:
            if path.stat().st_size != file.size:
                raise MinuteStoreError(f"{path} is damaged (it is not as long as it was){REMEDY}")
            self.connection.execute(f"ATTACH {quote(path)} AS {name} (READ_ONLY)")
        except FileNotFoundError:
            raise MinuteStoreError(
                f"{path} is gone: its generation is kept no more, or somebody deleted it{REMEDY}"
            ) from None
        except (duckdb.Error, OSError) as error:
            raise tell_damaged(path, error) from None
        self.names[file.name] = name

    def let_go(self) -> None:
        """Detach those that were not read for the longest, beyond MOST."""
        idle = [name for name in self.names if not self.readers[name]]
        for name in idle[: max(0, len(self.names) - MOST)]:
            self.connection.execute(f"DETACH {self.names.pop(name)}")
            del self.readers[name]

    def close(self) -> None:
        self.connection.close()


REMEDY = ": put it back from a backup, or move the whole folder away and load again"


def tell_damaged(path: Path, error: Exception | str) -> MinuteStoreError:
    return MinuteStoreError(f"{path} is damaged ({str(error).splitlines()[0]}){REMEDY}")
