"""Ranges that are ready to be cut: of bars whose text is kept, for a client whose head is known.

What a client sends beside the address of a request is the same each time. So once one such head was
read, and let in, a new range is found in the bytes of its request, and cut out of the text, before
anything is parsed. Key, ETag and bytes are those of the way through all layers.
"""

import re
from typing import Any, NamedTuple

from api.bars.series import find_range
from api.cache.memory import Answer, Memory, RawHeaders
from api.cache.series_cache import CachedSeries, SeriesCache
from api.edge.cycle import write_lines
from api.edge.gate import Head
from api.edge.headers import COMMON, X_MISS
from api.edge.keys import RANGE, build_etag
from api.edge.shortcut import HEADERS, PATH, SLICED_AT_ONCE, cut_text, read_days
from api.edge.targets import Targets
from api.encode.text import Prepared
from api.faults import NoDatabase
from api.store import Snapshot, Store

# Symbols that are written alike in a path, in a URL and as they are stored.
LINE = re.compile(rb"GET (/instruments/([A-Z0-9.-]{1,32})/ohlcv)(?:\?(%b))? " % RANGE.pattern)
MOST_HEADS = 1024
LARGEST = 2**16  # bytes of a body; a longer one goes out in pieces
WANTED = "json", "identity"
Cut = tuple[CachedSeries, Prepared, int, int]


class KnownHead(NamedTuple):
    """What stands behind the address of a request; root: the path below which it was asked."""

    head: Head
    root: str


class Range(NamedTuple):
    """A range that is asked for. answer: what is kept of it; cut: what to make it of otherwise."""

    asked_by: KnownHead
    snapshot: Snapshot
    path: str
    query: bytes
    key: str
    answer: Answer | None
    cut: Cut | None = None


class ReadyRanges:
    def __init__(
        self,
        memory: Memory,
        database: Store[Any],
        targets: Targets,
        series_cache: SeriesCache,
        max_rows: int,
    ) -> None:
        self.memory = memory
        self.database = database
        self.targets = targets
        self.series_cache = series_cache
        self.most = min(max_rows, SLICED_AT_ONCE)
        self.weight = Answer(200, build_bars_headers(b"", b""), b"").weigh()
        self.heads: dict[bytes, KnownHead] = {}

    def learn(self, request: bytes, head: Head, root: str) -> None:
        """Know the head of a request that was let in, is one GET and nothing else, and has an
        answer that no header makes another."""
        found = LINE.match(request)
        if found is None or root.startswith(PATH[:-1]):
            return
        rest = request[found.end() :]
        if rest not in self.heads:
            if len(self.heads) >= MOST_HEADS:
                self.heads.clear()
            self.heads[rest] = KnownHead(head, root)

    def find(self, request: bytes) -> Range | None:
        """What a request asks for, if that can be had at once."""
        found = LINE.match(request)
        asked_by = self.heads.get(request[found.end() :]) if found else None
        if found is None or asked_by is None:
            return None
        snapshot = self.newest()
        path, symbol, query = found[1].decode(), found[2].decode(), found[3] or b""
        version = snapshot.versions.get(symbol) if snapshot else None
        if snapshot is None or version is None:
            return None
        key = self.targets.name(version, asked_by.root, path, query, WANTED)
        answer: Answer | None = self.memory.get(key)
        if answer is not None:
            is_short = len(answer.body) <= LARGEST
            return Range(asked_by, snapshot, path, query, key, answer) if is_short else None
        cut = self.find_text(snapshot, symbol, query)
        return Range(asked_by, snapshot, path, query, key, None, cut) if cut else None

    def newest(self) -> Snapshot | None:
        try:
            snapshot: Snapshot = self.database.newest()
        except NoDatabase:
            return None
        return snapshot

    def find_text(self, snapshot: Snapshot, symbol: str, query: bytes) -> Cut | None:
        held = self.series_cache.find(snapshot, symbol)
        text = self.series_cache.find_rows(held) if held is not None else None
        days = read_days(query)
        if held is None or text is None or days is None:
            return None
        first, last = find_range(held.series, *days)
        size = text.offsets[last] - text.offsets[first]
        return (held, text, first, last) if last - first <= self.most and size < LARGEST else None

    def make(self, asked: Range) -> tuple[bytes, bytes]:
        """Cut the answer and keep it; the lines of its head, and its body."""
        assert asked.cut is not None
        body = cut_text(*asked.cut)
        etag, length = build_etag(asked.key).encode(), b"%d" % len(body)
        answer = Answer(200, build_bars_headers(etag, length), body)
        size = len(asked.key) + self.weight + len(etag) + len(length) + len(body)
        self.memory.put(asked.key, answer, size)
        return LINES % (etag, length, asked.snapshot.generation.encode()), body


def build_bars_headers(etag: bytes, length: bytes) -> RawHeaders:
    return [*HEADERS, (b"etag", etag), *COMMON, (b"content-length", length)]


LINES = write_lines([*build_bars_headers(b"%b", b"%b"), X_MISS, (b"x-data-generation", b"%b")])
