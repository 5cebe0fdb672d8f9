"""What a decider and its workers have in common in Redis, for one vendor and one key of it.

Names begin with the vendor and the fingerprint of the key: whoever uses the same key shares its
calls. A command that fails is tried for about a minute, so that a restart of Redis ends no run.
Nothing here is a secret: keys of vendors never come to Redis.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from etl.base.errors import EtlError
from etl.calls.pace import Pace
from etl.calls.queues import scripts
from etl.calls.vendor import Limits

TRIES = 60  # of a command, a second apart at most
LEASE_MS = 15_000
KEEP_SECONDS = 86_400  # an answer that nobody fetched; and what is known of a call
WORKER_GONE = 20.0  # seconds without a word
MOST_LINES = 50_000  # of ledgers, for other machines to take
FAULTS = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)
Entry = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Started:
    """wait: seconds until it may be tried again; None: not to be made. slot: of a call that may
    leave now."""

    wait: float | None
    slot: int


def connect(url: str, tries: int | None = None) -> "redis.Redis":
    return redis.Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=1, base=0.02), TRIES if tries is None else tries),
        retry_on_error=list(FAULTS),
        socket_timeout=5,
        socket_connect_timeout=2,
    )


@contextmanager
def named_faults() -> Iterator[None]:
    """A Redis that cannot be used, as one line with the remedy."""
    try:
        yield
    except redis.RedisError as error:
        raise EtlError(
            f"QUEUE_URL: Redis cannot be used ({type(error).__name__}): start it, or correct the"
            " address; what was answered is kept"
        ) from None


class Shared:
    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        texts = {n: getattr(scripts, n) for n in dir(scripts) if n.isupper() and n != "NOW"}
        self.scripts = {name: client.register_script(text) for name, text in texts.items()}

    def run(self, script: str, names: Iterable[str], *args: Any) -> Any:
        return self.scripts[script]([self.prefix + name for name in names], args)

    # The decider's lease.

    def take_lease(self, owner: str, holder: str) -> str:
        """Who holds it now."""
        held: bytes = self.run("TAKE", ["decider"], owner, holder, LEASE_MS)
        return held.decode()

    def renew_lease(self, holder: str) -> int:
        """0: another has it; 1: still held; 2: it had run out, and is held again."""
        return int(self.run("RENEW", ["decider"], holder, LEASE_MS))

    def release_lease(self, holder: str) -> None:
        self.run("RELEASE", ["decider"], holder)

    # Limits and the pace.

    def set_limits(self, limits: Limits, longest: float, ages: Iterable[float]) -> None:
        """`longest`: seconds after which a call has ended, whatever is known of it. `ages`: how
        many seconds ago the last calls were made, the newest first."""
        pace = Pace(limits.per_second, limits.per_minute)
        windows = [[w.count, to_micros(w.seconds), int(w.is_from_end)] for w in pace.windows]
        told = {
            "size": pace.tickets.maxlen,
            "spacing": to_micros(pace.spacing),
            "longest": to_micros(longest),
            "windows": windows,
        }
        micros = [to_micros(age) for age in ages]
        self.run("SEED", ["limits", "pace"], json.dumps(told), *reversed(micros))

    def hold(self, seconds: float) -> None:
        self.run("HOLD", ["pace"], to_micros(seconds))

    # A call.

    def register(self, id: str, holder: str) -> bool:
        names = ["decider", f"call:{id}"]
        return bool(self.run("REGISTER", names, holder, KEEP_SECONDS))

    def start(self, id: str, holder: str, by: str) -> Started:
        names = ["decider", f"call:{id}", "limits", "pace"]
        micros, slot = self.run("START", names, holder, by)
        return Started(None if micros < 0 else micros / 1e6, int(slot))

    def note_sent(self, slot: int) -> None:
        self.run("SENT", ["pace"], slot)

    def end(self, id: str, slot: int, answer: bytes) -> None:
        names = [f"call:{id}", "pace", f"answer:{id}", "ready"]
        self.run("END", names, slot, id, answer, KEEP_SECONDS)

    def give_up(self, id: str, longest: float) -> str:
        """`unmade`: it was not made, and will not be. `lost`: it was made, or nobody knows."""
        said: bytes = self.run("GIVE_UP", [f"call:{id}"], to_micros(longest))
        return said.decode()

    # Answers.

    def await_answer(self, seconds: float) -> bool:
        """Whether there is one, as soon as there is; it stays where it is."""
        name = self.prefix + "ready"
        return self.client.blmove(name, name, seconds, "LEFT", "LEFT") is not None  # type: ignore[arg-type]

    def read_next(self) -> tuple[str, bytes | None] | None:
        """The id of the oldest call that has ended, and its answer; None: it has expired."""
        found: Any = self.client.lindex(self.prefix + "ready", 0)
        if found is None:
            return None
        id = found.decode()
        answer: Any = self.client.get(f"{self.prefix}answer:{id}")
        return id, answer

    def forget(self, id: str) -> None:
        """Its answer is on the disk."""
        with self.client.pipeline() as pipe:
            pipe.lrem(self.prefix + "ready", 1, id)
            pipe.delete(f"{self.prefix}answer:{id}", f"{self.prefix}call:{id}")
            pipe.execute()

    # Lines of ledgers.

    def publish(self, line: dict[str, Any], owner: str) -> None:
        fields: dict[Any, Any] = {"by": owner, "line": json.dumps(line)}
        self.client.xadd(self.prefix + "ledger", fields, maxlen=MOST_LINES)

    def list_lines(self, after: str, owner: str) -> Iterator[Entry]:
        """Lines that others wrote, each with its id."""
        while found := self.read_lines(after):
            for id, fields in found:
                after = id.decode()
                if fields[b"by"].decode() != owner:
                    yield after, json.loads(fields[b"line"])

    def read_lines(self, after: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: Any = self.client.xrange(self.prefix + "ledger", f"({after}", count=1000)
        return list(found)

    # Workers.

    def count_waiting(self, queue: str) -> int:
        """Tasks that no worker has taken."""
        waiting: Any = self.client.llen(queue)
        return int(waiting)

    def beat(self, name: str) -> None:
        self.run("BEAT", ["workers"], name, to_micros(10 * WORKER_GONE))

    def count_workers(self) -> int:
        return int(self.run("COUNT", ["workers"], to_micros(WORKER_GONE)))


def name_prefix(vendor: str, fingerprint: str) -> str:
    """The braces keep all of it on one node of a Redis cluster."""
    return f"mds:{{{vendor}:{fingerprint}}}:"


def to_micros(seconds: float) -> int:
    return round(seconds * 1e6)
