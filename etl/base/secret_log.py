"""etl.base.secret_log"""

import logging
import logging.handlers
import time

from etl.base.errors import InputError
from etl.base.whole_files import check_is_file
from etl.credentials.redaction import strike
from etl.settings import Settings

log = logging.getLogger("etl")
LOG_BYTES = 5_000_000


class Redacting(logging.Formatter):
    """Writes times in UTC and never a secret, wherever in a record it may stand."""

    converter = staticmethod(time.gmtime)

    def __init__(self, form: str, has_traceback: bool) -> None:
        super().__init__(form, "%Y-%m-%dT%H:%M:%SZ")
        self.has_traceback = has_traceback

    def format(self, record: logging.LogRecord) -> str:
        if not self.has_traceback:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        text = strike(super().format(record))
        # a file's name may be bytes that are no text: that must not cost the message
        return text.encode("utf-8", "backslashreplace").decode()


def start_logging(settings: Settings, is_needed: bool = True) -> None:
    """Log to the terminal (standard error) and to data/etl.log, which rolls over at 5 MB.

    Without that file where it cannot be written, and is not needed.
    """
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(Redacting("%(levelname)s %(message)s", False))
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
    handler.setFormatter(Redacting(form, True))
    return handler
