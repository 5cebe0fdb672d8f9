"""What JSON answers mean whose vendors tell errors by status and words, as Alpaca and Massive do;
and how any vendor's JSON is read, shown and kept.

Pure. Data are recognised by their shape; an answer without them is one typed error: the status
chooses it, and words where the status says nothing (a 200 with an error in its body).
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from etl.base.errors import (
    Forbidden,
    InvalidKey,
    Malformed,
    PremiumOnly,
    QuotaSpent,
    SourceError,
    Throttled,
    Unavailable,
    UnknownSymbol,
)
from etl.calls.vendor import Row
from etl.credentials.redaction import redact, strike

Answer = dict[str, Any]
NEW_YORK = ZoneInfo("America/New_York")
FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}  # of a bar
SPOKEN = ("message", "error", "detail")
SHOWN = 300  # letters of what the vendor said; the whole text is matched
# Read in this order: who asks too fast is told of better plans too.
WORDINGS: tuple[tuple[str, type[SourceError]], ...] = (
    (r"per day|\bdaily (limit|quota)", QuotaSpent),
    (r"too many requests|per\W(second|minute)|rate limit|exceeded the maximum", Throttled),
    (r"entitled|upgrade|subscription|your plan|not authorized", PremiumOnly),
    (r"api\W?key|credentials|access key|unauthorized|forbidden|authenticat", InvalidKey),
    (r"(invalid|unknown|no such) (symbol|ticker)|(symbol|ticker)\w* .*not found", UnknownSymbol),
)
BY_STATUS: dict[int, type[SourceError]] = {
    401: InvalidKey,
    403: InvalidKey,
    404: UnknownSymbol,
    429: Throttled,
}


@dataclass(frozen=True)
class Remedies:
    """What to do about an answer without data: of a key, of too many calls, of a plan; and the
    setting that holds the vendor's address."""

    key: str
    pace: str
    plan: str
    url_setting: str

    def find(self, error: type[SourceError]) -> str:
        return {
            InvalidKey: self.key,
            Throttled: self.pace,
            PremiumOnly: self.plan,
            QuotaSpent: "run again tomorrow; what came today is kept",
            UnknownSymbol: "check its spelling",
        }.get(error, "try later")


def read_json(body: bytes) -> Any:
    """Numbers as the text they came as; None where it is no JSON."""
    try:
        return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def check_answer(
    status: int, body: bytes, symbol: str, remedies: Remedies, has_data: Callable[[Answer], bool]
) -> Answer:
    """The answer as JSON if it holds what was asked; else the SourceError that it stands for."""
    answer = read_json(body)
    if status == 200 and isinstance(answer, dict) and has_data(answer):
        return answer
    said = find_message(answer)
    if error := find_error(status, said):
        told = f" (the vendor said: {said[:SHOWN]})" if said else f" (HTTP status {status})"
        raise error(f"{symbol}: {remedies.find(error)}{told}")
    raise explain_silence(status, body, symbol, said, remedies)


def find_error(status: int, said: str) -> type[SourceError] | None:
    """The error that a status and words stand for; None: they say nothing that is known."""
    if status == 429:
        by_day = re.search(WORDINGS[0][0], said, re.IGNORECASE)
        return QuotaSpent if by_day else Throttled
    if status >= 500 or 300 <= status < 400 or not said:
        return None
    worded = (error for words, error in WORDINGS if re.search(words, said, re.IGNORECASE))
    return next(worded, BY_STATUS.get(status))


def explain_silence(
    status: int, body: bytes, symbol: str, said: str, remedies: Remedies
) -> SourceError:
    """The error that an answer without data and without known words stands for."""
    where = f"(HTTP status {status})"
    if 300 <= status < 400:
        return Malformed(
            f"{symbol}: the vendor sends to another address, which is not followed {where}:"
            f" check {remedies.url_setting}"
        )
    is_page = body.lstrip().startswith(b"<")
    if status in (401, 403) and not is_page:
        return Forbidden(f"{symbol}: {remedies.key} {where}")
    if status >= 500:
        return Unavailable(f"{symbol}: the vendor is out of order {where}: try later")
    if is_page:
        return Unavailable(f"{symbol}: the vendor answered HTML, not JSON {where}: try later")
    if not body.strip():
        return Unavailable(f"{symbol}: the vendor sent an empty answer {where}: try later")
    told = (
        f"the vendor said: {said[:SHOWN]}" if said else f"{len(body)} bytes, HTTP status {status}"
    )
    return Malformed(f"{symbol}: an answer without data ({told})")


def find_message(answer: Any) -> str:
    """What an answer without data says, in one line that holds no secret."""
    if not isinstance(answer, dict):
        return ""
    texts = (answer.get(name) for name in SPOKEN)
    words = " ".join(" ".join(text.split()) for text in texts if isinstance(text, str))
    return strike(printable(words))


def printable(words: str) -> str:
    """Without line ends, control characters and half surrogate pairs, as a log line needs it."""
    return "".join(c if c.isprintable() else " " for c in words)


def is_bar(bar: Any) -> bool:
    return isinstance(bar, dict) and all(bar.get(name) is not None for name in "tohlc")


def read_bar(
    bar: Answer, symbol: str, read_instant: Callable[[str | None], datetime | None]
) -> Row:
    """A bar of short names; read_instant: the vendor's stamp, None where it means nothing."""
    values = {name: text(bar.get(short)) for name, short in FIELDS.items()}
    written = text(bar["t"])
    return {"symbol": symbol, "timestamp": name_session(read_instant(written), written), **values}


def read_minute(
    bar: Answer, symbol: str, read_instant: Callable[[str | None], datetime | None]
) -> Row:
    """A bar of a minute: its stamp in UTC; one that cannot be read stays as it is written."""
    values = {name: text(bar.get(short)) for name, short in FIELDS.items()}
    written = text(bar["t"])
    at = read_instant(written)
    stamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else written
    return {"symbol": symbol, "timestamp": stamp, **values}


def find_last_minute(rows: Iterable[Row]) -> date | None:
    """The day, in New York, of the newest bar of a minute; of stamps that are instants."""
    stamps = (row["timestamp"] or "" for row in rows)
    newest = max((stamp for stamp in stamps if stamp.endswith("Z")), default=None)
    return datetime.fromisoformat(newest).astimezone(NEW_YORK).date() if newest else None


def find_last(rows: Iterable[Row]) -> date | None:
    """The last session of the bars; a stamp that names none is left to transform."""
    days = (read_day(row["timestamp"] or "") for row in rows)
    return max((day for day in days if day), default=None)


def read_day(written: str) -> date | None:
    try:
        return date.fromisoformat(written) if len(written) == len("2026-11-20") else None
    except ValueError:
        return None


def name_session(at: datetime | None, written: str | None) -> str | None:
    """The session of a daily bar by its stamp: midnight in New York, or of what trades round the
    clock midnight UTC. Any other stamp stays as it is written, so that transform refuses it."""
    if at is None:
        return written
    for zone in (NEW_YORK, UTC):
        local = at.astimezone(zone)
        if not (local.hour or local.minute or local.second or local.microsecond):
            return local.date().isoformat()
    return at.isoformat()


def text(value: Any) -> str | None:
    """Any JSON value as text that can be stored: half a surrogate pair cannot."""
    if value is None:
        return None
    written = value if isinstance(value, str) else json.dumps(value)
    return written.encode("utf-8", "replace").decode()


def divide(new: Any, old: Any) -> str:
    """A split's new shares for one old, as text; what cannot be divided stays as it is written."""
    try:
        ratio = float(new) / float(old)
    except (TypeError, ValueError, ZeroDivisionError):
        return f"{text(new)} for {text(old)}"
    return repr(ratio)


def sum_by_day(rows: Iterable[Row]) -> list[Row]:
    """One row a day: a regular and a special dividend of one ex-date are paid both."""
    found: dict[str | None, Row] = {}
    for row in rows:
        known = found.get(row["ex_date"])
        found[row["ex_date"]] = (
            {**row, "value": add(known["value"], row["value"])} if known else row
        )
    return list(found.values())


def add(one: str | None, other: str | None) -> str:
    try:
        return str(Decimal(one or "") + Decimal(other or ""))
    except InvalidOperation:
        return f"{one} and {other}"


def redact_body(body: bytes, find_data: Callable[[Any], Any], *secrets: str) -> bytes:
    """The answer without secrets, byte for byte else. One so short that data look like it is left
    where it stands: it is data."""
    whole = body.decode("utf-8", "surrogateescape")
    redacted = redact(strike(whole), *secrets).encode("utf-8", "surrogateescape")
    if redacted != body and find_data(read_json(redacted)) != find_data(read_json(body)):
        return body
    return redacted
