"""Publication: how a new version of the database takes the place of the one that is served.

Nobody writes to the published file. The next one is built beside it, checked, flushed to disk,
and takes its name in one step; the one before stays as market_data.previous.duckdb. A kill at
any moment leaves the old file or the new one, whole.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from etl.base.errors import StoreError
from etl.base.parquet_sql import quote
from etl.base.run_records import format_instant
from etl.base.whole_files import check_is_file, find_free, flush_to_disk, set_aside, write_whole
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


def next_of(path: Path) -> Path:
    return path.with_name(path.stem + ".next" + path.suffix)


def sorted_of(path: Path) -> Path:
    """Where `next` is written out in order."""
    return next_of(path).with_name(next_of(path).name + ".sorted")


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


def restore_wal(path: Path) -> None:
    """Put back the WAL of a published file that a killed run did not come to replace.

    It goes along with the file to the name of the version before, and only then the next version
    takes the place: until that, both names are of one file.
    """
    previous, wal = previous_of(path), wal_of(previous_of(path))
    if not wal.exists() or wal_of(path).exists():
        return
    if path.exists() and previous.exists() and path.samefile(previous):
        wal.replace(wal_of(path))


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


def copy_store(path: Path, copy: Path) -> None:
    """Copy the published file, with its WAL if a program left one: together they replay."""
    shutil.copyfile(path, copy)
    if wal_of(path).exists():
        shutil.copyfile(wal_of(path), wal_of(copy))


@contextmanager
def copy_meanwhile(path: Path, copy: Path) -> Iterator[None]:
    """Copy the published file while the block does what needs no copy yet."""
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:  # its end waits, whatever is raised
            copying = pool.submit(copy_store, path, copy)
            yield
            copying.result()
    except BaseException:
        discard(copy)
        raise


def identify(path: Path) -> tuple[tuple[int, int] | None, ...]:
    """What changes with each write into a published file, or into a WAL beside it."""
    found = (each.stat() if each.exists() else None for each in (path, wal_of(path)))
    return tuple(each and (each.st_mtime_ns, each.st_size) for each in found)


def discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    wal_of(path).unlink(missing_ok=True)


@contextmanager
def discard_on_failure(path: Path) -> Iterator[None]:
    """Leave nothing of a next version that an error ended, for it may fill the disk.

    What a kill leaves, the next load discards. To be entered before a connection is, so that the
    connection is closed by then.
    """
    try:
        yield
    except BaseException:
        discard(next_of(path))
        discard(sorted_of(path))
        raise


def make_generation(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """`<counter>-<random hex>`, one above any ever published in this folder.

    The counter is on disk before the generation can be seen, so that it is never used again.
    """
    counter_path = path.with_name("generation")
    counter = 1 + max(read_counter(counter_path), count_published(connection, path))
    with write_whole(counter_path) as next_path:
        next_path.write_text(f"{counter}\n")
    return f"{counter}-{secrets.token_hex(4)}"


def read_counter(path: Path) -> int:
    """0 where there is none, or none that can be: the published files have it too."""
    if not path.exists():
        return 0
    text = path.read_bytes()[:99] if path.is_file() else b""
    if re.fullmatch(rb"[0-9]{1,15}\s*", text):
        return int(text)
    set_aside(path, "the counter of the published files goes on")
    return 0


def count_published(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The counter of the published file and the one before; 0 where neither can be read."""
    return max(count_generation(connection, file) for file in (path, previous_of(path)))


def count_generation(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The counter of one file. One that is attached is not opened again: it is opened once only."""
    attached = "SELECT path, database_name FROM duckdb_databases() WHERE path IS NOT NULL"
    try:
        rows = connection.execute(attached).fetchall()
        names = [name for file, name in rows if path.exists() and path.samefile(file)]
        if not names:
            attach(connection, path, "counted")
        name = names[0] if names else "counted"
        generation = read_one(connection, f"SELECT max(generation) FROM {name}.generation")
        return int(str(generation).partition("-")[0])
    except (duckdb.Error, ValueError, StoreError, OSError):
        return 0
    finally:
        connection.execute("DETACH DATABASE IF EXISTS counted")


def write_generation(
    connection: duckdb.DuckDBPyConnection, generation: str, run_id: str, unsorted: int
) -> None:
    """Say in `next` which publication it is."""
    connection.execute("DELETE FROM next.generation")
    connection.execute(
        "INSERT INTO next.generation VALUES (?, ?, ?::TIMESTAMP, ?, ?)",
        [generation, SCHEMA_VERSION, format_instant(), run_id, unsorted],
    )


def finish_next(connection: duckdb.DuckDBPyConnection, next_path: Path, path: Path) -> str:
    """Close `next` and publish it; returns its generation."""
    generation, published_at = connection.execute(
        "SELECT generation, epoch_us(published_at) FROM next.generation"
    ).fetchall()[0]
    connection.execute("CHECKPOINT next")
    connection.execute("DETACH next")
    fill_up(connection, next_path)
    mark_untouched(next_path, published_at)
    publish_store(next_path, path)
    return str(generation)


def mark_untouched(path: Path, published_us: int) -> None:
    """Set the file's time of modification to that of its publication: another program's write
    moves it, and nothing else has to be kept to see that."""
    os.utime(path, ns=(published_us * 1000,) * 2)


def may_be_touched(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether another program may have written into the published file, attached as `store`."""
    published = read_one(connection, "SELECT epoch_us(published_at) FROM store.generation")
    return wal_of(path).exists() or path.stat().st_mtime_ns != published * 1000


def fill_up(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make a file as long as its header says, so that one that is shorter was cut short.

    DuckDB leaves out the last blocks where they are free; here they become a hole in the file.
    """
    attach(connection, path, "finished")
    size = count_bytes(connection, "finished")
    connection.execute("DETACH finished")
    if path.stat().st_size < size:
        os.truncate(path, size)


def publish_store(next_path: Path, path: Path) -> None:
    """Put a finished, closed file in the place of the published one."""
    if wal_of(next_path).exists():
        raise StoreError(f"{next_path} was not checkpointed")
    next_path.chmod(0o440)
    flush_to_disk(next_path)
    if path.exists():
        keep_previous(path)
    next_path.replace(path)
    flush_to_disk(path.parent)


def keep_previous(path: Path) -> None:
    """Link the published file as the previous one; its WAL, if any, goes along."""
    previous = previous_of(path)
    link = previous.with_name(previous.name + ".next")
    link.unlink(missing_ok=True)
    os.link(path, link)
    wal_of(previous).unlink(missing_ok=True)
    link.replace(previous)
    link.unlink(missing_ok=True)  # still there if both were names of one file (a run died here)
    # a WAL beside a replaced file would make the new one refuse to open
    if wal_of(path).exists():
        wal_of(path).replace(wal_of(previous))
