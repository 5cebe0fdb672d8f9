"""A vendor on loopback that answers like Alpha Vantage, quotas and wordings included.

It counts calls by its own clock, which a test may set; it keeps every request that it got. It is
a real HTTP server: what the tests show of extraction, they show over a socket.
"""

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from etl.base.clock import Clock
from etl.market.sessions import last_closed_session
from tests.minute_answers import build_intraday

NEW_YORK = ZoneInfo("America/New_York")
THANKS = "Thank you for using Alpha Vantage! "
PLANS = "any of the premium plans at https://www.alphavantage.co/premium/ "
SAYS = {
    "day": THANKS + "Our standard API rate limit is 25 requests per day. Please subscribe to "
    f"{PLANS}to instantly remove all daily rate limits.",
    "echo": "We have detected your API key as {key} and our standard API rate limit is 25 requests"
    f" per day. Please subscribe to {PLANS}to instantly remove all daily rate limits.",
    "second": THANKS + "Please consider spreading out your free API requests more sparingly (1"
    f" request per second). You may subscribe to {PLANS}to lift the free key rate limit (25"
    " requests per day) and instantly remove all daily rate limits.",
    "burst": "Burst pattern detected. Please consider spreading out your free API requests more"
    f" sparingly (1 request per second). You may subscribe to {PLANS}to lift the free key rate"
    " limit (25 requests per day), raise the per-second burst limit, and instantly unlock all"
    " premium endpoints",
    "premium": THANKS + "The outputsize=full parameter value is a premium feature for the"
    f" TIME_SERIES_DAILY endpoint. You may subscribe to {PLANS}to instantly unlock all premium"
    " features",
}
UNKNOWN = (
    "Invalid API call. Please retry or visit the documentation"
    " (https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY."
)
BAD_KEY = (
    "the parameter apikey is invalid or missing. Please claim your free API key on"
    " (https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)


class FakeClock(Clock):
    """Stands still but for sleep, which takes no time."""

    def __init__(self, now: datetime) -> None:
        self.at = now
        self.seconds = 0.0
        self.lock = threading.Lock()

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.at += timedelta(seconds=seconds)
            self.seconds += seconds


@dataclass
class Request:
    at: float
    day: date
    query: dict[str, str]
    connection: str = ""  # what the header of that name asked for

    @property
    def symbol(self) -> str:
        return self.query["symbol"]

    @property
    def function(self) -> str:
        return self.query["function"]


# Answers in place of the vendor's own: bytes, or a function that writes to the socket itself.
Script = bytes | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Vendor:
    """Its rules, its clock, and what it was asked. Set any field while it runs."""

    clock: Clock = field(default_factory=Clock)
    per_day: int = 25
    per_second: float = 1
    second: float = 1.0  # how long the second is in which so many are counted
    per_minute: int = 0
    latency: float = 0.0
    keys: tuple[str, ...] = ()  # () = any
    unknown: tuple[str, ...] = ()
    premium: tuple[str, ...] = ("full",)  # outputsizes and functions
    broken: tuple[str, ...] = ()  # functions that are answered with an empty body
    echoes_key: bool = False
    bars: int = 3
    last_bar: date | None = None  # None: the last closed session; else always this one
    listed: date = date(2020, 1, 1)  # before it there are no minutes
    stamps: str = "start"  # of minutes; "end" as until 2020
    lag: timedelta = timedelta()  # so old the newest minutes are
    scripts: dict[str, Script] = field(default_factory=dict)  # by symbol, "*" = any
    actions: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    refused: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def symbols(self) -> list[str]:
        return [request.symbol for request in self.requests]

    def count(self, query: dict[str, str], connection: str = "") -> str:
        """Count a request; the kind of refusal that is due, or ""."""
        with self.lock:
            at, day = self.clock.monotonic(), self.clock.now().astimezone(NEW_YORK).date()
            earlier = [r.at for r in self.requests]
            today = sum(r.day == day for r in self.requests)
            self.requests.append(Request(at, day, query, connection))
            is_fast = (
                self.per_second and sum(at - t < self.second for t in earlier) >= self.per_second
            )
            is_fast = is_fast or (
                self.per_minute and sum(at - t < 60 for t in earlier) >= self.per_minute
            )
            kind = "day" if self.per_day and today >= self.per_day else "second" if is_fast else ""
            self.refused += bool(kind)
            return kind

    def answer(self, query: dict[str, str]) -> Any:
        kind = self.count(query)
        if self.keys and query["apikey"] not in self.keys:
            return {"Error Message": BAD_KEY}
        if kind == "day" and self.echoes_key:
            kind = "echo"
        size = "" if "month" in query else query.get("outputsize")
        if not kind and {size, query["function"]} & set(self.premium):
            kind = "premium"
        if kind:
            return {"Information": SAYS[kind].format(key=query["apikey"])}
        if query["symbol"] in self.unknown:
            return {"Error Message": UNKNOWN}
        if query["function"] == "TIME_SERIES_INTRADAY":
            return build_intraday(query, self.clock.now(), self.listed, self.stamps, self.lag)
        if query["function"] != "TIME_SERIES_DAILY":
            found = self.actions.get((query["function"], query["symbol"]), [])
            return {"symbol": query["symbol"], "data": found}
        return self.build_series(query["symbol"])

    def build_series(self, symbol: str) -> dict[str, Any]:
        last = self.last_bar or last_closed_session("XNYS", self.clock.now())
        days = [last]
        while len(days) < self.bars:
            days.append(days[-1] - timedelta(days=3 if days[-1].weekday() == 0 else 1))
        return build_answer(symbol, days)


def build_answer(symbol: str, days: list[date]) -> dict[str, Any]:
    """Bars in the vendor's shape; prices tell the day, so that rows can be known again."""
    bars = {
        str(day): {
            "1. open": f"{day.day + 100}.1000",
            "2. high": f"{day.day + 102}.0000",
            "3. low": f"{day.day + 99}.0000",
            "4. close": f"{day.day + 101}.5000",
            "5. volume": str(1000 + day.day),
        }
        for day in days
    }
    meta = {
        "1. Information": "Daily Prices (open, high, low, close) and Volumes",
        "2. Symbol": symbol,
        "3. Last Refreshed": str(days[0]),
        "4. Output Size": "Compact",
        "5. Time Zone": "US/Eastern",
    }
    return {"Meta Data": meta, "Time Series (Daily)": bars}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def do_GET(self) -> None:
        query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
        script = self.vendor.scripts.get(query.get("symbol", ""), self.vendor.scripts.get("*"))
        connection = self.headers.get("Connection", "")
        if callable(script):
            self.vendor.count(query, connection)
            with suppress(OSError):
                script(self)
            self.close_connection = True
            return
        if script is not None:
            self.vendor.count(query, connection)
            body = script
        else:
            answer = self.vendor.answer(query)
            is_broken = query.get("function") in self.vendor.broken
            body = b"" if is_broken else json.dumps(answer, indent=1).encode()
        if self.vendor.latency:
            time.sleep(self.vendor.latency)
        self.send(body)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args: Any) -> None:
        """A client that goes away is no news."""


@contextmanager
def open_vendor(**rules: Any):
    """A running vendor; its address is `url`."""
    vendor = Vendor(**rules)
    server = Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"vendor": vendor}))
    vendor.url = f"http://127.0.0.1:{server.server_address[1]}/query"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        vendor.stopping.set()
        server.shutdown()
        server.server_close()


def drip(vendor: Vendor, head: bytes, pause: float = 0.05) -> Script:
    """Sends `head`, then a byte now and then, for as long as anybody listens."""

    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while not vendor.stopping.wait(pause):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    return script


def redirect_to(url: str, body: bytes = b"") -> Script:
    return lambda handler: handler.send(body, 302, Location=url)  # type: ignore[attr-defined]


def reply(body: bytes, status: int = 200, **headers: str) -> Script:
    return lambda handler: handler.send(body, status, **headers)  # type: ignore[attr-defined]


def bomb(mebibytes: int) -> bytes:
    """That many MiB of blanks, packed."""
    packer = zlib.compressobj(9, wbits=31)
    blank = b" " * 2**20
    return b"".join(packer.compress(blank) for _ in range(mebibytes)) + packer.flush()


def pack(body: bytes) -> bytes:
    return gzip.compress(body)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def friday_evening() -> datetime:
    """Friday 2026-11-20, 18:00 in New York: no session opens before Monday."""
    return datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
