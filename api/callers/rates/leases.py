"""Limits over several processes: each leases blocks of a caller's requests from one Redis.

The rule it keeps: Redis grants no more than the quota in a window, whoever leases; a process lets
through what it leased. So all together never let more through, and a caller whose requests go to
n processes gets at least the quota less (n - 1) blocks, which others of them may have left unused.
There is one round trip a block, none a request.
"""

import asyncio
import time
from typing import Any, NamedTuple

from api.callers.rates.policies import Policy
from api.fallbacks import Standby
from etl.credentials.errors import SettingsError

TIMEOUT = 0.25  # seconds for an answer of Redis
CONNECT_TIMEOUT = 0.1
PAUSE = 1.0  # seconds until one that failed is tried again
MOST_CONNECTIONS = 32
GONE = (
    "RATE_LIMIT_URL: Redis cannot be asked ({}): each process limits by itself until it can;"
    " start it, or correct the address"
)
PROBE = Policy("probe", 2**31, 1)
# KEYS: the caller's counter. ARGV: quota, requests wanted, window in ms. → granted, rest, ms left.
SCRIPT = """
local used, left_ms = tonumber(redis.call('GET', KEYS[1]) or '0'), redis.call('PTTL', KEYS[1])
if left_ms < 0 then used, left_ms = 0, tonumber(ARGV[3]) end
local granted = math.max(0, math.min(ARGV[1] - used, tonumber(ARGV[2])))
if granted > 0 then redis.call('SET', KEYS[1], used + granted, 'PX', math.max(left_ms, 1)) end
return {granted, math.max(0, ARGV[1] - used - granted), left_ms}
"""


class Lease(NamedTuple):
    """granted: requests for this process alone; rest: left to lease; seconds: of the window."""

    granted: int
    rest: int
    seconds: float


class Leases:
    """A Redis that is asked for blocks; while it does not answer, no request waits for it."""

    def __init__(self, url: str, standby: Standby) -> None:
        self.url = url
        self.standby = standby
        self.retry_at = 0.0
        self.probe: asyncio.Task[None] | None = None
        self.script: Any = None
        self.client: Any = None

    def is_up(self) -> bool:
        """Whether it may be asked; one that failed is tried in the background, again and again."""
        if self.standby.fault is None:
            return True
        if self.probe is None and time.monotonic() >= self.retry_at:
            self.probe = asyncio.get_running_loop().create_task(self.try_again())
        return False

    async def try_again(self) -> None:
        """A lease of nobody's, which is always written: it may answer and have no memory left."""
        try:
            if self.client is not None:  # connections to one that was started anew are dead
                await self.client.connection_pool.disconnect(inuse_connections=False)
            await self.call("limits:probe", PROBE, 1)
            self.standby.end()
        except Exception as error:
            self.note_failure(error)
        finally:
            self.probe = None

    async def take(self, caller: str, policy: Policy, wanted: int) -> Lease | None:
        """So many requests of the caller, or fewer; None where Redis does not answer."""
        try:
            return await self.call(f"limits:block:{policy.told}:{caller}", policy, wanted)
        except Exception as error:  # whatever it is, a request must not fail for it
            self.note_failure(error)
            return None

    async def call(self, key: str, policy: Policy, wanted: int) -> Lease:
        if self.script is None:
            self.open()
        arguments = [policy.quota, wanted, policy.window * 1000]
        async with asyncio.timeout(2 * TIMEOUT):
            granted, rest, milliseconds = await self.script([key], arguments)
        return Lease(granted, rest, milliseconds / 1000)

    def note_failure(self, error: Exception) -> None:
        self.retry_at = time.monotonic() + PAUSE
        self.standby.begin(GONE.format(type(error).__name__))

    def open(self) -> None:
        redis = import_redis()
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        pool = redis.BlockingConnectionPool.from_url(
            self.url,
            max_connections=MOST_CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=CONNECT_TIMEOUT,
            # once, for a connection that was closed meanwhile: a lease that is lost by it is lost
            retry=Retry(NoBackoff(), 1, (redis.ConnectionError,)),
        )
        self.client = redis.Redis(connection_pool=pool)
        self.script = self.client.register_script(SCRIPT)

    async def close(self) -> None:
        if self.probe is not None:
            self.probe.cancel()
        if self.client is not None:
            await self.client.aclose()
            await self.client.connection_pool.disconnect()
            self.client = self.script = None


def import_redis() -> Any:
    try:
        import redis.asyncio
    except ImportError:
        remedy = "install it by `pip install -r requirements-redis.txt`, or unset RATE_LIMIT_URL"
        raise SettingsError(f"RATE_LIMIT_URL wants the package redis: {remedy}") from None
    return redis.asyncio
