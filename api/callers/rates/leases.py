"""Limits over several processes: each leases blocks of a caller's requests from one Redis.

The rule it keeps: Redis grants no more than the quota in a window, whoever leases; a process lets
through what it leased. So all together never let more through, and a caller whose requests go to
n processes gets at least the quota less (n - 1) blocks, which others of them may have left unused.
There is one round trip a block, none a request.
"""

from typing import Any, NamedTuple

from api.callers.rates.policies import Policy
from api.fallbacks import Standby
from api.redis_link import RedisLink

INSTEAD = "each process limits by itself"
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
        self.link = RedisLink(url, standby, "RATE_LIMIT_URL", INSTEAD, self.try_out)
        self.script: Any = None

    async def try_out(self) -> None:
        """A lease of nobody's, which is always written."""
        await self.call("limits:probe", PROBE, 1)

    async def take(self, caller: str, policy: Policy, wanted: int) -> Lease | None:
        """So many requests of the caller, or fewer; None where Redis does not answer."""
        try:
            return await self.call(f"limits:block:{policy.told}:{caller}", policy, wanted)
        except Exception as error:  # whatever it is, a request must not fail for it
            self.link.note_failure(error)
            return None

    async def call(self, key: str, policy: Policy, wanted: int) -> Lease:
        if self.script is None:
            self.script = self.link.client.register_script(SCRIPT)
        arguments = [policy.quota, wanted, policy.window * 1000]
        granted, rest, milliseconds = await self.link.ask(self.script([key], arguments))
        return Lease(granted, rest, milliseconds / 1000)

    async def close(self) -> None:
        self.script = None
        await self.link.close()
