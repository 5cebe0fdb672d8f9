"""Blocking work in threads: bounded in the time that it waits and in the time that it runs.

The clock of a job starts when a thread takes it up: from the queue on, slow jobs would take the
time of quick ones behind them.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from api.faults import Busy

T = TypeVar("T")

CORES = os.cpu_count() or 1
MOST_WAITING = 1_000
INTERRUPT_AGAIN = 0.05  # seconds


class Job(Generic[T]):
    """`work`, which `interrupt` stops after `timeout` seconds of running."""

    def __init__(
        self, work: Callable[[], T], interrupt: Callable[[], None], timeout: float
    ) -> None:
        self.work = work
        self.interrupt = interrupt
        self.timeout = timeout
        self.asked_at = time.monotonic()
        self.ends_at: float | None = None  # None: it still waits
        self.is_refused = False
        self.is_abandoned = False
        self.future: Future[T]

    def __call__(self) -> T:
        self.ends_at = time.monotonic() + self.timeout
        return self.work()

    def watch(self, patience: float) -> None:
        """Look after it until it is done: refuse it, or interrupt it, when its time has come.

        Interrupted again and again: one that comes between two statements is lost.
        """
        if self.future.done():
            return
        now = time.monotonic()
        if self.ends_at is None:
            rest = self.asked_at + patience - now
            if rest <= 0:
                self.is_refused = self.future.cancel()
            rest = max(INTERRUPT_AGAIN, min(rest, self.timeout))
        else:
            rest = 0 if self.is_abandoned else self.ends_at - now
            if rest <= 0:
                self.interrupt()
                rest = INTERRUPT_AGAIN
        asyncio.get_running_loop().call_later(rest, self.watch, patience)

    def abandon(self, patience: float) -> None:
        """Nobody waits for it any more."""
        if not self.future.cancel():
            self.is_abandoned = True
            self.watch(patience)


class Workers:
    """So many threads; who waits longer for one than `patience` seconds is told to come again."""

    def __init__(self, count: int, name: str, patience: float) -> None:
        self.threads = ThreadPoolExecutor(count, name)
        self.patience = patience
        self.waiting = 0

    async def run(self, job: Job[T]) -> T:
        if self.waiting >= MOST_WAITING:
            raise Busy
        self.waiting += 1
        loop = asyncio.get_running_loop()
        job.future = self.threads.submit(job)
        answer = asyncio.wrap_future(job.future)
        answer.add_done_callback(retrieve)
        watch = loop.call_later(min(job.timeout, self.patience), job.watch, self.patience)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if job.is_refused:
                raise Busy from None
            job.abandon(self.patience)
            raise
        finally:
            self.waiting -= 1
            watch.cancel()


def retrieve(answer: asyncio.Future[Any]) -> None:
    """Look at the error of a job that nobody waits for, so that it is not logged as unseen."""
    if not answer.cancelled():
        answer.exception()
