"""The memory of answers in the making: who needs much of it waits until there is room.

What is small never waits, so that it is answered at once whatever is being made beside it. A
request says what it will need before it reads anything, and gives it back when its answer is sent.
"""

import asyncio
from collections import deque

from api.faults import Busy

SMALL = 2**20  # bytes; who needs less is not counted
PATIENCE = 30.0  # seconds to wait for room

BAR_BYTES = 2 * 48  # of one bar that is read and adjusted: as columns, twice
ROW_BYTES = 2 * 120  # of one row of an answer: its text in pieces, and joined
CELL_BYTES = 8 + 2 * 22  # of one figure: as a number, and as text


class Room:
    """`size` bytes for all; whoever needs more than that has the room alone."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self.queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def has_room(self, need: int) -> bool:
        return self.taken + need <= self.size

    async def enter(self, need: int) -> None:
        """Wait for `need` bytes, first come, first served; Busy after PATIENCE."""
        if self.has_room(need) and not self.queue:
            self.taken += need
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.append((need, turn))
        try:
            async with asyncio.timeout(PATIENCE):
                await turn
        except BaseException as error:
            self.give_up(need, turn)
            if isinstance(error, TimeoutError):
                raise Busy from None
            raise

    def give_up(self, need: int, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():  # it came at the very moment
            self.leave(need)
            return
        self.queue = deque(each for each in self.queue if each[1] is not turn)
        self.let_in()

    def leave(self, need: int) -> None:
        self.taken -= need
        self.let_in()

    def let_in(self) -> None:
        while self.queue and self.has_room(self.queue[0][0]):
            need, turn = self.queue.popleft()
            if not turn.done():
                self.taken += need
                turn.set_result(None)


class Hold:
    """What one answer takes of the room, until it was sent to all who asked for it."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.taken = 0

    async def take(self, need: int) -> None:
        """Wait for the room that is needed. One who has some already does not wait for more, or
        two might wait for each other."""
        need = min(need, self.room.size)
        if need < SMALL or need <= self.taken:
            return
        more = need - self.taken
        if self.taken:
            self.room.taken += more
        else:
            await self.room.enter(more)
        self.taken = need

    def release(self) -> None:
        taken, self.taken = self.taken, 0
        if taken:
            self.room.leave(taken)
