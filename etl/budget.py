"""The vendor's calls, counted across runs in data/calls.jsonl, and what it refused.

The rule it keeps: a call is on the disk before it is made, so that a kill never hides one; and
no call is made that the budget or an earlier answer rules out. The ledger knows keys only by
their fingerprint.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from etl.errors import InvalidKey, NotAsked, PremiumOnly, QuotaSpent, SourceError, UnknownSymbol
from etl.stage import flush_to_disk, write_whole

CALL = "call"
BARS = "TIME_SERIES_DAILY"
REFUSALS: dict[str, type[SourceError]] = {
    kind.kind: kind for kind in (UnknownSymbol, InvalidKey, PremiumOnly)
}
KEEP_DAYS = 3
KEEP_LINES = 20_000  # an older ledger is cut down once it is longer


@dataclass(frozen=True)
class Call:
    """One question to the vendor. `plan` is what a key has to be worth for it."""

    symbol: str
    function: str
    plan: str


@dataclass(frozen=True)
class Limits:
    per_day: int  # 0: none
    zone: ZoneInfo


Subject = tuple[str, ...]


class Budget:
    """The ledger, read for one key."""

    def __init__(self, path: Path, limits: Limits, key: str, is_retry: bool = False) -> None:
        self.path = path
        self.limits = limits
        self.key = fingerprint(key)
        self.calls: list[datetime] = []
        self.closed_at: datetime | None = None
        self.latest = datetime.min.replace(tzinfo=UTC)
        self.refused: dict[Subject, dict[str, Any]] = {}
        self.forgiven: set[Subject] = set()
        self.is_mended = False
        for line in read_ledger(path):
            self.take(line)
        if is_retry:
            self.forgiven, self.refused = set(self.refused), {}

    def take(self, line: dict[str, Any]) -> None:
        """Count one line of the ledger."""
        at = line["at"]
        self.latest = max(self.latest, at)
        what = line.get("what")
        if what == CALL:
            self.calls.append(at)
        elif what == QuotaSpent.kind and line.get("key") == self.key:
            self.closed_at = at
        elif what in REFUSALS:
            self.refused[subject_of(line)] = line
        elif what == "answered":
            for subject in list_subjects(line):
                self.refused.pop(subject, None)

    def today(self, now: datetime) -> date:
        """The vendor's day. A clock that was set back does not bring an earlier day back."""
        return max(now, self.latest).astimezone(self.limits.zone).date()

    def count_today(self, now: datetime) -> int:
        today = self.today(now)
        zone = self.limits.zone
        count = 0
        for at in reversed(self.calls):
            if at.astimezone(zone).date() != today:
                break
            count += 1
        return count

    def left_today(self, now: datetime) -> int | None:
        """Calls that may still be made today; None: no limit."""
        if self.closed_at and self.closed_at.astimezone(self.limits.zone).date() == self.today(now):
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
                return error(
                    f"{call.symbol}: not asked again since the answer of {line['at']:%Y-%m-%d}"
                    f" ({line.get('said', error.kind)}); --retry asks again"
                )
        return None

    def spend(self, call: Call, now: datetime) -> None:
        """Write the call down, on disk, before it is made. NotAsked: none is left today."""
        if self.left_today(now) == 0:
            raise NotAsked(self.explain(now))
        self.write({"what": CALL, "symbol": call.symbol, "function": call.function}, now)

    def learn(self, call: Call, error: SourceError | None, now: datetime) -> None:
        """Keep what an answer means for later calls."""
        about = {"symbol": call.symbol, "function": call.function, "plan": call.plan}
        if error is None:
            subjects = list_subjects({**about, "key": self.key})
            if any(s in self.forgiven or s in self.refused for s in subjects):
                self.write({"what": "answered", **about}, now)
        elif isinstance(error, (*REFUSALS.values(), QuotaSpent)):
            self.write({"what": error.kind, **about, "said": str(error)[:300]}, now)

    def explain(self, now: datetime) -> str:
        """Why no call is left, and when to run again."""
        again = f"run again after {self.reopens_at(now):%Y-%m-%d %H:%M %Z}"
        if self.latest - now > timedelta(days=1):
            again = (
                f"{self.path.name} has calls of {self.latest:%Y-%m-%d}, after the clock's today:"
                " put the clock right, or move that file away"
            )
        if self.count_today(now) >= self.limits.per_day > 0:
            return f"the {self.limits.per_day} calls of {self.today(now)} are spent: {again}"
        return f"the vendor says that the calls of {self.today(now)} are spent: {again}"

    def write(self, line: dict[str, Any], now: datetime) -> None:
        at = max(now, self.latest)
        entry = {"at": at.isoformat(), "key": self.key, **line}
        if not self.is_mended:
            mend_ledger(self.path)
            self.is_mended = True
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
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


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the ledger, `at` as an instant. A torn last line was never a call.

    Any other line that cannot be read counts as a call: one too few is better than one too many.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    at = None
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
        return {**line, "at": datetime.fromisoformat(line["at"]).astimezone(UTC)}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def mend_ledger(path: Path) -> None:
    """Take away a torn end, and cut a long ledger down to what still counts."""
    path.touch()
    flush_to_disk(path.parent)
    body = path.read_bytes()
    whole = body[: body.rfind(b"\n") + 1]
    if parse_line(body[len(whole) :]):
        whole = body + b"\n"
    kept = shorten(whole)
    if kept != body:
        with write_whole(path) as next_path:
            next_path.write_bytes(kept)


def shorten(body: bytes) -> bytes:
    """Without the calls of long ago, once there are many. Refusals stay."""
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
