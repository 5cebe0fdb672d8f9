"""The Limiter: takes a request out of its caller's windows, or refuses it with the time to wait."""

import asyncio
import math
import time
from collections.abc import Awaitable, Sequence

from api.callers import Caller, RawHeaders, Spent
from api.callers.rates.leases import Leases
from api.callers.rates.policies import Policy, build_policies
from api.callers.rates.windows import Window, Windows, name_counted
from api.fallbacks import Standby
from api.problems import build_problem
from api.settings import ApiSettings

FREE = Spent([])


class RateLimiter:
    """Several policies, of which a request has to keep all.

    leases: the Redis through which several processes share; None: this one counts alone, exactly.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        leases: Leases | None = None,
    ) -> None:
        self.leases = leases
        self.counted = [Windows(policy, leases is None) for policy in policies]
        self.first = self.counted[0].tables
        self.is_single = len(policies) == 1
        told = ", ".join(policy.told for policy in policies)
        self.told = (b"ratelimit-policy", told.encode())
        self.form = b", ".join(b'"%b";r=%%d;t=%%d' % each.name.encode() for each in policies)

    def spend(self, caller: Caller, weight: int) -> Spent | Awaitable[Spent]:
        """At once, but where a new block has to be leased. A request of weight 0 is not counted."""
        if not weight:
            return FREE
        now = time.monotonic()
        if self.is_single:  # nearly always, at a tenth of what a ready answer costs
            name, kind, _ = caller
            known = self.first[kind].get(name)
            if known is not None and known.ends_at > now and known.used + weight <= known.granted:
                known.used += weight
                left = known.granted - known.used + known.rest
                told = self.form % (left, math.ceil(known.ends_at - now))
                return Spent([(b"ratelimit", told), self.told])
        found = [windows.find(caller, now) for windows in self.counted]
        if not self.list_short(found, weight):
            return self.take(found, weight, now)
        return self.spend_leased(caller, weight) if self.leases else self.refuse(found, weight, now)

    def list_short(self, found: Sequence[Window], weight: int) -> list[tuple[Window, Policy, int]]:
        """The windows that have too little for a request of that weight, and how much is missing.

        One that is heavier than the whole quota takes all of it.
        """
        short = []
        for window, windows in zip(found, self.counted, strict=True):
            missing = window.used + min(weight, windows.policy.quota) - window.granted
            if missing > 0:
                short.append((window, windows.policy, missing))
        return short

    def take(self, found: Sequence[Window], weight: int, now: float) -> Spent:
        for window, windows in zip(found, self.counted, strict=True):
            window.used += min(weight, windows.policy.quota)
        return Spent(self.tell(found, now))

    def tell(self, found: Sequence[Window], now: float) -> RawHeaders:
        """What is left and for how long, as the IETF's draft on these headers writes it."""
        pairs = [(each.remaining, math.ceil(each.ends_at - now)) for each in found]
        numbers = tuple(number for pair in pairs for number in pair)
        return [(b"ratelimit", self.form % numbers), self.told]

    def refuse(self, found: Sequence[Window], weight: int, now: float) -> Spent:
        short = self.list_short(found, weight)
        window, policy, _ = max(short, key=lambda each: each[0].ends_at)
        seconds = math.ceil(window.ends_at - now)
        counts = f", and this one counts as {weight}" if weight > 1 else ""
        detail = (
            f"At most {policy.quota} requests in {policy.window} s are allowed{counts}: ask again"
            f" in {seconds} s, or ask for less at a time."
        )
        problem = build_problem(429, detail, {"Retry-After": str(seconds)})
        told = self.tell(found, now)
        problem.raw_headers.extend(told)
        return Spent(told, problem)

    async def spend_leased(self, caller: Caller, weight: int) -> Spent:
        """Lease until there is enough, or nothing left to lease."""
        while True:
            now = time.monotonic()
            found = [windows.find(caller, now) for windows in self.counted]
            short = self.list_short(found, weight)
            if not short:
                return self.take(found, weight, now)
            if any(window.rest == 0 for window, _, _ in short):
                return self.refuse(found, weight, now)
            for window, policy, missing in short:
                await self.lease(caller, window, policy, missing)

    async def lease(self, caller: Caller, window: Window, policy: Policy, missing: int) -> None:
        """One lease at a time of one window: others who want the same wait for it."""
        if self.leases is None or not self.leases.link.is_up():
            go_on_alone(window, policy)
            return
        if window.pending is None:
            work = lease_block(self.leases, caller, window, policy, missing)
            window.pending = asyncio.get_running_loop().create_task(work)
        await asyncio.shield(window.pending)  # a client that hangs up ends no other's lease

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self.leases is not None:
            await self.leases.close()


async def lease_block(
    leases: Leases, caller: Caller, window: Window, policy: Policy, missing: int
) -> None:
    try:
        wanted = max(policy.block, missing)
        lease = await leases.take(f"{caller.kind}:{name_counted(caller)}", policy, wanted)
        if lease is None:
            go_on_alone(window, policy)
            return
        window.granted += lease.granted
        window.rest = lease.rest
        window.ends_at = time.monotonic() + lease.seconds
    finally:
        window.pending = None


def go_on_alone(window: Window, policy: Policy) -> None:
    """Until its end this window is counted here alone: what was leased before is part of it."""
    window.granted, window.rest = policy.quota, 0


def warn_of_workers(settings: ApiSettings) -> str | None:
    """What holds where several processes count, and none knows of the others."""
    if settings.api_workers == 1 or settings.rate_limit_url or not settings.rate_limit_in_use:
        return None
    workers, rate = settings.api_workers, settings.rate_limit_in_use
    return (
        f"each of API_WORKERS={workers} limits by itself, so that a caller may make up to {workers}"
        f" times {rate}: set RATE_LIMIT_URL to share"
    )


def build_rate_limiter(rate: str, url: str, standby: Standby) -> RateLimiter:
    """url: of the Redis to share by, or ""."""
    return RateLimiter(build_policies(rate), Leases(url, standby) if url else None)
