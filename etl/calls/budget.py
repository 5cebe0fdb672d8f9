"""The vendor's calls, counted across runs in data/calls.jsonl, and what came of them.

The rule it keeps: a call is on the disk before it is made, so that a kill never hides one; and
no call is made that the budget or an earlier answer rules out. Whoever is about to call holds the
ledger for that moment and reads what others wrote since: two runs at once never spend a call
twice. The ledger knows keys only by their fingerprint.
"""

import fcntl
import hashlib
import json
import os
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from etl.base.errors import (
    Forbidden,
    InvalidKey,
    Malformed,
    NotAsked,
    PremiumOnly,
    QuotaSpent,
    SourceError,
    Throttled,
    Unavailable,
    UnknownSymbol,
)
from etl.base.whole_files import flush_to_disk, write_whole

CALL = "call"
ANSWERED = "answered"
FAILED = "failed"
VENDOR_DOWN = "vendor down"
BARS = "TIME_SERIES_DAILY"
REFUSALS: dict[str, type[SourceError]] = {
    kind.kind: kind for kind in (UnknownSymbol, InvalidKey, PremiumOnly)
}
FAILURES: dict[str, type[SourceError]] = {
    kind.kind: kind for kind in (Malformed, Throttled, Unavailable, Forbidden)
}
KEEP_DAYS = 3
KEEP_LINES = 20_000  # an older ledger is cut down once it is longer


@dataclass(frozen=True)
class Call:
    """One question to the vendor. `plan` is what a key has to be worth for it."""

    symbol: str
    function: str
    plan: str

    @property
    def subject(self) -> tuple[str, str]:
        return self.symbol, self.function

    @property
    def label(self) -> str:
        """How a person is told of it: IBM, or IBM SPLITS."""
        return self.symbol if self.function == BARS else f"{self.symbol} {self.function}"


@dataclass(frozen=True)
class Limits:
    per_day: int  # 0: none
    zone: ZoneInfo


Subject = tuple[str, ...]


class Budget:
    """The ledger, read for one key.

    `made`: calls of this process. `asked`: (symbol, function) → when it was last asked, and as
    which of all calls. `failed`: (symbol, function) → the last failure, until an answer comes.
    """

    def __init__(self, path: Path, limits: Limits, key: str, is_retry: bool = False) -> None:
        self.path = path
        self.limits = limits
        self.key = fingerprint(key)
        self.is_retry = is_retry
        self.made = 0
        self.is_mended = False
        self.forget()
        try:
            with path.open("rb") as file:
                self.catch_up(file)
        except FileNotFoundError:
            pass

    def forget(self) -> None:
        self.calls: list[datetime] = []
        self.closed_at: datetime | None = None
        self.latest = datetime.min.replace(tzinfo=UTC)
        self.refused: dict[Subject, dict[str, Any]] = {}
        self.forgiven: set[Subject] = set()
        self.asked: dict[Subject, tuple[datetime, int]] = {}
        self.asked_before: dict[Subject, tuple[datetime, int] | None] = {}
        self.failed: dict[Subject, dict[str, Any]] = {}
        self.inode: int | None = None
        self.place = 0  # up to where the ledger was read, line by line
        self.is_torn = False

    def catch_up(self, file: IO[bytes]) -> None:
        """Take what the ledger has more than when it was last read; all, if it is another file."""
        found = os.fstat(file.fileno())
        is_first = found.st_ino != self.inode or found.st_size < self.place
        if is_first:
            self.forget()
            self.inode = found.st_ino
        file.seek(self.place)
        body = file.read()
        self.place += body.rfind(b"\n") + 1
        self.is_torn = not body.endswith(b"\n") and bool(body)
        for line in read_lines(body, self.latest if self.calls else None):
            self.take(line)
        if is_first and self.is_retry:
            self.forgiven, self.refused = set(self.refused), {}

    def take(self, line: dict[str, Any]) -> None:
        """Count one line of the ledger."""
        at = line["at"]
        self.latest = max(self.latest, at)
        what = line.get("what")
        subject = (str(line.get("symbol")), str(line.get("function")))
        if what == CALL:
            insort(self.calls, at)
            self.asked_before[subject] = self.asked.get(subject)
            self.asked[subject] = (at, len(self.calls))
        elif what == QuotaSpent.kind:
            self.take_back(subject)
            if line.get("key") == self.key:
                self.closed_at = parse_instant(line.get("asked_at")) or at
        elif what in REFUSALS:
            self.refused[subject_of(line)] = line
            self.failed.pop(subject, None)
            if what in (InvalidKey.kind, PremiumOnly.kind):
                self.take_back(subject)
        elif what == FAILED:
            asked_at = parse_instant(line.get("asked_at")) or at
            said, kind = str(line.get("said", "")), str(line.get("kind", ""))
            self.failed[subject] = {
                "at": asked_at,
                "kind": kind,
                "said": said.partition(": ")[2] or kind,
                "is_of_symbol": True,
            }
            self.asked.setdefault(subject, (at, 0))  # its call may be cut away by now
        elif what == VENDOR_DOWN:
            self.excuse(line.get("calls"))
        elif what == ANSWERED:
            self.failed.pop(subject, None)
            for refused in list_subjects(line):
                self.refused.pop(refused, None)

    def take_back(self, subject: Subject) -> None:
        """The answer was about the key, not about the symbol: that keeps its place in the order."""
        before = self.asked_before.get(subject)
        if before:
            self.asked[subject] = before
        else:
            self.asked.pop(subject, None)

    def excuse(self, calls: Any) -> None:
        """These failures were the vendor's, whatever the symbol: it may be asked again at once."""
        for symbol, function in calls if isinstance(calls, list) else ():
            if (symbol, function) in self.failed:
                self.failed[symbol, function]["is_of_symbol"] = False

    def today(self, now: datetime) -> date:
        """The vendor's day. A clock that was set back does not bring an earlier day back."""
        return self.find_day(max(now, self.latest))

    def find_day(self, at: datetime) -> date:
        return at.astimezone(self.limits.zone).date()

    def count_today(self, now: datetime) -> int:
        midnight = datetime.combine(self.today(now), time(), self.limits.zone).astimezone(UTC)
        return len(self.calls) - bisect_left(self.calls, midnight)

    def left_today(self, now: datetime) -> int | None:
        """Calls that may still be made today; None: no limit."""
        if self.closed_at and self.find_day(self.closed_at) == self.today(now):
            return 0
        if not self.limits.per_day:
            return None
        return max(0, self.limits.per_day - self.count_today(now))

    def reopens_at(self, now: datetime) -> datetime:
        """The vendor's next midnight, in its zone."""
        return datetime.combine(self.today(now) + timedelta(days=1), time(), self.limits.zone)

    def find_refusal(self, call: Call) -> SourceError | None:
        """The error that an earlier answer left for this call; None: it may be asked."""
        entry = {**vars(call), "key": self.key}
        for subject in list_subjects(entry):
            if subject in self.refused:
                line = self.refused[subject]
                error = REFUSALS[line["what"]]
                said = str(line.get("said", "")).partition(": ")[2] or error.kind
                return error(
                    f"{call.label}: not asked again since the answer of {line['at']:%Y-%m-%d}"
                    f" ({said}); --retry asks again"
                )
        return None

    def has_failed(self, call: Call) -> bool:
        """Whether the last answer to this call was none that anything can be made of."""
        return call.subject in self.failed

    def is_failing(self, call: Call) -> bool:
        """Whether it has failed, and that was not the vendor's or the network's failure."""
        return self.has_failed(call) and bool(self.failed[call.subject]["is_of_symbol"])

    def find_failure(self, call: Call, now: datetime) -> SourceError | None:
        """The failure of today that this call left: of a daily budget one a day is enough.

        None: it may be asked.
        """
        if not self.is_failing(call) or self.is_retry or not self.limits.per_day:
            return None
        line = self.failed[call.subject]
        if self.find_day(line["at"]) != self.today(now):
            return None
        error = FAILURES.get(line["kind"], Unavailable)
        return error(
            f"{call.label}: failed today ({line['said']}); asked again after"
            f" {self.reopens_at(now):%Y-%m-%d %H:%M %Z}, or at once by --retry"
        )

    def spend(self, call: Call, now: datetime) -> None:
        """Write the call down, on disk, before it is made. NotAsked: none is left today."""
        with self.open_ledger() as file:
            if self.left_today(now) == 0:
                raise NotAsked(self.explain(now))
            self.append(file, {"what": CALL, "symbol": call.symbol, "function": call.function}, now)
        self.made += 1

    def learn(
        self, call: Call, error: SourceError | None, now: datetime, asked_at: datetime | None = None
    ) -> None:
        """Keep what an answer means for later calls. `asked_at`: when its call was made."""
        about = {"symbol": call.symbol, "function": call.function, "plan": call.plan}
        if error is None:
            subjects = list_subjects({**about, "key": self.key})
            is_known = any(s in self.forgiven or s in self.refused for s in subjects)
            if is_known or self.has_failed(call):
                self.write({"what": ANSWERED, **about}, now)
            return
        # a day that is spent is the one of the call, not the one of its answer
        said = {**about, "said": str(error)[:300], "asked_at": (asked_at or now).isoformat()}
        if error.is_failure:
            self.write({"what": FAILED, **said, "kind": error.kind}, now)
        elif isinstance(error, (*REFUSALS.values(), QuotaSpent)):
            self.write({"what": error.kind, **said}, now)

    def note_vendor_down(self, calls: Iterable[Call], now: datetime) -> None:
        self.write({"what": VENDOR_DOWN, "calls": [list(call.subject) for call in calls]}, now)

    def explain(self, now: datetime) -> str:
        """Why no call is left, and when to run again."""
        again = f"run again after {self.reopens_at(now):%Y-%m-%d %H:%M %Z}"
        if self.latest - now > timedelta(days=1):
            again = (
                f"{self.path.name} has calls of {self.latest:%Y-%m-%d}, after the clock's today:"
                " put the clock right, or move that file away"
            )
        day, most = self.today(now), self.limits.per_day
        if self.count_today(now) >= most > 0:
            spent = (
                "the only call of {} is spent"
                if most == 1
                else f"the {most} calls of {{}} are spent"
            )
            return f"{spent.format(day)}: {again}"
        return f"the vendor says that the calls of {day} are spent: {again}"

    def write(self, line: dict[str, Any], now: datetime) -> None:
        with self.open_ledger() as file:
            self.append(file, line, now)

    @contextmanager
    def open_ledger(self) -> Iterator[IO[bytes]]:
        """The ledger, held against every other process, and read to its end."""
        if not self.is_mended:
            repair_ledger(self.path)
            self.is_mended = True
        with hold_file(self.path) as file:
            self.catch_up(file)
            yield file

    def append(self, file: IO[bytes], line: dict[str, Any], now: datetime) -> None:
        at = max(now, self.latest)
        entry = {"at": at.isoformat(), "key": self.key, **line}
        file.write(b"\n" * self.is_torn + json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        self.place, self.is_torn = file.tell(), False
        self.take({**entry, "at": at})

    def list_recent(self, now: datetime, seconds: float) -> list[float]:
        """How many seconds ago the last calls were made, as far as `seconds` back."""
        ages = []
        for at in reversed(self.calls):
            age = (now - at).total_seconds()
            if age > seconds:
                break
            ages.append(max(0.0, age))
        return ages


def fingerprint(key: str) -> str:
    """Tells keys apart; the key cannot be had back from it."""
    return hashlib.sha256(b"market data service: " + key.encode("utf-8", "replace")).hexdigest()[
        :12
    ]


def subject_of(line: dict[str, Any]) -> Subject:
    """What a refusal is about: a key, what a key may ask, or a symbol."""
    key, function = str(line.get("key")), str(line.get("function"))
    if line["what"] == InvalidKey.kind:
        return ("key", key)
    if line["what"] == PremiumOnly.kind:
        return ("plan", key, str(line.get("plan")))
    return ("symbol", str(line.get("symbol")), function)


def list_subjects(about: dict[str, Any]) -> list[Subject]:
    """All that a call hangs on. A symbol without bars has no corporate actions either."""
    key, symbol = str(about.get("key")), str(about.get("symbol"))
    functions = dict.fromkeys((str(about.get("function")), BARS))
    return [
        ("key", key),
        ("plan", key, str(about.get("plan"))),
        *(("symbol", symbol, function) for function in functions),
    ]


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
