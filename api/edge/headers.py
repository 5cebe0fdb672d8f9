"""The headers of answers that are kept, and those that say of each where it came from."""

from api.cache.memory import RawHeaders
from api.edge.gate import SECURITY
from api.store import Snapshot
from api.store.minutes.views import MinuteView

VARY = "Accept, Accept-Encoding"
X_HIT, X_MISS = (b"x-cache", b"HIT"), (b"x-cache", b"MISS")
COMMON: RawHeaders = [(b"cache-control", b"no-cache"), (b"vary", VARY.encode()), *SECURITY]


def build_headers(etag: str | None = None) -> RawHeaders:
    return [(b"etag", etag.encode()), *COMMON] if etag else COMMON


def build_generation(snapshot: Snapshot) -> tuple[bytes, bytes]:
    return b"x-data-generation", snapshot.generation.encode()


def build_minute_generation(minutes: MinuteView) -> tuple[bytes, bytes]:
    return b"x-minute-generation", minutes.generation.encode()


def add_length(headers: RawHeaders, body: bytes) -> RawHeaders:
    return [*headers, (b"content-length", str(len(body)).encode())]
