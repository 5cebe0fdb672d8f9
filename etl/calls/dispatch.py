"""Make calls, as many in flight as the budget allows, and hand on what comes of each.

The rule it keeps: one thread alone decides that a call is made, in the order of the plan: nothing
refuses it, it stands in the ledger. Only then it is handed to the queue, which makes it. Until the
first good answer calls go one by one, so that a bad key or a spent quota costs one.

One symbol that fails costs its own calls and nobody else's: the next is asked. Only when symbol
after symbol fails alike is it the vendor who is down, and the run stops.
"""

import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic

from etl.base.clock import Clock
from etl.base.errors import (
    Lost,
    Malformed,
    NotAsked,
    QuotaSpent,
    SourceError,
    Throttled,
    Unreachable,
)
from etl.calls.budget import Budget
from etl.calls.queues import Queue, T
from etl.calls.vendor import Call

log = logging.getLogger("etl")

# What rules a call out before it is made; None: it may be made.
Refuse = Callable[[Call], SourceError | None]


@dataclass(frozen=True)
class Patience:
    """How long one call is tried: times in all, seconds of the first and of the longest wait.

    alike: so many symbols in a row that fail in the same way, and were not failing before, are
    the vendor's failure. alike_again: so many, whatever they did before.
    """

    attempts: int = 4
    first_wait: float = 1
    longest_wait: float = 120
    alike: int = 3
    alike_again: int = 10

    def wait_after(self, attempt: int, error: SourceError) -> float:
        doubled: float = min(20, self.first_wait * 2 ** (attempt - 1))
        return max(doubled, error.retry_after or 0)


@dataclass
class Task:
    """A call in the making. `asked_at`: the instant at which its last try began."""

    call: Call
    attempt: int = 0
    answers: int = -1  # how many good ones there were when it was first tried
    asked_at: datetime = datetime.min.replace(tzinfo=UTC)


@dataclass
class Streak:
    """Calls in a row that failed in one way: (call, whether it was failing before)."""

    kind: str = ""
    calls: list[tuple[Call, bool]] = field(default_factory=list)
    is_reached: bool = False  # whether the vendor answered at all

    def add(self, call: Call, error: SourceError, was_failing: bool) -> None:
        if error.kind != self.kind:
            self.calls, self.is_reached = [], False
        self.kind = error.kind
        self.is_reached = self.is_reached or not isinstance(error, Unreachable)
        self.calls.append((call, was_failing))

    def end(self) -> None:
        self.kind, self.calls, self.is_reached = "", [], False

    def list_new(self) -> list[Call]:
        return [call for call, was_failing in self.calls if not was_failing]

    def is_long(self, patience: Patience) -> bool:
        new = {call.symbol for call in self.list_new()}
        symbols = {call.symbol for call, _ in self.calls}
        is_vendors = self.kind != Malformed.kind
        return (is_vendors and len(new) >= patience.alike) or len(symbols) >= patience.alike_again


class Dispatcher(Generic[T]):
    def __init__(
        self,
        line: Queue[T],
        budget: Budget,
        clock: Clock,
        patience: Patience | None = None,
        refuse: Refuse | None = None,
    ) -> None:
        self.line = line
        self.refuse = refuse or budget.refusal
        self.budget = budget
        self.clock = clock
        self.patience = patience or Patience()
        self.queue: deque[Task] = deque()
        self.retries: list[tuple[float, int, Task]] = []
        self.flying: dict[int, Task] = {}
        self.order = itertools.count()
        self.answers = 0
        self.stopped = ""
        self.streak = Streak()

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[Call, T | SourceError]]:
        """Each call with what came of it, as it comes."""
        self.queue.extend(Task(call) for call in calls)
        try:
            while self.queue or self.retries or self.flying:
                yield from self.step()
            self.excuse_unreached()
        finally:
            self.queue.clear()
            self.retries.clear()

    def step(self) -> Iterator[tuple[Call, T | SourceError]]:
        """Collect what has come; then start one call, or wait for what it has to wait for."""
        yield from self.collect()
        if self.stopped:
            yield from self.drop_rest()
        if not (self.queue or self.retries):
            self.line.wait()
            return
        now = self.clock.monotonic()
        is_ready = bool(self.queue) or self.retries[0][0] <= now
        if not is_ready and not self.flying:
            self.clock.sleep(self.retries[0][0] - now)
        elif not is_ready or len(self.flying) >= (self.line.room if self.answers else 1):
            self.line.wait()
        else:
            delay = self.line.find_delay()
            if delay is None:
                self.line.wait()
            elif delay > 0:
                self.clock.sleep(delay)
            else:
                yield from self.launch(self.take_next(now))

    def take_next(self, now: float) -> Task:
        if self.retries and self.retries[0][0] <= now:
            return heapq.heappop(self.retries)[2]
        return self.queue.popleft()

    def launch(self, task: Task) -> Iterator[tuple[Call, T | SourceError]]:
        task.asked_at = self.clock.now()
        try:
            if refusal := self.refuse(task.call):
                yield task.call, refusal
                return
            self.budget.spend(task.call, task.asked_at)
        except NotAsked as error:
            self.stopped = str(error)
            yield task.call, error
            return
        task.attempt += 1
        task.answers = self.answers if task.attempt == 1 else task.answers
        number = next(self.order)
        self.flying[number] = task
        self.line.submit(number, task.call)

    def collect(self) -> Iterator[tuple[Call, T | SourceError]]:
        for number, result in self.line.collect():
            task = self.flying.pop(number)
            if isinstance(result, SourceError):
                yield from self.consider(task, name_symbol(task.call, result))
                continue
            self.answers += 1
            self.streak.end()
            if isinstance(result, Call):
                self.queue.appendleft(Task(result))
                continue
            self.budget.learn(task.call, None, self.clock.now())
            yield task.call, result

    def consider(self, task: Task, error: SourceError) -> Iterator[tuple[Call, SourceError]]:
        """Try again, give up on this call, or stop asking."""
        if self.is_worth_another(task, error):
            self.try_again(task, error)
            return
        was_failing = self.budget.is_failing(task.call)
        self.budget.learn(task.call, error, self.clock.now(), task.asked_at)
        if error.is_failure:
            self.note_failure(task.call, error, was_failing)
        elif not isinstance(error, QuotaSpent):
            self.streak.end()  # a refusal is an answer
        # a quota answer to a call of before midnight says nothing of the new day
        is_over = not isinstance(error, QuotaSpent) or self.left() == 0
        if error.ends_run and is_over:
            self.stop(error)
        yield task.call, error

    def is_worth_another(self, task: Task, error: SourceError) -> bool:
        """Whether to try this call again, which costs one more.

        Of a daily budget once only, where the vendor asks for it by saying that it was too fast;
        and never for a symbol that failed the last time.
        """
        is_long = (error.retry_after or 0) > self.patience.longest_wait
        if not error.is_transient or self.stopped or is_long:
            return False
        if isinstance(error, Lost):  # nobody knows what the vendor said: no symbol is to blame
            return task.attempt < self.patience.attempts and self.left() != 0
        if not self.budget.limits.per_day:
            return task.attempt < self.patience.attempts
        is_asked_for = isinstance(error, Throttled) and (
            error.is_worded or error.retry_after is not None
        )
        is_first = task.attempt == 1 and not self.budget.is_failing(task.call)
        return is_asked_for and is_first and self.left() != 0

    def try_again(self, task: Task, error: SourceError) -> None:
        wait = self.patience.wait_after(task.attempt, error)
        ready_at = self.clock.monotonic() + wait
        # alone: the others are answered all the while
        is_alone = task.answers < self.answers or isinstance(error, Lost)
        if not is_alone or isinstance(error, Throttled) or error.retry_after:
            self.line.hold(wait)
        log.info(
            "%s: %s; asked again in %.0f s, which costs one more call%s",
            task.call.label,
            error.kind,
            wait,
            self.tell_left(),
        )
        heapq.heappush(self.retries, (ready_at, next(self.order), task))

    def tell_left(self) -> str:
        left = self.left()
        return "" if left is None else f" ({left} left today)"

    def left(self) -> int | None:
        return self.budget.left(self.clock.now())

    def note_failure(self, call: Call, error: SourceError, was_failing: bool) -> None:
        """Hold back where the vendor asks for it; stop where symbol after symbol fails alike."""
        self.streak.add(call, error, was_failing)
        if error.retry_after and error.retry_after <= self.patience.longest_wait:
            self.line.hold(error.retry_after)
        if self.streak.is_long(self.patience) and not self.stopped:
            self.stop(error)
            self.budget.excuse(self.streak.list_new(), self.clock.now())

    def stop(self, error: SourceError) -> None:
        self.stopped = self.stopped or f"{error.kind} before it"

    def excuse_unreached(self) -> None:
        """Where nobody answered at all, no symbol is to blame: it may be asked again today."""
        if self.streak.calls and not (self.stopped or self.answers or self.streak.is_reached):
            self.budget.excuse(self.streak.list_new(), self.clock.now())

    def drop_rest(self) -> Iterator[tuple[Call, SourceError]]:
        rest = [task for _, _, task in self.retries] + list(self.queue)
        self.retries.clear()
        self.queue.clear()
        for task in rest:
            yield task.call, NotAsked(self.stopped)


def name_symbol(call: Call, error: SourceError) -> SourceError:
    """The same error, beginning with the symbol."""
    message = str(error).removeprefix(f"{call.symbol}: ")
    error.args = (f"{call.label}: {message}",)
    return error
