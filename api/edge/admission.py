"""Who asks, and whether they may: what the gate does between a request's head and the answer cache.

The Identity and the Limiter that the settings choose stand here (api.callers); with neither the
gate has no Admission at all, and a request costs what it did without this module.
"""

from collections.abc import Coroutine
from dataclasses import dataclass

from fastapi import Response
from starlette._utils import get_route_path
from starlette.types import Scope

from api.callers import REALM, SCOPES, Caller, Head, Identity, Limiter, RawHeaders, Spent
from api.counts import Counts
from api.edge.gate import SECURITY, Proxies, refuse
from api.edge.route_table import RouteFacts, RouteTable

MOST_SYMBOLS = 100  # that one request may name

# Of an answer that not everybody gets: a cache that others share must not keep it, by which header
# ever it was asked for. Beside what the answer itself says of caches (no-cache).
PRIVATE: RawHeaders = [(b"cache-control", b"private"), (b"vary", b"Authorization, X-API-Key")]
NOT_KEPT = {"Cache-Control": "no-store", "Vary": "Authorization, X-API-Key"}
NAMING = frozenset((b"authorization", b"x-api-key"))  # headers that say who asks


@dataclass
class Admission:
    """What is asked of a request before it is answered. `headers` of an answer are its own."""

    routes: RouteTable
    proxies: Proxies
    identity: Identity | None = None
    limiter: Limiter | None = None
    counts: Counts | None = None

    async def admit(self, scope: Scope, head: Head) -> Response | RawHeaders:
        """The refusal of a request, or the headers that its answer gets beside its own.

        A refused one counts against the limit of its address, so that keys are not tried for free.
        """
        facts = scope["state"]["facts"] = self.routes.find(get_route_path(scope))
        known = self.recall(scope, head, facts.scope)
        if known is not None:
            return await self.limit(scope, facts, known, PRIVATE)
        found = await self.find_caller(scope, head, facts.scope)
        if not isinstance(found, Response):
            is_open = self.identity is None or facts.scope is None
            return await self.limit(scope, facts, found, [] if is_open else PRIVATE)
        limited = await self.limit(scope, facts, self.name_address(scope, head), [])
        if isinstance(limited, Response):
            return limited
        self.count("auth_refused", name_reason(found.status_code, head))
        return found

    def admit_at_once(self, scope: Scope, head: Head) -> RawHeaders | None:
        """As `admit`, for one who is known and has something left; None: ask that, nothing is
        spent."""
        facts, headers = scope["state"]["facts"], PRIVATE
        caller = self.recall(scope, head, facts.scope)
        if caller is None:
            if self.identity is not None:
                return None
            caller, headers = self.name_address(scope, head), []
        scope["state"]["caller"] = caller
        if self.limiter is None:
            return headers
        spent = self.limiter.spend(
            caller, weigh(facts, scope) if facts.by_symbols else facts.weight
        )
        if isinstance(spent, Spent):
            return headers + spent.headers if spent.refusal is None else None
        if isinstance(spent, Coroutine):
            spent.close()
        return None

    def count(self, *key: str) -> None:
        if self.counts is not None:
            self.counts.add(*key)

    async def limit(
        self, scope: Scope, facts: RouteFacts, caller: Caller, headers: RawHeaders
    ) -> Response | RawHeaders:
        """`headers` and those of the limit, or the refusal of who is over it."""
        scope["state"]["caller"] = caller
        if self.limiter is None:
            return headers
        spent = self.limiter.spend(caller, weigh(facts, scope))
        told, refusal = spent if isinstance(spent, Spent) else await spent
        if refusal is None:
            return headers + told
        self.count("rate_limited")
        refusal.raw_headers.extend(SECURITY)
        return refusal

    def recall(self, scope: Scope, head: Head, needed: str | None) -> Caller | None:
        """Of nearly all requests: one who was verified before, and may."""
        if self.identity is None or needed is None:
            return None
        found = self.identity.recall(scope, head)
        return found if found is not None and needed in found.scopes else None

    async def find_caller(self, scope: Scope, head: Head, needed: str | None) -> Caller | Response:
        """Who asks, if they have the scope `needed`; else the refusal (401, 403).

        None is needed of an open route: it is told who asks, and whoever it is not refused.
        """
        if self.identity is None:
            return self.name_address(scope, head)
        if needed is None and not head.keys() & NAMING:
            return self.name_address(scope, head)
        found: Caller | Response | None = self.identity.recall(scope, head)
        if found is None:
            found = await self.identity.identify(scope, head)
        if needed is None:
            return self.name_address(scope, head) if isinstance(found, Response) else found
        if isinstance(found, Response) or needed in found.scopes:
            return found
        return refuse_scope(needed)

    def name_address(self, scope: Scope, head: Head) -> Caller:
        """A caller of whom only the address is known; where nobody is told apart it may all."""
        address = self.proxies.find_address(scope.get("client"), head)
        return Caller(address, "address", SCOPES if self.identity is None else frozenset())


def weigh(facts: RouteFacts, scope: Scope) -> int:
    """How many requests this one counts as."""
    return facts.weight * (count_symbols(scope["query_string"]) if facts.by_symbols else 1)


def count_symbols(query: bytes) -> int:
    """The symbols that a query names, at least 1; read as roughly as this needs."""
    named = [part for part in query.split(b"&") if part.startswith(b"symbols=")]
    commas = sum(part.count(b",") + part.upper().count(b"%2C") for part in named)
    return min(commas + 1, MOST_SYMBOLS)


def name_reason(status: int, head: Head) -> str:
    """Why a caller is refused, in one word."""
    if not head.keys() & NAMING:
        return "missing"
    return {400: "ambiguous", 403: "scope", 503: "unavailable"}.get(status, "invalid")


def refuse_scope(needed: str) -> Response:
    detail = f"This needs the scope {needed}: ask with a token or a key that has it."
    challenge = f'{REALM}, error="insufficient_scope", scope="{needed}"'
    return refuse(403, detail, {"WWW-Authenticate": challenge, **NOT_KEPT})
