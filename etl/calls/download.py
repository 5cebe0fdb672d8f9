"""One GET, bounded in time and in size, whatever the other side does.

The rules it keeps: the whole answer arrives within `seconds`, however slowly it drips; it is
never larger than `most_bytes` once unpacked; a redirect is never followed, for it would carry
the key to another host; no error tells the address, which holds the key. Each call has a
connection of its own: one that is kept may have been closed by the other side meanwhile, and the
call on it would fail, and still count.
"""

import http.client
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from etl.base.errors import Malformed, SourceError, Unavailable, Unreachable
from etl.calls.vendor import Request

CHUNK = 64 * 1024
YEAR = 365 * 86_400
TOO_LATE = "the vendor did not answer in time: HTTP_TIMEOUT sets how long to wait"
FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class Answer:
    """`retry_after`: how many seconds the vendor asks to wait before the next question."""

    status: int
    body: bytes
    retry_after: float | None = None


class Line(threading.local):
    """This thread's session, its connection and socket, and whom to tell of leaving."""

    session: requests.Session | None = None
    connection: Any = None
    sock: Any = None
    note_sent: Callable[[], object] = bool


class Downloader:
    """GETs; safe to call from several threads, each has a connection of its own.

    `setting`: names the setting that holds the vendor's address, for those who read of a failure.
    """

    def __init__(self, seconds: float, most_bytes: int, setting: str = "") -> None:
        self.setting = setting
        self.seconds = seconds
        self.most_bytes = most_bytes
        self.line = Line()
        # its warnings name the whole address
        logging.getLogger("urllib3").addHandler(logging.NullHandler())
        logging.getLogger("urllib3").propagate = False

    def get(self, request: Request, note_sent: Callable[[], object] = bool) -> Answer:
        """The answer, whatever its status; `note_sent` is called once the question has left.

        Raises Unavailable or Malformed.
        """
        self.line.note_sent = note_sent
        is_late = threading.Event()
        with self.watch(is_late):
            try:
                answer = self.ask(request)
                if not is_late.is_set():  # a connection that was cut may look like one that ended
                    return answer
                failure: SourceError = Unavailable(TOO_LATE)
            except FAILURES as error:
                # these messages hold the URL, and with it the key: only the type is kept
                failure = Unavailable(TOO_LATE) if is_late.is_set() else self.describe(error)
        raise failure

    def ask(self, request: Request) -> Answer:
        session = self.line.session = self.line.session or self.open_session()
        headers = {**request.headers, "Accept-Encoding": "gzip", "Connection": "close"}
        prepared = session.prepare_request(
            requests.Request("GET", request.url, params=dict(request.query), headers=headers)
        )
        # the adapter itself: a session would read the body of a redirect, without any bound
        response = session.get_adapter(request.url).send(
            prepared, stream=True, timeout=self.seconds
        )
        is_whole = False
        try:
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            body = b"".join(self.unpack(self.read(response.raw), encoding))
            is_whole = True
            wait = read_retry_after(response.headers)
            if wait is None and response.status_code == 429:
                wait = read_reset(response.headers, utc_now())
            return Answer(response.status_code, body, wait)
        finally:
            if not is_whole:
                response.raw.close()
            response.close()
            if self.line.connection:
                self.line.connection.close()

    def read(self, raw: urllib3.HTTPResponse) -> Iterator[bytes]:
        while chunk := raw.read1(CHUNK, decode_content=False):
            yield chunk

    def unpack(self, chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        """The body in pieces, never more than most_bytes of it in all."""
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise Malformed(f"an answer packed as {encoding[:20]!r}, which was not asked for")
        left = self.most_bytes
        for piece in chunks if encoding in ("", "identity") else inflate(chunks, left + 1):
            left -= len(piece)
            if left < 0:
                raise Malformed(
                    f"an answer of more than {self.most_bytes // 2**20} MiB: MAX_PAYLOAD_MB sets"
                    " how much is taken"
                )
            yield piece

    def open_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no .netrc and no proxy may see or replace the key
        for scheme in ("http://", "https://"):
            session.mount(scheme, watch_connections(self.line))
        return session

    @contextmanager
    def watch(self, is_late: threading.Event) -> Iterator[None]:
        """Cut this thread's connection once the time is over.

        The timeout of a socket starts anew with each byte, so it does not bound the whole.
        """
        values = self.line.__dict__

        def cut() -> None:
            is_late.set()
            # the socket itself: a connection lets go of it once it waits for the last answer
            socks: list[Any] = [values.get("sock"), getattr(values.get("connection"), "sock", None)]
            for sock in socks:
                with suppress(OSError, AttributeError):
                    sock.shutdown(SHUT_RDWR)

        timer = threading.Timer(self.seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def describe(self, error: Exception) -> SourceError:
        """The failure to hand on: what happened, without the address."""
        setting = self.setting or "the vendor's address"
        if isinstance(error, requests.Timeout | TimeoutError):
            return Unavailable(TOO_LATE)
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
            return Unreachable(f"{setting} is no address that can be asked")
        if type(error) is ValueError:
            return Unavailable("the vendor's answer came damaged: try later")
        kind = type(error).__name__
        return Unreachable(f"the vendor cannot be reached ({kind}): check {setting} and network")


def watch_connections(line: Line) -> HTTPAdapter:
    """An adapter whose connections are known to `line` from before they are made."""
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
    pools = adapter.poolmanager.pool_classes_by_scheme
    adapter.poolmanager.pool_classes_by_scheme = {
        scheme: type("WatchedPool", (pool,), {"ConnectionCls": watched(pool.ConnectionCls, line)})
        for scheme, pool in pools.items()
    }
    return adapter


def watched(kind: Any, line: Line) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def connect(self) -> None:
            line.connection = self
            super().connect()

        def endheaders(self, *args: Any, **options: Any) -> None:
            super().endheaders(*args, **options)
            line.sock = self.sock
            line.note_sent()

    return Watched


def inflate(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Unpack gzip or zlib in pieces of at most CHUNK; ValueError where it is damaged or torn."""
    unpacker = zlib.decompressobj(wbits=47)
    try:
        for chunk in chunks:
            while chunk and not unpacker.eof:
                yield unpacker.decompress(chunk, min(CHUNK, most))
                chunk = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error:
        raise ValueError("damaged") from None
    if not unpacker.eof:
        raise ValueError("torn")


def utc_now() -> datetime:
    return datetime.now(UTC)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, of either form that RFC 9110 has: a number or a date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def read_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the vendor counts anew, of the header X-RateLimit-Reset: an instant in seconds
    since 1970, or seconds from now."""
    written = headers.get("X-RateLimit-Reset", "").strip()
    if not re.fullmatch(r"[0-9]{1,12}", written):
        return None
    seconds = float(written)
    return seconds if seconds < YEAR else max(0.0, seconds - now.timestamp())
