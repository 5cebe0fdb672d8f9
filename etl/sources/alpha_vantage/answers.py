"""What an Alpha Vantage answer means: bars, corporate actions, or one of the typed errors. Pure.

Errors come with HTTP status 200 and in wordings that change from year to year. So an error is
recognised by the absence of data; words only choose between a moment, a day and never.
"""

import re
from datetime import date
from typing import Any

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
from etl.sources import answers
from etl.sources.alpha_vantage.plan import BARS, INTRADAY
from etl.sources.answers import printable, read_json, text

# Function → the name of the bars in its answer.
SERIES = {BARS: "time series (daily)", INTRADAY: "time series (1min)"}
FIELDS = ("open", "high", "low", "close", "volume")
# Function → the kind of action, and the names of its date and of its value.
ACTION_FIELDS = {
    "SPLITS": ("split", "effective_date", "split_factor"),
    "DIVIDENDS": ("dividend", "ex_dividend_date", "amount"),
}
GET_A_KEY = "a free key is given at https://www.alphavantage.co/support/#api-key; put it in .env"
TOO_FAST = "lower AV_CALLS_PER_SECOND, and let no other program use the key"
FREE_BARS = "AV_OUTPUTSIZE=compact is free; full history needs a premium key"
FREE_ACTIONS = "it needs a premium key; CORPORATE_ACTIONS_DAYS=0 stops asking"
FREE_MINUTES = "minutes need a premium key; those of SOURCE=alpaca or massive are free"
NO_MONTH = "check its spelling; or the vendor has no minutes of that month"
SPOKEN = ("error message", "information", "note", "message", "error", "detail")

# Wordings since 2017, read in this order: the message of a burst also names the daily quota, and
# both name the premium plans and what they unlock.
WORDINGS: tuple[tuple[str, type[SourceError], str], ...] = (
    (r"api\W?key is invalid|invalid or missing|demo\W+api key", InvalidKey, GET_A_KEY),
    (r"invalid api call|(invalid|unknown|no such) symbol", UnknownSymbol, "check its spelling"),
    (
        r"per\W(second|minute)|frequency|call volume|sparingly|burst|too many requests",
        Throttled,
        TOO_FAST,
    ),
    (r"premium (endpoint|feature)", PremiumOnly, FREE_BARS),
    (
        r"per day|\bdaily\b|rate limit",
        QuotaSpent,
        "run again tomorrow; what came today is kept",
    ),
)
# What else is to be done where another function than that of daily bars was asked.
REMEDIES: dict[tuple[type[SourceError], str], str] = {
    (PremiumOnly, INTRADAY): FREE_MINUTES,
    (UnknownSymbol, INTRADAY): NO_MONTH,
    **{(PremiumOnly, function): FREE_ACTIONS for function in ACTION_FIELDS},
}
SHOWN = 300  # letters of what the vendor said; the whole text is matched


def check_answer(status: int, body: bytes, symbol: str, function: str, key: str = "") -> Any:
    """The answer as JSON if it holds what was asked; else the SourceError that it stands for."""
    answer = read_json(body)
    if status == 200 and has_data(answer, function):
        check_symbol(answer, symbol, function)
        return answer
    said = find_message(answer)
    message = redact(strike(said), key)
    for pattern, error, remedy in WORDINGS:
        if re.search(pattern, said, re.IGNORECASE):
            remedy = REMEDIES.get((error, function), remedy)
            raise error(f"{symbol}: {remedy} (the vendor said: {message[:SHOWN]})")
    raise explain_silence(status, body, symbol, message[:SHOWN])


def explain_silence(status: int, body: bytes, symbol: str, message: str) -> SourceError:
    """The error that an answer without data and without known words stands for."""
    where = f"(HTTP status {status})"
    if status == 429:
        throttled = Throttled(f"{symbol}: {TOO_FAST} {where}")
        throttled.is_worded = False
        return throttled
    if 300 <= status < 400:
        return Malformed(
            f"{symbol}: the vendor sends to another address, which is not followed {where}:"
            " check AV_BASE_URL"
        )
    is_page = body.lstrip().startswith(b"<")
    if status in (401, 403) and not is_page:
        return Forbidden(f"{symbol}: {GET_A_KEY} {where}")
    if status >= 500:
        return Unavailable(f"{symbol}: the vendor is out of order {where}: try later")
    if is_page:
        return Unavailable(f"{symbol}: the vendor answered HTML, not JSON {where}: try later")
    if not body.strip():
        return Unavailable(f"{symbol}: the vendor sent an empty answer {where}: try later")
    said = f"the vendor said: {message}" if message else f"{len(body)} bytes, HTTP status {status}"
    return Malformed(f"{symbol}: an answer without data ({said})")


def find_message(answer: Any) -> str:
    """What an answer without data says, in one line."""
    if not isinstance(answer, dict):
        return ""
    said = (v for k, v in answer.items() if k.lower() in SPOKEN and isinstance(v, str))
    return printable(" ".join(" ".join(text.split()) for text in said))


def has_data(answer: Any, function: str) -> bool:
    if function in SERIES:
        return bool(find_series(answer, function))
    return isinstance(answer, dict) and is_action_list(answer.get("data"), function)


def find_series(answer: Any, function: str = BARS) -> dict[str, dict[str, Any]]:
    """The bars in an answer, by date as text; empty when there are none."""
    if not isinstance(answer, dict):
        return {}
    name = SERIES[function]
    series = next((v for k, v in answer.items() if k.strip().lower() == name), None)
    if not isinstance(series, dict) or not all(isinstance(bar, dict) for bar in series.values()):
        return {}
    has_bars = any(
        read_date(day) and all(read_field(bar, name) is not None for name in FIELDS[:4])
        for day, bar in series.items()
    )
    return series if has_bars else {}


def is_action_list(data: Any, function: str) -> bool:
    """A list of actions; an empty one says that there were none."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return False
    _, day, value = ACTION_FIELDS[function]
    return not data or any(read_date(text(item.get(day))) and item.get(value) for item in data)


def check_symbol(answer: Any, symbol: str, function: str) -> None:
    """Malformed if the data are another symbol's."""
    meta = answer.get("Meta Data") if function in SERIES else answer
    named = read_field(meta, "symbol")
    if named and re.sub(r"\W", "", named).upper() != re.sub(r"\W", "", symbol).upper():
        raise Malformed(f"{symbol}: the vendor sent the data of {printable(named)[:40]}")


def parse_bars(answer: Any, symbol: str) -> list[Row]:
    """The bars of one answer as rows of text, as the vendor wrote them."""
    return [
        {
            "symbol": symbol,
            "timestamp": text(day),
            **{name: read_field(bar, name) for name in FIELDS},
        }
        for day, bar in find_series(answer).items()
    ]


def parse_actions(answer: Any, symbol: str, function: str) -> list[Row]:
    kind, day, value = ACTION_FIELDS[function]
    return [
        {
            "symbol": symbol,
            "ex_date": text(item.get(day)),
            "kind": kind,
            "value": text(item.get(value)),
        }
        for item in answer["data"]
    ]


def find_last_bar(answer: Any) -> date | None:
    return max((day for day in map(read_date, find_series(answer)) if day), default=None)


def read_date(day: str | None) -> date | None:
    try:
        return (
            date.fromisoformat((day or "")[:10])
            if re.match(r"\d{4}-\d\d-\d\d", day or "")
            else None
        )
    except ValueError:
        return None


def read_field(bar: Any, name: str) -> str | None:
    """The value of "1. open", "open" … as the vendor wrote it; None where there is none.

    The numbers in front differ: adjusted bars have their volume at "6.".
    """
    if not isinstance(bar, dict):
        return None
    for key, value in bar.items():
        if key.partition(". ")[2].lower() == name or key.lower() == name:
            return text(value)
    return None


def redact_body(body: bytes, key: str) -> bytes:
    """The answer without the key, byte for byte else."""
    return answers.redact_body(body, find_all_series, key)


def find_all_series(answer: Any) -> list[dict[str, dict[str, Any]]]:
    return [find_series(answer, function) for function in SERIES]
