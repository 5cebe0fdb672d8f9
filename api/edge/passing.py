"""Which routes the answer cache passes by: each says so itself, by a mark on its function.

An answer that depends on more than the snapshot (a clock, a folder, files of this version) is never
kept; one that is sent while it is made has no end to wait for. Everything else is kept.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import compile_path

When = Callable[[bytes, str], bool]  # query string as sent, name of the format → whether
F = TypeVar("F", bound=Callable[..., Any])
MARK = "passes_cache_when"


def always(query: bytes, media: str) -> bool:
    return True


def passes_cache(when: When = always) -> Callable[[F], F]:
    """Mark a route's function: its answers are not kept, or not those of which `when` says so."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, MARK, when)
        return endpoint

    return mark


class Passing:
    """The marks of an app's routes, read once; paths are those below its root path."""

    def __init__(self, app: FastAPI) -> None:
        self.by_path: dict[str, When] = {}
        self.patterns: list[tuple[re.Pattern[str], When]] = []
        for route in iter_route_contexts(app.routes):
            is_ours = isinstance(route.original_route, APIRoute)
            when = getattr(route.endpoint, MARK, None) if is_ours else always
            if when is not None and route.path is not None:
                self.add(route.path, when, is_mount=route.endpoint is None)
        self.beginnings = tuple({get_beginning(pattern) for pattern, _ in self.patterns})

    def add(self, path: str, when: When, is_mount: bool) -> None:
        if is_mount or "{" in path:
            pattern = compile_path(f"{path}/{{rest:path}}" if is_mount else path)[0]
            self.patterns.append((pattern, when))
        else:
            self.by_path[path] = when

    def passes(self, path: str, query: bytes, media: str) -> bool:
        when = self.by_path.get(path)
        if when is None and path.startswith(self.beginnings):
            when = next((w for pattern, w in self.patterns if pattern.match(path)), None)
        return when is not None and when(query, media)


def get_beginning(pattern: re.Pattern[str]) -> str:
    """The text that every path of a pattern begins with."""
    return re.split(r"[(\\$]", pattern.pattern.removeprefix("^"))[0]
