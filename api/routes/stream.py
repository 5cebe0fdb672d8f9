"""/stream: bars as they are published, as server-sent events."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery
from starlette.responses import StreamingResponse

from api.edge.passing import passes_cache
from api.live.events import Event, tell_made, tell_missed, tell_noted, tell_published, tell_stored
from api.live.hub import Hub, Listener, Missed, Position, Published, Told
from api.live.notes import Noted
from api.models.live import StreamQuery
from api.problems import Problem

router = APIRouter(tags=["bars"])

HEARTBEAT = 15.0  # seconds without an event until a comment says that the stream is alive
EVENT_ID = re.compile(r"(\d{1,18})-(\d{1,9})", re.ASCII)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold events back
TOO_SLOW = Event(
    "dropped", "", {"kind": "dropped", "detail": "too slow: connect again with Last-Event-ID"}
)
MEDIA_TYPE = "text/event-stream"


# not in the schema: a client that is made of it would wait for the end of the answer
@router.get("/stream", include_in_schema=False)
@passes_cache()
async def stream(request: Request, query: Annotated[StreamQuery, InQuery()]) -> Response:
    """Server-sent events, each with one bar (`bar`, `revised`; `provisional` is today's daily bar
    out of the minutes so far), or a new `generation` of a store; after a load of
    minutes the new notes of these symbols (`note`).

    `id` is a position: whoever connects again with `Last-Event-ID` misses nothing. Where changes so
    old are kept no more, `resync` says so. A comment comes every 15 seconds.
    """
    hub: Hub = request.app.state.hub
    listener = Listener(frozenset(query.symbols.split(",")) if query.symbols else frozenset())
    since = read_position(query.last_event_id or request.headers.get("last-event-id"))
    streams = request.app.state.streams
    caller = streams.enter(request)
    request.state.end_stream = listener.end

    async def send() -> AsyncIterator[bytes]:
        try:
            yield b"retry: 1000\n\n"  # a comment follows once nothing is missed any more
            async for told in hub.follow(listener, since, HEARTBEAT):
                yield await encode(request, told, query.interval)
            if listener.is_slow:
                yield TOO_SLOW.encode()
        finally:
            streams.leave(caller)

    return StreamingResponse(send(), headers=HEADERS, media_type=MEDIA_TYPE)


def read_position(text: str | None) -> Position | None:
    if not text:
        return None
    found = EVENT_ID.fullmatch(text.strip())
    if found is None:
        raise Problem(422, f"Last-Event-ID {text[:40]!r} is none of ours: 12-3, or leave it out")
    return int(found[1]), int(found[2])


async def encode(request: Request, told: Told | None, interval: str) -> bytes:
    """What was told as events; a comment where nothing was."""
    if told is None:
        return b":\n\n"
    if isinstance(told, Published):
        return tell_published(told).encode()
    if isinstance(told, Missed):
        return tell_missed(told).encode()
    if isinstance(told, Noted):
        return b"".join(event.encode() for event in tell_noted(told))
    events = [*tell_stored(told, interval)]
    if not events:
        events += await tell_made(told, interval, request.app.state.reading.read)
    return b"".join(event.encode() for event in events)
