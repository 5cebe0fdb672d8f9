"""Finished answers as bytes, looked up before routing and validation.

The key holds the generation, so a publication makes old answers unreachable without anyone
telling this process; there is no time to live. Only 200s are kept.
"""

import asyncio
import gzip
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import orjson
from fastapi_cache.types import Backend
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.database import Database
from api.errors import NoDatabase

log = logging.getLogger("api")

VERSION = "1.0"
VARY = "Accept, Accept-Encoding"
ENTRY_OVERHEAD = 500  # bytes of Python objects around one entry
LEAST_TO_COMPRESS = 1_000
GZIP_LEVEL = 6

RawHeaders = list[tuple[bytes, bytes]]


class MemoryBackend(Backend):
    """A fastapi-cache2 backend that is bounded in bytes and forgets the least recently used."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.entries: OrderedDict[str, bytes] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        value = self.entries.get(key)
        if value is not None:
            self.entries.move_to_end(key)
        return value

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        return -1, await self.get(key)

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        self.drop(key)
        if weigh(key, value) > self.max_bytes:
            return
        self.entries[key] = value
        self.bytes += weigh(key, value)
        while self.bytes > self.max_bytes:
            self.drop(next(iter(self.entries)))

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        is_all = not (key or namespace)
        keys = [
            k for k in self.entries if is_all or k == key or (namespace and k.startswith(namespace))
        ]
        for each in keys:
            self.drop(each)
        return len(keys)

    def drop(self, key: str) -> None:
        value = self.entries.pop(key, None)
        if value is not None:
            self.bytes -= weigh(key, value)


def weigh(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_OVERHEAD


@dataclass(frozen=True)
class Answer:
    """A finished response."""

    status: int
    headers: RawHeaders
    body: bytes

    def pack(self) -> bytes:
        head = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        return orjson.dumps(head) + b"\n" + self.body


def unpack(value: bytes) -> Answer:
    end = value.index(b"\n")
    head = orjson.loads(value[:end])
    return Answer(
        200, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in head], value[end + 1 :]
    )


class AnswerCache:
    """ASGI layer: answers from the store of bytes, or lets the app answer once and keeps that.

    It also gives each request its snapshot (scope["state"]["snapshot"]), and turns HEAD into GET.
    `skip` are the paths that do not depend on the snapshot alone, with all below them.
    """

    def __init__(
        self, app: ASGIApp, backend: Backend, database: Database, skip: tuple[str, ...]
    ) -> None:
        self.app = app
        self.backend = backend
        self.database = database
        self.skip = skip
        self.under_way: dict[str, asyncio.Task[Answer]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, drop_body(send)
        if scope["method"] != "GET" or self.is_skipped(scope["path"]):
            return await self.app(scope, receive, send)
        try:
            snapshot = self.database.take_snapshot()
        except NoDatabase:  # the routes say so, after they have checked the request
            return await self.app(scope, receive, send)
        scope.setdefault("state", {})["snapshot"] = snapshot
        return await self.answer(scope, send, snapshot.generation)

    def is_skipped(self, path: str) -> bool:
        return path == "/" or path.startswith(self.skip)

    async def answer(self, scope: Scope, send: Send, generation: str) -> None:
        request = Headers(scope=scope)
        coding = choose_coding(request.get("accept-encoding", ""))
        key = build_key(generation, scope, "application/json", coding)
        etag = build_etag(generation, key)
        # an ETag is given out with a 200 only, and whatever is under it never changes
        if matches(request.get("if-none-match"), etag):
            return await send_answer(send, Answer(304, build_headers(generation, etag), b""), "HIT")
        stored = await self.backend.get(key)
        if stored is not None:
            answer, x_cache = unpack(stored), "HIT"
        else:
            # not awaited directly: a client that goes away must not take the others along
            task = self.under_way.get(key) or self.start(scope, key, etag, generation, coding)
            answer, x_cache = await asyncio.shield(task), "MISS"
        if answer.status == 200 and request.get("if-none-match", "").strip() == "*":
            answer = Answer(304, build_headers(generation, etag), b"")
        return await send_answer(send, answer, x_cache)

    def start(
        self, scope: Scope, key: str, etag: str, generation: str, coding: str
    ) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.compute(scope, key, etag, generation, coding))
        self.under_way[key] = task
        task.add_done_callback(lambda _: self.under_way.pop(key, None))
        return task

    async def compute(
        self, scope: Scope, key: str, etag: str, generation: str, coding: str
    ) -> Answer:
        """Let the app answer; a 200 is compressed if asked for, gets its ETag and is kept."""
        answer = await collect(self.app, scope)
        kept = [(n, v) for n, v in answer.headers if n != b"content-length"]
        if answer.status != 200:
            common = [*kept, *build_headers(generation)]
            return Answer(answer.status, add_length(common, answer.body), answer.body)
        body = answer.body
        if coding == "gzip" and len(body) >= LEAST_TO_COMPRESS:
            body = await anyio.to_thread.run_sync(compress, body)
            kept.append((b"content-encoding", b"gzip"))
        headers = add_length([*kept, *build_headers(generation, etag)], body)
        answer = Answer(200, headers, body)
        await self.backend.set(key, answer.pack())
        return answer


def compress(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def choose_coding(accepted: str) -> str:
    """gzip if the client takes it, else identity."""
    for part in accepted.lower().split(","):
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


def matches(if_none_match: str | None, etag: str) -> bool:
    if not if_none_match:
        return False
    given = (part.strip().removeprefix("W/") for part in if_none_match.split(","))
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


async def send_answer(send: Send, answer: Answer, x_cache: str) -> None:
    headers = [*answer.headers, (b"x-cache", x_cache.encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def drop_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            if message.get("more_body"):
                return
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return send_head


async def collect(app: ASGIApp, scope: Scope) -> Answer:
    """The app's whole response to a request without a body."""
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

    await app(scope, receive, send)
    return Answer(start["status"], list(start["headers"]), b"".join(parts))
