"""The outermost layer: each request gets its name here, and is counted and logged when it is over.

Over CORS and the gate, so that what these refuse is counted too. With METRICS and ACCESS_LOG off a
request gets its name, and nothing else.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api.cache.memory import RawHeaders
from api.counts import Counts
from api.edge.gate import read_head
from api.edge.request_ids import CURRENT, HEADER, Sent, choose_id, name_request
from api.edge.route_table import OTHER, RouteFacts, RouteTable

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
SAY_THE_WAY = frozenset((0, 304))  # statuses that do
PERIOD = 1.0  # seconds between two calls of what is to be done now and then


class Observer(Protocol):
    """Who is told of each request that is over."""

    def note(self, scope: Scope, facts: RouteFacts, sent: Sent, seconds: float) -> None: ...


class Watch:
    """ASGI layer: names requests, and tells `observers` of those that are over.

    `chores` are called each second while the service runs, and once when it ends.
    """

    def __init__(self, app: ASGIApp, routes: RouteTable) -> None:
        self.app = app
        self.routes = routes
        self.observers: list[Observer] = []
        self.chores: list[Callable[[], None]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.pass_on(scope, receive, send)
        state = scope.setdefault("state", {})
        head, state["head_bytes"] = read_head(scope["headers"])
        request_id = choose_id(head.get(HEADER))
        state["head"], state["request_id"] = head, request_id
        own: RawHeaders = []
        state["own_headers"] = own  # the gate adds to them
        CURRENT.set(state)
        sent = Sent()
        send = name_request(send, request_id, own, sent)
        if not self.observers:
            return await self.app(scope, receive, send)
        began = perf_counter()
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1
            self.note(scope, sent, perf_counter() - began)

    def note_refused(self, request_id: str, client: str, status: int, size: int) -> None:
        """A connection that no request came of."""
        sent = Sent()
        sent.status, sent.size = status, size
        head = {HEADER: request_id.encode()}
        state = {"request_id": request_id.encode(), "way": "refused", "head": head}
        scope = {"method": "", "path": "", "client": (client, 0), "state": state}
        for observer in self.observers:
            observer.note(scope, OTHER, sent, 0.0)

    def note(self, scope: Scope, sent: Sent, seconds: float) -> None:
        facts = scope["state"].get("facts")
        if facts is None:  # nobody asked who may
            path = get_route_path(scope) if scope.get("root_path") else scope["path"]
            facts = self.routes.find(path)
        for observer in self.observers:
            observer.note(scope, facts, sent, seconds)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The life of the service: the chores are done as long as it lasts."""
        if self.chores and scope["type"] == "lifespan":
            self.do_chores()
        try:
            await self.app(scope, receive, send)
        finally:
            if self.timer is not None and scope["type"] == "lifespan":
                self.timer.cancel()
                self.call_chores()

    def do_chores(self) -> None:
        self.call_chores()
        self.timer = asyncio.get_running_loop().call_later(PERIOD, self.do_chores)

    def call_chores(self) -> None:
        for chore in self.chores:
            chore()


class RequestCounts:
    """Counts requests by route, method, status and way."""

    def __init__(self, counts: Counts) -> None:
        self.observe = counts.observe

    def note(self, scope: Scope, facts: RouteFacts, sent: Sent, seconds: float) -> None:
        status, method, way = sent.status, scope["method"], scope["state"].get("way")
        if method not in METHODS:
            method = "other"
        if way is None or status in SAY_THE_WAY:
            way = name_way(way, status)
        key = ("requests", facts.template, facts.group, method, status, way)
        self.observe(key, seconds, sent.size)


def name_way(told: str | None, status: int) -> str:
    """How an answer was come by, as the layer said that gave it; if it is told at all."""
    if status == 304:
        return "not_modified"
    if status == 0:
        return "abandoned"
    return told or "uncached"
