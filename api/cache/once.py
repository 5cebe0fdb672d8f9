"""Makes a thing once for all who ask at the same time, and only as long as one of them waits."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """One thing in the making; `join` it, and `leave` it when it is no longer of use.

    on_left: called when the last has left.
    """

    task: asyncio.Task[T]

    def __init__(self, once: "Once[T]", key: Hashable) -> None:
        self.once, self.key = once, key
        self.waiting = 0
        self.on_left: Callable[[], None] = lambda: None

    def leave(self) -> None:
        self.waiting -= 1
        if self.waiting:
            return
        if not self.task.done():
            self.once.forget(self)
            self.task.cancel()
        self.on_left()


Make = Callable[[Flight[T]], Coroutine[Any, Any, T]]


class Once(Generic[T]):
    def __init__(self) -> None:
        self.under_way: dict[Hashable, Flight[T]] = {}

    def join(self, key: Hashable, make: Make[T]) -> Flight[T]:
        """The flight of `key`, begun if there is none. Whoever joins must leave."""
        flight = self.under_way.get(key)
        if flight is None:
            flight = self.under_way[key] = Flight(self, key)
            flight.task = asyncio.create_task(make(flight))
            flight.task.add_done_callback(lambda _: self.forget(flight))
        flight.waiting += 1
        return flight

    async def get(self, key: Hashable, make: Make[T]) -> T:
        flight = self.join(key, make)
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.leave()

    def forget(self, flight: Flight[T]) -> None:
        if self.under_way.get(flight.key) is flight:
            del self.under_way[flight.key]
