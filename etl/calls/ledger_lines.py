"""The file of a ledger: lines of JSON that any number of processes append to."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from etl.base.whole_files import flush_to_disk, write_whole

CALL = "call"
KEEP_DAYS = 3
KEEP_LINES = 20_000  # an older ledger is cut down once it is longer


def read_lines(body: bytes, at: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a ledger, `at` as an instant. A torn last line was never a call.

    Any other line that cannot be read counts as a call: one too few is better than one too many.
    """
    lines = body.split(b"\n")
    for number, text in enumerate(lines, 1):
        line = parse_line(text)
        if line:
            at = line["at"]
            yield line
        elif text.strip() and number < len(lines) and at:
            yield {"at": at, "what": CALL}


def parse_line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        at = parse_instant(line["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return {**line, "at": at} if at else None


def parse_instant(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


@contextmanager
def hold_file(path: Path) -> Iterator[IO[bytes]]:
    """The file, open for appending, while every other process that wants it waits.

    Whoever waited may hold a file that has been replaced meanwhile: it takes the new one.
    """
    while True:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                yield file
                return


def repair_ledger(path: Path) -> None:
    """Take away a torn end, and cut a long ledger down to what still counts."""
    path.touch()
    flush_to_disk(path.parent)
    with hold_file(path) as file:
        file.seek(0)
        body = file.read()
        whole = body[: body.rfind(b"\n") + 1]
        if parse_line(body[len(whole) :]):
            whole = body + b"\n"
        kept = shorten(whole)
        if kept != body:
            with write_whole(path) as next_path:
                next_path.write_bytes(kept)


def shorten(body: bytes) -> bytes:
    """Without the calls of long ago, once there are many. All else stays."""
    if body.count(b"\n") <= KEEP_LINES:
        return body
    lines = body.splitlines(keepends=True)
    parsed = [parse_line(line) for line in lines]
    latest = max((p["at"] for p in parsed if p), default=datetime.max.replace(tzinfo=UTC))
    since = latest - timedelta(days=KEEP_DAYS)
    return b"".join(
        line
        for line, p in zip(lines, parsed, strict=True)
        if p is None or p["at"] >= since or p.get("what") != CALL
    )
