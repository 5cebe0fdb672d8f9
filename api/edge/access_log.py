"""One line a request, cheap enough for a kept answer: gathered, and written together.

Written once a second, when much has come together, and when the service ends. A worker that is
killed (kill -9) loses what it had gathered since, at most a second of it.
"""

import atexit
import logging
import os
import re
import stat
import time
from functools import lru_cache

import orjson
from starlette.types import Scope

from api.callers import Caller
from api.edge.gate import Proxies
from api.edge.request_ids import Sent
from api.edge.route_table import RouteFacts
from api.edge.watch import name_way
from etl.credentials.redaction import strike_known, strike_tokens
from etl.log_lines import escape

log = logging.getLogger("api")

MOST_LINES = 512  # that wait for each other
MOST_KNOWN = 256  # paths, and queries, that are known as they are shown
PIPE_PIECE, FILE_PIECE = 4_096, 65_536  # bytes in one write; of workers' pipe no more stay together
# Parameters whose value may be a key; one whose name is written with % may be any.
SECRET = re.compile(r"(^|&)([^=&]*(?:key|token|secret|pass|auth|sign|%)[^=&]*)=[^&]*", re.I)


class AccessLog:
    """An Observer that writes to a file descriptor, as text or JSON."""

    def __init__(self, form: str, proxies: Proxies, descriptor: int = 1) -> None:
        self.show_same = show_same_json if form == "json" else show_same_text
        self.write_line = write_json if form == "json" else write_text
        self.proxies = proxies
        self.descriptor = descriptor
        self.lines: list[bytes] = []
        self.second, self.beginning = 0, b""
        self.is_broken = False
        atexit.register(self.flush)

    def note(self, scope: Scope, facts: RouteFacts, sent: Sent, seconds: float) -> None:
        state = scope["state"]
        caller: Caller | None = state.get("caller")
        is_named = caller is not None and caller.kind != "address"
        same = self.show_same(
            scope["method"],
            scope.get("raw_path") or scope["path"].encode(),
            scope.get("query_string", b""),
            facts.template,
            sent.status,
            name_way(state.get("way"), sent.status),
            caller.name if caller is not None and is_named else None,
            self.proxies.find_address(scope.get("client"), state["head"]),
        )
        own = self.show_now(), state["request_id"], sent.size, seconds * 1000
        self.lines.append(self.write_line(same, *own))
        if len(self.lines) >= MOST_LINES:
            self.flush()

    def show_now(self) -> bytes:
        now = time.time()
        if int(now) != self.second:
            self.second = int(now)
            self.beginning = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)).encode()
        return b"%b.%03dZ" % (self.beginning, now % 1 * 1000)

    def flush(self) -> None:
        """Write what came together; a secret that stands in a path is struck here, all at once."""
        if not self.lines:
            return
        text = strike_known(b"".join(self.lines).decode("utf-8", "replace"))
        self.lines.clear()
        try:
            for piece in cut_pieces(text.encode(), find_piece_size(self.descriptor)):
                write_all(self.descriptor, piece)
        except OSError as error:
            if not self.is_broken:
                log.warning("lines of the access log were lost: %s", error.strerror)
            self.is_broken = True


@lru_cache(MOST_KNOWN)
def show_path(raw: bytes) -> str:
    """As it was sent, so without any control character; else with each escaped. No token is shown:
    struck here, once a path, that costs a kept answer nothing."""
    path = strike_tokens(raw.decode("latin-1"))
    return path if path.isascii() and path.isprintable() else escape(path)


def strike_query(raw: bytes) -> str:
    struck = strike_tokens(SECRET.sub(r"\1\2=***", raw.decode("latin-1")))
    return struck if struck.isascii() and struck.isprintable() else escape(struck)


# What is the same in the lines of many requests, in pieces between which stands what is not.
Same = tuple[bytes, bytes, bytes]


@lru_cache(MOST_KNOWN)
def show_same_json(
    method: str,
    path: bytes,
    query: bytes,
    route: str,
    status: int,
    way: str,
    user: str | None,
    client: str,
) -> Same:
    message = f"{method} {route} {status}"
    asked = {
        "method": method,
        "path": show_path(path),
        "query": strike_query(query) if query else "",
        "route": route,
        "status": status,
    }
    parts = (
        {"level": "INFO", "logger": "access", "message": message},
        asked,
        {"way": way, "user": user, "client": client},
    )
    first, middle, last = (orjson.dumps(part)[1:-1] for part in parts)
    return first, middle, last


def write_json(same: Same, now: bytes, request_id: bytes, size: int, ms: float) -> bytes:
    """A name of a request has no character that JSON would write otherwise."""
    return b'{"time":"%b",%b,"request_id":"%b",%b,"duration_ms":%.3f,"bytes":%d,%b}\n' % (
        *(now, same[0], request_id, same[1], ms, size, same[2]),
    )


@lru_cache(MOST_KNOWN)
def show_same_text(
    method: str,
    path: bytes,
    query: bytes,
    route: str,
    status: int,
    way: str,
    user: str | None,
    client: str,
) -> Same:
    asked = show_path(path)
    if query and (struck := strike_query(query)):
        asked = f"{asked}?{struck}"
    who = f"{client or '-'} {escape(user) if user else '-'}"
    return f"{who} {method or '-'} {asked or '-'} {status}".encode(), way.encode(), b""


def write_text(same: Same, now: bytes, request_id: bytes, size: int, ms: float) -> bytes:
    return b"%b %b %d %.3fms %b %b\n" % (now, same[0], size, ms, same[1], request_id)


def find_piece_size(descriptor: int) -> int:
    """Other workers write to the same pipe: what is longer than this may be mixed with theirs."""
    return PIPE_PIECE if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else FILE_PIECE


def cut_pieces(text: bytes, size: int) -> list[bytes]:
    """Whole lines, as many in a piece as fit."""
    pieces, start = [], 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + size) + 1
        if not end:  # a line that is longer than a piece
            end = text.find(b"\n", start) + 1 or len(text)
        pieces.append(text[start:end])
        start = end
    return pieces


def write_all(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]
