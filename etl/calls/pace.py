"""When the next call may start: the vendor's calls per second and per minute.

The rule it keeps: whatever the network does to the calls on their way, the vendor never counts
more calls than it allows in any 60 seconds. It counts a call somewhere between its start and
its end, so a window is measured from the end of the call that it begins with. Calls are spread
evenly, too: the vendor refuses bursts.

One second is too short to lose a call's own time from it. At 1 call a second or fewer the next
one still waits a full second after the end of the last; above, the second is measured from when
a call had left, and is a little longer (MARGIN) for the unequal ways that calls may take.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

MARGIN = 0.03
FAR_AGO = float("-inf")


@dataclass
class Ticket:
    """One call that was started; the times are None until it has left, and has ended."""

    sent_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Window:
    """At most `count` calls in any `seconds`, measured from the end of a call or its leaving."""

    count: int
    seconds: float
    is_from_end: bool

    def opens_at(self, tickets: deque[Ticket]) -> float | None:
        """When there is room for one more; None: not before a call in flight has ended."""
        if len(tickets) < self.count:
            return FAR_AGO
        ticket = tickets[-self.count]
        left_at = ticket.ended_at if self.is_from_end else (ticket.sent_at or ticket.ended_at)
        return None if left_at is None else left_at + self.seconds


class Pace:
    def __init__(
        self, per_second: float, per_minute: int = 0, recent: Iterable[float] = ()
    ) -> None:
        """`recent`: when earlier runs made their last calls, in seconds of the same clock."""
        self.windows = list(list_windows(per_second, per_minute))
        self.spacing = max((w.seconds / w.count for w in self.windows), default=0.0)
        self.tickets: deque[Ticket] = deque(maxlen=max((w.count for w in self.windows), default=1))
        self.next_at = FAR_AGO
        for started_at in sorted(recent):
            self.tickets.append(Ticket(started_at, started_at))
            self.next_at = started_at + self.spacing

    def delay(self, now: float) -> float | None:
        """Seconds until the next call may start; None: not before one in flight has ended."""
        starts_at = self.next_at
        for window in self.windows:
            opens_at = window.opens_at(self.tickets)
            if opens_at is None:
                return None
            starts_at = max(starts_at, opens_at)
        return max(0.0, starts_at - now)

    def start(self, now: float) -> Ticket:
        """Note that a call starts. One that is late by less than a slot delays no later one."""
        ticket = Ticket()
        self.tickets.append(ticket)
        self.next_at = max(self.next_at, now - self.spacing) + self.spacing
        return ticket

    def hold(self, until: float) -> None:
        """Start nothing before `until`: the vendor said that it was too fast."""
        self.next_at = max(self.next_at, until)


def list_windows(per_second: float, per_minute: int) -> Iterable[Window]:
    if 0 < per_second <= 1:
        yield Window(1, 1 / per_second, is_from_end=True)
    elif per_second:
        yield Window(int(per_second), 1 + MARGIN, is_from_end=False)
    if per_minute:
        yield Window(per_minute, 60, is_from_end=True)
