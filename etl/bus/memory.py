"""The bus of one process: threads hand on entries in memory."""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from etl.bus import BusState, DeadEntry, Entry, check_size


class MemoryBus:
    """Holds so many bytes; beyond them the oldest entry that nobody was given makes room."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = self.dropped = 0
        self.numbers = itertools.count(1)
        self.fresh: OrderedDict[str, Entry] = OrderedDict()
        self.given: OrderedDict[str, tuple[Entry, float]] = OrderedDict()  # and when
        self.dead: OrderedDict[str, DeadEntry] = OrderedDict()
        self.changed = threading.Condition()

    def publish(self, body: bytes) -> None:
        entry = Entry(f"{next(self.numbers)}", check_size(body), 0, time.time())
        with self.changed:
            self.fresh[entry.position] = entry
            self.bytes += len(body)
            while self.bytes > self.most_bytes and len(self.fresh) > 1:
                _, oldest = self.fresh.popitem(last=False)
                self.bytes -= len(oldest.body)
                self.dropped += 1
            self.changed.notify()

    def read(self, most: int, wait: float) -> list[Entry]:
        with self.changed:
            self.changed.wait_for(lambda: self.fresh, timeout=wait)
            taken = [self.fresh.popitem(last=False)[1] for _ in range(min(most, len(self.fresh)))]
            return [self.give(entry) for entry in taken]

    def give(self, entry: Entry) -> Entry:
        entry = entry._replace(deliveries=entry.deliveries + 1)
        self.given[entry.position] = entry, time.monotonic()
        return entry

    def claim(self, idle: float, most: int) -> list[Entry]:
        with self.changed:
            before = time.monotonic() - idle
            late = [entry for entry, at in self.given.values() if at <= before][:most]
            return [self.give(entry) for entry in late]

    def ack(self, entries: Sequence[Entry]) -> None:
        with self.changed:
            for entry in entries:
                if self.given.pop(entry.position, None):
                    self.bytes -= len(entry.body)

    def bury(self, body: bytes, reason: str) -> None:
        with self.changed:
            position = f"{next(self.numbers)}"
            self.dead[position] = DeadEntry(position, check_size(body), reason, time.time())

    def list_dead(self, most: int) -> list[DeadEntry]:
        with self.changed:
            return list(itertools.islice(self.dead.values(), most))

    def resend(self, dead: Sequence[DeadEntry]) -> int:
        found = [each for each in dead if self.dead.pop(each.position, None)]
        for each in found:
            self.publish(each.body)
        return len(found)

    def measure(self) -> BusState:
        with self.changed:
            waiting = [*(entry for entry, _ in self.given.values()), *self.fresh.values()]
            oldest = min((entry.published_at for entry in waiting), default=0.0)
            return BusState(len(waiting), oldest, self.dropped, len(self.dead))

    def find_danger(self) -> str:
        return (
            ""  # what it had is asked for anew by whoever starts after it: the stream is here too
        )

    def close(self) -> None: ...
