"""What every stage does around its work: settings, the one lock, log, run record, publication.

The rule it keeps: a file under its final name is always whole. Whatever is written goes to
`<name>.next` first, is flushed to the disk, and takes the name in one step.
"""

import argparse
import errno
import fcntl
import glob
import hashlib
import itertools
import json
import logging
import logging.handlers
import os
import re
import secrets
import shutil
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import EtlError, InputError, LockedError
from etl.exchanges import check_exchange
from etl.settings import Settings, SettingsError, check_path, find_oddities, read_settings

log = logging.getLogger("etl")

Work = Callable[[Settings, argparse.Namespace], None]
LOG_BYTES = 5_000_000
SPILL = "etl-"  # and the process: where its DuckDB writes what memory does not hold
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass
class Run:
    """One run of one or more stages; kept as data/runs/<run_id>.json, whatever becomes of it."""

    run_id: str
    path: Path
    record: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def record_stage(self, name: str) -> Iterator[dict[str, Any]]:
        """The record of one stage, to be filled with its counts; saved at start and at end."""
        entry: dict[str, Any] = {"status": "running", "started_at": format_instant()}
        self.record.setdefault("run_id", self.run_id)
        self.record.setdefault("stages", {})[name] = entry
        self.save()
        try:
            yield entry
            entry["status"] = "ok"
        except BaseException as error:
            entry["status"] = "failed"
            entry.pop("symbols", None)  # counted, but not what became of the rows
            is_told = isinstance(error, EtlError | SettingsError)
            entry["error"] = str(error) if is_told else type(error).__name__
            raise
        finally:
            entry["finished_at"] = format_instant()
            self.save()

    def as_finished(self) -> dict[str, Any]:
        """The record as it will be when the running stage ends well: what a publication stores."""
        ends = {"status": "ok", "finished_at": format_instant()}
        stages = {
            name: {**entry, **ends} if entry["status"] == "running" else entry
            for name, entry in self.record["stages"].items()
        }
        return {**self.record, "stages": stages}

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(self.path) as next_path:
            next_path.write_text(json.dumps(self.record, indent=1, default=str) + "\n")


def format_instant(timespec: str = "milliseconds") -> str:
    """Now in UTC, as 2012-01-31T20:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def open_run(settings: Settings, data_path: Path | None = None) -> Run:
    """The run that wrote `data_path` (its later stages add to its record), else a new one."""
    run_id = read_run_id(data_path) if data_path else None
    run_id = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    path = settings.runs_dir / f"{run_id}.json"
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        record = {}
    is_record = isinstance(record, dict) and isinstance(record.get("stages", {}), dict)
    return Run(run_id, path, record if is_record else {})


def read_run_id(path: Path) -> str | None:
    """The run_id in a Parquet file's own metadata; None where there is none of our form.

    A record is kept under this name, so what a foreign file says is no part of a path.
    """
    if not path.is_file():
        return None
    try:
        text = (pq.read_metadata(path).metadata or {}).get(b"run_id", b"").decode()
    except (OSError, ValueError, MemoryError, pa.ArrowException):
        return None
    return text if RUN_ID.fullmatch(text) else None


@contextmanager
def hold_lock(folder: Path, holder: str, is_shared: bool = False) -> Iterator[None]:
    """The one lock of a data folder; LockedError names who has it and since when.

    Those who only read share it. In a folder that they may not write to they need none: where no
    lock can be opened, nobody who has their rights writes.
    """
    path = folder / "etl.lock"
    check_is_file(path)
    try:
        file = path.open("a+")
    except OSError:
        if not is_shared:
            raise
        yield
        return
    with file:
        take_lock(file, folder, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{holder} (process {os.getpid()}, since {format_instant('seconds')})")
        file.flush()
        yield


def take_lock(file: IO[str], folder: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another run"
        raise LockedError(f"{who} holds the lock of {folder}: wait till it ends") from None


def check_is_file(path: Path) -> None:
    """InputError if something is there that is no file: a pipe would be waited for without end."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no file (a pipe, a socket or a device)"
        raise InputError(f"{path} is {what}: move it away")


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
    *("*.next.duckdb", "*.next.duckdb.*", "*.duckdb.next"),
)


def sweep(folder: Path) -> None:
    """Take away what a killed run left in the data folder. Only for who holds the lock alone."""
    for path in itertools.chain.from_iterable(map(folder.glob, LEFTOVERS)):
        if path.is_file():
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


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that spills into the data folder and keeps to ETL_MEMORY_MB.

    It reads instants in UTC, whatever the time zone of the machine.
    """
    spill = settings.data_dir / "tmp" / f"{SPILL}{os.getpid()}"
    with suppress(OSError):  # a folder that may only be read: then nothing spills
        spill.parent.mkdir(exist_ok=True)
    config: dict[str, Any] = {"temp_directory": str(spill)}
    if settings.etl_memory_mb:
        config["memory_limit"] = f"{settings.etl_memory_mb}MiB"
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


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


def build_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for one script. A `dest` in capitals overrides the setting of that name."""
    summary = (description or "").split("\n\n")[0]
    return argparse.ArgumentParser(prog=f"python -m {name}", description=summary)


def symbols_from_here(text: str) -> str:
    """Symbols on a command line: @file starts at the current folder too."""
    return f"@{from_here(text[1:].strip())}" if text.startswith("@") else text


def from_here(text: str) -> Path:
    """A path on a command line: it starts at the current folder, not at the project root."""
    try:
        return check_path(Path(text).expanduser().absolute())
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: wanted {error}") from None


class Need(Enum):
    """What a command is called for."""

    NOTHING = "there is nothing to do"
    WISH = "an error costs nothing: what is there already stays in use"
    DUTY = "an error is one"


def main(
    parser: argparse.ArgumentParser,
    stage: str,
    work: Work,
    argv: list[str] | None = None,
    is_reading: Callable[[argparse.Namespace], bool] = lambda args: False,
    is_shared: bool = False,
    find_need: Callable[[Settings, argparse.Namespace], Need] = lambda settings, args: Need.DUTY,
) -> int:
    """Parse, lock, work; returns the exit code.

    is_reading: without a lock. is_shared: beside others who read, in a folder that may be
    read-only. 0: done. 1: failed, with one line that says why. 2: a setting or an argument cannot
    be used.
    """
    args = parser.parse_args(argv)
    os.umask(os.umask(0o077) | 0o027)  # what is made is not for other users
    try:
        options = {name: value for name, value in vars(args).items() if name.isupper()}
        settings = read_settings(Settings, options)
        check_exchange(settings.exchange)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        need = find_need(settings, args)
        if need is Need.NOTHING:
            return 0
        start_logging(settings, is_needed=need is Need.DUTY and not is_shared)
    except (SettingsError, InputError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 2
    for line in find_oddities(Settings):
        log.warning("%s", line)
    if is_reading(args):
        return guard(settings, lambda: work(settings, args))
    return guard(settings, lambda: run_locked(settings, stage, work, args, is_shared), need)


def run_locked(
    settings: Settings, stage: str, work: Work, args: argparse.Namespace, is_shared: bool
) -> None:
    database: Path | None = getattr(args, "database", None)
    folder = database.parent if database else settings.data_dir
    with hold_lock(folder, stage, is_shared):
        if folder == settings.data_dir and not is_shared:
            sweep(folder)
        work(settings, args)


def guard(settings: Settings, work: Callable[[], None], need: Need = Need.DUTY) -> int:
    """Call `work`; an error becomes one line and an exit code."""
    try:
        work()
    except SettingsError as error:
        log.error("%s", error)
        return 2
    except (EtlError, OSError, duckdb.Error, pa.ArrowException, MemoryError) as error:
        if need is Need.WISH:
            log.warning("%s; the database stays as it is", describe(error))
            return 0
        log.error("%s", describe(error))
        return 1
    except KeyboardInterrupt:
        log.error("stopped by the keyboard; run it again, nothing is lost")
        return 130
    except Exception:
        log.exception("unexpected error: the traceback is in %s", settings.data_dir / "etl.log")
        return 1
    return 0


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


class Redacting(logging.Formatter):
    """Writes times in UTC and never the API key, wherever in a record it may stand."""

    converter = staticmethod(time.gmtime)

    def __init__(self, form: str, secret: str, has_traceback: bool) -> None:
        super().__init__(form, "%Y-%m-%dT%H:%M:%SZ")
        self.secret = secret
        self.has_traceback = has_traceback

    def format(self, record: logging.LogRecord) -> str:
        if not self.has_traceback:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        text = redact(super().format(record), self.secret)
        # a file's name may be bytes that are no text: that must not cost the message
        return text.encode("utf-8", "backslashreplace").decode()


def redact(text: str, secret: str) -> str:
    """The text without the secret, in whatever case or URL-encoding it comes."""
    for form in {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}:
        if form:
            text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    return text


def start_logging(settings: Settings, is_needed: bool = True) -> None:
    """Log to the terminal (standard error) and to data/etl.log, which rolls over at 5 MB.

    Without that file where it cannot be written, and is not needed.
    """
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(Redacting("%(levelname)s %(message)s", settings.av_api_key, False))
    handlers: list[logging.Handler] = [to_terminal]
    try:
        handlers.append(open_log(settings))
    except (OSError, InputError):
        if is_needed:
            raise
    for handler in log.handlers:
        handler.close()
    log.handlers = handlers
    log.setLevel(settings.log_level)
    log.propagate = False


def open_log(settings: Settings) -> logging.Handler:
    path = settings.data_dir / "etl.log"
    check_is_file(path)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=3, encoding="utf-8"
    )
    form = "%(asctime)s %(process)d %(levelname)s %(message)s"
    handler.setFormatter(Redacting(form, settings.av_api_key, True))
    return handler
