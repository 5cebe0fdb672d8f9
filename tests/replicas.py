"""What tests of replicas share: a host that loads and uploads, and one that follows it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etl.contracts.following import Following, read_following
from etl.settings import Settings, read_settings
from etl.store.replicas.fetch import read_generation
from etl.store.replicas.follower import Follower
from tests.server import serve
from tests.stores import load_answer, store_of

NO_ENV = Path("no .env")
DAYS = [f"2024-01-{day:02d}" for day in range(2, 31)]


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Hosts:
    """`source` publishes to `url`; `replica` follows it."""

    source: Path
    replica: Path
    url: str
    settings: dict[str, str] = field(default_factory=dict)
    loads: int = 0

    def load(self, **more: str) -> dict[str, Any]:
        """One more bar, published and uploaded."""
        day = DAYS[self.loads]
        self.loads += 1
        told = {"PUBLISH_URL": self.url, **self.settings, **more}
        return load_answer(self.source, f"{day}T23:00:00", ("AAPL", day, 5.0 + self.loads), **told)

    def follow(self) -> Follower:
        """A follower that looked once, as a new process would."""
        self.replica.mkdir(exist_ok=True)
        told = {"DATA_DIR": str(self.replica), "FOLLOW_URL": self.url, **self.settings}
        follower = Follower(read_settings(Settings, told, {}, NO_ENV))
        follower.look()
        return follower

    @property
    def state(self) -> Following:
        return read_following(self.replica)

    def are_equal(self) -> bool:
        """Byte for byte."""
        return hash_file(store_of(self.source)) == hash_file(store_of(self.replica))

    @property
    def generations(self) -> tuple[str, str]:
        return read_generation(store_of(self.source)), read_generation(store_of(self.replica))


@contextmanager
def serve_source(hosts: Hosts, **settings: object) -> Iterator[Hosts]:
    """The same hosts, where the replica follows an instance that serves the source."""
    with serve(hosts.source, **settings) as client:
        address = str(client.base_url).rstrip("/")
        yield Hosts(hosts.source, hosts.replica, address, hosts.settings, hosts.loads)
