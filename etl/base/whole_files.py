"""Files that are there whole or not at all: written aside, flushed, renamed; and what is left."""

import hashlib
import itertools
import logging
import logging.handlers
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.base.errors import InputError
from etl.settings import Settings

log = logging.getLogger("etl")
SPILL = "etl-"  # and the process: where its DuckDB writes what memory does not hold


def check_is_file(path: Path) -> None:
    """InputError if something is there that is no file: a pipe would be waited for without end."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no file (a pipe, a socket or a device)"
        raise InputError(f"{path} is {what}: move it away")


def read_bytes(path: Path) -> bytes:
    """The content of a file; OSError for what is none, for a pipe would be waited for for ever."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no file")
    return path.read_bytes()


def set_aside(path: Path, consequence: str) -> None:
    """Rename what is damaged and can be had again; one line says so. Nothing is deleted."""
    aside = find_free(path.with_name(path.name + ".damaged"))
    path.replace(aside)
    log.warning("%s is damaged: set aside as %s; %s", path, aside.name, consequence)


def find_free(path: Path) -> Path:
    """The path, or with a number behind it the first one that is not taken."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain((path,), numbered) if not each.exists())


# What a killed run leaves half written, by the names that it writes under.
LEFTOVERS = (
    *("*.parquet.next", "*.html.*next", "generation.next", "runs/*.json.next"),
    *("*.next.duckdb", "*.next.duckdb.*", "*.duckdb.next", "*.following.duckdb"),
)


def sweep(folder: Path) -> None:
    """Take away what a killed run left in the data folder. Only for who holds the lock alone."""
    for path in itertools.chain.from_iterable(map(folder.glob, LEFTOVERS)):
        if not path.is_dir():
            path.unlink()
    scratch = folder / "tmp"
    for path in scratch.iterdir() if scratch.is_dir() else ():
        if path.is_file():
            path.unlink()
        elif path.name.startswith(SPILL) and not is_running(path.name.removeprefix(SPILL)):
            shutil.rmtree(path)


def is_running(process: str) -> bool:
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return int(process) != os.getpid()


@contextmanager
def write_whole(path: Path, is_shared: bool = False) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path`, whole and on disk, if nothing is raised.

    is_shared: others may be writing the same file now, who hold the lock too.
    """
    tag = f".{os.getpid()}" if is_shared else ""
    next_path = path.with_name(f"{path.name}{tag}.next")
    try:
        yield next_path
        flush_to_disk(next_path)
        next_path.replace(path)
        flush_to_disk(path.parent)
    finally:
        next_path.unlink(missing_ok=True)


@contextmanager
def scratch_file(settings: Settings, name: str) -> Iterator[Path]:
    """A path for a file that is not needed once the work is done."""
    path = settings.data_dir / "tmp" / name
    path.parent.mkdir(exist_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def compute_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_to_disk(path: Path) -> None:
    """fsync a file, or a folder (its names)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
