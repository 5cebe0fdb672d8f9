"""The log file of the ETL, bounded in size, with every secret struck out."""

import logging
import logging.handlers

from etl.base.errors import InputError
from etl.base.whole_files import check_is_file
from etl.log_lines import Facts, build_lines, tell_nothing, tell_run
from etl.settings import Settings

log = logging.getLogger("etl")
LOG_BYTES = 5_000_000
TERMINAL = "%(levelname)s %(message)s"
FILE = "%(asctime)s %(process)d %(levelname)s %(message)s"


def start_logging(settings: Settings, is_needed: bool = True) -> None:
    """Log to the terminal (standard error) and to data/etl.log, which rolls over at 5 MB.

    Without that file where it cannot be written, and is not needed.
    """
    handlers: list[logging.Handler] = [open_terminal(settings)]
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


def log_to_terminal(settings: Settings, *others: str) -> None:
    """Log to the terminal alone; of libraries only what went wrong."""
    handler = open_terminal(settings)
    for name, level in ((log.name, settings.log_level), *((each, "WARNING") for each in others)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def open_terminal(settings: Settings) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(build_lines(settings.log_format, TERMINAL, False, find_facts(settings)))
    return handler


def open_log(settings: Settings) -> logging.Handler:
    path = settings.data_dir / "etl.log"
    check_is_file(path)
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=3, encoding="utf-8"
    )
    handler.setFormatter(build_lines(settings.log_format, FILE, True, find_facts(settings)))
    return handler


def find_facts(settings: Settings) -> Facts:
    """A person reads the lines of one run; a program those of many."""
    return tell_run if settings.log_format == "json" else tell_nothing
