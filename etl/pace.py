"""When the next call may start: the vendor's calls per second and per minute.

The rule it keeps: whatever the network does to the calls on their way, the vendor never counts
more than AV_CALLS_PER_MINUTE in any 60 seconds. It counts a call somewhere between its start and
its end, so a window is measured from the end of the call that it begins with. Calls are spread
evenly: the vendor refuses bursts too.

One second is too short to lose a call's own time from it. At 1 call a second or fewer the next
one still waits a full second after the end of the last; above, starts are spaced a little wider
than allowed (MARGIN), which takes up the jitter of a connection that is kept open.
"""

from collections import deque
from collections.abc import Iterable

MARGIN = 1.025
# A start that comes late by up to this share of a slot does not push the later ones back.
SLACK = 0.1


class Ticket:
    """One call that was started; `ended_at` is None while it is in flight."""

    def __init__(self, ended_at: float | None = None) -> None:
        self.ended_at = ended_at


class Pace:
    def __init__(
        self, per_second: float, per_minute: int = 0, recent: Iterable[float] = ()
    ) -> None:
        """`recent`: when earlier runs made their last calls, in seconds of the same clock."""
        self.spacing = max(
            MARGIN / per_second if per_second > 1 else 0.0, 60 / per_minute if per_minute else 0.0
        )
        windows = {1: 1 / per_second} if 0 < per_second <= 1 else {}
        if per_minute:
            windows[per_minute] = max(60.0, windows.get(per_minute, 0.0))
        self.windows = windows
        self.tickets: deque[Ticket] = deque(maxlen=max(windows, default=1))
        self.next_at = float("-inf")
        for started_at in sorted(recent):
            self.tickets.append(Ticket(started_at))
            self.next_at = started_at + self.spacing

    def delay(self, now: float) -> float | None:
        """Seconds until the next call may start; None: not before one in flight has ended."""
        starts_at = self.next_at
        for count, seconds in self.windows.items():
            if len(self.tickets) >= count:
                ended_at = self.tickets[-count].ended_at
                if ended_at is None:
                    return None
                starts_at = max(starts_at, ended_at + seconds)
        return max(0.0, starts_at - now)

    def start(self, now: float) -> Ticket:
        ticket = Ticket()
        self.tickets.append(ticket)
        self.next_at = max(self.next_at, now - SLACK * self.spacing) + self.spacing
        return ticket

    def hold(self, until: float) -> None:
        """Start nothing before `until`: the vendor said that it was too fast."""
        self.next_at = max(self.next_at, until)
