"""Answers that are ready: a request that is, byte for byte, like one that was answered from the
cache of this generation gets the same answer, before it is parsed and without asking any layer.

Only where no layer looks at more than these bytes: see `build_ready` in api.edge.front.
"""

from collections.abc import Sequence
from typing import NamedTuple

from starlette.types import Scope

from api.cache.memory import Answer, Memory, RawHeaders
from api.edge.cycle import write_lines
from api.edge.gate import get_head
from api.edge.request_ids import HEADER
from api.faults import NoDatabase
from api.store.duckdb_file.snapshots import Database, Snapshot

MOST_KNOWN, LONGEST = 1024, 2048  # requests, and bytes of each: about 3 MB
LARGEST = 2**16  # bytes of a body; a longer one goes out in pieces
END = b"\r\n\r\n"
OTHERS = (b"range", b"if-match", b"if-none-match", HEADER)  # for which the answer is another one
OF_A_BODY = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")


class Known(NamedTuple):
    key: str
    lines: bytes  # of the head, but for the date and the request's name


class Ready:
    def __init__(self, memory: Memory, database: Database) -> None:
        self.memory = memory
        self.database = database
        self.known: dict[bytes, Known] = {}
        self.snapshot: Snapshot | None = None

    def find(self, request: bytes) -> tuple[bytes, bytes] | None:
        """Lines of the head and the body of the answer to a request, if it is known and kept."""
        known = self.known.get(request)
        if known is None or not self.is_current():
            return None
        answer: Answer | None = self.memory.get(known.key)
        return None if answer is None else (known.lines, answer.body)

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
        self.known[request] = Known(key, write_lines([*answer.headers, *more]))


def is_alone(request: bytes, scope: Scope) -> bool:
    """Whether these bytes are one GET without a body, from its first line to its end."""
    if len(request) > LONGEST or not request.startswith(b"GET ") or not request.endswith(END):
        return False
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    has_one_end = request.count(END) == 1 and request.count(b"\n") == request.count(b"\r\n")
    return has_one_end and not any(name in OF_A_BODY for name, _ in headers)
