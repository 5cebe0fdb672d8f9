"""Who has asked how often: a counter a caller, dropped when its window ends, of bounded memory."""

import ipaddress
from asyncio import Task
from functools import lru_cache

from api.callers import Caller
from api.callers.rates.policies import Policy

# Counters of one kind of callers. One more takes the place of the one whose window ends first: so a
# flood of made-up addresses ends others' windows early, and those of keys and users not at all.
MOST_CALLERS = 65_536
ROUNDING = 1e-6  # seconds: what a sum of floats is off by is no second more to wait


class Window:
    """used: requests of the caller here; granted: those that this process may let through;
    rest: those that no process has leased yet."""

    __slots__ = ("ends_at", "granted", "pending", "rest", "used")

    def __init__(self, ends_at: float, granted: int, rest: int) -> None:
        self.ends_at = ends_at
        self.used = 0
        self.granted = granted
        self.rest = rest
        self.pending: Task[None] | None = None

    @property
    def remaining(self) -> int:
        return self.granted - self.used + self.rest


class Windows:
    """The windows of all callers under one policy. is_alone: no other process counts too."""

    def __init__(self, policy: Policy, is_alone: bool) -> None:
        self.policy = policy
        self.is_alone = is_alone
        self.tables: dict[str, dict[str, Window]] = {"address": {}, "user": {}, "key": {}}

    def find(self, caller: Caller, now: float) -> Window:
        """The caller's window at that moment, a new one where there is none."""
        table, name = self.tables[caller.kind], name_counted(caller)
        window = table.get(name)
        if window is None or window.ends_at <= now:
            window = self.open(table, name, now)
        return window

    def open(self, table: dict[str, Window], name: str, now: float) -> Window:
        """All windows are of one length: the first in a table is the first that ends."""
        table.pop(name, None)
        while table and (len(table) >= MOST_CALLERS or table[next(iter(table))].ends_at <= now):
            del table[next(iter(table))]
        quota = self.policy.quota
        granted, rest = (quota, 0) if self.is_alone else (0, quota)
        ends_at = now + self.policy.window - ROUNDING
        window = table[name] = Window(ends_at, granted, rest)
        return window


def name_counted(caller: Caller) -> str:
    """Under which name a caller is counted: of those known by address, a network may be one."""
    return name_network(caller.name) if ":" in caller.name else caller.name


@lru_cache(4096)
def name_network(name: str) -> str:
    """The /64 of an IPv6 address, all of which one client may use; other names as they are."""
    try:
        address = ipaddress.IPv6Address(name.partition("%")[0])
    except ValueError:
        return name
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
