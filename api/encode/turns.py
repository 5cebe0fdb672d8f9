"""Long work in Python on the event loop, in turns with what is short.

Not in a thread: that would hold the interpreter's lock for up to 5 ms at a time, against the loop,
and be no faster for it. What lets go of the lock (DuckDB, Arrow, gzip) goes into threads.
"""

import asyncio
from collections.abc import Iterable


class Turns:
    """One long piece of work at a time; between two of its pieces whoever else is ready goes."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def join(self, pieces: Iterable[bytes]) -> bytes:
        """The pieces end to end, each made when its turn comes."""
        made = []
        async with self.lock:
            for piece in pieces:
                made.append(piece)
                await asyncio.sleep(0)
        return b"".join(made)


# More rows are encoded in turns with other requests, or in a thread.
ROWS_AT_ONCE = 1_000
