"""The clock that everything which waits or counts is given, so that no test has to wait."""

import time
from datetime import UTC, datetime


class Clock:
    def now(self) -> datetime:
        """The time of day, aware, in UTC: for ledgers and calendars. It may be set back."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow: for spacing calls."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
