"""One bar as it was received, and many of them as an entry of the bus. Pure.

Nothing is validated here: values are text as they came, and what is no message at all is handed on
as it is, so that whoever stores it refuses it with a reason and keeps it.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from etl.bus import MOST_BYTES

BAR, UPDATED, DAILY, NOTHING = "bar", "updated", "daily", "nothing"
KINDS = (BAR, UPDATED, DAILY, NOTHING)
Text = str | None


class Message(NamedTuple):
    """kind: a new bar, a correction of one, today's daily bar so far, or nothing that is known
    (then `text` is what came). timestamp: the start of the bar, with its zone. received_at:
    microseconds since 1970. is_missed: fetched later, for nobody listened when it was sent.
    """

    kind: str
    received_at: int
    source: str
    symbol: Text = None
    timestamp: Text = None
    open: Text = None
    high: Text = None
    low: Text = None
    close: Text = None
    volume: Text = None
    interval: str = "1m"
    is_missed: bool = False
    text: str = ""


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def pack(messages: Iterable[Message]) -> Iterator[bytes]:
    """Messages as bodies of entries, in order, none longer than an entry may be."""
    held: list[bytes] = []
    size = 0
    for message in messages:
        line = orjson.dumps(tuple(message))
        if held and size + len(line) > MOST_BYTES:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(line[:MOST_BYTES])
        size += len(line) + 1
    if held:
        yield b"\n".join(held)


def unpack(body: bytes) -> Iterator[Message]:
    """The messages of an entry; what is none of ours is NOTHING, with its text."""
    for line in body.split(b"\n"):
        yield read_line(line)


def read_line(line: bytes) -> Message:
    try:
        values = orjson.loads(line)
        message = Message(*values)
        if message.kind in KINDS and isinstance(message.received_at, int):
            return message
    except (ValueError, TypeError):
        pass
    return Message(NOTHING, now_us(), "", text=line.decode(errors="backslashreplace"))


def read_number(value: Any) -> Text:
    """A number of JSON as text; anything else as JSON, for the rules to refuse."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return orjson.dumps(value, default=str).decode()


def tell_nothing(what: object, source: str, at: int) -> Message:
    """What came is no message of the vendor's."""
    if isinstance(what, bytes):
        text = what.decode(errors="backslashreplace")
    elif isinstance(what, str):
        text = what
    else:
        text = orjson.dumps(what, default=str).decode()
    return Message(NOTHING, at, source, text=text[: MOST_BYTES // 8])
