"""The bus between the stream of a vendor and those who store it: entries, handed on at least once.

    stream ─publish→ [entry][entry][entry] ─read→ consumer ─commit→ ack

An entry is what arrived in a moment, as bytes that the bus does not look into. It stays until it
was acknowledged; what a consumer that died had read, another claims. So the same entry may come
twice, and whoever stores it has to make that once. A bus is bounded: what is dropped for want of
room is counted. Every implementation runs tests/test_bus.py.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MOST_BYTES = 512 << 10  # of one entry: below what every broker takes as it is installed


class BusError(Exception):
    """The bus cannot be used as it is set; the message says the remedy."""


class BusDown(BusError):
    """It does not answer (now): nothing was taken, another try may succeed."""


class Entry(NamedTuple):
    """deliveries: how often it was handed out, this time included. published_at: seconds since
    1970."""

    position: str
    body: bytes
    deliveries: int
    published_at: float


class DeadEntry(NamedTuple):
    """What could not be stored, and why. buried_at: seconds since 1970."""

    position: str
    body: bytes
    reason: str
    buried_at: float


class BusState(NamedTuple):
    """waiting: entries that nobody acknowledged yet; oldest: when the oldest of them was published
    (0.0: none waits); dropped: entries that were given up for want of room, since the bus was made;
    dead: entries that wait for somebody to look at them."""

    waiting: int
    oldest: float
    dropped: int
    dead: int


class Bus(Protocol):
    """One end of it, of one process. BusDown from any method; nothing is lost by calling again."""

    def publish(self, body: bytes) -> None:
        """Returns once the bus keeps it. ValueError: longer than MOST_BYTES."""
        ...

    def read(self, most: int, wait: float) -> list[Entry]:
        """Entries that nobody was given yet, in order: after `wait` seconds none, if none came."""
        ...

    def claim(self, idle: float, most: int) -> list[Entry]:
        """Entries that somebody was given, and has not acknowledged for so many seconds."""
        ...

    def ack(self, entries: Sequence[Entry]) -> None:
        """They are stored: nobody is given them again. Those that are gone already are passed."""
        ...

    def bury(self, body: bytes, reason: str) -> None:
        """Keep what cannot be stored apart, for somebody to look at."""
        ...

    def list_dead(self, most: int) -> list[DeadEntry]:
        """The oldest first."""
        ...

    def resend(self, dead: Sequence[DeadEntry]) -> int:
        """Publish them anew, and take them off the list; how many there still were."""
        ...

    def measure(self) -> BusState: ...

    def find_danger(self) -> str:
        """How this bus may lose what it has taken, in a sentence for the log; "": it does not."""
        ...

    def close(self) -> None: ...


def check_size(body: bytes) -> bytes:
    if len(body) > MOST_BYTES:
        raise ValueError(f"an entry of {len(body)} bytes is longer than {MOST_BYTES}: split it")
    return body
