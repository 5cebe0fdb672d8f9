"""Make calls, as many in flight as the budget allows, and hand on what comes of each.

The rule it keeps: one thread alone decides that a call is made, in the order of the plan: the
pace allows it, nothing refuses it, it stands in the ledger. Only then another thread makes it.
Until the first good answer calls go one by one, so that a bad key or a spent quota costs one.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from etl.budget import Budget, Call
from etl.clock import Clock
from etl.errors import NotAsked, SourceError, Throttled
from etl.pace import Pace, Ticket

T = TypeVar("T")
# What makes a call: it is given the call, and what to tell once the call has left.
Work = Callable[[Call, Callable[[], None]], T]
IN_FLIGHT = 64


@dataclass(frozen=True)
class Patience:
    """How long one call is tried: times in all, seconds of the first and of the longest wait."""

    attempts: int = 4
    first_wait: float = 1
    longest_wait: float = 20

    def wait_after(self, attempt: int) -> float:
        return float(min(self.longest_wait, self.first_wait * 2 ** (attempt - 1)))


@dataclass
class Task:
    """A call in the making. `answers`: how many good ones there were when it was first tried."""

    call: Call
    attempt: int = 0
    answers: int = -1
    ticket: Ticket = field(default_factory=Ticket)


class Dispatcher(Generic[T]):
    def __init__(
        self,
        work: Work[T],
        budget: Budget,
        pace: Pace,
        clock: Clock,
        patience: Patience | None = None,
    ) -> None:
        self.work = work
        self.budget = budget
        self.pace = pace
        self.clock = clock
        self.patience = patience or Patience()
        self.queue: deque[Task] = deque()
        self.retries: list[tuple[float, int, Task]] = []
        self.flying: dict[Future[T], Task] = {}
        self.order = itertools.count()
        self.answers = 0
        self.stopped = ""

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, T | SourceError]]:
        """Each call with what came of it, as it comes."""
        self.queue.extend(Task(call) for call in calls)
        with ThreadPoolExecutor(IN_FLIGHT, "call") as pool:
            try:
                while self.queue or self.retries or self.flying:
                    yield from self.step(pool)
            finally:
                self.queue.clear()
                self.retries.clear()

    def step(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Call, T | SourceError]]:
        """Collect what has come; then start one call, or wait for what it has to wait for."""
        yield from self.collect()
        if self.stopped:
            yield from self.drop_rest()
        if not (self.queue or self.retries):
            self.wait_for_answer()
            return
        now = self.clock.monotonic()
        is_ready = bool(self.queue) or self.retries[0][0] <= now
        if not is_ready and not self.flying:
            self.clock.sleep(self.retries[0][0] - now)
        elif not is_ready or len(self.flying) >= (IN_FLIGHT if self.answers else 1):
            self.wait_for_answer()
        else:
            delay = self.pace.delay(now)
            if delay is None:
                self.wait_for_answer()
            elif delay > 0:
                self.clock.sleep(delay)
            else:
                yield from self.launch(pool, self.take_next(now), now)

    def take_next(self, now: float) -> Task:
        if self.retries and self.retries[0][0] <= now:
            return heapq.heappop(self.retries)[2]
        return self.queue.popleft()

    def launch(
        self, pool: ThreadPoolExecutor, task: Task, now: float
    ) -> Iterator[tuple[Call, T | SourceError]]:
        try:
            if refusal := self.budget.find_refusal(task.call):
                yield task.call, refusal
                return
            self.budget.spend(task.call, self.clock.now())
        except NotAsked as error:
            self.stopped = str(error)
            yield task.call, error
            return
        task.attempt += 1
        task.answers = self.answers if task.attempt == 1 else task.answers
        task.ticket = self.pace.start(now)
        self.flying[pool.submit(self.make, task)] = task

    def make(self, task: Task) -> T:
        def note_sent() -> None:
            task.ticket.sent_at = self.clock.monotonic()

        try:
            return self.work(task.call, note_sent)
        finally:
            task.ticket.ended_at = self.clock.monotonic()

    def wait_for_answer(self) -> None:
        wait(self.flying, return_when=FIRST_COMPLETED)

    def collect(self) -> Iterator[tuple[Call, T | SourceError]]:
        for future in [future for future in self.flying if future.done()]:
            task = self.flying.pop(future)
            try:
                result = future.result()
            except SourceError as error:
                yield from self.consider(task, name_symbol(task.call, error))
                continue
            self.answers += 1
            self.budget.learn(task.call, None, self.clock.now())
            yield task.call, result

    def consider(self, task: Task, error: SourceError) -> Iterator[tuple[Call, SourceError]]:
        """Try again, give up on this call, or stop asking."""
        self.budget.learn(task.call, error, self.clock.now())
        if error.is_transient and task.attempt < self.patience.attempts and not self.stopped:
            ready_at = self.clock.monotonic() + self.patience.wait_after(task.attempt)
            is_alone = task.answers < self.answers  # the others are answered all the while
            if not is_alone or (isinstance(error, Throttled) and task.attempt > 1):
                self.pace.hold(ready_at)
            heapq.heappush(self.retries, (ready_at, next(self.order), task))
            return
        if error.ends_run or (error.is_transient and task.answers == self.answers):
            # tried to the end, and nothing else was answered meanwhile: it would go on like this
            self.stopped = self.stopped or f"{error.kind} before it"
        yield task.call, error

    def drop_rest(self) -> Iterator[tuple[Call, SourceError]]:
        rest = [task for _, _, task in self.retries] + list(self.queue)
        self.retries.clear()
        self.queue.clear()
        for task in rest:
            yield task.call, NotAsked(self.stopped)


def name_symbol(call: Call, error: SourceError) -> SourceError:
    """The same error, beginning with the symbol."""
    message = str(error)
    return error if message.startswith(call.symbol) else type(error)(f"{call.symbol}: {message}")
