"""One secret as the rest of the service sees it: its values, never where they came from."""

import logging
import threading

from etl.credentials.errors import SettingsError
from etl.credentials.origins import Origins
from etl.credentials.redaction import remember

log = logging.getLogger("etl.credentials")


class Secret:
    """values: the current one first, then those before it, which are still valid.

    fault: why its origin does not give it now, None while it does; fallbacks: how often it did not,
    so that the last values stayed in use.
    """

    def __init__(self, name: str, origins: Origins) -> None:
        self.name = name
        self.origins = origins
        self.lock = threading.Lock()
        self.known: tuple[str, ...] | None = None
        self.fault: str | None = None
        self.fallbacks = 0
        origins.remember_all(name)

    @property
    def values(self) -> tuple[str, ...]:
        """All values that are valid now; () where nobody has any. The same tuple until one changes.

        The first look asks the origins: SettingsError where one of them cannot be asked.
        """
        if self.known is None:
            self.refresh()
        return self.known or ()

    @property
    def value(self) -> str:
        """The current value; "" where nobody has any."""
        values = self.values
        return values[0] if values else ""

    @property
    def is_moving(self) -> bool:
        """Whether it may be another later."""
        return self.origins.is_moving(self.name)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def refresh(self) -> bool:
        """Ask the origins again, as its first look does; whether the values changed.

        A file is read each time, the vault at most every few seconds. Where an origin has nothing
        to give any more, the last values stay: that is counted, logged once, and told by `fault`.
        """
        with self.lock:
            try:
                found = self.origins.read(self.name)
            except SettingsError as error:
                if self.known is None:
                    raise
                return self.fall_back(str(error))
            if self.known and not found:
                return self.fall_back(f"{self.name} is no longer where it was")
            return self.take(found)

    def take(self, found: tuple[str, ...]) -> bool:
        if self.fault:
            log.info("%s: it can be had again", self.name)
        self.fault = None
        if found == self.known:
            return False
        remember(found)
        if self.known is not None:
            log.info("%s: another value is in use from now on", self.name)
        self.known = found
        return True

    def fall_back(self, fault: str) -> bool:
        if not self.fault:
            log.warning("%s: its last value stays in use: %s", self.name, fault)
        self.fault = fault
        self.fallbacks += 1
        return False
