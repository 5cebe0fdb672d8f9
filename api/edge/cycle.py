"""How an answer is written: head and body in one write, where uvicorn makes two.

A head of which the length of the body is known waits for the first piece of it. Everything else
(answers that are written while they are made, those without a body) goes as uvicorn does it.
"""

from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

LENGTH = b"content-length"
UVICORNS = (b"connection", b"transfer-encoding")  # headers that uvicorn reads
PRINTABLE = bytes((9, *range(32, 127), *range(128, 256)))


class Cycle(RequestResponseCycle):
    """A request and its answer. held: the head that waits for its body."""

    held: bytes = b""

    async def send(self, message: MutableMapping[str, Any]) -> None:  # type: ignore[override]
        if self.held:
            await self.send_first(message)
        elif self.response_started or not self.hold(message):
            await super().send(message)  # type: ignore[arg-type]

    def hold(self, start: MutableMapping[str, Any]) -> bool:
        """Keep the head of an answer; False: it is none that may wait."""
        headers = start.get("headers", ())
        known = dict(headers)
        if LENGTH not in known or self.access_log or self.scope["method"] == "HEAD":
            return False
        if not self.keep_alive or any(name in known for name in UVICORNS):
            return False
        self.held = write_head(start["status"], [*self.default_headers, *headers])
        self.response_started, self.chunked_encoding = True, False
        self.waiting_for_100_continue = False
        self.expected_content_length = int(known[LENGTH])
        return True

    async def send_first(self, message: MutableMapping[str, Any]) -> None:
        """The head, together with the first piece of the body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        head, self.held = self.held, b""
        body = message.get("body", b"")
        if self.disconnected:
            return
        if len(body) > self.expected_content_length:
            raise RuntimeError("the body is longer than Content-Length says")
        self.expected_content_length -= len(body)
        self.transport.writelines((head, body))
        if not message.get("more_body", False):
            self.finish()

    def finish(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the body is shorter than Content-Length says")
        self.response_complete = True
        self.message_event.set()
        self.on_response()


def write_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"%b%b\r\n" % (STATUS_LINE[status], write_lines(headers))


def write_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """RuntimeError for a header that would begin a line of its own, or bear what none may have."""
    lines = b"\r\n".join([*[b": ".join(pair) for pair in headers], b""])
    if lines.translate(None, PRINTABLE) != b"\r\n" * len(headers):
        raise RuntimeError("a header has characters that none may have")
    return lines
