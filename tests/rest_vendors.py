"""Alpaca and Massive on loopback: both speak from the same bars, in pages, with their own errors.

Shapes are those that the vendors' SDKs read. What else a vendor may send is a script by symbol.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from tests.minute_answers import list_short

NEW_YORK = ZoneInfo("America/New_York")
KEY_ID, SECRET = "PKTESTKEYID7", "alpacaSECRET42"
MASSIVE_KEY = "massiveSECRET42"
ALPACA_LISTS = {"forward_split": "forward_splits", "reverse_split": "reverse_splits",
                "cash_dividend": "cash_dividends"}  # fmt: skip
TOO_RECENT = "subscription does not permit querying recent SIP data"
Bar = tuple[date, float, float, float, float, int]
Json = dict[str, Any]


@dataclass(frozen=True)
class Script:
    """What is sent in place of an answer."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RestVendors:
    """Its data and rules; set any field while it runs. requests: (path, query, headers)."""

    bars: dict[str, list[Bar]] = field(default_factory=dict)
    minutes: tuple[str, ...] = ()  # symbols that have minutes
    newest: datetime | None = None  # the last instant of which there are any
    splits: dict[str, list[tuple[date, float, float]]] = field(default_factory=dict)  # new, old
    dividends: dict[str, list[tuple[date, float]]] = field(default_factory=dict)
    page_size: int = 10_000
    scripts: dict[str, list[Script]] = field(default_factory=dict)  # by symbol; used up in turn
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    held: threading.Event | None = None  # answers wait for it
    held_number: int = 1  # from which request on
    asked: threading.Event = field(default_factory=threading.Event)  # once there was that request
    url: str = ""

    def hold(self, number: int) -> None:
        """Let the request of that number wait until it is released; `asked` tells of it."""
        self.held_number, self.held = number, threading.Event()

    def release(self) -> None:
        if self.held:
            self.held.set()
        self.held = None

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Script:
        self.requests.append((path, query, headers))
        held = self.held if len(self.requests) >= self.held_number else None
        if len(self.requests) >= self.held_number:
            self.asked.set()
        if held:
            held.wait(120)
        symbol = query.get("symbols") or query.get("ticker") or (path.split("/") + [""] * 5)[4]
        if queue := self.scripts.get(symbol):
            return queue.pop(0) if len(queue) > 1 else queue[0]
        lower = {name.lower(): value for name, value in headers.items()}
        is_alpaca = path in ("/v2/stocks/bars", "/v1/corporate-actions")
        given = lower.get("apca-api-secret-key") if is_alpaca else lower.get("authorization")
        if given != (SECRET if is_alpaca else f"Bearer {MASSIVE_KEY}"):
            return as_json({"message": "forbidden."} if is_alpaca else
                           {"status": "ERROR", "error": "Unknown API Key"}, 401)  # fmt: skip
        if path == "/v2/stocks/bars" and is_too_recent(query):
            return as_json({"message": TOO_RECENT}, 403)
        if path == "/v2/stocks/bars":
            return as_json(self.list_alpaca_bars(query))
        if path == "/v1/corporate-actions":
            return as_json(self.list_alpaca_actions(query))
        if path.startswith("/v2/aggs/"):
            return as_json(self.list_aggs(path, query))
        return as_json(self.list_reference(path, query))

    def cut(self, items: list[Any], query: dict[str, str], word: str) -> tuple[list[Any], str]:
        """A page of the items, and where the next one begins."""
        start = int(query.get(word, "0"))
        stop = start + min(self.page_size, int(query.get("limit", "10000")))
        return items[start:stop], str(stop) if stop < len(items) else ""

    def list_alpaca_bars(self, query: dict[str, str]) -> Json:
        start = query["start"][:10]
        symbols = query["symbols"].split(",")
        if query.get("timeframe") == "1Min":
            first, last = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
            timed = [(s, *item) for s in symbols for item in self.read_minutes(s, first, last)]
        else:
            days = [(s, *item) for s in symbols for item in self.read_bars(s)]
            timed = [(s, stamp(day), bar) for s, day, bar in days if str(day) >= start]
        found = [
            (symbol, {**bar, "t": f"{at:%Y-%m-%dT%H:%M:%SZ}", "n": 5, "vw": bar["c"]})
            for symbol, at, bar in timed
        ]
        page, token = self.cut(found, query, "page_token")
        bars: dict[str, list[Json]] = {}
        for symbol, bar in page:
            bars.setdefault(symbol, []).append(bar)
        return {"bars": bars, "next_page_token": token or None}

    def read_bars(self, symbol: str) -> Iterator[tuple[date, Json]]:
        for day, *values in self.bars.get(symbol, []):
            yield day, dict(zip("ohlcv", values, strict=True))

    def read_minutes(
        self, symbol: str, first: datetime, last: datetime
    ) -> Iterator[tuple[datetime, Json]]:
        if symbol in self.minutes:
            yield from list_short(first, min(last, self.newest or last))

    def list_alpaca_actions(self, query: dict[str, str]) -> Json:
        found: list[tuple[str, Json]] = []
        for symbol in query["symbols"].split(","):
            for day, new, old in self.splits.get(symbol, []):
                kind = "forward_split" if new > old else "reverse_split"
                names = {"cusip": ""} if new > old else {"old_cusip": "", "new_cusip": ""}
                rates = {"new_rate": new, "old_rate": old}
                found.append((kind, {**about(symbol, day, kind), **names, **rates}))
            for day, rate in self.dividends.get(symbol, []):
                kind, more = "cash_dividend", {"rate": rate, "special": False, "foreign": False}
                found.append((kind, {**about(symbol, day, kind), "cusip": "", **more}))
        found = [item for item in found if item[0] in query["types"].split(",")]
        page, token = self.cut(found, query, "page_token")
        lists: dict[str, list[Json]] = {}
        for kind, item in page:
            lists.setdefault(ALPACA_LISTS[kind], []).append(item)
        return {"corporate_actions": lists, "next_page_token": token or None}

    def list_aggs(self, path: str, query: dict[str, str]) -> Json:
        ticker, first, last = path.split("/")[4], *path.split("/")[8:10]
        if path.split("/")[7] == "minute":
            bounds = (datetime.fromtimestamp(int(ms) / 1000, UTC) for ms in (first, last))
            timed = list(self.read_minutes(ticker, *bounds))
        else:
            days = [item for item in self.read_bars(ticker) if first <= str(item[0]) <= last]
            timed = [(stamp(day), bar) for day, bar in days]
        found = [
            {**bar, "t": int(at.timestamp() * 1000), "n": 5, "vw": bar["c"]} for at, bar in timed
        ]
        page, token = self.cut(found, query, "cursor")
        head = {"ticker": ticker, "queryCount": len(page), "resultsCount": len(page)}
        more = {"adjusted": query.get("adjusted", "true").lower() == "true", "status": "OK"}
        results = {"results": page} if page else {}
        return {**head, **more, "request_id": "r", **results, **self.lead_on(path, query, token)}

    def lead_on(self, path: str, query: dict[str, str], token: str) -> Json:
        kept = "".join(f"&{k}={v}" for k, v in query.items() if k != "cursor")
        return {"next_url": f"{self.url}{path}?cursor={token}{kept}"} if token else {}

    def list_reference(self, path: str, query: dict[str, str]) -> Json:
        ticker = query.get("ticker", "")
        found: list[Json] = [
            {"id": f"s{day}", "execution_date": str(day), "split_from": old, "split_to": new}
            for day, new, old in self.splits.get(ticker, [])
            if path.endswith("splits")
        ] + [
            {"id": f"d{day}", "ex_dividend_date": str(day), "cash_amount": rate, "currency": "USD",
             "dividend_type": "CD", "frequency": 4}
            for day, rate in self.dividends.get(ticker, [])
            if path.endswith("dividends")
        ]  # fmt: skip
        page, token = self.cut(found, query, "cursor")
        rows = [{"ticker": ticker, **item} for item in page]
        head = {"results": rows, "status": "OK", "request_id": "r"}
        return {**head, **self.lead_on(path, query, token)}


def is_too_recent(query: dict[str, str]) -> bool:
    """Whether a free key may not ask this: all exchanges, up to less than 15 minutes ago."""
    now = datetime.now(UTC)
    end = datetime.fromisoformat(query["end"]) if "end" in query else now
    return query.get("feed") == "sip" and end > now - timedelta(minutes=15)


def about(symbol: str, day: date, kind: str) -> Json:
    key = str(uuid5(NAMESPACE_URL, f"{symbol} {day} {kind}"))
    return {"id": key, "symbol": symbol, "process_date": str(day), "ex_date": str(day)}


def stamp(day: date) -> datetime:
    """Midnight in New York, as UTC: 05:00 in winter, 04:00 in summer."""
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def as_json(answer: Any, status: int = 200, **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Script(json.dumps(answer).encode(), status, named)


@contextmanager
def open_vendors(**rules: Any) -> Iterator[RestVendors]:
    """Both on one address, `url`."""
    vendors = RestVendors(**rules)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            sent = vendors.answer(parts.path, query, dict(self.headers))
            self.send_response(sent.status)
            for name, value in {"Content-Length": str(len(sent.body)), **sent.headers}.items():
                self.send_header(name, value)
            with suppress(OSError):  # who asked may be gone
                self.end_headers()
                self.wfile.write(sent.body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendors.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield vendors
    finally:
        server.shutdown()
        server.server_close()
