"""Passwords: what is taken as one, and Argon2 in threads, few at a time.

A hash costs 64 MiB and a fifth of a second of processor, so that guessing is dear; few run at once
and few wait, so that guessing takes neither the memory nor the threads of those who ask for bars.
"""

import unicodedata
from functools import cache

import anyio.to_thread
from anyio import CapacityLimiter
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from api.faults import Busy

SHORTEST, LONGEST = 12, 128  # characters
AT_ONCE, MOST_WAITING = 2, 20  # hashes, a worker


def check_password(text: str) -> str:
    """The password in one form of its characters; ValueError with what is wanted."""
    password = unicodedata.normalize("NFC", text)
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password of {SHORTEST} to {LONGEST} characters")
    return password


def hash_password(password: str) -> str:
    return build_hasher().hash(password)


@cache
def build_hasher() -> PasswordHash:
    return PasswordHash((Argon2Hasher(),))


@cache
def hash_of_nobody() -> str:
    """Compared with where there is no such user, so that both take the same time.

    Made with the first password that is tried, whosever: else the first unknown name would be slow.
    """
    return hash_password("nobody has this password")


def verify(password: str, hashed: str | None) -> bool:
    """Whether it is the password of that hash; never, after the same time, without a hash."""
    nobody = hash_of_nobody()
    is_right = build_hasher().verify(password, hashed or nobody)
    return is_right and hashed is not None


class Passwords:
    """Verifies passwords beside the event loop, few at a time."""

    def __init__(self) -> None:
        self.limiter: CapacityLimiter | None = None  # needs a running loop
        self.waiting = 0

    async def verify(self, password: str, hashed: str | None) -> bool:
        """As `verify`; Busy where too many wait."""
        if self.waiting >= MOST_WAITING:
            raise Busy
        try:
            password = check_password(password)
            password.encode()
        except ValueError:  # nobody can have it; the time must not tell
            password, hashed = "", None
        self.limiter = self.limiter or CapacityLimiter(AT_ONCE)
        self.waiting += 1
        try:
            return await anyio.to_thread.run_sync(verify, password, hashed, limiter=self.limiter)
        finally:
            self.waiting -= 1
