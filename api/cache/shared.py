"""Answers that several instances make once: whoever comes first makes it, the others wait for it.

A lock is held while an answer is made. Who does not get it looks for the answer every few
milliseconds, and makes it alone if it does not come in time: a lock never costs an answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex

from api.cache.memory import Answer, Got
from api.cache.redis_backend import Claim, RedisBackend

LOOK_EVERY = 0.005  # seconds between two looks for what another instance is making
PATIENCE = 0.5  # seconds to wait for it

Make = Callable[[], Awaitable[Answer]]


class SharedAnswers:
    def __init__(self, backend: RedisBackend) -> None:
        self.backend = backend
        self.releases: set[asyncio.Task[None]] = set()

    async def get_or_make(self, key: str, make: Make) -> Got:
        """The answer that there is, or the one that `make` gives, which is kept if it is a 200."""
        token, is_released = token_hex(8), False
        try:
            found = await self.wait_for(key, token)
            if isinstance(found, Answer):
                is_released = True
                return Got(found, is_made=False)
            answer = await make()
            if answer.status == 200:
                is_released = True
                await self.backend.put(key, token, answer)
            return Got(answer, is_made=True)
        finally:
            if not is_released:  # it failed, or nobody wants it any more
                self.release(key, token)

    async def wait_for(self, key: str, token: str) -> Answer | Claim:
        """The answer, once it is there; else why there is none to wait for."""
        until = time.monotonic() + PATIENCE
        while True:
            found = await self.backend.claim(key, token)
            if found is not Claim.THEIRS or time.monotonic() >= until:
                return found
            await asyncio.sleep(LOOK_EVERY)

    def release(self, key: str, token: str) -> None:
        """In the background: this request may have been given up."""
        task = asyncio.get_running_loop().create_task(self.backend.release(key, token))
        self.releases.add(task)
        task.add_done_callback(self.releases.discard)

    async def close(self) -> None:
        await asyncio.gather(*self.releases)
        await self.backend.close()
