"""DuckDB over Parquet files: connections, quoting, what a file holds, errors in plain words."""

import errno
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.base.errors import EtlError, InputError
from etl.base.instances import borrow
from etl.base.whole_files import SPILL, check_is_file
from etl.settings import Settings, SettingsError


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that spills into the data folder and keeps to ETL_MEMORY_MB.

    It reads instants in UTC, whatever the time zone of the machine.
    """
    spill = settings.data_dir / "tmp" / f"{SPILL}{os.getpid()}"
    with suppress(OSError):  # a folder that may only be read: then nothing spills
        spill.parent.mkdir(exist_ok=True)
    config = {"temp_directory": str(spill)}
    if settings.etl_memory_mb:
        config["memory_limit"] = f"{settings.etl_memory_mb}MiB"
    with borrow(config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def quote(path: Path | str) -> str:
    """A path (or text) as an SQL literal, for the places where nothing can be bound."""
    return "'" + str(path).replace("'", "''") + "'"


def read_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Column → DuckDB type of a Parquet file; InputError if it is none."""
    if not path.exists():
        raise InputError(f"{path} does not exist: run the stage before, or name another --input")
    if not path.is_dir():
        check_is_file(path)
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {scan(path)}").fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read as Parquet: {reason}") from None
    return {row[0]: row[1] for row in rows}


# What DuckDB says where a file does not hold what its head promises.
DAMAGE = re.compile(
    r"out of buffer|corrupt|checksum|could not read enough|decompress|thrift|protocolexception"
    r"|no magic bytes|invalid (page|column chunk|string)|deserializ|malformed",
    re.IGNORECASE,
)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Give an error that comes of a damaged file the file's name, and the remedy."""
    try:
        yield
    except duckdb.Error as error:
        if not DAMAGE.search(str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is damaged ({reason}): make it again, or name another --input"
        ) from None


def scan(path: Path) -> str:
    """The SQL that reads a Parquet file, or all Parquet files below a folder.

    The names of folders are no columns, though one be called `key=value`, and no patterns.
    """
    where = Path(glob.escape(str(path))) / "**" / "*.parquet" if path.is_dir() else path
    return f"read_parquet({quote(where)}, union_by_name = true, hive_partitioning = false)"


def scan_numbered(path: Path) -> str:
    """The SQL that reads one Parquet file, with `file_row_number`."""
    return f"read_parquet({quote(path)}, file_row_number = true, hive_partitioning = false)"


def read_zones(path: Path) -> dict[str, str]:
    """Column → time zone in a Parquet file: DuckDB gives the instant without it."""
    schema = pq.read_schema(path)
    return {f.name: f.type.tz for f in schema if pa.types.is_timestamp(f.type) and f.type.tz}


def show_wall_clock(column: str, zone: str) -> str:
    """SQL: the TIMESTAMP that a clock in `zone` (a name, or an offset as +09:00) shows."""
    if offset := re.fullmatch(r"([+-])(\d\d):(\d\d)", zone):
        sign, hours, minutes = offset.groups()
        minutes_east = 60 * int(hours) + int(minutes)
        return f"timezone('UTC', {column}) {sign} INTERVAL {minutes_east} MINUTE"
    return f"timezone({quote(zone)}, {column})"


REMEDIES = {
    errno.ENOSPC: "the disk is full: make room and run it again, nothing is lost",
    errno.EDQUOT: "make room and run it again, nothing is lost",
    errno.EFBIG: "make room and run it again, nothing is lost",
    errno.EACCES: "give this user the right to it, or run this as who made it",
    errno.EPERM: "give this user the right to it, or run this as who made it",
    errno.EROFS: "set DATA_DIR to a folder that can be written to",
    errno.EISDIR: "a folder is in the place of a file: move it away",
    errno.ENOTDIR: "a file is in the place of a folder: move it away",
    errno.EEXIST: "a file is in the place of a folder: move it away",
    errno.EMFILE: "too many files are open: raise `ulimit -n`",
    errno.EIO: "the disk has a fault: check it, then run it again",
}


def describe(error: BaseException) -> str:
    """An error as one line that names the remedy."""
    if isinstance(error, EtlError | SettingsError):
        return " ".join(str(error).split())
    text = next(iter(str(error).splitlines()), type(error).__name__)
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException | pa.ArrowMemoryError):
        return f"{text}: set ETL_MEMORY_MB higher, or end what else takes memory; nothing is lost"
    if isinstance(error, OSError) and error.errno in REMEDIES:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {REMEDIES[error.errno]}"
    if "No space left" in text:
        return f"{text}: {REMEDIES[errno.ENOSPC]}"
    if DAMAGE.search(text):
        return (
            f"a file is damaged ({text}): if it is the database, `make rollback` publishes the"
            " version before; else make it again"
        )
    return text


def bound(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """SQL: whether a timestamp is between the two that a query gives, told in literals."""
    first, last = connection.execute(
        f"SELECT a::VARCHAR, b::VARCHAR FROM ({query}) AS ends(a, b)"
    ).fetchall()[0]
    if first is None:
        return "false"
    return f"timestamp BETWEEN TIMESTAMP {quote(first)} AND TIMESTAMP {quote(last)}"
