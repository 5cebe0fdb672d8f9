"""Answers in a Redis, for all instances that have its address.

Each value begins with a digest of its key and of all that follows, so that whatever else is found
under a key (cut off, written by others, of another type) is a miss. It is of this module alone what
a value looks like, and of the namespace, the build's fingerprint, who shares: see
api.edge.fingerprint. Every value expires, and no fault of Redis is more than a miss.
"""

import hashlib
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from api.cache.memory import Answer, AnswerBackend, unpack
from api.fallbacks import Standby
from api.redis_link import RedisLink

EXPIRE = 24 * 3600  # seconds; versions that no store has any more leave by themselves
LOCK_MS = 2_000  # milliseconds until the lock of an instance that died is free again
DIGEST = 32  # bytes of a SHA-256
LARGEST = 8 * 2**20  # bytes; what is longer takes too long on the way
AT_ONCE = 1_000  # keys that are forgotten in one go
INSTEAD = "each instance makes its own answers"

# KEYS: answer, lock. ARGV: token, milliseconds. → the answer; 1: there is none and the lock is
# taken; 0: another has it. In one step, so that whoever gets the lock knows that there is none.
CLAIM = """
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'string' then return found end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
# KEYS: lock, answer. ARGV: token, and of what was made: value, milliseconds.
RELEASE = """
if #ARGV > 1 then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class Claim(Enum):
    """What there is instead of an answer."""

    OURS = "nobody has it: make it, and put it or release the lock"
    THEIRS = "another instance is making it"
    GONE = "Redis cannot be asked"


class RedisBackend(AnswerBackend):
    """A fastapi-cache2 backend, with the lock under which one instance makes what all want.

    namespace: what all keys in Redis begin with; other namespaces are never looked into.
    """

    def __init__(self, url: str, namespace: str, standby: Standby) -> None:
        self.namespace = namespace
        self.link = RedisLink(url, standby, "CACHE_URL", INSTEAD, self.try_out)
        self.scripts: dict[str, Any] = {}

    async def get(self, key: str) -> bytes | None:
        name = self.name(key)
        return self.check(name, await self.ask(lambda client: client.get(name)))

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        """Seconds that are left, and the value; of one that is not there -2, as in Redis."""
        seconds = await self.ask(lambda client: client.ttl(self.name(key)))
        return -2 if seconds is None else int(seconds), await self.get(key)

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        if len(value) <= LARGEST:
            name = self.name(key)
            packed = pack(name, value)
            await self.ask(lambda client: client.set(name, packed, px=1000 * (expire or EXPIRE)))

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        """Forget one answer, those whose key begins with `namespace`, or all of this build. Any
        error of Redis is the caller's."""
        if key is not None:
            return int(await self.link.client.delete(self.name(key)))
        return await forget(self.link.client, self.name(namespace or ""))

    async def claim(self, key: str, token: str) -> Answer | Claim:
        """The answer, or the lock under which it is to be made, in one round trip."""
        name = self.name(key)
        found = await self.run_claim(name, token)
        if isinstance(found, bytes):
            value = self.check(name, found)
            if value is not None:
                return unpack(value)
            await self.ask(lambda client: client.delete(name))  # no use to anybody
            found = await self.run_claim(name, token)
        return {1: Claim.OURS, None: Claim.GONE}.get(found, Claim.THEIRS)

    async def run_claim(self, name: str, token: str) -> Any:
        return await self.run(CLAIM, [name, lock(name)], [token, LOCK_MS])

    async def put(self, key: str, token: str, answer: Answer) -> None:
        """Keep what was made under a lock, and release it, in one round trip."""
        name, value = self.name(key), answer.pack()
        made = [pack(name, value), 1000 * EXPIRE] if len(value) <= LARGEST else []
        await self.run(RELEASE, [lock(name), name], [token, *made])

    async def release(self, key: str, token: str) -> None:
        """Give back the lock without an answer. One that another has by now stays."""
        name = self.name(key)
        await self.run(RELEASE, [lock(name), name], [token])

    async def run(self, text: str, keys: list[str], arguments: list[Any]) -> Any:
        def call(client: Any) -> Any:
            script = self.scripts.get(text)
            if script is None:
                script = self.scripts[text] = client.register_script(text)
            return script(keys, arguments)

        return await self.ask(call)

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        """What Redis says; None where it cannot be asked."""
        if not self.link.is_up():
            return None
        try:
            return await self.link.ask(question(self.link.client))
        except Exception as error:  # whatever it is, a request must not fail for it
            if str(error).startswith("WRONGTYPE"):  # others wrote under this key
                self.link.standby.count += 1
            else:
                self.link.note_failure(error)
            return None

    async def try_out(self) -> None:
        name = self.name("probe")
        await self.link.ask(self.link.client.set(name, "1", px=LOCK_MS))

    def name(self, key: str) -> str:
        return f"{self.namespace} {key}"

    def check(self, name: str, packed: bytes | None) -> bytes | None:
        """The value that was packed under this name; None, and counted, where it is another."""
        if packed is None:
            return None
        value = packed[DIGEST:]
        if packed[:DIGEST] == digest(name, value):
            return value
        self.link.standby.count += 1
        return None

    async def close(self) -> None:
        self.scripts.clear()
        await self.link.close()


def lock(name: str) -> str:
    return f"{name} lock"


def digest(name: str, value: bytes) -> bytes:
    found = hashlib.sha256(name.encode())
    found.update(b"\n")
    found.update(value)
    return found.digest()


def pack(name: str, value: bytes) -> bytes:
    return digest(name, value) + value


async def forget(client: Any, beginning: str) -> int:
    """Delete all keys that begin so. Returns how many."""
    pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", beginning) + "*"
    found = [key async for key in client.scan_iter(match=pattern, count=AT_ONCE)]
    starts = range(0, len(found), AT_ONCE)
    return sum([await client.unlink(*found[each : each + AT_ONCE]) for each in starts])
