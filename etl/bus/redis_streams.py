"""The bus on Redis Streams: one stream, one group of consumers, another stream for the dead.

An entry is deleted when it is acknowledged, so the length of the stream is what waits, and whatever
its bound takes away was lost. Each change that counts something is one script.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import redis

from etl.bus import BusDown, BusError, BusState, DeadEntry, Entry, check_size

log = logging.getLogger("etl")

T = TypeVar("T")

GROUP = "consumers"
PATIENCE = 5.0  # seconds for an answer, beside those that a read waits

# stream, counts · body, most bytes → entries that were dropped
PUBLISH = """
redis.call('XADD', KEYS[1], '*', 'body', ARGV[1])
local held = redis.call('HINCRBY', KEYS[2], 'bytes', #ARGV[1])
local dropped = 0
while held > tonumber(ARGV[2]) and redis.call('XLEN', KEYS[1]) > 1 do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', KEYS[1], oldest[1])
  held = redis.call('HINCRBY', KEYS[2], 'bytes', -#oldest[2][2])
  dropped = dropped + 1
end
if dropped > 0 then redis.call('HINCRBY', KEYS[2], 'dropped', dropped) end
return dropped
"""

# stream, counts · group, position…
ACK = """
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if found then
    redis.call('XDEL', KEYS[1], ARGV[i])
    redis.call('HINCRBY', KEYS[2], 'bytes', -#found[2][2])
  end
end
"""

# stream, counts, dead · most bytes, position… → how many were sent again
RESEND = """
local sent = 0
for i = 2, #ARGV do
  local found = redis.call('XRANGE', KEYS[3], ARGV[i], ARGV[i])[1]
  if found then
    redis.call('XADD', KEYS[1], '*', 'body', found[2][2])
    redis.call('HINCRBY', KEYS[2], 'bytes', #found[2][2])
    redis.call('XDEL', KEYS[3], ARGV[i])
    sent = sent + 1
  end
end
return sent
"""


class RedisBus:
    """Of a Redis that others share: its keys begin with `prefix`."""

    def __init__(self, url: str, most_bytes: int, prefix: str = "mds:bus") -> None:
        self.client = redis.Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, protocol=2
        )
        self.most_bytes = most_bytes
        self.stream, self.counts, self.dead = prefix, f"{prefix}:counts", f"{prefix}:dead"
        self.consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self.publish_script = self.client.register_script(PUBLISH)
        self.ack_script = self.client.register_script(ACK)
        self.resend_script = self.client.register_script(RESEND)

    def ask(self, question: Callable[[], T]) -> T:
        """BusDown where Redis does not answer, or has no room; BusError where it refuses us."""
        try:
            return question()
        except redis.AuthenticationError:
            raise BusError(
                "the Redis of BUS_URL refuses user or password: set them in it"
            ) from None
        except redis.RedisError as error:
            raise BusDown(f"the Redis of BUS_URL does not do it ({type(error).__name__})") from None

    def ask_group(self, question: Callable[[], T]) -> T:
        """The same, of the group, which is made where it is not there: in a new Redis, or in one
        that came back empty."""

        def ask_again() -> T:
            try:
                return question()
            except redis.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                self.make_group()
                return question()

        return self.ask(ask_again)

    def make_group(self) -> None:
        try:
            self.client.xgroup_create(self.stream, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another consumer was faster
                raise

    def publish(self, body: bytes) -> None:
        arguments: list[bytes | int] = [check_size(body), self.most_bytes]
        keys = [self.stream, self.counts]
        dropped = self.ask(lambda: self.publish_script(keys=keys, args=arguments))
        if dropped:
            log.error("bus: %s entries dropped, nobody read them in time (BUS_MAX_MB)", dropped)

    def read(self, most: int, wait: float) -> list[Entry]:
        block = max(1, round(min(wait, PATIENCE / 2) * 1000))
        found: Any = self.ask_group(
            lambda: self.client.xreadgroup(
                GROUP, self.consumer, {self.stream: ">"}, count=most, block=block
            )
        )
        return [read_entry(each, 1) for _, entries in found or [] for each in entries]

    def claim(self, idle: float, most: int) -> list[Entry]:
        found: Any = self.ask_group(
            lambda: self.client.xautoclaim(
                self.stream, GROUP, self.consumer, min_idle_time=round(idle * 1000), count=most
            )
        )
        return [read_entry(each, self.count_deliveries(each[0])) for each in found[1]]

    def count_deliveries(self, position: bytes) -> int:
        found: Any = self.ask(
            lambda: self.client.xpending_range(self.stream, GROUP, position, position, 1)
        )
        return int(found[0]["times_delivered"]) if found else 1

    def ack(self, entries: Sequence[Entry]) -> None:
        if entries:
            arguments = [GROUP, *(entry.position for entry in entries)]
            keys = [self.stream, self.counts]
            self.ask(lambda: self.ack_script(keys=keys, args=arguments))

    def bury(self, body: bytes, reason: str) -> None:
        fields: Any = {"body": check_size(body), "reason": reason}
        self.ask(lambda: self.client.xadd(self.dead, fields))

    def list_dead(self, most: int) -> list[DeadEntry]:
        found: Any = self.ask(lambda: self.client.xrange(self.dead, count=most))
        return [
            DeadEntry(
                position.decode(), fields[b"body"], fields[b"reason"].decode(), read_time(position)
            )
            for position, fields in found
        ]

    def resend(self, dead: Sequence[DeadEntry]) -> int:
        arguments: list[str | int] = [self.most_bytes, *(each.position for each in dead)]
        keys = [self.stream, self.counts, self.dead]
        return int(self.ask(lambda: self.resend_script(keys=keys, args=arguments)))

    def measure(self) -> BusState:
        def ask() -> BusState:
            oldest: Any = self.client.xrange(self.stream, count=1)
            return BusState(
                waiting=int(self.client.xlen(self.stream)),
                oldest=read_time(oldest[0][0]) if oldest else 0.0,
                dropped=int(self.client.hget(self.counts, "dropped") or 0),
                dead=int(self.client.xlen(self.dead)),
            )

        return self.ask(ask)

    def find_danger(self) -> str:
        """Nothing is said where Redis does not tell its settings."""
        try:
            log_, save = (self.read_setting(name) for name in ("appendonly", "save"))
            policy, most = (self.read_setting(name) for name in ("maxmemory-policy", "maxmemory"))
        except (redis.RedisError, KeyError):
            return ""
        if log_ != "yes":
            kept = "only snapshots now and then" if save else "nothing on disk"
            return (
                f"the Redis of BUS_URL keeps {kept}: if it ends, the bars that wait in it are lost."
                " Start it with --appendonly yes"
            )
        if most != "0" and policy != "noeviction":
            return (
                f"the Redis of BUS_URL throws keys away when it is full ({policy}): give the bus"
                " one of its own, with maxmemory-policy noeviction"
            )
        return ""

    def read_setting(self, name: str) -> str:
        found: Any = self.client.config_get(name)
        return str(found[name])

    def close(self) -> None:
        self.client.close()


def read_entry(found: tuple[bytes, dict[bytes, bytes]], deliveries: int) -> Entry:
    position, fields = found
    return Entry(position.decode(), fields[b"body"], deliveries, read_time(position))


def read_time(position: bytes) -> float:
    """Redis names an entry by the millisecond in which it came."""
    return int(position.partition(b"-")[0]) / 1000
