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
        │   ├── Unreachable   no answer came: network or vendor down
        │   └── Lost          the worker that made the call is gone, and its answer with it
        ├── QuotaSpent        no more calls today: no further symbol is asked
        ├── InvalidKey        no further symbol is asked
        │   └── Forbidden     so said by the status alone: the next symbol is asked
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
    """One symbol (or file) gave no bars.

    is_transient: the same question may be answered a moment later. is_failure: no answer that
    anything can be made of, and no refusal either. ends_run: no other symbol would be answered.
    retry_after: seconds that the vendor asks to wait.
    """

    kind = "failed"
    is_transient = False
    is_failure = False
    ends_run = False
    retry_after: float | None = None


class UnknownSymbol(SourceError):
    kind = "unknown symbol"


class Malformed(SourceError):
    kind = "malformed"
    is_failure = True


class Throttled(SourceError):
    """`is_worded`: the vendor said so in words; a bare status may mean anything."""

    kind = "throttled"
    is_failure = True
    is_transient = True
    is_worded = True


class Unavailable(SourceError):
    kind = "unavailable"
    is_failure = True
    is_transient = True


class Unreachable(Unavailable):
    pass


class Lost(Unavailable):
    """Made and counted; what the vendor said is not known."""

    kind = "lost"


class QuotaSpent(SourceError):
    kind = "quota spent"
    ends_run = True


class InvalidKey(SourceError):
    kind = "invalid key"
    ends_run = True


class Forbidden(InvalidKey):
    """HTTP status 401 or 403 without a word: the key, or a firewall that dislikes one question."""

    is_failure = True
    ends_run = False


class PremiumOnly(SourceError):
    kind = "premium only"


class NotAsked(SourceError):
    kind = "not asked"
