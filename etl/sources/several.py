"""Several vendors: the first that SOURCE names is asked first, the next fill what it does not have.

Each has its own plan, budget and archive, so each is asked for the bars of all symbols as far as
its own calls go; which bar of two is kept, load decides (etl/rules/vendors.py). Splits and
dividends come from the first that gives them: lists of two vendors would contradict each other.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from etl.base.errors import NotAsked
from etl.calls.archive import Archive
from etl.calls.forecast import name_some
from etl.calls.ledger import Ledger
from etl.calls.plan import Plan
from etl.calls.vendor import DAILY, Call, Vendor, build_call
from etl.contracts.deliveries import Delivery
from etl.settings import Settings
from etl.sources import Order, Source
from etl.sources.paid import PaidSource, Replay

log = logging.getLogger("etl")

SUMS = ("calls", "answers", "actions_not_asked", "repeated", "left_over")


class Several:
    """The Source of two vendors or more, the first one first."""

    def __init__(self, settings: Settings, order: Order, vendors: list[Vendor]) -> None:
        for vendor in vendors:
            vendor.check_key()
        self.sources = [PaidSource(settings, order, vendor) for vendor in vendors]
        self.count = sum(source.count for source in self.sources)
        self.notes: dict[str, Any] = dict(self.sources[0].notes)
        self.failed: list[tuple[PaidSource, Delivery]] = []

    def fetch(self) -> Iterator[Delivery]:
        """What each vendor has; then what failed with one and no other had."""
        try:
            for place, source in enumerate(self.sources):
                leave_out_actions(source.plan, self.sources[:place])
                yield from self.deliver(source)
        finally:
            self.add_notes()
        filled: dict[str, list[str]] = {}
        for source, delivery in self.failed:
            if name := self.find_other(source, delivery):
                told = f"{source.vendor.name} did not give, {name}"
                filled.setdefault(told, []).append(delivery.label)
            else:
                yield self.name_vendor(source, delivery)
        self.notes["filled"] = filled
        for names, labels in filled.items():
            log.info("extract: what %s has it: %s", names, name_some(labels))

    def deliver(self, source: PaidSource) -> Iterator[Delivery]:
        """What one vendor has; failures wait, for another may have it."""
        for delivery in source.fetch():
            if delivery.error:
                self.failed.append((source, delivery))
            else:
                yield delivery
            self.add_notes()

    def add_notes(self) -> None:
        """The counts of all, and those of each under its name."""
        first = self.sources[0]
        self.notes.update(first.notes)
        self.notes.update(
            {n: sum(s.notes.get(n, 0) for s in self.sources) for n in SUMS if n in first.notes}
        )
        self.notes["vendors"] = {s.vendor.name: dict(s.notes) for s in self.sources}

    def find_other(self, source: PaidSource, delivery: Delivery) -> str:
        """The vendor that has what another failed to give; "": none has it."""
        failed = [s for s, d in self.failed if d.label == delivery.label]
        for other in self.sources:
            has_bars = (delivery.label, DAILY) in other.archive.latest
            if has_bars and other not in failed and not delivery.is_extra:
                return other.vendor.name
        return ""

    def name_vendor(self, source: PaidSource, delivery: Delivery) -> Delivery:
        """A failure of another vendor than the first bears its name: both may have failed."""
        is_first = source is self.sources[0]
        if is_first or isinstance(delivery.error, NotAsked):
            return delivery
        return replace(delivery, label=f"{delivery.label} ({source.vendor.name})")


class Replays:
    """The archives of several vendors, one after the other."""

    def __init__(self, settings: Settings, order: Order, vendors: list[Vendor]) -> None:
        self.replays = [Replay(settings, order, vendor) for vendor in vendors]
        self.count = sum(replay.count for replay in self.replays)
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        for replay in self.replays:
            yield from replay.fetch()


class Books(Protocol):
    """What is known of a vendor: its answers and its calls."""

    @property
    def vendor(self) -> Vendor: ...
    @property
    def archive(self) -> Archive: ...
    @property
    def ledger(self) -> Ledger: ...


class VendorBooks(NamedTuple):
    """The same by themselves."""

    vendor: Vendor
    archive: Archive
    ledger: Ledger


def leave_out_actions(
    plan: Plan, earlier: Sequence[Books], coming: Collection[str] = frozenset()
) -> None:
    """Take out of a plan the splits and dividends that an earlier vendor gives; `coming`: symbols
    that one is still to be asked for."""
    plan.action_calls = [
        item
        for item in plan.action_calls
        if item[0].symbol not in coming and not gives_actions(item[0], earlier)
    ]
    wanted = {call for call, _ in plan.action_calls}
    plan.order = [i for i in plan.order if i[0].dataset == DAILY or i[0] in wanted]


def gives_actions(call: Call, earlier: Sequence[Books]) -> bool:
    """Whether an earlier vendor has the symbol, and is not known to refuse these actions."""
    for source in earlier:
        own = build_call(source.vendor, call.symbol, call.dataset)
        has_bars = (call.symbol, DAILY) in source.archive.latest
        if has_bars and call.dataset in source.vendor.datasets and not source.ledger.refusal(own):
            return True
    return False


def open_source(settings: Settings, order: Order, vendors: list[Vendor]) -> Source:
    is_one = len(vendors) == 1
    if order.is_replay:
        return Replay(settings, order, vendors[0]) if is_one else Replays(settings, order, vendors)
    return PaidSource(settings, order, vendors[0]) if is_one else Several(settings, order, vendors)
