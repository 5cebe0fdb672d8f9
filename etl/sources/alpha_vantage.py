"""Alpha Vantage, TIME_SERIES_DAILY: bars as traded, newest first, numbers as strings.

Errors come with HTTP status 200 and in wordings that change from year to year. So an error is
recognised by the absence of bars; words only choose between a moment, a day and never.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
import stamina

from etl.errors import (
    InvalidKey,
    Malformed,
    PremiumOnly,
    QuotaSpent,
    SourceError,
    Throttled,
    Unavailable,
    UnknownSymbol,
)
from etl.settings import Settings, SettingsError
from etl.sources import Delivery, build_bars
from etl.stage import redact

FIELDS = ("open", "high", "low", "close", "volume")
GET_A_KEY = "a free key is given at https://www.alphavantage.co/support/#api-key; put it in .env"

# Wordings since 2017, read in this order: the message of a burst also names the daily quota, and
# both name the premium plans.
WORDINGS: tuple[tuple[str, type[SourceError], str], ...] = (
    (r"api\W?key is invalid|invalid or missing|demo\W+api key", InvalidKey, GET_A_KEY),
    (
        r"premium (endpoint|feature)",
        PremiumOnly,
        "AV_OUTPUTSIZE=compact is free; full history needs a premium key",
    ),
    (
        r"per second|per minute|frequency|sparingly",
        Throttled,
        "lower AV_CALLS_PER_SECOND, and let no other program use the key",
    ),
    (
        r"per day|daily|rate limit",
        QuotaSpent,
        "run again tomorrow; what came today is kept",
    ),
    (r"invalid api call|symbol", UnknownSymbol, "check its spelling at the vendor"),
)


@dataclass(frozen=True)
class Patience:
    """How long one symbol is tried: attempts, seconds in all, first and longest wait."""

    attempts: int = 4
    seconds: float = 90
    first_wait: float = 1
    longest_wait: float = 20


class Pace:
    """Spaces calls: `wait` returns when the next one is allowed."""

    def __init__(
        self,
        calls_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.spacing = 1 / calls_per_second if calls_per_second else 0.0
        self.clock = clock
        self.sleep = sleep
        self.next_at = float("-inf")

    def wait(self) -> None:
        now = self.clock()
        if now < self.next_at:
            self.sleep(self.next_at - now)
        self.next_at = max(now, self.next_at) + self.spacing


class AlphaVantage:
    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        self.settings = settings
        self.symbols = settings.symbols or ()
        self.count = len(self.symbols)
        self.pace = Pace(settings.av_calls_per_second)
        self.patience = patience or Patience()
        self.session = requests.Session()
        self.session.trust_env = False  # no .netrc and no proxy may see or replace the key

    def fetch(self) -> Iterator[Delivery]:
        end: SourceError | None = None
        for symbol in self.symbols:
            if end:
                yield Delivery(symbol, error=type(end)(f"not asked: {end.kind} before it"))
                continue
            try:
                payload = self.request(symbol)
                rows = parse_bars(payload, symbol)
                yield Delivery(symbol, build_bars(rows, "alpha_vantage", "raw", utc_now()))
            except SourceError as error:
                end = error if error.ends_run else None
                yield Delivery(symbol, error=error)

    def request(self, symbol: str) -> bytes:
        """The payload for one symbol: an answer that holds bars, or a SourceError."""
        for attempt in stamina.retry_context(
            on=is_transient,
            attempts=self.patience.attempts,
            timeout=self.patience.seconds,
            wait_initial=self.patience.first_wait,
            wait_max=self.patience.longest_wait,
            wait_jitter=self.patience.first_wait / 2,
        ):
            with attempt:
                payload = self.call(symbol)
        return payload

    def call(self, symbol: str) -> bytes:
        self.pace.wait()
        query = {
            "function": "TIME_SERIES_DAILY",
            "symbol": symbol,
            "outputsize": self.settings.av_outputsize,
            "apikey": self.settings.av_api_key,
        }
        try:
            answer = self.session.get(
                self.settings.av_base_url,
                params=query,
                timeout=self.settings.http_timeout,
                allow_redirects=False,  # a redirect would carry the key to another host
            )
        except requests.RequestException as error:
            # requests puts the URL, and with it the key, into its messages: only the type is kept
            raise Unavailable(f"{symbol}: {describe(error)}") from None
        check_answer(answer.status_code, answer.content, symbol, self.settings.av_api_key)
        return answer.content


def open_alpha_vantage(settings: Settings) -> AlphaVantage:
    if not settings.av_api_key:
        raise SettingsError(f"SOURCE=alpha_vantage wants AV_API_KEY: {GET_A_KEY}")
    return AlphaVantage(settings)


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def is_transient(error: Exception) -> bool:
    return isinstance(error, SourceError) and error.is_transient


def describe(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the vendor did not answer in time: HTTP_TIMEOUT sets how long to wait"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return "AV_BASE_URL is no address that can be asked"
    return f"the vendor cannot be reached ({type(error).__name__}): check AV_BASE_URL and network"


def check_answer(status: int, body: bytes, symbol: str, key: str = "") -> None:
    """Raise the SourceError that an answer without bars stands for; return if it has some."""
    answer = read_json(body)
    if status == 200 and find_series(answer):
        return
    message = redact(find_message(answer), key)[:300]
    for pattern, error, remedy in WORDINGS:
        if re.search(pattern, message, re.IGNORECASE):
            raise error(f"{symbol}: {remedy} (the vendor said: {message})")
    if status == 429:
        raise Throttled(f"{symbol}: {WORDINGS[2][2]} (HTTP status 429)")
    if status in (401, 403):
        raise InvalidKey(f"{symbol}: {GET_A_KEY} (HTTP status {status})")
    if status >= 500 or not body.strip() or body.lstrip().startswith(b"<"):
        raise Unavailable(f"{symbol}: the vendor is out of order (HTTP status {status}): try later")
    said = f"the vendor said: {message}" if message else f"{len(body)} bytes, HTTP status {status}"
    raise Malformed(f"{symbol}: an answer without bars ({said})")


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def find_series(answer: Any) -> dict[str, dict[str, Any]]:
    """The bars in an answer, by date as text; empty when there are none."""
    if not isinstance(answer, dict):
        return {}
    for name, series in answer.items():
        if name.startswith("Time Series") and isinstance(series, dict):
            return series if all(isinstance(bar, dict) for bar in series.values()) else {}
    return {}


def find_message(answer: Any) -> str:
    """Whatever text an answer without bars holds, in one line."""
    if not isinstance(answer, dict):
        return ""
    return " ".join(" ".join(v.split()) for v in answer.values() if isinstance(v, str))


def parse_bars(payload: bytes, symbol: str) -> list[dict[str, str | None]]:
    """The bars of one payload as rows of text. Raises Malformed if they are another symbol's."""
    answer = read_json(payload)
    named = read_field(answer.get("Meta Data") or {}, "symbol")
    if named and re.sub(r"\W", "", named).upper() != re.sub(r"\W", "", symbol).upper():
        raise Malformed(f"{symbol}: the vendor sent the bars of {named[:40]}")
    return [
        {"symbol": symbol, "timestamp": day, **{name: read_field(bar, name) for name in FIELDS}}
        for day, bar in find_series(answer).items()
    ]


def read_field(bar: Any, name: str) -> str | None:
    """The value of "1. open", "open" … as the vendor wrote it; None where there is none.

    The numbers in front differ: adjusted bars have their volume at "6.".
    """
    if not isinstance(bar, dict):
        return None
    for key, value in bar.items():
        if key.partition(". ")[2].lower() == name or key.lower() == name:
            return None if value is None else str(value)
    return None
