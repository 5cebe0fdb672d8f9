"""What arrived, on its way to the bus: packed each tenth of a second, held while it is down."""

import asyncio
import logging
import threading
from collections import deque

from etl.bus import Bus, BusDown
from etl.feed.messages import Message, pack

log = logging.getLogger("etl")

PAUSE = 0.1  # seconds that messages are collected for
RETRY = 0.5  # seconds until a bus that was down is tried again
LAST_TRIES = 20  # at the end


class Outbox:
    """Takes messages on the loop and publishes them in a thread, in their order.

    most_bytes: of packed entries that wait for a bus that is down; the oldest make room, and are
    counted in `dropped`. published: messages that the bus took.
    """

    def __init__(self, bus: Bus, most_bytes: int) -> None:
        self.bus, self.most_bytes = bus, most_bytes
        self.fresh: list[Message] = []
        self.packed: deque[tuple[bytes, int]] = deque()  # and how many messages
        self.bytes = self.dropped = self.published = 0
        self.is_down = False
        self.lock = threading.Lock()  # of who publishes
        self.adding = threading.Lock()

    def add(self, message: Message) -> None:
        """May be called by several threads."""
        with self.adding:
            self.fresh.append(message)

    @property
    def is_empty(self) -> bool:
        return not (self.fresh or self.packed)

    async def run(self, is_over: asyncio.Event) -> None:
        """Until it is over and what came has gone. A bus that is down then is waited for a while,
        and what it did not take is told."""
        tries = LAST_TRIES
        while tries and not (is_over.is_set() and self.is_empty):
            await asyncio.sleep(RETRY if self.is_down else PAUSE)
            await asyncio.to_thread(self.flush)
            tries -= is_over.is_set() and self.is_down
        if not self.is_empty:
            left = len(self.fresh) + sum(count for _, count in self.packed)
            log.error("stream: %s bars were not published, for the bus is down", left)

    def flush(self) -> None:
        """Publish all that came. BusDown is a state, not an error."""
        with self.lock:
            self.seal()
            try:
                while self.packed:
                    body, count = self.packed[0]
                    self.bus.publish(body)
                    self.packed.popleft()
                    self.bytes -= len(body)
                    self.published += count
            except BusDown as error:
                self.tell(str(error))
                return
            self.tell("")

    def seal(self) -> None:
        with self.adding:
            fresh, self.fresh = self.fresh, []
        for body in pack(fresh):
            self.packed.append((body, body.count(b"\n") + 1))
            self.bytes += len(body)
        while self.bytes > self.most_bytes and len(self.packed) > 1:
            body, count = self.packed.popleft()
            self.bytes -= len(body)
            self.dropped += count
            log.error("stream: %s bars dropped, for the bus is down (BUS_MAX_MB)", count)

    def tell(self, fault: str) -> None:
        """Once when it goes down, and once when it is back."""
        if bool(fault) is not self.is_down:
            log.warning("stream: %s", fault or f"the bus is back; {self.dropped} bars were dropped")
        self.is_down = bool(fault)
