"""The error tree of the ETL. The type decides what happens; the message names the remedy.

    EtlError                  exit 1, one line
    ├── LockedError           another run holds the lock
    ├── InputError            a file does not keep its contract
    ├── StoreError            the database cannot take this load, or is damaged or foreign
    └── SourceError           one symbol (or file) gave no bars; the others go on
        ├── UnknownSymbol
        ├── Malformed         an answer that is neither data nor a known refusal
        ├── Throttled         asked too fast: tried again after a moment
        ├── Unavailable       network or vendor down: tried again after a moment
        ├── QuotaSpent        no more calls today: no further symbol is asked
        ├── InvalidKey        no further symbol is asked
        ├── PremiumOnly       what the key may not ask is not asked again
        └── NotAsked          the budget, or an answer before it, ruled the call out

SettingsError (exit 2) lives in etl.settings.
"""


class EtlError(Exception):
    """What went wrong, what is possible and the remedy, in one line."""


class LockedError(EtlError):
    pass


class InputError(EtlError):
    pass


class StoreError(EtlError):
    pass


class SourceError(EtlError):
    """One symbol (or file) gave no bars."""

    kind = "failed"
    is_transient = False
    ends_run = False


class UnknownSymbol(SourceError):
    kind = "unknown symbol"


class Malformed(SourceError):
    kind = "malformed"


class Throttled(SourceError):
    kind = "throttled"
    is_transient = True


class Unavailable(SourceError):
    kind = "unavailable"
    is_transient = True


class QuotaSpent(SourceError):
    kind = "quota spent"
    ends_run = True


class InvalidKey(SourceError):
    kind = "invalid key"
    ends_run = True


class PremiumOnly(SourceError):
    kind = "premium only"


class NotAsked(SourceError):
    kind = "not asked"
