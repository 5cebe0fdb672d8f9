"""Calls and answers as they travel through Redis: JSON and bytes; never a key, never an address."""

import json
import zlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from etl.base.errors import Lost, Malformed, SourceError, Unavailable, Unreachable
from etl.calls.fetch import Fetched
from etl.calls.vendor import Call, Vendor, name_kind
from etl.credentials.redaction import strike
from etl.settings import is_symbol

ERRORS: dict[str, type[SourceError]] = {
    kind.__name__: kind for kind in (Malformed, Unavailable, Unreachable, Lost)
}
MOST_TEXT = 4096  # letters of any text in a task


@dataclass(frozen=True)
class Job:
    """A call to be made: under which id, for which decider, with which key's fingerprint."""

    id: str
    holder: str
    key: str
    call: Call


def write_job(job: Job) -> dict[str, Any]:
    return {"id": job.id, "holder": job.holder, "key": job.key, "call": write_call(job.call)}


def read_job(task: Any, vendor: Vendor) -> Job:
    """ValueError where it is none that a decider of this version may have written."""
    try:
        texts = [task[name] for name in ("id", "holder", "key")]
        call = read_call(task["call"], vendor)
    except (KeyError, TypeError):
        raise ValueError("a task of another form") from None
    if not all(is_text(text) for text in texts):
        raise ValueError("a task of another form")
    return Job(texts[0], texts[1], texts[2], call)


def write_call(call: Call) -> dict[str, Any]:
    return {**vars(call), "since": str(call.since) if call.since else None}


def read_call(found: Any, vendor: Vendor) -> Call:
    call = Call(
        **{**found, "since": date.fromisoformat(found["since"]) if found["since"] else None}
    )
    is_whole = all(map(is_text, (call.symbol, call.dataset, call.plan, call.page)))
    if not is_whole or type(call.number) is not int or not call.symbol:
        raise ValueError("a call of another form")
    if not is_symbol(call.symbol) or name_kind(call.dataset) not in vendor.datasets:
        raise ValueError(f"{call.symbol} {call.dataset}: nothing that {vendor.name} is asked")
    return call


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def write_answer(call: Call, fetched: Fetched) -> bytes:
    """A line of JSON, then the body, packed. The body is without the key already."""
    error = fetched.error
    head = {
        "call": write_call(call),
        "at": fetched.fetched_at.isoformat(),
        "status": fetched.status,
        "retry_after": fetched.retry_after,
        "error": [type(error).__name__, strike(str(error))[:500]] if error else None,
    }
    return json.dumps(head).encode() + b"\n" + zlib.compress(fetched.body, 6)


def read_answer(payload: bytes, vendor: Vendor, most_bytes: int) -> tuple[Call, Fetched]:
    """ValueError where it is none."""
    head, _, packed = payload.partition(b"\n")
    try:
        found = json.loads(head)
        call, at = read_call(found["call"], vendor), datetime.fromisoformat(found["at"])
        body = unpack(packed, most_bytes)
        status, retry_after, said = (found[name] for name in ("status", "retry_after", "error"))
        error = ERRORS[said[0]](said[1]) if said else None
    except (KeyError, TypeError, IndexError, zlib.error) as fault:
        raise ValueError(f"an answer of another form ({type(fault).__name__})") from None
    return call, Fetched(at, status, body, retry_after, error)


def unpack(packed: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    body = unpacker.decompress(packed, most_bytes + 1)
    if len(body) > most_bytes or not unpacker.eof:
        raise ValueError("an answer that is too large, or torn")
    return body
