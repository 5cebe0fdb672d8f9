"""A vendor whose answers are paid for: planned, asked, archived, handed on. For any Vendor.

The rule it keeps: an answer is paid for, and may never be had again. So each one is archived
before it is read, and the rows handed on are those of the archive that the store has not taken
yet: of this run, and of any before it (see marks).
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from etl.base.errors import (
    Forbidden,
    InputError,
    InvalidKey,
    Malformed,
    NotAsked,
    PremiumOnly,
    SourceError,
)
from etl.base.whole_files import set_aside
from etl.calls.archive import DATA, MALFORMED, OF, PART, Archive, Entry, read_body
from etl.calls.dispatch import Dispatcher, Patience
from etl.calls.fetch import Fetched, Fetcher
from etl.calls.forecast import describe_budget
from etl.calls.ledger import Ledger, open_ledger
from etl.calls.minute_plan import keep_for_minutes
from etl.calls.plan import make_plan
from etl.calls.queues import Queue
from etl.calls.queues.choose import open_queue
from etl.calls.vendor import DAILY, Call, Reply, Row, Vendor, build_call, find_month
from etl.contracts.deliveries import Delivery
from etl.settings import Settings
from etl.sources import Order, build_actions, build_bars
from etl.store.duckdb_file.marks import Marks, mark, read_marks

log = logging.getLogger("etl")

MOST_PAGES = 1000  # of one answer: a vendor that leads round in a circle does not lead on for ever


class PaidSource:
    def __init__(
        self, settings: Settings, order: Order, vendor: Vendor, patience: Patience | None = None
    ) -> None:
        vendor.check_key()
        self.settings, self.vendor, self.patience = settings, vendor, patience
        self.clock = order.clock
        self.archive = open_sound_archive(settings, vendor)
        self.ledger = open_ledger(settings.data_dir, vendor, order.is_retry)
        fetcher = Fetcher(settings, vendor, self.clock)
        # before the plan is made: it brings what earlier runs asked and could not fetch
        self.line = open_queue(settings, fetcher, self.ledger, self.keep)
        self.pending = find_pending(settings, vendor, self.archive)
        now = self.clock.now()
        kept = keep_for_minutes(settings, vendor, self.archive, self.ledger, now)
        self.plan = make_plan(
            settings, vendor, self.archive, self.ledger, now, order.is_retry, kept
        )
        self.count = len(self.pending) + len(self.plan.list_calls())
        self.notes: dict[str, Any] = {
            "up_to_date": self.plan.up_to_date,
            "waiting": len(self.plan.waiting),
            "calls": 0,
            "answers": 0,
            "actions_not_asked": 0,
        }
        self.without_bars: set[str] = set()  # symbols that got none, and had none
        self.said: set[tuple[str, str]] = set()  # kinds of refusal, and what they are about

    def fetch(self) -> Iterator[Delivery]:
        """What is pending in the archive; then each answer, as it comes."""
        log.info("extract: %s", describe_budget(self.ledger, self.clock.now()))
        self.archive.sweep()
        try:
            yield from self.accompany_actions()
        finally:
            self.line.close()
            self.note_progress()  # a run that is stopped has made its calls too

    def accompany_actions(self) -> Iterator[Delivery]:
        """All deliveries; no raw file is without bars, so actions that come alone bring their
        symbol's last ones."""
        has_bars, riders = False, set()
        for delivery in self.deliver_all():
            if delivery.bars is not None:
                has_bars = True
            elif delivery.actions is not None and delivery.actions.num_rows:
                riders.add(delivery.label)
            yield delivery
        for symbol in sorted(riders) if not has_bars else ():
            if entry := self.archive.latest.get((symbol, DAILY)):
                yield read_entry(self.vendor, self.archive, entry)

    def deliver_all(self) -> Iterator[Delivery]:
        for entry in self.pending:
            yield read_entry(self.vendor, self.archive, entry)
        for call, error in (*self.plan.refused, *self.plan.failed):
            yield from self.tell_failure(call, error)
        yield from self.ask_all()

    def ask_all(self) -> Iterator[Delivery]:
        dispatcher = Dispatcher(
            self.line, self.ledger, self.clock, self.patience, self.find_refusal
        )
        for call, result in dispatcher.run(self.plan.list_calls()):
            self.note_progress()
            if isinstance(result, Delivery):
                self.notes["answers"] += 1
                yield result
            else:
                yield from self.tell_failure(call, result)

    def note_progress(self) -> None:
        self.notes.update(note_calls(self.line, self.ledger, self.clock.now()))

    def find_refusal(self, call: Call) -> SourceError | None:
        """What rules out a call that was planned: a symbol that got no bars needs no actions."""
        if call.dataset != DAILY and call.symbol in self.without_bars:
            return NotAsked(f"{call.label}: {call.symbol} has no bars")
        self.ledger.use_key(self.vendor.key)
        return self.ledger.refusal(call) or refuse_kept(
            call, self.plan.kept, "minutes", self.ledger, self.clock.now()
        )

    def tell_failure(self, call: Call, error: SourceError) -> Iterator[Delivery]:
        """The failure of one call; what an answer says of a key it says of all symbols, once."""
        is_bars = call.dataset == DAILY
        if is_bars and call.subject not in self.archive.latest:
            self.without_bars.add(call.symbol)
        if isinstance(error, NotAsked) and not is_bars:
            self.notes["actions_not_asked"] += 1
            return
        if isinstance(error, PremiumOnly | InvalidKey) and not isinstance(error, Forbidden):
            about = (error.kind, "" if error.ends_run else call.plan)
            if about in self.said:
                if is_bars:
                    yield Delivery(call.label, error=NotAsked(f"{error.kind} before it"))
                return
            self.said.add(about)
        yield Delivery(call.label, error=error, is_extra=not is_bars)

    def keep(self, call: Call, fetched: Fetched) -> Delivery | Call:
        """Archive what came of a call, then read it; the next call where it has more pages.

        Safe to call from several threads.
        """
        kept = keep_answer(self.vendor, self.archive, call, fetched)
        if isinstance(kept, Call):
            return kept
        entry, reply = kept
        if call.month:  # left over by a run of minutes, which are another source's
            return Delivery(call.label)
        if call.number > 1:
            return read_entry(self.vendor, self.archive, entry)
        return build_delivery(self.vendor, entry, reply)


def note_calls(line: Queue[Any], ledger: Ledger, now: datetime) -> dict[str, Any]:
    """What the run's record keeps of its calls."""
    notes: dict[str, Any] = {**line.notes, "calls": ledger.made, "calls_left": ledger.left(now)}
    if ledger.limits.per_day:
        ends = ledger.reopens_at(now).astimezone(UTC)
        notes["calls_per_day"] = ledger.limits.per_day
        notes["calls_day_ends"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    return notes


def refuse_kept(
    call: Call, kept: int, whom: str, ledger: Ledger, now: datetime
) -> SourceError | None:
    """The refusal of a call that belongs to others of today; the next page is always asked for."""
    left = ledger.left(now)
    if call.page or not kept or left is None or not 0 < left <= kept:
        return None
    calls = "1 call of today is" if left == 1 else f"{left} calls of today are"
    return NotAsked(f"{calls} kept for bars of {whom}: run again tomorrow")


def keep_answer(
    vendor: Vendor, archive: Archive, call: Call, fetched: Fetched
) -> tuple[Entry, Reply] | Call:
    """Archive what came of a call, and read it; the next call where it has more pages."""
    try:
        if fetched.error:
            raise fetched.error
        reply = vendor.read(call, fetched.status, fetched.body)
        check_next_page(call, reply)
    except Malformed:
        # paid for, and perhaps read by a later version
        archive.add(call.symbol, call.dataset, MALFORMED, fetched.body, fetched.fetched_at)
        raise
    except SourceError as error:
        error.retry_after = fetched.retry_after
        raise
    content = name_content(call, reply)
    entry = archive.add(call.symbol, call.dataset, content, fetched.body, fetched.fetched_at)
    if reply.next_page:
        return replace(call, page=reply.next_page, number=call.number + 1)
    return entry, reply


def check_next_page(call: Call, reply: Reply) -> None:
    if reply.next_page and (reply.next_page == call.page or call.number >= MOST_PAGES):
        raise Malformed(f"{call.symbol}: the pages of the answer lead on for ever")


def name_content(call: Call, reply: Reply) -> str:
    """What the archive says of a page in its name."""
    if reply.next_page:
        return PART
    content = DATA if reply.last_bar is None else str(reply.last_bar)
    return content if call.number == 1 else f"{content}{OF}{call.number}"


class Replay:
    """Everything in the archive, without a call: the way back to raw data."""

    def __init__(self, settings: Settings, order: Order, vendor: Vendor) -> None:
        self.vendor = vendor
        self.archive = open_archive(settings, vendor)
        self.symbols = order.symbols
        self.count = len(list_missing(self.archive, set()))
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        for entry in self.archive.list_entries():
            is_wanted = self.symbols is None or entry.symbol in self.symbols
            if is_wanted and not entry.is_part and not find_month(entry.dataset):
                delivery = read_entry(self.vendor, self.archive, entry)
                if entry.has_data or not delivery.error:
                    yield delivery


def open_archive(settings: Settings, vendor: Vendor) -> Archive:
    return Archive(settings.archive_dir / vendor.name, vendor.datasets)


def open_sound_archive(settings: Settings, vendor: Vendor) -> Archive:
    """The archive, once what is damaged of the answers to be read is set aside: it is as if it had
    never come, so that its symbol is asked for again."""
    archive = open_archive(settings, vendor)
    damaged = [e for e in find_pending(settings, vendor, archive) if not is_readable(archive, e)]
    for entry in damaged:
        set_aside(entry.path, f"{entry.symbol} is asked for again")
    return open_archive(settings, vendor) if damaged else archive


def is_readable(archive: Archive, entry: Entry) -> bool:
    try:
        return all(map(read_body, archive.list_pages(entry)))
    except InputError:
        return False


def find_pending(settings: Settings, vendor: Vendor, archive: Archive) -> list[Entry]:
    """The answers that the store has not taken."""
    return list_missing(archive, read_marks(settings.database_path, vendor.name))


def list_missing(archive: Archive, taken: Marks) -> list[Entry]:
    entries = (e for e in archive.list_entries() if e.has_data and not find_month(e.dataset))
    return [entry for entry in entries if mark(entry) not in taken]


def read_entry(vendor: Vendor, archive: Archive, entry: Entry) -> Delivery:
    """One archived answer, read again as on its first day; a damaged one is an error."""
    try:
        return build_delivery(vendor, entry, read_pages(vendor, archive, entry))
    except SourceError as error:
        return Delivery(entry.symbol, error=error)


def read_pages(vendor: Vendor, archive: Archive, entry: Entry) -> Reply:
    """All pages of an archived answer as one. SourceError: Malformed where one is damaged."""
    call = build_call(vendor, entry.symbol, entry.dataset)
    try:
        pages = enumerate(archive.list_pages(entry), 1)
        replies = [vendor.read(replace(call, number=n), 200, read_body(p)) for n, p in pages]
    except InputError as error:
        raise Malformed(str(error)) from None
    return join_replies(replies)


def join_replies(pages: list[Reply]) -> Reply:
    """The pages of one answer as one."""
    if len(pages) == 1:
        return pages[0]
    days = [page.last_bar for page in pages if page.last_bar]
    return Reply([row for page in pages for row in page.rows], max(days, default=None))


def build_delivery(vendor: Vendor, entry: Entry, reply: Reply) -> Delivery:
    symbol, name = entry.symbol, vendor.name
    number, at = mark(entry)
    about: Row = {"symbol": symbol, "ex_date": None, "kind": "answer", "value": str(number)}
    if entry.dataset == DAILY:
        bars = build_bars(reply.rows, name, vendor.basis, at)
        return Delivery(symbol, bars, build_actions([about], name, at))
    # the answer lists all of them, so that an empty one says that there are none
    whole: Row = {**about, "kind": entry.dataset, "value": None}
    return Delivery(symbol, actions=build_actions([about, whole, *reply.rows], name, at))
