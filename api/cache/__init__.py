"""What is kept so that it need not be made again: answers, columns of symbols, and what is being
made just now.

An answer is kept as bytes, by a key that says all that it depends on: so a cache never has to
be told that anything changed, and one that forgets, or fails, costs a miss and nothing else. Every
implementation runs tests/test_cache_contract.py.
"""

from typing import Protocol


class Cache(Protocol):
    """Bytes by key; the part of a fastapi-cache2 backend that the service stands on."""

    async def get(self, key: str) -> bytes | None:
        """What was set last, whole, or None: it may have been forgotten at any time."""
        ...

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        """Keep an answer as `Answer.pack` wrote it, for at most `expire` seconds if told."""
        ...
