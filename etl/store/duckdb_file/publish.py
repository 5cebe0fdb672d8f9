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

import duckdb

from etl.base.errors import StoreError
from etl.base.run_records import format_instant
from etl.base.whole_files import flush_to_disk, set_aside, write_whole
from etl.contracts.tables import (
    SCHEMA_VERSION,
)
from etl.store.duckdb_file.attached import attach, count_bytes, previous_of, read_one, wal_of


def next_of(path: Path) -> Path:
    return path.with_name(path.stem + ".next" + path.suffix)


def sorted_of(path: Path) -> Path:
    """Where `next` is written out in order."""
    return next_of(path).with_name(next_of(path).name + ".sorted")


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
