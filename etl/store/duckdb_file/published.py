"""The published file as a run finds it, attached as `store`: nobody writes to it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from etl.base.instances import borrow
from etl.contracts.tables import SCHEMA_VERSION
from etl.store import KNOWN
from etl.store.duckdb_file import attached, changes, digests, publish


@dataclass(frozen=True)
class Published:
    """What was published before this run.

    is_fresh: nothing, or what is to be left out. is_touched: another program wrote into it.
    is_older: it is of an older schema.
    """

    is_fresh: bool
    bars: int = 0
    unsorted: int = 0
    is_touched: bool = False
    is_older: bool = False
    identity: tuple[tuple[int, int] | None, ...] = ()

    @property
    def is_copied(self) -> bool:
        """Whether the next version begins as a copy of it."""
        return not (self.is_fresh or self.is_older)


EMPTY = Published(is_fresh=True)


def open_published(connection: duckdb.DuckDBPyConnection, path: Path) -> Published:
    """`store`: the published file, or an empty one in its place."""
    if not path.exists():
        return open_empty(connection)
    attached.attach_store(connection, path, "store")
    found = describe_store(connection, path)
    name_known(connection)
    return found


def open_empty(connection: duckdb.DuckDBPyConnection) -> Published:
    connection.execute("ATTACH ':memory:' AS store")
    attached.create_tables(connection, "store")
    name_known(connection)
    return EMPTY


def name_known(connection: duckdb.DuckDBPyConnection, names: Iterable[str] = KNOWN) -> None:
    """What is known, as the relations of etl.store.KNOWN."""
    for name in names:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS FROM store.{KNOWN[name]}")


@contextmanager
def look_at(path: Path, queries: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """What is known in a published file, as far as queries name it, whatever its schema.

    duckdb.Error where it cannot be read.
    """
    with borrow() as connection:
        attached.attach(connection, path, "store")
        name_known(connection, (name for name in KNOWN if name in queries))
        yield connection


def ask_published(path: Path, query: str, values: Sequence[object] = ()) -> list[Any]:
    """The rows of a question to a published file; none where it cannot be read."""
    try:
        with look_at(path, query) as connection:
            return connection.execute(query, list(values)).fetchall()
    except duckdb.Error:
        return []


def read_sources(path: Path) -> set[str]:
    """The sources of the instruments in a published file; empty where it cannot be read."""
    return {row[0] for row in ask_published(path, "SELECT source FROM known_instruments")}


def describe_store(connection: duckdb.DuckDBPyConnection, path: Path) -> Published:
    bars, unsorted, version = connection.execute(
        """SELECT (SELECT count(*) FROM store.ohlcv_data), unsorted_rows, schema_version
        FROM store.generation"""
    ).fetchall()[0]
    is_touched = publish.may_be_touched(connection, path) and bool(
        connection.execute(f"{digests.find_touched(version)} LIMIT 1").fetchall()
    )
    if version < 3:
        changes.read_confirmed(connection, path)
    return Published(
        False, bars, unsorted, is_touched, version < SCHEMA_VERSION, publish.identify(path)
    )
