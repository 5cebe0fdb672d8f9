"""The name of each request: in its answer, in an error's body, in the lines of the log.

It stands in nothing that is kept: it is put into an answer on its way out.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import count
from secrets import token_hex
from typing import Any

from starlette.types import Message, Send

from api.cache.memory import RawHeaders
from api.problems import MEDIA_TYPE
from etl.credentials.redaction import strike_tokens

HEADER = b"x-request-id"
SANE = re.compile(rb"[A-Za-z0-9._~:+/=@-]{1,128}")
PROBLEM = MEDIA_TYPE.encode()
NOBODY: Mapping[str, Any] = {}

PREFIX = token_hex(6)  # tells processes apart; no secret
NUMBERS = count(1)

# The state of the request that the running task answers: its request_id, head, caller.
CURRENT: ContextVar[Mapping[str, Any]] = ContextVar("request", default=NOBODY)


def choose_id(given: bytes | None) -> bytes:
    """The one that was sent, if it is sane and no key or token; else a new one."""
    if given is not None and SANE.fullmatch(given):
        text = given.decode()
        if strike_tokens(text) == text:
            return given
    return b"%s-%x" % (PREFIX.encode(), next(NUMBERS))


class Sent:
    """What was sent of an answer so far."""

    __slots__ = ("size", "status")

    def __init__(self) -> None:
        self.status = 0  # none yet
        self.size = 0


def name_request(send: Send, request_id: bytes, own: RawHeaders, sent: Sent) -> Send:
    """`send`, with the headers that are this request's `own`, of which X-Request-ID is one, in each
    answer, and with `request_id` in each problem body."""
    own.append((HEADER, request_id))
    member = b""

    def send_named(message: Message) -> Any:
        nonlocal member
        if message["type"] == "http.response.start":
            sent.status = message["status"]
            headers = [*message.get("headers", ()), *own]
            if sent.status >= 400 and is_problem(headers):
                member = b',"request_id":"%b"}' % request_id
                headers = lengthen(headers, len(member) - 1)
            message["headers"] = headers
        else:
            body = message.get("body", b"")
            if member and body and not message.get("more_body"):
                body = message["body"] = body[:-1] + member
            sent.size += len(body)
        return send(message)

    return send_named


def is_problem(headers: RawHeaders) -> bool:
    return any(name == b"content-type" and value == PROBLEM for name, value in headers)


def lengthen(headers: RawHeaders, more: int) -> RawHeaders:
    """The headers of a body that gets so many bytes more; also where no body follows (HEAD)."""
    return [
        (name, b"%d" % (int(value) + more) if name == b"content-length" else value)
        for name, value in headers
    ]
