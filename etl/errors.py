"""The error tree of the ETL. The type decides what happens; the message names the remedy.

    EtlError                  exit 1, one line
    ├── LockedError           another run holds the lock
    ├── InputError            a file does not keep its contract
    ├── StoreError            the database cannot take this load, or is damaged or foreign
    └── SourceError           one symbol (or file) gave no bars; the others go on
        ├── UnknownSymbol
        ├── Malformed         an answer that is neither data nor a known refusal
        ├── Throttled         asked too fast: asked again after a moment
        ├── Unavailable       the vendor answers without sense, or not at all
        │   └── Unreachable   no answer came: network or vendor down
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
    """One symbol (or file) gave no bars. `retry_after`: seconds that the vendor asks to wait."""

    kind = "failed"
    is_transient = False
    ends_run = False
    retry_after: float | None = None


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


class Unreachable(Unavailable):
    pass


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
