"""What the answers of a route depend on: each route says so itself, by a mark on its function.

An answer about symbols depends on the versions of these symbols, so that it outlives each load that
does not touch them. Without a mark it depends on the whole store: on the generation.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.models.terms import INTRADAY
from api.store import Snapshot
from api.store.minutes.views import MinuteView

F = TypeVar("F", bound=Callable[..., Any])
When = Callable[[bytes], bool]  # query in canonical form → whether
MARK, MINUTES_MARK = "depends_on_symbols_of", "depends_on_minutes_when"
INTRADAY_QUERY = re.compile(rf"(?:^|&)interval=(?:{'|'.join(INTRADAY)})(?:&|$)".encode())
IN_PATH = "{symbol}"
LISTS = frozenset({"symbols"})  # parameters of several symbols, parted by commas


def depends_on_symbols(*parameters: str) -> Callable[[F], F]:
    """Mark a route's function: all that its answers depend on are the symbols that its path and
    these parameters of its query name."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, MARK, parameters)
        return endpoint

    return mark


def depends_on_minutes(when: When = lambda query: True) -> Callable[[F], F]:
    """Mark a route's function: its answers, or those of which `when` says so, depend on the minutes
    of these symbols too. Unmarked are those that an intraday interval is asked of."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, MINUTES_MARK, when)
        return endpoint

    return mark


def is_intraday(query: bytes) -> bool:
    return INTRADAY_QUERY.search(query) is not None


def wants_provisional(query: bytes) -> bool:
    """Whether minutes count for bars: they are asked for, or daily bars made of them."""
    return b"provisional=true" in query or is_intraday(query)


class Dependence:
    """The marks of an app's routes, read once; paths are those below its root path."""

    def __init__(self, app: FastAPI) -> None:
        self.by_path: dict[str, Sequence[str]] = {}
        self.by_end: dict[str, dict[str, Sequence[str]]] = {}  # beginning → end of a path
        self.of_minutes: dict[tuple[str, str], When] = {}  # the same, as a pair
        for route in iter_route_contexts(app.routes):
            when = getattr(route.endpoint, MINUTES_MARK, None)
            if when is not None and route.path is not None:
                beginning, _, end = route.path.partition(IN_PATH)
                self.of_minutes[beginning, end] = when
            parameters = getattr(route.endpoint, MARK, None)
            if parameters is None or route.path is None:
                continue
            beginning, in_path, end = route.path.partition(IN_PATH)
            if in_path:
                self.by_end.setdefault(beginning, {})[end] = parameters
            else:
                self.by_path[route.path] = parameters

    def find_version(self, snapshot: Snapshot, path: str, query: bytes) -> str:
        """The version of what the answer to a request depends on."""
        named = self.find_symbols(path, query)
        found = [snapshot.versions.get(symbol.strip().upper()) for symbol in named or ()]
        if not found or None in found:  # what is no symbol now may be one of the next generation
            return snapshot.generation
        return found[0] if len(found) == 1 and found[0] else digest_versions(found)

    def has_minutes(self, path: str, query: bytes) -> bool:
        """Whether the answer to a request depends on minutes too."""
        for (beginning, end), when in self.of_minutes.items():
            if path.startswith(beginning) and path.endswith(end):
                inner = path[len(beginning) : len(path) - len(end)]
                if "/" not in inner and bool(inner) == (beginning + end != path):
                    return when(query)
        return is_intraday(query)

    def find_minute_version(self, minutes: MinuteView | None, path: str, query: bytes) -> str:
        """The version of the minutes that the answer to a request depends on."""
        if minutes is None:
            return "none"
        named = self.find_symbols(path, query)
        if not named:
            return minutes.generation
        return digest_versions([minutes.find_version(name.strip().upper()) for name in named])

    def find_symbols(self, path: str, query: bytes) -> list[str] | None:
        """The symbols that all depends on, as they were written; None: the whole store."""
        parameters = self.by_path.get(path)
        if parameters is not None:
            return read_symbols(query, parameters)
        for beginning, ends in self.by_end.items():
            if path.startswith(beginning):
                symbol, slash, rest = path[len(beginning) :].partition("/")
                parameters = ends.get(slash + rest)
                named = None if parameters is None else read_symbols(query, parameters)
                return None if named is None else [symbol, *named]
        return None


def read_symbols(query: bytes, parameters: Sequence[str]) -> list[str] | None:
    """The symbols that the parameters name; None where one is given twice."""
    # a name may be written with %: else, what is nowhere in the query need not be looked for
    if b"%" not in query and not any(name.encode() in query for name in parameters):
        return []
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    given = [(name, value) for name, value in pairs if name in parameters]
    if len(dict(given)) < len(given):
        return None
    found: list[str] = []
    for name, value in given:
        found += [part for part in value.split(",") if part.strip()] if name in LISTS else [value]
    return found


def digest_versions(versions: Sequence[str | None]) -> str:
    return hashlib.blake2b(" ".join(map(str, versions)).encode(), digest_size=8).hexdigest()
