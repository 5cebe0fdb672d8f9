"""Answers that are ready: a request that is, byte for byte, like one that was answered from the
cache of this generation gets the same answer, before it is parsed and without asking any layer.

Who asks and how often is asked each time, and who counts and logs is told of each (`Admission`,
`Watch`), where the settings want it; whoever is not let in at once takes the way of all requests.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from starlette._utils import get_route_path
from starlette.types import Scope

from api.cache.memory import Answer, Memory, RawHeaders
from api.edge.admission import Admission
from api.edge.cycle import write_lines
from api.edge.gate import Head, Proxies, get_head
from api.edge.headers import X_HIT, build_generation
from api.edge.ready_ranges import LARGEST, Range, ReadyRanges
from api.edge.request_ids import HEADER, Sent, choose_id
from api.edge.watch import Watch
from api.faults import NoDatabase
from api.store import Snapshot, Store

MOST_KNOWN, LONGEST = 1024, 2048  # requests, and bytes of each: about 3 MB
NOTHING: RawHeaders = []
END = b"\r\n\r\n"
OTHERS = (b"range", b"if-match", b"if-none-match", HEADER)  # for which the answer is another one
OF_A_BODY = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")
Client = Sequence[object] | None


class Known(NamedTuple):
    """key: of the answer that is kept; lines: of its head, but for those that are a request's own;
    root: the path below which it was asked; scope: of each such request in its turn; sent: what is
    sent of it each time."""

    key: str
    lines: bytes
    root: str
    scope: Scope
    sent: Sent


class Ready:
    def __init__(
        self,
        memory: Memory,
        database: Store[Any],
        proxies: Proxies,
        admission: Admission | None,
        watch: Watch,
        ranges: ReadyRanges,
    ) -> None:
        self.memory = memory
        self.database = database
        self.proxies = proxies
        self.admission = admission
        self.watch = watch
        self.ranges = ranges
        self.known: dict[bytes, Known] = {}
        self.snapshot: Snapshot | None = None
        self.is_plain = admission is None and not watch.observers

    def answer(self, request: bytes, client: Client) -> tuple[bytes, bytes] | None:
        """The head, without status and date, and the body of the answer; None: none is ready."""
        began = time.perf_counter()
        known = self.known.get(request)
        if known is None or not self.is_current():
            return self.answer_range(request, client, began)
        answer: Answer | None = self.memory.get(known.key)
        if answer is None:
            return None
        return self.give(known, lambda: (known.lines, answer.body), client, began)

    def answer_range(
        self, request: bytes, client: Client, began: float
    ) -> tuple[bytes, bytes] | None:
        """As `answer`, of a range that is asked for in these bytes for the first or second time."""
        asked = self.ranges.find(request)
        if asked is None:
            return None
        scope = {} if self.is_plain else self.build_scope(asked)
        answer, root = asked.answer, asked.asked_by.root
        if answer is None:
            known = Known(asked.key, b"", root, scope, Sent())
            return self.give(known, lambda: self.ranges.make(asked), client, began)
        known = self.keep(request, asked.snapshot, asked.key, answer, root, scope)
        return self.give(known, lambda: (known.lines, answer.body), client, began)

    def give(
        self,
        known: Known,
        make: Callable[[], tuple[bytes, bytes]],
        client: Client,
        began: float,
    ) -> tuple[bytes, bytes] | None:
        """Ask who asks, make the answer, and tell who watches; None: it may not be given at once.

        make: the lines of its head that are known so far, and its body.
        """
        request_id = choose_id(None)
        own = NOTHING if self.is_plain else self.admit(known, client, request_id)
        if own is None:
            return None
        lines, body = make()
        if self.watch.observers:
            known.sent.status, known.sent.size = 200, len(body)
            self.watch.note(known.scope, known.sent, time.perf_counter() - began)
        more = write_lines(own) if own else b""
        return b"%b%b: %b\r\n%b\r\n" % (lines, HEADER, request_id, more), body

    def admit(self, known: Known, client: Client, request_id: bytes) -> RawHeaders | None:
        """The headers that are this request's own; None: it may not be answered at once."""
        state = known.scope["state"]
        head: Head = state["head"]
        if self.proxies.networks and self.proxies.find_root(client, head) != known.root:
            return None
        # one request at a time, and nobody keeps its scope
        known.scope["client"], state["request_id"] = client, request_id
        if self.admission is None:
            return NOTHING
        return self.admission.admit_at_once(known.scope, head)

    def is_current(self) -> bool:
        """Whether what is known is of the newest snapshot."""
        try:
            return self.database.newest() is self.snapshot
        except NoDatabase:
            return False

    def learn_head(self, scope: Scope) -> None:
        """Say that a request was let in, and answered in JSON that is not compressed."""
        request = find_request(scope)
        if request is not None:
            self.ranges.learn(request, get_head(scope), scope.get("root_path", ""))

    def remember(self, scope: Scope, snapshot: Snapshot, key: str, answer: Answer) -> None:
        """Say that a request was answered by what is kept under a key."""
        request = find_request(scope)
        is_known = request in self.known and snapshot is self.snapshot
        if request is not None and not is_known and len(answer.body) <= LARGEST:
            root = scope.get("root_path", "")
            self.keep(request, snapshot, key, answer, root, self.pick(scope))

    def keep(
        self,
        request: bytes,
        snapshot: Snapshot,
        key: str,
        answer: Answer,
        root: str,
        scope: Scope,
    ) -> Known:
        if snapshot is not self.snapshot or len(self.known) >= MOST_KNOWN:
            self.known.clear()
            self.snapshot = snapshot
        lines = write_lines([*answer.headers, X_HIT, build_generation(snapshot)])
        known = self.known[request] = Known(key, lines, root, scope, Sent())
        return known

    def pick(self, scope: Scope) -> Scope:
        """What is the same in the scope of each request of the same bytes."""
        kept = ("type", "method", "path", "raw_path", "query_string", "root_path")
        facts = scope["state"].get("facts") or self.watch.routes.find(get_route_path(scope))
        state = {"head": get_head(scope), "facts": facts, "way": "hit"}
        return {**{name: scope[name] for name in kept if name in scope}, "state": state}

    def build_scope(self, asked: Range) -> Scope:
        """As `pick`, of a range."""
        way = "shortcut" if asked.answer is None else "hit"
        facts = self.watch.routes.find(asked.path)
        return {
            **{"type": "http", "method": "GET", "path": asked.path},
            **{"raw_path": asked.path.encode(), "query_string": asked.query},
            **{"root_path": asked.asked_by.root},
            "state": {"head": asked.asked_by.head, "facts": facts, "way": way},
        }


def find_request(scope: Scope) -> bytes | None:
    """The bytes of a request that came whole and alone, and has an answer that no header makes
    another."""
    request: bytes | None = scope["state"].get("request")
    if request is None or any(name in get_head(scope) for name in OTHERS):
        return None
    return request if is_alone(request, scope) else None


def is_alone(request: bytes, scope: Scope) -> bool:
    """Whether these bytes are one GET without a body, from its first line to its end."""
    if len(request) > LONGEST or not request.startswith(b"GET ") or not request.endswith(END):
        return False
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    has_one_end = request.count(END) == 1 and request.count(b"\n") == request.count(b"\r\n")
    return has_one_end and not any(name in OF_A_BODY for name, _ in headers)
