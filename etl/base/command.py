"""What every stage does around its work: settings, the one lock, log, run record, publication.

The rule it keeps: a file under its final name is always whole. Whatever is written goes to
`<name>.next` first, is flushed to the disk, and takes the name in one step.
"""

import argparse
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import duckdb
import pyarrow as pa

from etl.base.errors import EtlError, InputError
from etl.base.locks import hold_lock
from etl.base.on_failure import Failure, call_command, describe_failure, find_command
from etl.base.parquet_sql import describe
from etl.base.secret_log import start_logging
from etl.base.whole_files import sweep
from etl.calendar_names import check_exchange
from etl.settings import Settings, SettingsError, check_path, find_oddities, read_settings

log = logging.getLogger("etl")

Work = Callable[[Settings, argparse.Namespace], None]
Report = Callable[[Settings, str, int], None]  # settings, command, exit code

RUNS = ("etl", "minutes", "extract", "transform", "load")  # the others look at what these made
WRITERS = (*RUNS, "rollback")
EXPECTED = (EtlError, OSError, duckdb.Error, pa.ArrowException, MemoryError)


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
    tell_end: Report = lambda settings, command, code: None,
) -> int:
    """Parse, lock, work; returns the exit code.

    tell_end is called when the work is over, however it ended.
    is_reading: without a lock. is_shared: beside others who read, in a folder that may be
    read-only. 0: done. 1: failed, with one line that says why. 2: a setting or an argument cannot
    be used.
    """
    args = parser.parse_args(argv)
    run = stage if stage in RUNS and not is_reading(args) else ""
    os.umask(os.umask(0o077) | 0o027)  # what is made is not for other users
    try:
        options = {name: value for name, value in vars(args).items() if name.isupper()}
        settings = read_settings(Settings, options)
        check_settings(settings, stage, args, is_reading(args))
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        need = find_need(settings, args)
        if need is Need.NOTHING:
            return 0
        start_logging(settings, is_needed=need is Need.DUTY and not is_shared)
    except (SettingsError, InputError, OSError) as error:
        message = describe(error)
        print(f"error: {message}", file=sys.stderr)
        if run:
            call_command(find_command(), Failure(run, "", message, 2))
        return 2
    for line in find_oddities(Settings):
        log.warning("%s", line)
    if is_reading(args):
        return guard(settings, lambda: work(settings, args))
    code = guard(settings, lambda: run_locked(settings, stage, work, args, is_shared), need, run)
    tell_end(settings, stage, code)
    return code


def check_settings(
    settings: Settings, stage: str, args: argparse.Namespace, is_reading: bool
) -> None:
    """SettingsError for an unknown calendar, and where this host follows another: a load here would
    part it from its source."""
    check_exchange(settings.exchange)
    is_asked = not getattr(args, "if_needed", False)
    if settings.follow_url and stage in WRITERS and is_asked and not is_reading:
        raise SettingsError(
            "FOLLOW_URL is set: this host takes its database from there; load on the host that"
            " it comes from, or empty FOLLOW_URL"
        )


def run_locked(
    settings: Settings, stage: str, work: Work, args: argparse.Namespace, is_shared: bool
) -> None:
    database: Path | None = getattr(args, "database", None)
    folder = database.parent if database else settings.data_dir
    with hold_lock(folder, stage, is_shared):
        if folder == settings.data_dir and not is_shared:
            sweep(folder)
        work(settings, args)


def guard(
    settings: Settings, work: Callable[[], None], need: Need = Need.DUTY, run: str = ""
) -> int:
    """Call `work`; an error becomes one line and an exit code.

    run: the stage, if this is a run of the ETL, whose failure ON_FAILURE is told.
    """
    try:
        work()
    except (Exception, KeyboardInterrupt) as error:
        code = log_error(error, settings, need)
        if run and code in (1, 2):
            failure = describe_failure(error, run, describe(error), code)
            call_command(settings.on_failure, failure)
        return code
    return 0


def log_error(error: BaseException, settings: Settings, need: Need) -> int:
    """Say in one line what went wrong; returns the exit code."""
    if isinstance(error, SettingsError):
        log.error("%s", error)
        return 2
    if isinstance(error, KeyboardInterrupt):
        log.error("stopped by the keyboard; run it again, nothing is lost")
        return 130
    if not isinstance(error, EXPECTED):
        where = settings.data_dir / "etl.log"
        log.error("unexpected error: the traceback is in %s", where, exc_info=error)
        return 1
    if need is Need.WISH:
        log.warning("%s; the database stays as it is", describe(error))
        return 0
    log.error("%s", describe(error))
    return 1
