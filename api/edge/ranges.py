"""Parts of an answer, by Range (RFC 9110, 14): readers that take a table from a URL ask so, polars
for one, and read of a Parquet file only the columns that they want.

Only what has an ETag can be had in parts: the same ETag, the same bytes. A client that would not
mix two publications sends it along as If-Range, or compares it. What Range says beyond one range
of bytes is passed over, as the RFC allows.
"""

import re

from fastapi import Response
from starlette.types import Message, Scope, Send

from api.cache.memory import RawHeaders
from api.edge.gate import Head
from api.problems import build_problem

OF_THE_BODY = (b"content-length", b"content-type", b"content-encoding", b"content-disposition")
ONE_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


def cut_range(scope: Scope, send: Send, head: Head) -> Send:
    """`send`, or where a GET asks for a range of bytes one that sends only those of the answer."""
    wanted = head.get(b"range")
    if wanted is None or scope["method"] != "GET":
        return send
    found = ONE_RANGE.fullmatch(wanted)
    return send_part(head, send, found[1], found[2]) if found else send


def send_part(head: Head, send: Send, first: bytes, last: bytes) -> Send:
    """A `send` that waits for the whole answer; one that may not be cut goes through as it is."""
    start: Message = {}
    body: list[bytes] = []

    async def receive_message(message: Message) -> None:
        if message["type"] == "http.response.start" and may_be_cut(head, message):
            start.update(message)
        elif not start:
            await send(message)
        else:
            body.append(message.get("body", b""))
        if body and not message.get("more_body"):
            status, headers, part = cut_body(start["headers"], b"".join(body), first, last)
            await send({**start, "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": part})

    return receive_message


def may_be_cut(head: Head, start: Message) -> bool:
    """Whether the answer is a whole one with an ETag, and the one that If-Range wants."""
    etag = dict(start["headers"]).get(b"etag")
    wanted = head.get(b"if-range", etag)
    return start["status"] == 200 and etag is not None and wanted == etag


def cut_body(
    headers: RawHeaders, body: bytes, first: bytes, last: bytes
) -> tuple[int, RawHeaders, bytes]:
    """206 and the bytes asked for, 416 where all lie beyond the end, 200 where that is no range."""
    place = find_place(first, last, len(body))
    if place is None:
        return 200, headers, body
    if place.start >= place.stop:
        answer = refuse_range(len(body))
        kept = [(n, v) for n, v in headers if n not in OF_THE_BODY]
        return answer.status_code, [*kept, *answer.raw_headers], bytes(answer.body)
    kept = [(n, v) for n, v in headers if n != b"content-length"]
    where = f"bytes {place.start}-{place.stop - 1}/{len(body)}".encode()
    length = str(place.stop - place.start).encode()
    return 206, [*kept, (b"content-range", where), (b"content-length", length)], body[place]


def find_place(first: bytes, last: bytes, size: int) -> slice | None:
    """`first`-`last`, `first`- or the last so many bytes as -`last`; None where that is no range.

    A slice that holds nothing lies beyond the end.
    """
    if not first:
        return slice(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return slice(int(first), min(int(last) + 1, size) if last else size)


def refuse_range(size: int) -> Response:
    detail = f"The answer has {size} bytes: ask for a range that begins before its end."
    return build_problem(416, detail, {"Content-Range": f"bytes */{size}"})
