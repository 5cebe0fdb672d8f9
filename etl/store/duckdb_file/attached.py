"""DuckDB files attached to a connection: a published one, checked and as a store of today, a new
one, and one to write to."""

import re
from pathlib import Path
from typing import Any

import duckdb

from etl.base.errors import StoreError
from etl.base.parquet_sql import quote
from etl.base.whole_files import check_is_file, find_free
from etl.contracts.tables import (
    BARS_VIEW,
    HEADER_BYTES,
    SCHEMA_VERSION,
    TABLES,
    list_older_tables,
    list_older_views,
)

# The oldest program that is to read the file: DuckDB 1.x refuses what 2.0 writes by itself.
STORAGE_VERSION = "v1.2.0"
# Rows. DuckDB's own is 122,880; so a symbol is read in a sixth less time, of a file 5 % larger.
ROW_GROUP = 32_768
VERSION_COLUMN = ("generation", "schema_version")


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def previous_of(path: Path) -> Path:
    return path.with_name(path.stem + ".previous" + path.suffix)


def attach_store(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Attach a published file READ_ONLY, with the tables of today, whatever its schema is.

    StoreError if it is damaged, foreign or open elsewhere.
    """
    check_is_file(wal_of(path))
    if is_wal_older(path):
        set_wal_aside(path)
    try:
        attach(connection, path, name)
    except duckdb.Error as error:
        attach_without_wal(connection, path, name, error)
    if path.stat().st_size < count_bytes(connection, name):
        read_all(connection, path, name)
    version = check_tables(connection, path, name)
    if version < SCHEMA_VERSION:
        connection.execute(f"DETACH {name}")
        attach(connection, path, older_of(name))
        connection.execute(f"ATTACH ':memory:' AS {name}")
        for view in list_older_views(name, older_of(name), version):
            connection.execute(view)


def older_of(name: str) -> str:
    """The name under which a file of an older schema is attached, behind views of today."""
    return f"{name}_older"


def detach_store(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.execute(f"DETACH {name}")
    connection.execute(f"DETACH DATABASE IF EXISTS {older_of(name)}")


def check_tables(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> int:
    """The schema of an attached file; StoreError if it is no store, or of a newer version."""
    if has_all_columns(connection, name):
        return SCHEMA_VERSION
    found = set(
        connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ?", [name]
        ).fetchall()
    )
    version = read_version(connection, path, name) if VERSION_COLUMN in found else 0
    is_of_today = version in (0, SCHEMA_VERSION)
    tables = TABLES.keys() if is_of_today else list_older_tables(version)
    lacking: set[tuple[str, ...]] = {(table,) for table in tables - {table for table, _ in found}}
    if not lacking and is_of_today:
        lacking = set(list_columns() - found)
    if lacking:
        lacks = ", ".join(sorted(".".join(names) for names in lacking))
        raise StoreError(f"{path} is no store of this service (it has no {lacks}): move it away")
    return version


def has_all_columns(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether all columns of all tables are there: a question that names them takes a millisecond,
    and asking which there are takes ten."""
    named: dict[str, list[str]] = {}
    for table, column in sorted(list_columns()):
        named.setdefault(table, []).append(column)
    bound = (
        f"EXISTS (SELECT {', '.join(columns)} FROM {name}.{table} LIMIT 0)"
        for table, columns in named.items()
    )
    query = f"SELECT max(schema_version), {', '.join(bound)} FROM {name}.generation"
    try:
        return bool(read_one(connection, query) == SCHEMA_VERSION)
    except duckdb.Error:
        return False


def read_version(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> int:
    version = read_one(connection, f"SELECT max(schema_version) FROM {name}.generation")
    if version is None:
        raise StoreError(
            f"{path} does not say which version it is (its table generation is empty): move it"
            " away, and load again"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer version (schema {version}): update this one"
        )
    return int(version)


def list_columns() -> set[tuple[str, str]]:
    """(table, column) of a store of this version."""
    return {
        (table, column)
        for table, ddl in TABLES.items()
        for column in re.findall(r"^    ([a-z_]+) ", ddl, re.MULTILINE)
    }


def read_all(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """StoreError if blocks are missing that are in use; other programs leave out the free ones."""
    tables = connection.execute(
        "SELECT format('{}.{}.{}', database_name, schema_name, table_name) FROM duckdb_tables()"
        " WHERE database_name = ?",
        [name],
    ).fetchall()
    try:
        for (table,) in tables:
            connection.execute(f"SELECT max(hash(t)) FROM {table} t").fetchall()
    except duckdb.Error:
        raise refuse_damaged(path) from None


def count_bytes(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    """How long the file of an attached database is by its own account."""
    blocks: int = read_one(
        connection,
        "SELECT total_blocks * block_size FROM pragma_database_size()"
        f" WHERE database_name = {quote(name)}",
    )
    return HEADER_BYTES + blocks


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no file (a folder, a pipe or a socket): move it away")
    connection.execute(f"ATTACH {quote(path)} AS {name} (READ_ONLY)")


def attach_without_wal(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, error: duckdb.Error
) -> None:
    """Attach a file that did not open, its WAL aside. StoreError if the WAL was not the cause.

    It was left of another version of the file; it is not deleted, for it may hold a user's rows.
    """
    text = str(error).lower()
    if "could not set lock" in text:
        raise StoreError(f"{path} is open for writing elsewhere: close that program") from None
    if "permission denied" in text:
        raise StoreError(f"{path} may not be read by this user: give it the right") from None
    if isinstance(error, duckdb.OutOfMemoryException):
        raise error
    aside = set_wal_aside(path)
    try:
        attach(connection, path, name)
    except duckdb.Error:
        if aside:
            aside.replace(wal_of(path))
        raise refuse_damaged(path) from None


def refuse_damaged(path: Path) -> StoreError:
    previous = previous_of(path)
    return StoreError(
        f"{path} is damaged or no DuckDB file: move it away"
        + (f", and copy {previous.name} in its place" if previous.exists() else "")
    )


def is_wal_older(path: Path) -> bool:
    """Whether a WAL was last written before its file was: it belongs to another version of it.

    DuckDB would replay it: in storage version 1.2 a WAL does not say which file it is of.
    """
    wal = wal_of(path)
    if not (wal.exists() and path.exists()):
        return False
    return wal.stat().st_mtime_ns < path.stat().st_mtime_ns


def set_wal_aside(path: Path) -> Path | None:
    """The new name of a WAL; None if there is none."""
    wal = wal_of(path)
    if not wal.exists():
        return None
    return wal.replace(find_free(wal.with_name(wal.name + ".stray")))


def attach_new(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """An empty file with all tables. The version is that of a file's first page: for good."""
    attach_own(connection, path, name, f", STORAGE_VERSION '{STORAGE_VERSION}'")
    create_tables(connection, name)


def attach_own(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, options: str = ""
) -> None:
    """Attach a file that nobody else has, to write to it. It needs no log of its changes: until it
    is checkpointed, flushed and published it is discarded if anything happens to its writer."""
    own = f"RECOVERY_MODE NO_WAL_WRITES, ROW_GROUP_SIZE {ROW_GROUP}"
    connection.execute(f"ATTACH {quote(path)} AS {name} ({own}{options})")


def create_tables(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for table, ddl in TABLES.items():
        connection.execute(ddl.replace(f"TABLE {table}", f"TABLE {name}.{table}"))
    connection.execute(BARS_VIEW.replace("VIEW bars", f"VIEW {name}.bars"))


def copy_tables(connection: duckdb.DuckDBPyConnection, source: str, target: str) -> None:
    """All rows of all tables, in order: what makes reads of a symbol fast."""
    for table in TABLES:
        order = "symbol, timestamp" if table in ("ohlcv_data", "ohlcv_known") else "ALL"
        connection.execute(
            f"INSERT INTO {target}.{table} BY NAME FROM {source}.{table} ORDER BY {order}"
        )


def read_one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]
