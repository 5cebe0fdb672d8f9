"""One hub a process: finds what was published, and hands it to each listener.

A position is (counter, number) of the minute store's log of changes, the same in all processes, so
that a listener goes on anywhere. Whoever begins with a position is told first what it has missed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from api.faults import Fault
from api.live.notes import Noted, list_new_notes
from api.store import Store
from api.store.minutes import Minutes
from api.store.minutes.views import MinuteView
from etl.contracts.manifest import count

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("api")

LOOK = 0.2  # seconds between two looks while somebody listens
READ_AT_ONCE = 5_000  # changes of one question
MOST_WAITING = 50_000  # changes that wait for one listener

Position = tuple[int, int]
Row = dict[str, Any]


class Changed(NamedTuple):
    """Bars that were published together. rows: as etl.contracts.minutes.CHANGES, in order."""

    view: MinuteView
    rows: list[Row]


class Published(NamedTuple):
    """A new generation of a store: daily, or minutes (of a load: no single change is told)."""

    store: str
    generation: str


class Missed(NamedTuple):
    """Changes behind the listener's position are gone: what it has must be read anew."""

    kept_from: Position


Told = Changed | Noted | Published | Missed


@dataclass(eq=False)
class Listener:
    """symbols: whose changes are wanted; none: of all. is_slow: it was let go for that."""

    symbols: frozenset[str]
    queue: deque[Told] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    is_slow: bool = False
    is_over: bool = False

    def put(self, told: Told) -> None:
        if isinstance(told, Changed):
            told = Changed(told.view, self.pick(told.rows))
            if not told.rows:
                return
        elif isinstance(told, Noted) and self.symbols and told.symbol not in self.symbols:
            return
        self.waiting += weigh(told)
        self.is_slow = self.is_slow or self.waiting > MOST_WAITING
        if self.is_slow:
            self.queue.clear()
        else:
            self.queue.append(told)
        self.wake.set()

    def pick(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if not self.symbols or row["symbol"] in self.symbols]

    def end(self) -> None:
        self.is_over = True
        self.wake.set()

    async def take(self, patience: float) -> Told | None:
        """What comes next; None: nothing came for so long, or it is over."""
        if not self.queue and not (self.is_over or self.is_slow):
            self.wake.clear()
            try:
                await asyncio.wait_for(self.wake.wait(), patience)
            except TimeoutError:
                return None
        if self.is_over or self.is_slow or not self.queue:
            return None
        told = self.queue.popleft()
        self.waiting -= weigh(told)
        return told


class Hub:
    """position: up to which changes were handed on; None before the first look."""

    def __init__(self, minutes: Minutes, database: Store[Any]) -> None:
        self.minutes, self.database = minutes, database
        self.listeners: set[Listener] = set()
        self.looking: asyncio.Task[None] | None = None
        self.view: MinuteView | None = None
        self.position: Position = (0, 0)
        self.daily = ""
        self.ready = asyncio.Event()
        self.lock = asyncio.Lock()

    async def follow(
        self, listener: Listener, since: Position | None, patience: float
    ) -> AsyncIterator[Told | None]:
        """None once it listens; what was published after `since`, then all that is; None again
        where nothing came for so long. Ends when the listener is over, or too slow."""
        await self.be_ready()
        view, until = self.view, self.position
        self.listeners.add(listener)  # from here on, nothing is awaited in between
        try:
            yield None
            if since is not None and view is not None:
                async for told in self.read_missed(view, since, until, listener):
                    yield told
            while not (listener.is_over or listener.is_slow):
                yield await listener.take(patience)
        finally:
            self.listeners.discard(listener)

    async def be_ready(self) -> None:
        """Once it is known what is published now."""
        if self.looking is None or self.looking.done():
            self.ready.clear()
            self.looking = asyncio.create_task(self.look_on())
        await self.ready.wait()
        with suppress(Fault):  # what was published a moment ago is nothing new to who comes now
            await self.look()

    async def read_missed(
        self, view: MinuteView, since: Position, until: Position, listener: Listener
    ) -> AsyncIterator[Told]:
        kept_from = await self.minutes.ask(lambda: view.snapshot.changes_kept_from)
        if since[0] < kept_from:
            yield Missed((kept_from, 0))
            since = (kept_from, 0)
        async for rows in self.read_changes(view, since):
            within = [row for row in listener.pick(rows) if place(row) <= until]
            if within:
                yield Changed(view, within)

    async def read_changes(self, view: MinuteView, since: Position) -> AsyncIterator[list[Row]]:
        """The changes after a position, page by page."""
        while True:
            table = await self.minutes.ask(ask_changes(view, since))
            if not table.num_rows:
                return
            rows: list[Row] = table.to_pylist()
            yield rows
            since = place(rows[-1])
            if len(rows) < READ_AT_ONCE:
                return

    async def look_on(self) -> None:
        """While somebody listens; a fault of the store is a look that found nothing."""
        try:
            await self.begin()
        finally:
            self.ready.set()
        idle = 0
        while idle * LOOK < 1:
            idle = 0 if self.listeners else idle + 1
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except Fault as error:
                log.debug("stream: %s", error)

    async def begin(self) -> None:
        """What is published now is where new listeners begin."""
        self.daily = self.find_daily()
        try:
            self.view = await self.minutes.newest()
        except Fault:
            self.view = None
        self.position = (find_counter(self.view), 1 << 30)

    async def look(self) -> None:
        async with self.lock:
            await self.look_once()

    async def look_once(self) -> None:
        view = await self.minutes.newest()
        if view is not None and (self.view is None or view.generation != self.view.generation):
            await self.tell_changes(view)
        daily = self.find_daily()
        if daily != self.daily:
            self.daily = daily
            self.tell(Published("daily", daily))

    async def tell_changes(self, view: MinuteView) -> None:
        old, live = self.view, set[int]()  # counters of publications that changes tell of
        async for rows in self.read_changes(view, self.position):
            self.position = place(rows[-1])
            self.tell(Changed(view, rows))
            live |= {row["counter"] for row in rows}
        self.position = max(self.position, (find_counter(view), 1 << 30))
        self.view = view
        if find_counter(view) - find_counter(old) != len(live):  # others are loads, or rollbacks
            self.tell(Published("minutes", view.generation))
            await self.tell_notes(old, view)

    async def tell_notes(self, old: MinuteView | None, view: MinuteView) -> None:
        """Those that a load has brought, of the symbols that somebody listens to."""
        if not self.listeners:
            return
        of_all = any(not listener.symbols for listener in self.listeners)
        wanted = {name for listener in self.listeners for name in listener.symbols}
        for told in await list_new_notes(self.minutes, old, view, set() if of_all else wanted):
            self.tell(told)

    def tell(self, told: Told) -> None:
        for listener in self.listeners:
            listener.put(told)

    def find_daily(self) -> str:
        try:
            generation: str = self.database.newest().generation
        except Fault:
            return ""
        return generation


def ask_changes(view: MinuteView, since: Position) -> "Callable[[], pa.Table]":
    return lambda: view.snapshot.changes(since, READ_AT_ONCE)


def weigh(told: Told) -> int:
    """How much of a queue it takes."""
    if isinstance(told, Changed):
        return len(told.rows)
    return len(told.notes) if isinstance(told, Noted) else 0


def place(row: Row) -> Position:
    return row["counter"], row["number"]


def find_counter(view: MinuteView | None) -> int:
    return count(view.generation) if view is not None else 0
