"""How a line of the log looks, of the ETL and of the API alike: text, or one JSON object a line.

No line holds a secret, and none is broken by what a vendor, a file or a client sent: line ends and
control characters are escaped. What each line is about (run_id, request_id) comes from `facts`.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from etl.credentials.redaction import strike

FORMS = ("text", "json")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Facts = Callable[[], Mapping[str, str]]

run: dict[str, str] = {}  # run_id of the run of this process, once it has one


def tell_nothing() -> Mapping[str, str]:
    return {}


def tell_run() -> Mapping[str, str]:
    return run


def escape(text: str) -> str:
    """The text on one line, and as UTF-8: a file's name may be bytes that are no text."""
    if not text.isprintable():
        text = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return text.encode("utf-8", "backslashreplace").decode()


class TextLines(logging.Formatter):
    """Times in UTC; a traceback, where it is wanted, is the only thing of more lines than one."""

    converter = staticmethod(time.gmtime)

    def __init__(self, form: str, has_traceback: bool, facts: Facts = tell_nothing) -> None:
        super().__init__(form, "%Y-%m-%dT%H:%M:%SZ")
        self.has_traceback = has_traceback
        self.facts = facts

    def format(self, record: logging.LogRecord) -> str:
        text = strike(super().format(without_traceback(record, self.has_traceback)))
        return text.encode("utf-8", "backslashreplace").decode()

    def formatMessage(self, record: logging.LogRecord) -> str:
        told = "".join(f" [{value}]" for value in self.facts().values())
        record.message = escape(record.message) + told
        return super().formatMessage(record)


def without_traceback(record: logging.LogRecord, has_traceback: bool) -> logging.LogRecord:
    if has_traceback:
        return record
    return logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})


@cache
def find_json_lines() -> type[logging.Formatter]:
    """The class of JSON lines: its library is loaded only where they are wanted."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    class JsonLines(OrjsonFormatter):
        def __init__(self, has_traceback: bool, facts: Facts) -> None:
            super().__init__()
            self.has_traceback = has_traceback
            self.facts = facts

        def format(self, record: logging.LogRecord) -> str:
            line = strike(super().format(without_traceback(record, self.has_traceback)))
            return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)

        def add_fields(
            self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
        ) -> None:
            log_data |= {**describe(record), **self.facts()}
            if "exc_info" in message_dict:
                log_data["traceback"] = to_utf8(message_dict["exc_info"])

    return JsonLines


def describe(record: logging.LogRecord) -> dict[str, Any]:
    return {
        "time": show_time(record.created),
        "level": record.levelname,
        "logger": record.name,
        "process": record.process,
        "message": to_utf8(record.message),
    }


def to_utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def show_time(seconds: float) -> str:
    """As 2012-01-31T20:00:00.000Z."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1000):03}Z"


def build_lines(
    form: str, text: str, has_traceback: bool = True, facts: Facts = tell_nothing
) -> logging.Formatter:
    """`form` is LOG_FORMAT; `text` is how a line looks where that is text."""
    if form == "json":
        return find_json_lines()(has_traceback, facts)  # type: ignore[arg-type]
    return TextLines(text, has_traceback, facts)
