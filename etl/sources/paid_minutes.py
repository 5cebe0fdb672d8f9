"""Minutes of a vendor: planned by the month, asked within the day's calls, archived, handed on.

As paid.py does for daily bars, with the same archive, ledger and queue. A bar goes with the span
that its answer was asked for, so that a minute without a trade is told from one that never came;
the span is also the mark by which the store says that it has taken the answer.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from etl.base.errors import (
    Forbidden,
    InvalidKey,
    NotAsked,
    PremiumOnly,
    SourceError,
    UnknownSymbol,
)
from etl.base.whole_files import set_aside
from etl.calls.archive import Archive, Entry
from etl.calls.dispatch import Dispatcher, Patience
from etl.calls.fetch import Fetched, Fetcher
from etl.calls.forecast import describe_budget
from etl.calls.ledger import open_ledger
from etl.calls.minute_plan import LATE, find_bounds, keep_for_days, make_minute_plan
from etl.calls.plan import make_plan
from etl.calls.queues.choose import open_queue
from etl.calls.vendor import MINUTES, Call, Reply, Row, Vendor, build_call, find_month, name_month
from etl.contracts.deliveries import Delivery
from etl.contracts.minute_files import RAW_MINUTES, RAW_SPANS
from etl.settings import Settings, SettingsError
from etl.sources import Order
from etl.sources.minute_marks import read_taken
from etl.sources.paid import (
    is_readable,
    keep_answer,
    note_calls,
    open_archive,
    read_pages,
    refuse_kept,
)
from etl.store.duckdb_file.marks import mark

log = logging.getLogger("etl")

MINUTE = timedelta(minutes=1)
LAST_DAYS = timedelta(days=5)  # no weekend with holidays is longer


class PaidMinutes:
    """The Source of one vendor's minutes."""

    def __init__(
        self, settings: Settings, order: Order, vendor: Vendor, patience: Patience | None = None
    ) -> None:
        check_minutes(vendor)
        vendor.check_key()
        self.vendor, self.patience, self.clock = vendor, patience, order.clock
        self.archive = open_archive(settings, vendor)
        self.ledger = open_ledger(settings.data_dir, vendor, order.is_retry)
        fetcher = Fetcher(settings, vendor, self.clock)
        # before the plan is made: it brings what earlier runs asked and could not fetch
        self.line = open_queue(settings, fetcher, self.ledger, self.keep)
        self.archive, self.pending = find_sound(settings, vendor, self.archive)
        books, now = (settings, vendor, self.archive, self.ledger), self.clock.now()
        self.plan = make_minute_plan(*books, now, order.is_retry)
        self.kept = keep_for_days(len(make_plan(*books, now).order), self.ledger, now)
        self.symbols = settings.symbols or ()
        self.count = len(self.pending) + len(self.plan.calls)
        to_ask = {call.symbol for call in self.plan.list_calls()}
        self.notes: dict[str, Any] = {
            "up_to_date": len(set(self.symbols) - to_ask),
            "waiting": len(self.plan.waiting),
            "calls": 0,
            "answers": 0,
            "months_left_out": self.plan.left_out,
        }
        self.ended: dict[str, date] = {}  # symbol → the month that it did not get
        self.answered: set[str] = set()
        self.held: list[tuple[Call, SourceError]] = []  # told once all answers are there
        self.said: set[tuple[str, str]] = set()

    def fetch(self) -> Iterator[Delivery]:
        """What is pending in the archive; then each answer, as it comes."""
        log.info("extract: %s", describe_budget(self.ledger, self.clock.now()))
        self.archive.sweep()
        try:
            for entry in self.pending:
                yield read_entry(self.vendor, self.archive, entry)
            for call, error in (*self.plan.refused, *self.plan.failed):
                yield from self.tell_failure(call, error)
            yield from self.ask_all()
            for call, error in self.held:
                yield from self.tell_end(call, error)
            yield from self.tell_unknown()
        finally:
            self.line.close()
            self.note_progress()  # a run that is stopped has made its calls too

    def ask_all(self) -> Iterator[Delivery]:
        line, refuse = self.line, self.find_refusal
        dispatcher = Dispatcher(line, self.ledger, self.clock, self.patience, refuse)
        for call, result in dispatcher.run(self.plan.list_calls()):
            self.note_progress()
            if isinstance(result, Delivery):
                self.notes["answers"] += 1
                self.answered.add(call.symbol)
                yield result
            else:
                yield from self.tell_failure(call, result)

    def note_progress(self) -> None:
        self.notes.update(note_calls(self.line, self.ledger, self.clock.now()))

    def find_refusal(self, call: Call) -> SourceError | None:
        """What rules out a call that was planned: a newer month of the symbol that was not given,
        or of any symbol where the key does not reach so far back."""
        if self.is_left_out(call):
            return NotAsked(f"{call.label}: a newer month was not given")
        self.ledger.use_key(self.vendor.key)
        for month in self.plan.months:
            newer = build_call(self.vendor, call.symbol, name_month(month))
            if refusal := self.ledger.refusal(newer):
                return refusal
            if month == call.month:
                break
        return refuse_kept(call, self.kept, "days", self.ledger, self.clock.now())

    def is_left_out(self, call: Call) -> bool:
        ended = self.ended.get(call.symbol)
        return bool(ended and call.month and call.month < ended)

    def tell_failure(self, call: Call, error: SourceError) -> Iterator[Delivery]:
        if self.is_left_out(call):
            self.notes["months_left_out"] += 1
            return
        if not isinstance(error, NotAsked) and call.month:
            self.ended.setdefault(call.symbol, call.month)
        if isinstance(error, UnknownSymbol | PremiumOnly):
            self.held.append((call, error))
        else:
            yield from self.tell_once(call, error)

    def tell_end(self, call: Call, error: SourceError) -> Iterator[Delivery]:
        """A refusal, unless it only ends the way back of a symbol that has newer months."""
        if self.has_bars(call.symbol):
            self.notes["months_left_out"] += 1
        else:
            yield from self.tell_once(call, error)

    def tell_once(self, call: Call, error: SourceError) -> Iterator[Delivery]:
        """What an answer says of a key it says of all symbols, once."""
        is_of_key = isinstance(error, PremiumOnly | InvalidKey) and not isinstance(error, Forbidden)
        about = (error.kind, "" if error.ends_run else call.plan)
        if is_of_key and about in self.said:
            error = NotAsked(f"{error.kind} before it")
        elif is_of_key:
            self.said.add(about)
        yield Delivery(call.label, error=error)

    def has_bars(self, symbol: str) -> bool:
        keys = ((symbol, name_month(month)) for month in self.plan.months)
        return any(e.last_bar for key in keys if (e := self.archive.latest.get(key)))

    def tell_unknown(self) -> Iterator[Delivery]:
        """Symbols of which all answers were empty."""
        months = self.plan.months
        for symbol in sorted(self.answered):
            if not self.has_bars(symbol) and symbol not in self.ended:
                span = f"{months[-1]:%Y-%m} to {months[0]:%Y-%m}"
                said = f"{symbol}: no minutes in all of {span}: check its spelling"
                yield Delivery(symbol, error=UnknownSymbol(said))

    def keep(self, call: Call, fetched: Fetched) -> Delivery | Call:
        """Archive what came of a call, then read it; the next call where it has more pages.

        Safe to call from several threads.
        """
        kept = keep_answer(self.vendor, self.archive, call, fetched)
        if isinstance(kept, Call):
            return kept
        entry, reply = kept
        if not call.month:  # left over by a run of daily bars, which are another source's
            return Delivery(call.label)
        if call.number > 1:
            return read_entry(self.vendor, self.archive, entry)
        return build_delivery(self.vendor, entry, reply)


class MinuteReplay:
    """The minutes in the archive, without a call."""

    def __init__(self, settings: Settings, order: Order, vendor: Vendor) -> None:
        check_minutes(vendor)
        self.vendor, self.symbols = vendor, order.symbols
        self.archive = open_archive(settings, vendor)
        self.entries = [
            entry
            for entry in list_answers(self.archive)
            if self.symbols is None or entry.symbol in self.symbols
        ]
        self.count = len(self.entries)
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        for entry in self.entries:
            yield read_entry(self.vendor, self.archive, entry)


def check_minutes(vendor: Vendor) -> None:
    if MINUTES not in vendor.datasets:
        raise SettingsError(f"SOURCE={vendor.name} has no minutes: SOURCE=files loads your own")


def list_answers(archive: Archive) -> list[Entry]:
    """Those with bars of minutes, symbol by symbol, oldest first."""
    return [e for e in archive.list_entries() if find_month(e.dataset) and e.last_bar]


def find_sound(settings: Settings, vendor: Vendor, archive: Archive) -> tuple[Archive, list[Entry]]:
    """The answers that the store has not taken; what is damaged of them is set aside first, so that
    its month is asked for again."""
    pending = find_pending(settings, vendor, archive)
    damaged = [entry for entry in pending if not is_readable(archive, entry)]
    for entry in damaged:
        set_aside(entry.path, f"{entry.symbol} is asked for again")
    if not damaged:
        return archive, pending
    archive = open_archive(settings, vendor)
    return archive, [entry for entry in pending if entry not in damaged]


def find_pending(settings: Settings, vendor: Vendor, archive: Archive) -> list[Entry]:
    answers = list_answers(archive)
    taken = read_taken(settings, vendor.name, {entry.symbol for entry in answers})
    return [entry for entry in answers if (entry.symbol, mark(entry)[1]) not in taken]


def read_entry(vendor: Vendor, archive: Archive, entry: Entry) -> Delivery:
    """One archived answer, read again as on its first day; a damaged one is an error."""
    try:
        return build_delivery(vendor, entry, read_pages(vendor, archive, entry))
    except SourceError as error:
        return Delivery(entry.symbol, error=error)


def build_delivery(vendor: Vendor, entry: Entry, reply: Reply) -> Delivery:
    """The bars of a month with the span that they are all of; of an answer without bars nothing:
    nobody knows whether there was no trade or nothing is kept."""
    if not reply.rows:
        return Delivery(entry.symbol)
    _, at = mark(entry)
    stamps = {"source": vendor.name, "basis": vendor.basis, "fetched_at": at, "interval": "1m"}
    bars = pa.Table.from_pylist([{**row, **stamps} for row in reply.rows], schema=RAW_MINUTES)
    start, end = find_span(entry, reply.rows)
    span = {"symbol": entry.symbol, "start": start, "end": end, "source": vendor.name}
    spans = pa.Table.from_pylist([{**span, "fetched_at": at}], schema=RAW_SPANS)
    return Delivery(entry.symbol, bars, spans=spans)


def find_span(entry: Entry, rows: list[Row]) -> tuple[datetime, datetime]:
    """Of which minutes an answer tells (naive UTC): of its month, if it came after its end and has
    a bar of its last days, or came late; else as far as its newest bar, for vendors lag behind."""
    start, end = find_bounds(find_month(entry.dataset) or entry.fetched_at.date())
    ends_at = find_end(rows, start)
    is_late = entry.fetched_at >= end + LATE
    is_whole = is_late or (entry.fetched_at >= end and ends_at >= end - LAST_DAYS)
    first, last = start, end if is_whole else min(ends_at, max(start, entry.fetched_at))
    return first.astimezone(UTC).replace(tzinfo=None), last.astimezone(UTC).replace(tzinfo=None)


def find_end(rows: list[Row], start: datetime) -> datetime:
    """The end of the newest bar; `start` where no stamp can be read. Aware."""
    ends = [end for row in rows if (end := read_end(row))]
    return max(start, max(ends, default=start))


def read_end(row: Row) -> datetime | None:
    try:
        at = datetime.fromisoformat(row["timestamp"] or "")
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(row.get("zone") or "UTC"))
    return at if row.get("stamp_is") == "end" else at + MINUTE
