"""Bars shorter than a day: the minute store that MINUTE_STORE names, opened when somebody asks.

Where there is neither a setting nor a file of minutes nothing is imported, and a look costs one
stat. The newest snapshot is looked up at each request: files by a stat, an engine that is asked
over a wire once in FRESH seconds. What is read runs in threads, with the time limit of all
questions. Where the engine has no answer it is a fault of `api.faults`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from api.faults import Fault, MinutesDown, QueryTimeout
from api.settings import ApiSettings
from api.store.minutes.views import MinuteView
from api.store.workers import CORES, Job, Workers

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteStore

log = logging.getLogger("api")

T = TypeVar("T")
Identity = tuple[int, int, int]

FRESH = 1.0  # seconds that a look at an engine over a wire holds, and one that failed
PATIENCE = 10.0  # seconds to wait for a thread
OPENING = 30.0  # seconds to open a store: its client has to be imported
UNREADABLE = "The minute store cannot be read: `make verify` says why, and what to do."
OUTDATED = "Minutes were published anew while these were read: ask again."
DOWN = (
    "The minute store does not answer: start what MINUTE_STORE names, or ask again; the log says"
    " more."
)


class Minutes:
    """view: the newest snapshot that could be opened; fault: why it may not be the newest."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.is_remote = bool(settings.minute_store)
        self.manifest = settings.data_dir / "minutes" / "current.json"
        self.store: MinuteStore | None = None
        self.view: MinuteView | None = None
        self.fault: str | None = None
        self.seen: Identity | None = None
        self.fresh_until = 0.0
        self.looking: asyncio.Task[None] | None = None
        self.workers = Workers(CORES, "minutes", PATIENCE)

    @property
    def is_fresh(self) -> bool:
        """Whether `view` is the newest, as far as can be told without asking anybody."""
        if self.is_remote or self.fault:
            return time.monotonic() < self.fresh_until
        return self.identify() == self.seen

    def identify(self) -> Identity | None:
        try:
            found = os.stat(self.manifest)  # noqa: PTH116 (half the cost of Path.stat)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    async def newest(self) -> MinuteView | None:
        """The newest snapshot; None where nothing was published yet. MinutesDown.

        While an engine is down, the last snapshot goes on: what was read of it is still there.
        """
        if not self.is_fresh:
            if self.looking is None or self.looking.done():
                self.looking = asyncio.create_task(self.look())
            await asyncio.shield(self.looking)
        if self.view is None and self.fault:
            raise MinutesDown(self.fault)
        return self.view

    async def look(self) -> None:
        """Find the newest snapshot, and take it."""
        identity = self.identify()
        try:
            self.view = await self.try_to_open() if self.is_remote or identity else None
            self.fault = None
        except Fault as error:
            self.fault = str(error)
        self.seen = identity
        self.fresh_until = time.monotonic() + FRESH

    async def try_to_open(self) -> MinuteView | None:
        """Once more where the engine is away: a connection to it may be older than it is."""
        try:
            return await self.ask(self.open, OPENING)
        except MinutesDown:
            return await self.ask(self.open, OPENING)

    def open(self) -> MinuteView | None:
        """The newest snapshot: the one there is, if nothing was published since."""
        if self.store is None:
            from etl.contracts.minutes.engines import open_minutes

            self.store = open_minutes(self.settings, self.settings.db_memory_mb)
        generation = self.store.newest()
        if self.view is not None and self.view.generation == generation:
            return self.view
        return MinuteView(self.store.snapshot()) if generation else None

    async def ask(self, question: Callable[[], T], timeout: float | None = None) -> T:
        """Run a question in a thread, for QUERY_TIMEOUT unless another limit is given. MinutesDown,
        QueryTimeout, Busy.

        An engine cannot always be stopped: who asks waits no longer than the time limit, whether
        or not it can.
        """
        expired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timeout = timeout or self.settings.query_timeout
        job = Job(question, lambda: expire(expired), timeout)
        answer = asyncio.ensure_future(self.workers.run(job))
        try:
            await asyncio.wait((answer, expired), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise QueryTimeout(timeout)
            return answer.result()
        except Exception as error:
            raise self.explain(error) from None
        finally:
            answer.cancel()

    def close(self) -> None:
        """Let go of the engine, when the service ends."""
        if self.store is not None:
            self.store.close()

    def explain(self, error: Exception) -> Fault:
        """What a client is told of an error of the engine: no address, and no path."""
        from etl.contracts.minutes import MinuteStoreError, Outdated, StoreDown

        if isinstance(error, Fault):
            return error
        if isinstance(error, Outdated):
            self.fresh_until = 0.0  # the next who asks takes the newer one
            return MinutesDown(OUTDATED)
        is_known = isinstance(error, MinuteStoreError)
        log.error("the minute store: %s", error, exc_info=None if is_known else error)
        if not isinstance(error, StoreDown):
            return MinutesDown(UNREADABLE)
        self.fault, self.fresh_until = DOWN, 0.0  # the next who asks looks whether it is back
        return MinutesDown(DOWN)


def expire(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
