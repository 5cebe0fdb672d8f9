"""Which route a path leads to, and what that route says of its callers by marks on its function.

Looked up before the answer cache, so that what is asked of a caller, what a request weighs and
under which name it is counted cost one look into a dict.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

F = TypeVar("F", bound=Callable[..., Any])
SCOPE_MARK, WEIGHT_MARK, SYMBOLS_MARK = "needs_scope", "weighs", "weighs_by_symbols"
READ_SCOPE = "read"
MOST_PATHS, LONGEST_PATH = 4096, 256  # of paths whose route is remembered, and their characters


# Under which name the time of a module's routes is counted; of all others "service".
GROUPS = {
    "api.routes.bars": "bars",
    "api.routes.many": "bars",
    "api.routes.figures": "figures",
    "api.routes.instruments": "lists",
    "api.routes.quality": "lists",
    "api.routes.runs": "lists",
    "api.protocols": "protocols",
    "api.page": "page",
}


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """template: the path as it was declared; scope: what a caller needs, None: open to all;
    weight: requests that one of this route counts as, by_symbols: so many a symbol; group: of
    which its time is a part."""

    template: str
    scope: str | None = READ_SCOPE
    weight: int = 1
    group: str = "service"
    by_symbols: bool = False


OTHER = RouteFacts("other")  # a path that no route has


def open_to_all(endpoint: F) -> F:
    """Mark a route's function: whoever asks gets its answer, known or not."""
    setattr(endpoint, SCOPE_MARK, None)
    return endpoint


def needs_scope(scope: str) -> Callable[[F], F]:
    """Mark a route's function: a caller needs this scope, in place of `read`."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, SCOPE_MARK, scope)
        return endpoint

    return mark


def weighs(requests: int, by_symbols: bool = False) -> Callable[[F], F]:
    """Mark a route's function: under a limit, one request of it counts as so many.

    0: it is not counted. by_symbols: as so many for each of its `symbols`.
    """

    def mark(endpoint: F) -> F:
        setattr(endpoint, WEIGHT_MARK, requests)
        setattr(endpoint, SYMBOLS_MARK, by_symbols)
        return endpoint

    return mark


class RouteTable:
    """The routes of an app, read once; paths are those below its root path."""

    def __init__(self, app: FastAPI) -> None:
        self.by_path: dict[str, RouteFacts] = {}
        self.patterns: list[tuple[re.Pattern[str], RouteFacts]] = []
        self.known: dict[str, RouteFacts] = {}
        for route in iter_route_contexts(app.routes):
            if route.path is not None:
                self.add(route.path, read_marks(route.path, route.endpoint))

    def add(self, path: str, facts: RouteFacts) -> None:
        if "{" in path:
            self.patterns.append((compile_path(path)[0], facts))
        else:
            self.by_path.setdefault(path, facts)

    def find(self, path: str) -> RouteFacts:
        found = self.known.get(path)
        return self.look_up(path) if found is None else found

    def look_up(self, path: str) -> RouteFacts:
        found = self.by_path.get(path) or next(
            (facts for pattern, facts in self.patterns if pattern.match(path)), OTHER
        )
        if len(path) <= LONGEST_PATH:
            if len(self.known) >= MOST_PATHS:
                self.known.clear()
            self.known[path] = found
        return found


def read_marks(path: str, endpoint: Any) -> RouteFacts:
    module = getattr(endpoint, "__module__", "")
    group = next((name for room, name in GROUPS.items() if module.startswith(room)), "service")
    return RouteFacts(
        path,
        getattr(endpoint, SCOPE_MARK, READ_SCOPE),
        getattr(endpoint, WEIGHT_MARK, 1),
        group,
        getattr(endpoint, SYMBOLS_MARK, False),
    )
