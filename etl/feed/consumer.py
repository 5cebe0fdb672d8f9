"""From the bus into the minute store: a batch at least each second, acknowledged once it is stored.

A batch that is stored and not acknowledged comes again, and changes nothing. What is no bar is kept
apart with its reason; an entry that cannot be stored for another reason is too, after some tries.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from etl.bus import Bus, BusDown, Entry
from etl.contracts.minutes import Counts, MinuteStore, MinuteStoreError, StoreDown
from etl.feed.messages import Message, unpack
from etl.feed.validating import Validated, validate
from etl.settings import Settings

log = logging.getLogger("etl")

MOST_ENTRIES = 500  # of one batch
LONGEST = 1.0  # seconds that a batch is collected for, at most
QUIET = 0.2  # seconds without another entry that end it sooner
QUIET_BEFORE_FOLD = 900.0  # seconds without a bar
IDLE = 15.0  # seconds after which another consumer's entry is taken over
TRIES = 5  # of an entry that cannot be stored, before it is kept apart
RETRY = 1.0  # seconds until a store, or a bus, is asked again
LAST_TRIES = 20  # at the end


@dataclass
class State:
    """What a consumer has done. stored: counts of bars; dead: what was kept apart; lag: seconds
    from the arrival of the last batch's newest bar to its publication."""

    stored: Counts = field(default_factory=Counts)
    batches: int = 0
    dead: int = 0
    lag: float = 0.0


@dataclass
class Consumer:
    settings: Settings
    bus: Bus
    store: MinuteStore
    is_replay: bool = False
    idle: float = IDLE
    retry: float = RETRY
    state: State = field(default_factory=State)
    held: list[Entry] = field(default_factory=list)  # read, and not stored yet
    tell: Callable[["Consumer"], None] = lambda consumer: None
    is_folded: bool = True  # nothing was stored since
    stored_at: float = 0.0

    def run(self, is_over: threading.Event) -> None:
        """Until it is over, and what was read is stored; `tell` is called after each batch."""
        while not is_over.is_set():
            try:
                if not self.step(LONGEST):
                    self.fold_if_quiet()
                self.tell(self)
            except (BusDown, StoreDown) as error:
                log.warning("consume: %s; again in %g s, nothing is lost", error, self.retry)
                is_over.wait(self.retry)

    def fold_if_quiet(self) -> None:
        """After the close, or in a long pause: live bars go to where history is kept."""
        if not self.is_folded and time.monotonic() - self.stored_at > QUIET_BEFORE_FOLD:
            self.fold()

    def fold(self) -> None:
        with self.store.writing():
            self.store.fold(datetime.now(UTC).replace(tzinfo=None))
            self.store.publish()
        self.is_folded = True

    def drain(self) -> None:
        """Store all that there is, and return when nothing comes any more. BusDown, StoreDown: not
        even after a while, as where another process writes."""
        tries = LAST_TRIES
        while True:
            try:
                if not self.step(0.0):
                    return
            except (BusDown, StoreDown) as error:
                tries -= 1
                if not tries:
                    raise
                log.warning("consume: %s; again in %g s before it ends", error, self.retry)
                time.sleep(self.retry)

    def step(self, longest: float) -> int:
        """Read and store one batch; how many entries it had. BusDown, StoreDown: it comes again."""
        if not self.held:
            self.held = self.collect(longest)
        if self.held:
            self.bus.ack(self.store_entries(self.held))
        count, self.held = len(self.held), []
        return count

    def collect(self, longest: float) -> list[Entry]:
        """What comes within so many seconds of the first entry, up to CONSUME_BARS."""
        found = self.bus.claim(self.idle, MOST_ENTRIES) or self.bus.read(MOST_ENTRIES, longest)
        ends = time.monotonic() + longest
        while found and sum(map(count_lines, found)) < self.settings.consume_bars:
            rest = min(QUIET, ends - time.monotonic())
            some = self.bus.read(MOST_ENTRIES, rest) if rest > 0 else []
            if not some:
                break
            found += some
        return found

    def store_entries(self, entries: list[Entry]) -> list[Entry]:
        """All of them as one batch; one by one where that cannot be stored. Returns those that are
        done with; the others come again when they have been idle for long enough."""
        try:
            self.store_messages([each for entry in entries for each in unpack(entry.body)])
        except StoreDown:
            raise
        except MinuteStoreError as error:
            self.store.discard()
            if len(entries) > 1:
                return [done for entry in entries for done in self.store_entries([entry])]
            return self.try_again(entries[0], str(error))
        return entries

    def try_again(self, entry: Entry, reason: str) -> list[Entry]:
        """The entry, kept apart, once it was tried often enough."""
        log.error("consume: an entry cannot be stored (try %s): %s", entry.deliveries, reason)
        if entry.deliveries < TRIES:
            return []
        self.bus.bury(entry.body, reason)
        self.state.dead += 1
        return [entry]

    def store_messages(self, messages: list[Message]) -> None:
        validated = validate(messages, self.settings, self.is_replay)
        self.publish(validated)
        self.bury(validated)
        if messages:
            self.state.lag = time.time() - max(each.received_at for each in messages) / 1e6
        self.state.batches += 1

    def publish(self, validated: Validated) -> None:
        if not validated.batches:
            return
        with self.store.writing():
            counts = [self.store.upsert(batch, "live") for batch in validated.batches]
            self.store.publish()
        self.is_folded, self.stored_at = False, time.monotonic()
        self.state.stored = Counts(
            *(sum(some) for some in zip(self.state.stored, *counts, strict=True))
        )

    def bury(self, validated: Validated) -> None:
        for message, reason in validated.refused:
            body = message.text.encode() if message.text else orjson.dumps(tuple(message))
            self.bus.bury(body, reason)
            self.state.dead += 1
            log.warning("consume: refused (%s), kept apart: %s", reason, body[:100].decode())


def count_lines(entry: Entry) -> int:
    return entry.body.count(b"\n") + 1
