"""What stands in for something that is gone: counted, logged once, shown in /health."""

import logging
from dataclasses import dataclass
from typing import Protocol

from api.settings import ApiSettings
from etl.credentials.watch import count_fallbacks, list_secrets

log = logging.getLogger("api")


class Fallback(Protocol):
    """fault: what is gone and the remedy, None while all is well; count: how often it was."""

    @property
    def fault(self) -> str | None: ...
    @property
    def count(self) -> int: ...


@dataclass
class Standby:
    """A Fallback of which its owner says when it is in use."""

    fault: str | None = None
    count: int = 0

    def begin(self, fault: str) -> None:
        """Something failed, and its stand-in did the work."""
        self.count += 1
        if self.fault is None:
            log.warning("%s", fault)
        self.fault = fault

    def end(self) -> None:
        if self.fault is not None:
            log.info("back to normal after: %s", self.fault)
        self.fault = None


@dataclass(frozen=True)
class LastSecrets:
    """The last values of secrets, while file or vault does not give them."""

    settings: ApiSettings

    @property
    def fault(self) -> str | None:
        """By name alone: what is wrong may hold a path, which no answer shows."""
        names = ", ".join(secret.name for secret in list_secrets(self.settings) if secret.fault)
        what = "the last value is in use, for file or vault gives none: the log says why"
        return f"{names}: {what}" if names else None

    @property
    def count(self) -> int:
        return count_fallbacks(self.settings)


def list_fallbacks(fallbacks: dict[str, Fallback]) -> dict[str, str]:
    """What is in use now, with why."""
    return {what: each.fault for what, each in fallbacks.items() if each.fault}
