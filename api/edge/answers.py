"""api.edge.answers"""

import asyncio
import gzip
import logging
import time
from contextlib import suppress
from typing import Any

import anyio.to_thread
from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cache.memory import Answer, AnswerBackend, Got, RawHeaders
from api.cache.once import Flight, Once
from api.edge.gate import Head, get_head, secure
from api.edge.headers import (
    X_HIT,
    X_MISS,
    add_length,
    build_generation,
    build_headers,
    build_minute_generation,
)
from api.edge.keys import matches, may_match
from api.edge.negotiate import choose_coding, choose_media, get_type
from api.edge.passing import Passing
from api.edge.ready import Ready
from api.edge.room import Hold, Room
from api.edge.sharing import Sharing
from api.edge.shortcut import MinuteShortcut, Shortcut
from api.edge.targets import NOTHING_YET, Target, Targets
from api.encode.formats import FORMATS
from api.faults import Fault, NoDatabase
from api.problems import build_problem
from api.store import Snapshot, Store
from api.store.minutes import Minutes
from api.store.minutes.views import MinuteView

log = logging.getLogger("api")
LEAST_TO_COMPRESS = 1_000
GZIP_LEVEL = 4  # a third of the time of 6, for 6 % more bytes

PIECE = 2**16  # bytes that are sent in one go
GZIP_HEADER = (b"content-encoding", b"gzip")
NO_CODING = "Accept-Encoding leaves nothing: gzip and identity can be had."
TAKEN = ("snapshot", "minutes", "is_down")  # of the state of a request: what its key was made of
OTHER_ANSWER = "If-Match names another answer than this one: ask again without it."
FAULT_EVERY = 60.0  # seconds between two log lines about a backend that fails


class AnswerCache:
    """ASGI layer: answers from the store of bytes, or lets the app answer once and keeps that.

    It also gives each request its snapshot (scope["state"]["snapshot"]), and turns HEAD into GET.
    `passing` tells the requests that go by it, `targets` which answer each of the others gets.
    `shortcut` may make the JSON answer to (snapshot, path, query) at once, before routing; None:
    it cannot. `room` is for what is in the making; `sharing` for what other instances make too.
    """

    def __init__(
        self,
        app: ASGIApp,
        backend: AnswerBackend,
        database: Store[Any],
        passing: Passing,
        targets: Targets,
        shortcut: Shortcut,
        room: Room,
        sharing: Sharing | None = None,
        *,
        minutes: Minutes,
        minute_shortcut: MinuteShortcut,
    ) -> None:
        self.app = app
        self.backend = backend
        self.database = database
        self.passing = passing
        self.targets = targets
        self.shortcut = shortcut
        self.room = room
        self.sharing = sharing
        self.minutes = minutes
        self.minute_shortcut = minute_shortcut
        self.once: Once[Got] = Once()
        self.quiet_until = 0.0
        self.ready: Ready | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, drop_body(send)
        media = choose_media(get_head(scope).get(b"accept", b""))
        path, query = get_route_path(scope), scope["query_string"]
        if scope["method"] != "GET" or self.passing.passes(path, query, media):
            return await self.app(scope, receive, require_match(secure(send), get_head(scope)))
        scope["state"]["snapshot"] = self.find_snapshot()
        return await self.answer(scope, receive, send, media)

    def find_snapshot(self) -> Snapshot | None:
        try:
            newest: Snapshot = self.database.newest()
        except NoDatabase:
            return None
        return newest

    async def find_target(self, scope: Scope, media: str, coding: str) -> Target | None:
        """Which answer a request gets; None where there is nothing to read yet, which the routes
        say, after they have checked the request."""
        snapshot: Snapshot | None = scope["state"]["snapshot"]
        target = self.targets.find(snapshot or NOTHING_YET, scope, media, coding)
        if not target.has_minutes:
            return target if snapshot else None
        is_down = False
        try:
            minutes = await self.minutes.newest()
        except Fault:  # a route that cannot do without says so
            minutes, is_down = None, True
        scope["state"] |= {"minutes": minutes, "is_down": is_down}
        if snapshot is None and minutes is None:
            return None
        return self.targets.add_minutes(target, minutes, is_down)

    async def answer(self, scope: Scope, receive: Receive, send: Send, media: str) -> None:
        head, snapshot = get_head(scope), scope["state"]["snapshot"]
        coding = choose_coding(head.get(b"accept-encoding", b""))
        target = await self.find_target(scope, media, coding)
        if target is None:
            return await self.app(scope, receive, secure(send))
        unnamed, send = send, name_generation(send, snapshot, scope["state"].get("minutes"))
        if coding == "":
            return await send_answer(send, refuse(406, NO_CODING), X_MISS)
        is_conditional = b"if-none-match" in head or b"if-match" in head
        # an ETag is given out with a 200 only, and whatever is under it never changes
        if is_conditional and has_unchanged(head, target.etag):
            return await self.send_unchanged(send, target)
        answer = await self.look_up(target.key)
        x_cache, way = (X_MISS, "miss") if answer is None else (X_HIT, "hit")
        if answer is None and self.is_cut_first(target, (media, coding)):
            answer = await self.cut_short(scope, target)
            way = "miss" if answer is None else "shortcut"
        scope["state"]["way"] = way  # for who counts
        if answer is not None:
            self.get_ready(scope, target, answer, (media, coding), is_hit=x_cache is X_HIT)
            return await self.finish(scope, send, target, answer, x_cache)
        if await self.share(scope, receive, send, target, (media, coding)):
            return None
        return await self.answer(scope, receive, unnamed, media)

    def get_ready(
        self, scope: Scope, target: Target, answer: Answer, wanted: tuple[str, str], is_hit: bool
    ) -> None:
        """Answer the same request before it is parsed, when it comes again."""
        if self.ready is None:
            return
        if wanted == ("json", "identity"):
            self.ready.learn_head(scope)
        if is_hit and not (self.targets.has_state(target) or target.has_minutes):
            self.ready.remember(scope, scope["state"]["snapshot"], target.key, answer)

    async def finish(
        self, scope: Scope, send: Send, target: Target, answer: Answer, x_cache: tuple[bytes, bytes]
    ) -> None:
        """Send the answer, or say that its precondition does not hold."""
        head, is_found = get_head(scope), answer.status == 200
        if is_found and b"if-match" in head and not may_match(head, target.etag):
            return await send_answer(send, refuse(412, OTHER_ANSWER), x_cache)
        if is_found and head.get(b"if-none-match", b"").strip() == b"*":
            return await self.send_unchanged(send, target)
        return await send_answer(send, answer, x_cache)

    async def send_unchanged(self, send: Send, target: Target) -> None:
        headers = build_headers(target.etag)
        await send_answer(send, Answer(304, headers, b""), X_HIT)

    async def look_up(self, key: str) -> Answer | None:
        """The answer that is kept. A store that fails costs a miss, and no more."""
        try:
            return await self.backend.get_answer(key)
        except Exception:
            self.report_backend()
            return None

    def report_backend(self) -> None:
        if time.monotonic() >= self.quiet_until:
            self.quiet_until = time.monotonic() + FAULT_EVERY
            log.warning("the store of answers fails: each is made anew", exc_info=True)

    async def share(
        self, scope: Scope, receive: Receive, send: Send, target: Target, wanted: tuple[str, str]
    ) -> bool:
        """Make the answer once for all who ask for it now, and send it to this one; False: it has
        to be made anew, of what was published meanwhile.

        A client that goes away takes no other along; when all have gone, the work ends. Its memory
        counts until the last has it.
        """
        flight = self.once.join(
            target.key, lambda flight: self.compute(scope, target, wanted, flight)
        )
        gone = asyncio.create_task(wait_until_gone(receive))
        try:
            await asyncio.wait((flight.task, gone), return_when=asyncio.FIRST_COMPLETED)
            if flight.task.done():
                answer, is_made = flight.task.result()
                if answer.status == 503 and await self.has_moved(scope, target):
                    return False
                scope["state"]["way"] = "miss" if is_made else "hit"
                await self.finish(scope, send, target, answer, X_MISS if is_made else X_HIT)
            return True
        finally:
            gone.cancel()
            flight.leave()

    async def has_moved(self, scope: Scope, target: Target) -> bool:
        """Whether another generation of minutes was published while an answer was made of one that
        its engine no longer keeps: then it is made anew, once."""
        state = scope["state"]
        if not target.has_minutes or state.get("has_moved"):
            return False
        state["has_moved"] = True
        with suppress(Fault):
            return await self.minutes.newest() is not state["minutes"]
        return False

    async def cut_short(self, scope: Scope, target: Target) -> Answer | None:
        made = await self.ask_shortcut(scope, target)
        if made is None:
            return None
        body, headers = made
        return await self.keep(target, headers, body)

    async def ask_shortcut(self, scope: Scope, target: Target) -> tuple[bytes, RawHeaders] | None:
        try:
            state, asked = scope["state"], (target.route_path, target.query)
            if not target.has_minutes:
                return await self.shortcut(state["snapshot"], *asked)
            if state["minutes"] is None:
                return None
            return await self.minute_shortcut(state["minutes"], *asked)
        except Exception:  # here nothing would make a problem of it: the route meets it again
            log.warning("the shortcut failed: %s", target.path, exc_info=True)
            return None

    async def keep(self, target: Target, headers: RawHeaders, body: bytes) -> Answer:
        common = [*headers, *build_headers(target.etag)]
        answer = Answer(200, add_length(common, body), body)
        await self.remember(target, answer)
        return answer

    async def remember(self, target: Target, answer: Answer) -> None:
        try:
            await self.backend.set_answer(target.key, answer)
        except Exception:
            self.report_backend()

    def is_cut_first(self, target: Target, wanted: tuple[str, str]) -> bool:
        """Whether the shortcut is asked before all else: what is shared is looked for first."""
        return wanted == ("json", "identity") and not self.is_shared(target)

    def is_shared(self, target: Target) -> bool:
        return self.sharing is not None and self.sharing.takes(target)

    async def compute(
        self, scope: Scope, target: Target, wanted: tuple[str, str], flight: Flight[Got]
    ) -> Got:
        """Make the answer, or get the one that another instance has made."""
        if self.sharing is None or not self.sharing.takes(target):
            return Got(await self.make(scope, target, wanted, flight), is_made=True)
        got = await self.sharing.answers.get_or_make(
            target.key, lambda: self.make(scope, target, wanted, flight)
        )
        if not got.is_made:
            await self.remember(target, got.answer)
        return got

    async def make(
        self, scope: Scope, target: Target, wanted: tuple[str, str], flight: Flight[Got]
    ) -> Answer:
        """Let the app answer; a 200 is compressed if asked for, gets its ETag and is kept."""
        (media, coding), made = wanted, None
        hold = Hold(self.room)
        flight.on_left = hold.release
        if media == "json" and not self.is_cut_first(target, wanted):  # else it was asked already
            made = await self.ask_shortcut(scope, target)
        if made is None:
            answer = await collect(self.app, build_scope(scope, target, media, hold))
            headers = [(n, v) for n, v in answer.headers if n != b"content-length"]
            if answer.status != 200:
                common = [*headers, *build_headers()]
                return Answer(answer.status, add_length(common, answer.body), answer.body)
            made = answer.body, headers
        body, headers = made
        if coding == "gzip!" or (coding == "gzip" and len(body) >= LEAST_TO_COMPRESS):
            body = await anyio.to_thread.run_sync(compress, body)
            headers = [*headers, GZIP_HEADER]
        return await self.keep(target, headers, body)


def build_scope(scope: Scope, target: Target, media: str, hold: Hold) -> Scope:
    """The request of a key: nothing is in it that two requests of one key may differ in."""
    kept = ("root_path", "asgi")
    taken = {name: scope["state"][name] for name in TAKEN if name in scope["state"]}
    accept = get_type(FORMATS[media]) if media in FORMATS else "none/none"
    return {
        **{name: scope[name] for name in kept if name in scope},
        **{"type": "http", "method": "GET", "http_version": "1.1", "scheme": "http"},
        **{"path": target.path, "raw_path": target.url.encode()},
        "query_string": target.query,
        "headers": [(b"accept", accept.encode())],
        "state": {**taken, "hold": hold},
    }


def has_unchanged(head: Head, etag: str) -> bool:
    """Whether a 304 can be given before it is known that there is an answer."""
    return may_match(head, etag) and matches(head.get(b"if-none-match", b""), etag)


async def wait_until_gone(receive: Receive) -> None:
    """Returns when the client hangs up."""
    while (message := await receive())["type"] != "http.disconnect":
        if not message.get("more_body"):
            break
    if message["type"] != "http.disconnect" and (await receive())["type"] != "http.disconnect":
        await asyncio.Future()  # a server that never tells


def compress(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def require_match(send: Send, head: Head) -> Send:
    """For answers that routes send: a 412 in place of one that If-Match does not name."""
    is_refused = False

    async def send_named(message: Message) -> None:
        nonlocal is_refused
        if message["type"] == "http.response.start" and message["status"] in (200, 304):
            etag = dict(message["headers"]).get(b"etag", b"without one").decode("latin-1")
            is_refused = not may_match(head, etag)
            if is_refused:
                made = build_problem(412, OTHER_ANSWER)
                await send({**message, "status": 412, "headers": made.raw_headers})
                await send({"type": "http.response.body", "body": bytes(made.body)})
        if not is_refused:
            await send(message)

    return send_named if b"if-match" in head else send


def refuse(status: int, detail: str) -> Answer:
    made = build_problem(status, detail)
    return Answer(status, [*made.raw_headers, *build_headers()], bytes(made.body))


def name_generation(send: Send, snapshot: Snapshot | None, minutes: MinuteView | None) -> Send:
    """Let an answer name the generation that it is of now, whichever it was made from: it is the
    same in both."""
    headers = [build_generation(snapshot)] if snapshot else []
    headers += [build_minute_generation(minutes)] if minutes else []

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] += headers
        await send(message)

    return send_named


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
    """The answer is over with its head, however long its body goes on."""
    is_over = False

    async def send_head(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.body":
            if is_over:
                return
            is_over, message = True, {"type": "http.response.body", "body": b""}
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
