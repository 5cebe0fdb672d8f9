"""Who asks: the value that names a caller, and the two Protocols that the gate stands on.

    Identity   who sends a request (AUTH)
    Limiter    how much of its limit a request takes (RATE_LIMIT)

Which one stands behind each is chosen by the settings; where neither is wanted the gate asks
nothing. Knows no store and no route.
"""

from collections.abc import Awaitable
from typing import Literal, NamedTuple, Protocol

from fastapi import Response
from starlette.types import Scope

Head = dict[bytes, bytes]  # headers of use, each as one value
RawHeaders = list[tuple[bytes, bytes]]
Kind = Literal["user", "key", "address"]
SCOPES = frozenset({"read", "admin"})
REALM = 'Bearer realm="market-data-service"'  # WWW-Authenticate of each refusal begins so


class Caller(NamedTuple):
    """Who sends a request; `scope["state"]["caller"]` of the routes that the cache passes by."""

    name: str
    kind: Kind
    scopes: frozenset[str] = frozenset()


class Identity(Protocol):
    """Tells callers apart by what they send; bodies never depend on who it is."""

    @property
    def fault(self) -> str | None:
        """Why nobody can be known now; None while callers can be."""
        ...

    def recall(self, scope: Scope, head: Head) -> Caller | None:
        """At once, of one who was verified before; None: ask `identify`."""
        ...

    async def identify(self, scope: Scope, head: Head) -> Caller | Response:
        """The caller, or the refusal (401) of what was sent or not sent."""
        ...


class Spent(NamedTuple):
    """headers: what the answer says of the limit; refusal: the 429 that is sent in its place."""

    headers: RawHeaders
    refusal: Response | None = None


class Limiter(Protocol):
    def spend(self, caller: Caller, weight: int) -> Spent | Awaitable[Spent]:
        """Take `weight` requests of the caller's limit; at once wherever that is possible."""
        ...

    async def close(self) -> None:
        """The app is served no more."""
        ...
