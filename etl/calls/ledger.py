"""The vendor's calls, counted across runs in one file of lines, and what came of them.

The rule it keeps: a call is on the disk before it is made, so that a kill never hides one; and
no call is made that the budget or an earlier answer rules out. Whoever is about to call holds the
ledger for that moment and reads what others wrote since: two runs at once never spend a call
twice. The ledger knows keys only by their fingerprint.
"""

import hashlib
import json
import os
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any

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
from etl.base.whole_files import check_is_file
from etl.calls.ledger_lines import CALL, hold_file, parse_instant, read_lines, repair_ledger
from etl.calls.vendor import DAILY, Call, Limits, Vendor, find_month

ANSWERED = "answered"
FAILED = "failed"
VENDOR_DOWN = "vendor down"
REFUSALS: dict[str, type[SourceError]] = {
    kind.kind: kind for kind in (UnknownSymbol, InvalidKey, PremiumOnly)
}
FAILURES: dict[str, type[SourceError]] = {
    kind.kind: kind for kind in (Malformed, Throttled, Unavailable, Forbidden)
}

Subject = tuple[str, ...]
Line = dict[str, Any]


class Ledger:
    """The Budget that one vendor's file of calls gives to one key.

    `made`: calls of this process. `asked`: (symbol, dataset) → when it was last asked, and as
    which of all calls. `failed`: (symbol, dataset) → the last failure, until an answer comes.
    `names`: datasets by the names that older lines have for them. `share`: is told each line that
    is written, where machines share the calls; `last_id`: up to which line others' were taken in.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        key: str,
        is_retry: bool = False,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.names = names or {}
        self.path = path
        self.limits = limits
        self.key = fingerprint(key)
        self.is_retry = is_retry
        self.made = 0
        self.share: Callable[[Line], object] = bool
        self.is_mended = False
        self.read_anew()

    def read_anew(self) -> None:
        self.forget()
        check_is_file(self.path)
        try:
            with self.path.open("rb") as file:
                self.catch_up(file)
        except FileNotFoundError:
            pass

    def use_key(self, key: str) -> None:
        """Go on with another key: what was said of the one before is not about it."""
        if fingerprint(key) != self.key:
            self.key = fingerprint(key)
            self.read_anew()

    def forget(self) -> None:
        self.calls: list[datetime] = []
        self.minute_calls: list[datetime] = []  # those of them for bars of a minute
        self.closed_at: datetime | None = None
        self.latest = datetime.min.replace(tzinfo=UTC)
        self.refused: dict[Subject, Line] = {}
        self.forgiven: set[Subject] = set()
        self.asked: dict[Subject, tuple[datetime, int]] = {}
        self.asked_before: dict[Subject, tuple[datetime, int] | None] = {}
        self.failed: dict[Subject, Line] = {}
        self.inode: int | None = None
        self.place = 0  # up to where the ledger was read, line by line
        self.is_torn = False
        self.last_id = "0-0"

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

    def take(self, line: Line) -> None:
        """Count one line of the ledger."""
        at, what = line["at"], str(line.get("what"))
        self.latest = max(self.latest, at)
        self.last_id = str(line.get("id", self.last_id))
        line = {**line, "dataset": self.name_dataset(line)}
        subject = (str(line.get("symbol")), line["dataset"])
        if what == CALL:
            self.take_call(subject, at)
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
            self.take_failure(subject, line)
        elif what == VENDOR_DOWN:
            self.take_excuse(line.get("calls"))
        elif what == ANSWERED:
            self.failed.pop(subject, None)
            for refused in list_subjects(line):
                self.refused.pop(refused, None)

    def name_dataset(self, line: Line) -> str:
        """What a line is about; older ones have the vendor's own name for it, as "function"."""
        said = str(line.get("dataset", line.get("function")))
        return self.names.get(said, said)

    def take_call(self, subject: Subject, at: datetime) -> None:
        insort(self.calls, at)
        if find_month(subject[1]):
            insort(self.minute_calls, at)
        self.asked_before[subject] = self.asked.get(subject)
        self.asked[subject] = (at, len(self.calls))

    def take_failure(self, subject: Subject, line: Line) -> None:
        said, kind = str(line.get("said", "")), str(line.get("kind", ""))
        self.failed[subject] = {
            "at": parse_instant(line.get("asked_at")) or line["at"],
            "kind": kind,
            "said": said.partition(": ")[2] or kind,
            "is_of_symbol": True,
        }
        self.asked.setdefault(subject, (line["at"], 0))  # its call may be cut away by now

    def take_back(self, subject: Subject) -> None:
        """The answer was about the key, not about the symbol: that keeps its place in the order."""
        before = self.asked_before.get(subject)
        if before:
            self.asked[subject] = before
        else:
            self.asked.pop(subject, None)

    def take_excuse(self, calls: Any) -> None:
        """These failures were the vendor's, whatever the symbol: it may be asked again at once."""
        pairs = calls if isinstance(calls, list) else []
        for symbol, said in (pair for pair in pairs if isinstance(pair, list) and len(pair) == 2):
            subject = (str(symbol), self.names.get(str(said), str(said)))
            if subject in self.failed:
                self.failed[subject]["is_of_symbol"] = False

    def today(self, now: datetime) -> date:
        """The vendor's day. A clock that was set back does not bring an earlier day back."""
        return self.find_day(max(now, self.latest))

    def find_day(self, at: datetime) -> date:
        return at.astimezone(self.limits.zone).date()

    def count_today(self, now: datetime) -> int:
        return self.count_since_midnight(self.calls, now)

    def count_minutes_today(self, now: datetime) -> int:
        return self.count_since_midnight(self.minute_calls, now)

    def count_since_midnight(self, calls: list[datetime], now: datetime) -> int:
        midnight = datetime.combine(self.today(now), time(), self.limits.zone).astimezone(UTC)
        return len(calls) - bisect_left(calls, midnight)

    def left(self, now: datetime) -> int | None:
        """Calls that may still be made today; None: no limit."""
        if self.closed_at and self.find_day(self.closed_at) == self.today(now):
            return 0
        if not self.limits.per_day:
            return None
        return max(0, self.limits.per_day - self.count_today(now))

    def reopens_at(self, now: datetime) -> datetime:
        """The vendor's next midnight, in its zone."""
        return datetime.combine(self.today(now) + timedelta(days=1), time(), self.limits.zone)

    def refusal(self, call: Call) -> SourceError | None:
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
            if self.left(now) == 0:
                raise NotAsked(self.explain(now))
            self.append(file, {"what": CALL, "symbol": call.symbol, "dataset": call.dataset}, now)
        self.made += 1

    def learn(
        self, call: Call, error: SourceError | None, now: datetime, asked_at: datetime | None = None
    ) -> None:
        """Keep what an answer means for later calls. `asked_at`: when its call was made."""
        about = {"symbol": call.symbol, "dataset": call.dataset, "plan": call.plan}
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

    def excuse(self, calls: Iterable[Call], now: datetime) -> None:
        """The vendor was down: no symbol is to blame for these failures."""
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

    def write(self, line: Line, now: datetime) -> None:
        with self.open_ledger() as file:
            self.append(file, line, now)

    def take_in(self, lines: Iterable[tuple[str, Line]]) -> None:
        """Write down what other machines did, each line with its id."""
        with self.open_ledger() as file:
            dated = (({**line, "id": id}) for id, line in lines if parse_instant(line.get("at")))
            self.put(file, *dated)

    @contextmanager
    def open_ledger(self) -> Iterator[IO[bytes]]:
        """The ledger, held against every other process, and read to its end."""
        if not self.is_mended:
            repair_ledger(self.path)
            self.is_mended = True
        with hold_file(self.path) as file:
            self.catch_up(file)
            yield file

    def append(self, file: IO[bytes], line: Line, now: datetime) -> None:
        at = max(now, self.latest)
        entry = {"at": at.isoformat(), "key": self.key, **line}
        self.put(file, entry)
        self.share(entry)

    def put(self, file: IO[bytes], *entries: Line) -> None:
        lines = [json.dumps(entry).encode() + b"\n" for entry in entries]
        if not lines:
            return
        file.write(b"\n" * self.is_torn + b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
        self.place, self.is_torn = file.tell(), False
        for entry in entries:
            self.take({**entry, "at": parse_instant(entry["at"])})

    def list_recent(self, now: datetime, seconds: float) -> list[float]:
        """How many seconds ago the last calls were made, as far as `seconds` back."""
        ages = []
        for at in reversed(self.calls):
            age = (now - at).total_seconds()
            if age > seconds:
                break
            ages.append(max(0.0, age))
        return ages


def open_ledger(data_dir: Path, vendor: Vendor, is_retry: bool = False) -> Ledger:
    """The calls of this vendor; an older ledger names its datasets as the vendor does."""
    names = {wire: dataset for dataset, wire in vendor.datasets.items()}
    return Ledger(data_dir / vendor.ledger, vendor.limits, vendor.key, is_retry, names)


def fingerprint(key: str) -> str:
    """Tells keys apart; the key cannot be had back from it."""
    return hashlib.sha256(b"market data service: " + key.encode("utf-8", "replace")).hexdigest()[
        :12
    ]


def subject_of(line: Line) -> Subject:
    """What a refusal is about: a key, what a key may ask, or a symbol."""
    key, dataset = str(line.get("key")), str(line.get("dataset"))
    if line["what"] == InvalidKey.kind:
        return ("key", key)
    if line["what"] == PremiumOnly.kind:
        return ("plan", key, str(line.get("plan")))
    return ("symbol", str(line.get("symbol")), dataset)


def list_subjects(about: Line) -> list[Subject]:
    """All that a call hangs on. A symbol without bars has no corporate actions either."""
    key, symbol = str(about.get("key")), str(about.get("symbol"))
    datasets = dict.fromkeys((str(about.get("dataset")), DAILY))
    return [
        ("key", key),
        ("plan", key, str(about.get("plan"))),
        *(("symbol", symbol, dataset) for dataset in datasets),
    ]
