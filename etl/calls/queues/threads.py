"""The queue of one machine: a thread for each call under way."""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic

from etl.base.clock import Clock
from etl.base.errors import SourceError
from etl.calls.fetch import Fetcher
from etl.calls.pace import Pace, Ticket
from etl.calls.queues import Keep, T
from etl.calls.vendor import Call

IN_FLIGHT = 64


class ThreadQueue(Generic[T]):
    """Answers are kept by the thread that made the call, so that one does not wait for another."""

    room = IN_FLIGHT
    notes: Mapping[str, int] = {}

    def __init__(self, fetcher: Fetcher, keep: Keep[T], pace: Pace, clock: Clock) -> None:
        self.fetcher, self.keep, self.pace, self.clock = fetcher, keep, pace, clock
        self.pool = ThreadPoolExecutor(IN_FLIGHT, "call")
        self.flying: dict[Future[T | Call], int] = {}

    def find_delay(self) -> float | None:
        return self.pace.delay(self.clock.monotonic())

    def submit(self, number: int, call: Call) -> None:
        ticket = self.pace.start(self.clock.monotonic())
        self.flying[self.pool.submit(self.make, call, ticket)] = number

    def make(self, call: Call, ticket: Ticket) -> T | Call:
        def note_sent() -> None:
            ticket.sent_at = self.clock.monotonic()

        try:
            return self.keep(call, self.fetcher.fetch(call, note_sent))
        finally:
            ticket.ended_at = self.clock.monotonic()

    def wait(self) -> None:
        wait(self.flying, return_when=FIRST_COMPLETED)

    def collect(self) -> Iterator[tuple[int, T | Call | SourceError]]:
        for future in [future for future in self.flying if future.done()]:
            number = self.flying.pop(future)
            try:
                yield number, future.result()
            except SourceError as error:
                yield number, error

    def hold(self, seconds: float) -> None:
        self.pace.hold(self.clock.monotonic() + seconds)

    def close(self) -> None:
        self.pool.shutdown()
