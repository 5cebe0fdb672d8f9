"""Finished answers as bytes, looked up before routing and validation.

The key holds the generation, so a publication makes old answers unreachable without anyone
telling this process; there is no time to live. Only 200s are kept.
"""

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.database import Database, Snapshot
from api.errors import NoDatabase
from api.formats import choose_format
from api.memory import Answer, AnswerBackend, RawHeaders

log = logging.getLogger("api")

VERSION = "1.0"
VARY = "Accept, Accept-Encoding"
LEAST_TO_COMPRESS = 1_000
GZIP_LEVEL = 4  # a third of the time of 6, for 6 % more bytes

PIECE = 2**16  # bytes that are sent in one go

X_HIT, X_MISS = (b"x-cache", b"HIT"), (b"x-cache", b"MISS")


Shortcut = Callable[[Snapshot, str, bytes], Awaitable[tuple[bytes, RawHeaders] | None]]


class AnswerCache:
    """ASGI layer: answers from the store of bytes, or lets the app answer once and keeps that.

    It also gives each request its snapshot (scope["state"]["snapshot"]), and turns HEAD into GET.
    `skip` are the paths that do not depend on the snapshot alone, with all below them. `shortcut`
    may make the JSON answer to (snapshot, path, query) at once, before routing; None: it cannot.
    """

    def __init__(
        self,
        app: ASGIApp,
        backend: AnswerBackend,
        database: Database,
        skip: tuple[str, ...],
        shortcut: Shortcut,
    ) -> None:
        self.app = app
        self.backend = backend
        self.database = database
        self.skip = skip
        self.below = tuple(f"{path}/" for path in skip)
        self.shortcut = shortcut
        self.under_way: dict[str, asyncio.Task[Answer]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, drop_body(send)
        path = scope["path"]
        is_skipped = path == "/" or path in self.skip or path.startswith(self.below)
        if scope["method"] != "GET" or is_skipped:
            return await self.app(scope, receive, send)
        try:
            snapshot = self.database.take_snapshot()
        except NoDatabase:  # the routes say so, after they have checked the request
            return await self.app(scope, receive, send)
        scope.setdefault("state", {})["snapshot"] = snapshot
        return await self.answer(scope, send, snapshot)

    async def answer(self, scope: Scope, send: Send, snapshot: Snapshot) -> None:
        accept, codings, if_none_match = read_headers(scope["headers"])
        media, coding = choose_media(accept), choose_coding(codings)
        key = build_key(snapshot.generation, scope, media, coding)
        if if_none_match and matches(if_none_match, build_etag(snapshot.generation, key)):
            # an ETag is given out with a 200 only, and whatever is under it never changes
            return await send_unchanged(send, snapshot.generation, key)
        answer = await self.backend.get_answer(key)
        if answer is not None and not if_none_match:
            return await send_answer(send, answer, X_HIT)
        x_cache = X_MISS if answer is None else X_HIT
        if answer is None and (media, coding) == ("json", "identity"):
            answer = await self.cut_short(snapshot, scope, key)
        if answer is None:
            # not awaited directly: a client that goes away must not take the others along
            task = self.under_way.get(key) or self.start(scope, key, snapshot, (media, coding))
            answer = await asyncio.shield(task)
        if if_none_match == b"*" and answer.status == 200:
            return await send_unchanged(send, snapshot.generation, key)
        return await send_answer(send, answer, x_cache)

    async def cut_short(self, snapshot: Snapshot, scope: Scope, key: str) -> Answer | None:
        made = await self.ask_shortcut(snapshot, scope)
        if made is None:
            return None
        body, headers = made
        return await self.keep(key, snapshot.generation, headers, body)

    async def ask_shortcut(
        self, snapshot: Snapshot, scope: Scope
    ) -> tuple[bytes, RawHeaders] | None:
        try:
            return await self.shortcut(snapshot, scope["path"], scope["query_string"])
        except Exception:  # here nothing would make a problem of it: the route meets it again
            log.warning("the shortcut failed: %s", scope["path"], exc_info=True)
            return None

    async def keep(self, key: str, generation: str, headers: RawHeaders, body: bytes) -> Answer:
        etag = build_etag(generation, key)
        common = [*headers, *build_headers(generation, etag)]
        answer = Answer(200, add_length(common, body), body)
        await self.backend.set_answer(key, answer)
        return answer

    def start(
        self, scope: Scope, key: str, snapshot: Snapshot, wanted: tuple[str, str]
    ) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.compute(scope, key, snapshot, wanted))
        self.under_way[key] = task
        task.add_done_callback(lambda _: self.under_way.pop(key, None))
        return task

    async def compute(
        self, scope: Scope, key: str, snapshot: Snapshot, wanted: tuple[str, str]
    ) -> Answer:
        """Let the app answer; a 200 is compressed if asked for, gets its ETag and is kept."""
        media, coding = wanted
        made = None
        if media == "json" and coding != "identity":  # else it was asked already
            made = await self.ask_shortcut(snapshot, scope)
        if made is None:
            answer = await collect(self.app, scope)
            headers = [(n, v) for n, v in answer.headers if n != b"content-length"]
            if answer.status != 200:
                common = [*headers, *build_headers(snapshot.generation)]
                return Answer(answer.status, add_length(common, answer.body), answer.body)
            made = answer.body, headers
        body, headers = made
        if coding == "gzip" and len(body) >= LEAST_TO_COMPRESS:
            body = await anyio.to_thread.run_sync(compress, body)
            headers = [*headers, (b"content-encoding", b"gzip")]
        return await self.keep(key, snapshot.generation, headers, body)


def read_headers(headers: RawHeaders) -> tuple[bytes, bytes, bytes]:
    """Accept, Accept-Encoding and If-None-Match, each as one value, empty if not there."""
    accept = codings = if_none_match = b""
    for name, value in headers:
        if name == b"accept":
            accept = accept + b"," + value if accept else value
        elif name == b"accept-encoding":
            codings = codings + b"," + value if codings else value
        elif name == b"if-none-match":
            if_none_match = if_none_match + b"," + value if if_none_match else value
    return accept, codings, if_none_match.strip()


@lru_cache(maxsize=64)
def choose_media(accept: bytes) -> str:
    """The format that Accept asks for; what cannot be had is a key of its own."""
    text = accept.decode("latin-1")
    try:
        return choose_format(None, text).name
    except ValueError:
        return text


def compress(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


@lru_cache(maxsize=64)
def choose_coding(accepted: bytes) -> str:
    """gzip if the client takes it, else identity."""
    for part in accepted.decode("latin-1").lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return "identity" if weight.replace(" ", "").rstrip("0.") == "q=" else "gzip"
    return "identity"


def build_key(generation: str, scope: Scope, media_type: str, coding: str) -> str:
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return f"{generation} {path.decode('latin-1')}?{query.decode('latin-1')} {media_type} {coding}"


def build_etag(generation: str, key: str) -> str:
    """Strong and quoted; the same in every process."""
    digest = hashlib.blake2b(f"{VERSION} {key}".encode(), digest_size=8).hexdigest()
    return f'"{generation}-{digest}"'


def matches(if_none_match: bytes, etag: str) -> bool:
    given = (part.strip().removeprefix("W/") for part in if_none_match.decode("latin-1").split(","))
    return any(part == etag for part in given)


def build_headers(generation: str, etag: str | None = None) -> RawHeaders:
    headers = [
        (b"cache-control", b"no-cache"),
        (b"vary", VARY.encode()),
        (b"x-data-generation", generation.encode()),
    ]
    return [(b"etag", etag.encode()), *headers] if etag else headers


def add_length(headers: RawHeaders, body: bytes) -> RawHeaders:
    return [*headers, (b"content-length", str(len(body)).encode())]


async def send_unchanged(send: Send, generation: str, key: str) -> None:
    headers = build_headers(generation, build_etag(generation, key))
    await send_answer(send, Answer(304, headers, b""), X_HIT)


async def send_answer(send: Send, answer: Answer, x_cache: tuple[bytes, bytes]) -> None:
    """A long body goes out in pieces, so that who asks for little meanwhile has their turn."""
    headers = [*answer.headers, x_cache]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body, sent = answer.body, 0
    while len(body) - sent > PIECE:
        piece = body[sent : sent + PIECE]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
        sent += PIECE
    await send({"type": "http.response.body", "body": body[sent:] if sent else body})


def drop_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return send_head


async def collect(app: ASGIApp, scope: Scope) -> Answer:
    """The app's whole response to a request without a body, one to its own fault too."""
    start: dict[str, Any] = {}
    parts: list[bytes] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:  # no client of this request can disconnect
            await asyncio.Future()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("a request failed: %s", scope["path"])
        if not start:
            raise
    return Answer(start["status"], list(start["headers"]), b"".join(parts))
