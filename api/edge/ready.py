"""Answers that are ready: a request that is, byte for byte, like one that was answered from the
cache of this generation gets the same answer, before it is parsed and without asking any layer.

Who asks and how often is asked each time, and who counts and logs is told of each (`Admission`,
`Watch`), where the settings want it; whoever is not let in at once takes the way of all requests.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette._utils import get_route_path
from starlette.types import Scope

from api.cache.memory import Answer, Memory, RawHeaders
from api.edge.admission import Admission
from api.edge.cycle import write_lines
from api.edge.gate import Head, Proxies, get_head
from api.edge.request_ids import HEADER, Sent, choose_id
from api.edge.watch import Watch
from api.faults import NoDatabase
from api.store import Snapshot, Store

MOST_KNOWN, LONGEST = 1024, 2048  # requests, and bytes of each: about 3 MB
NOTHING: RawHeaders = []
LARGEST = 2**16  # bytes of a body; a longer one goes out in pieces
END = b"\r\n\r\n"
OTHERS = (b"range", b"if-match", b"if-none-match", HEADER)  # for which the answer is another one
OF_A_BODY = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")


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
    ) -> None:
        self.memory = memory
        self.database = database
        self.proxies = proxies
        self.admission = admission
        self.watch = watch
        self.known: dict[bytes, Known] = {}
        self.snapshot: Snapshot | None = None
        self.is_plain = admission is None and not watch.observers

    def answer(self, request: bytes, client: Sequence[object] | None) -> tuple[bytes, bytes] | None:
        """The head, without status and date, and the body of the answer; None: none is ready."""
        known = self.known.get(request)
        if known is None or not self.is_current():
            return None
        began = time.perf_counter()
        answer: Answer | None = self.memory.get(known.key)
        if answer is None:
            return None
        request_id = choose_id(None)
        own = NOTHING if self.is_plain else self.tell(known, client, request_id, began)
        if own is None:
            return None
        more = write_lines(own) if own else b""
        head = b"%b%b: %b\r\n%b\r\n" % (known.lines, HEADER, request_id, more)
        return head, answer.body

    def tell(
        self, known: Known, client: Sequence[object] | None, request_id: bytes, began: float
    ) -> RawHeaders | None:
        """Ask who asks, and tell who watches; None: the answer may not be given at once."""
        scope, own = known.scope, NOTHING
        state = scope["state"]
        head: Head = state["head"]
        if self.proxies.networks and self.proxies.find_root(client, head) != known.root:
            return None
        # one request at a time, and nobody keeps its scope
        scope["client"], state["request_id"] = client, request_id
        if self.admission is not None:
            admitted = self.admission.admit_at_once(scope, head)
            if admitted is None:
                return None
            own = admitted
        if self.watch.observers:
            self.watch.note(scope, known.sent, time.perf_counter() - began)
        return own

    def is_current(self) -> bool:
        """Whether what is known is of the newest snapshot."""
        try:
            return self.database.newest() is self.snapshot
        except NoDatabase:
            return False

    def remember(
        self, scope: Scope, snapshot: Snapshot, key: str, answer: Answer, more: RawHeaders
    ) -> None:
        """Say that a request was answered by what is kept under a key, with these headers more."""
        if snapshot is not self.snapshot or len(self.known) >= MOST_KNOWN:
            self.known.clear()
            self.snapshot = snapshot
        request = scope["state"].get("request")
        if request is None or request in self.known or len(answer.body) > LARGEST:
            return
        if any(name in get_head(scope) for name in OTHERS) or not is_alone(request, scope):
            return
        lines, root = write_lines([*answer.headers, *more]), scope.get("root_path", "")
        sent = Sent()
        sent.status, sent.size = 200, len(answer.body)
        self.known[request] = Known(key, lines, root, self.pick(scope), sent)

    def pick(self, scope: Scope) -> Scope:
        """What is the same in the scope of each request of the same bytes."""
        kept = ("type", "method", "path", "raw_path", "query_string", "root_path")
        facts = scope["state"].get("facts") or self.watch.routes.find(get_route_path(scope))
        state = {"head": get_head(scope), "facts": facts, "way": "hit"}
        return {**{name: scope[name] for name in kept if name in scope}, "state": state}


def is_alone(request: bytes, scope: Scope) -> bool:
    """Whether these bytes are one GET without a body, from its first line to its end."""
    if len(request) > LONGEST or not request.startswith(b"GET ") or not request.endswith(END):
        return False
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    has_one_end = request.count(END) == 1 and request.count(b"\n") == request.count(b"\r\n")
    return has_one_end and not any(name in OF_A_BODY for name, _ in headers)
