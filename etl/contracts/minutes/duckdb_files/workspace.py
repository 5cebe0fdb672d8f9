"""Where the next generation is made: one connection, to which published files are attached as they
are needed, and stay attached over several publications."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from etl.base.whole_files import SPILL
from etl.contracts.minutes.duckdb_files.layout import connect, quote
from etl.contracts.minutes.duckdb_files.manifest import PublishedFile


class Workspace:
    def __init__(self, folder: Path, memory_mb: int) -> None:
        self.folder = folder
        spill = spill_of(folder)
        spill.parent.mkdir(exist_ok=True)
        self.connection = connect({"memory_limit": f"{memory_mb}MiB", "temp_directory": str(spill)})
        self.attached: dict[str, str] = {}  # published file → its name here
        self.count = 0

    def attach(self, file: PublishedFile) -> str:
        """The name under which a published file can be read."""
        if file.name not in self.attached:
            self.count += 1
            name = f"published_{self.count}"
            path = quote(self.folder / file.name)
            self.connection.execute(f"ATTACH {path} AS {name} (READ_ONLY)")
            self.attached[file.name] = name
        return self.attached[file.name]

    def keep(self, names: Collection[str]) -> None:
        """Let go all published files but these."""
        for name in [name for name in self.attached if name not in names]:
            self.connection.execute(f"DETACH {self.attached.pop(name)}")

    @contextmanager
    def given(self, **tables: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        """Arrow tables that queries name."""
        for name, table in tables.items():
            self.connection.register(name, table)
        try:
            yield self.connection
        finally:
            for name in tables:
                self.connection.unregister(name)

    def read(self, query: str, schema: pa.Schema) -> pa.Table:
        return self.connection.sql(query).to_arrow_table().cast(schema)


def spill_of(folder: Path) -> Path:
    """Where this process writes what memory does not hold; what a kill leaves there, each stage
    takes away (see etl.base.whole_files)."""
    return folder.parent / "tmp" / f"{SPILL}{os.getpid()}"
