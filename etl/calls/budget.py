"""How many calls may be made, and what earlier answers rule out: what making a call stands on.

The ledger of this machine (ledger.py) is one; workers on several machines would share another.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from etl.base.errors import SourceError
from etl.calls.vendor import Call, Limits


class Budget(Protocol):
    """Instants are aware. A call counts from `spend` on, whatever comes of it."""

    @property
    def limits(self) -> Limits: ...

    def spend(self, call: Call, now: datetime) -> None:
        """Count the call, for good, before it is made. NotAsked: none is left today."""

    def learn(
        self, call: Call, error: SourceError | None, now: datetime, asked_at: datetime | None = None
    ) -> None:
        """Keep what an answer means for later calls. `asked_at`: when its call was made."""

    def left(self, now: datetime) -> int | None:
        """Calls that may still be made today; None: no limit."""

    def refusal(self, call: Call) -> SourceError | None:
        """The error that an earlier answer left for this call; None: it may be asked."""

    def is_failing(self, call: Call) -> bool:
        """Whether its last answer was a failure, and not the vendor's or the network's."""

    def excuse(self, calls: Iterable[Call], now: datetime) -> None:
        """The failures of these calls were the vendor's: no symbol is to blame."""
