"""Where calls are made: in threads of this process, or by workers on any host (QUEUE_URL).

A queue decides when a call that was handed to it leaves, so that the vendor's calls a second and a
minute are kept; whether a call is made at all was decided before, and written down.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from etl.base.errors import SourceError
from etl.calls.fetch import Fetched
from etl.calls.vendor import Call

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
# What is made of what came: kept, then read. A call as its result asks for the answer's next page.
Keep = Callable[[Call, Fetched], T | Call]


class Queue(Protocol[T_co]):
    """Calls by the number under which they were handed over.

    room: so many may be under way at once. notes: counts for the run's record.
    """

    @property
    def room(self) -> int: ...
    @property
    def notes(self) -> Mapping[str, int]: ...

    def find_delay(self) -> float | None:
        """Seconds until one more may be submitted; None: not before one has come back."""

    def submit(self, number: int, call: Call) -> None:
        """Have a call made that was written down. It is made once, or comes back as an error."""

    def wait(self) -> None:
        """Until something has come back, or may have."""

    def collect(self) -> Iterator[tuple[int, T_co | Call | SourceError]]:
        """What has come back, each once; an answer is kept before it is handed on."""

    def hold(self, seconds: float) -> None:
        """Let no call leave for so long: the vendor said that it was too fast."""

    def close(self) -> None:
        """Nothing more is submitted; what has not left is not made."""
