"""A vendor of 40 lines with a wire format of its own, and the server that speaks it.

One path a question, the key in a header; bars as lines of `day;o;h;l;c;v` with the day as a number
of days since 1970; splits as `day for-one`; an error is one line that begins with `!`. A last line
`> word` says that the answer goes on at `?page=word`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from etl.base.errors import Malformed, QuotaSpent, SourceError, UnknownSymbol
from etl.calls.vendor import DAILY, SPLITS, Call, Limits, Reply, Request, Row
from etl.settings import SettingsError

EPOCH = date(1970, 1, 1)
FIELDS = ("open", "high", "low", "close", "volume")


class Toy:
    name = "toy"
    ledger = "calls.toy.jsonl"
    basis = "raw"
    url_setting = "TOY_URL"
    limits = Limits(10, ZoneInfo("UTC"), per_second=1)
    datasets = MappingProxyType({DAILY: "eod", SPLITS: "splits"})

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def check_key(self) -> None:
        if not self.key:
            raise SettingsError("SOURCE=toy wants TOY_KEY")

    def name_plan(self, dataset: str) -> str:
        return self.datasets[dataset]

    def build_request(self, call: Call) -> Request:
        url = f"{self.url}/{self.datasets[call.dataset]}/{call.symbol}"
        return Request(url, {"page": call.page} if call.page else {}, {"X-Key": self.key})

    def read(self, call: Call, status: int, body: bytes) -> Reply:
        lines = body.decode("utf-8", "replace").splitlines()
        if status != 200 or not lines or lines[0].startswith("!"):
            raise find_error(lines)(f"{call.label}: {' '.join(lines)[:80] or 'an empty answer'}")
        next_page = lines.pop()[2:] if lines[-1].startswith("> ") else ""
        try:
            rows = [read_line(call, line) for line in lines[1:]]
        except (ValueError, IndexError, OverflowError):
            raise Malformed(f"{call.label}: a line that cannot be read") from None
        days = [date.fromisoformat(row["timestamp"] or "") for row in rows if "timestamp" in row]
        return Reply(rows, max(days, default=None), next_page)

    def redact(self, body: bytes) -> bytes:
        return body.replace(self.key.encode(), b"***")


def find_error(lines: list[str]) -> type[SourceError]:
    kinds: dict[str, type[SourceError]] = {"!quota": QuotaSpent, "!unknown": UnknownSymbol}
    return kinds.get((lines or [""])[0].split(" ")[0], Malformed)


def read_line(call: Call, line: str) -> Row:
    if call.dataset == SPLITS:
        day, ratio = line.split(" ")
        row: Row = {"ex_date": read_day(day), "kind": "split", "value": ratio}
        return {"symbol": call.symbol, **row}
    day, *values = line.split(";")
    bar: Row = dict(zip(FIELDS, values, strict=True))
    return {"symbol": call.symbol, "timestamp": read_day(day), **bar}


def read_day(number: str) -> str:
    return str(EPOCH + timedelta(days=int(number)))


@contextmanager
def open_toy(answers: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A running server: its address, and the paths that it was asked with the right key."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            is_known = self.headers.get("X-Key") == "TOYSECRETKEY"
            body = answers.get(self.path, b"!unknown symbol") if is_known else b"!key"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def write_bars(days: list[date]) -> bytes:
    lines = [f"{(day - EPOCH).days};10;12;9;11.5;{day.day}000" for day in days]
    return "\n".join(["bars", *lines]).encode()


def toy_now() -> datetime:
    """A Friday after New York has closed."""
    return datetime(2026, 11, 20, 23, tzinfo=UTC)
