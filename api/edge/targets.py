"""Which answer a request gets: its key, its ETag and the scope that the routes see, worked out once
a publication for each way in which it is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette._utils import get_route_path
from starlette.types import Scope

from api.edge.depends import Dependence
from api.edge.keys import Forms, build_etag, build_key, canonical
from api.store import Snapshot
from api.store.minutes.views import MinuteView

# What is remembered: so many requests of at most so many characters each, about 4 MB.
MOST_KNOWN, LONGEST = 4096, 400


class Target(NamedTuple):
    """The answer that a request gets. path, query: in canonical form; path with the root path,
    route_path without; url: as path, %-coded; has_minutes: it depends on minutes, whose version is
    in the key once `add_minutes` was asked."""

    key: str
    etag: str
    path: str
    url: str
    route_path: str
    query: bytes
    has_minutes: bool = False


@dataclass(frozen=True)
class NothingYet:
    """Stands for the snapshot of a daily store that there is not yet."""

    generation: str = "none"
    published_at: datetime = datetime(1970, 1, 1)  # noqa: DTZ001
    versions: Mapping[str, str] = field(default_factory=dict)
    bars: Mapping[str, int] = field(default_factory=dict)

    def find_version(self, symbol: str) -> str:
        return self.generation


NOTHING_YET = NothingYet()


class Targets:
    """`states`: answers below the path states[0] depend on what states[1] describes too."""

    def __init__(
        self,
        forms: Forms,
        dependence: Dependence,
        fingerprint: str,
        states: tuple[str, Callable[[], str]],
    ) -> None:
        self.forms = forms
        self.dependence = dependence
        self.fingerprint = fingerprint
        self.states = states
        self.known: dict[tuple[object, ...], Target] = {}
        self.generation = ""

    def find(self, snapshot: Snapshot, scope: Scope, media: str, coding: str) -> Target:
        """One look into a dict for what was asked before of this publication."""
        if snapshot.generation != self.generation or len(self.known) >= MOST_KNOWN:
            self.known.clear()
            self.generation = snapshot.generation
        path, query, root = scope["path"], scope["query_string"], scope.get("root_path", "")
        asked = path, query, media, coding, root, scope["state"].get("audience", "")
        found = self.known.get(asked)
        if found is not None:
            return found
        target = self.work_out(snapshot, scope, media, coding)
        if len(path) + len(query) <= LONGEST and not self.has_state(target):
            self.known[asked] = target
        return target

    def work_out(self, snapshot: Snapshot, scope: Scope, media: str, coding: str) -> Target:
        whole, route_path, query = scope["path"], get_route_path(scope), scope["query_string"]
        asked = canonical(self.forms, route_path, query, media)
        path = whole.removesuffix(route_path) + asked.path
        version = self.dependence.find_version(snapshot, asked.path, asked.query)
        url, root = quote(path), scope.get("root_path", "")
        audience = scope["state"].get("audience", "")
        key = self.name(version, root, url, asked.query, (media, coding), audience)
        has_minutes = self.dependence.has_minutes(asked.path, asked.query)
        target = Target(key, build_etag(key), path, url, asked.path, asked.query, has_minutes)
        return self.add_state(target) if self.has_state(target) else target

    def name(
        self,
        version: str,
        root: str,
        url: str,
        query: bytes,
        wanted: tuple[str, str],
        audience: str = "",
    ) -> str:
        """The key of what is asked for in canonical form, without the state that it may depend
        on; wanted: media and coding."""
        sent = f"{root} {url}?{query.decode('latin-1')}"
        return build_key(version, self.fingerprint, audience, sent, wanted)

    def add_minutes(self, target: Target, minutes: MinuteView | None, is_down: bool) -> Target:
        """The target with the version of the minutes that it depends on: of these symbols; as it
        is where there are no minutes at all."""
        if minutes is None and not is_down:
            return target
        path, query = target.route_path, target.query
        found = self.dependence.find_minute_version(minutes, path, query)
        version, _, rest = target.key.partition(" ")
        key = f"{version}.{'down' if is_down else found} {rest}"
        return target._replace(key=key, etag=build_etag(key))

    def has_state(self, target: Target) -> bool:
        return target.route_path.startswith(self.states[0])

    def add_state(self, target: Target) -> Target:
        key = f"{target.key} {self.states[1]()}"
        return target._replace(key=key, etag=build_etag(key))


def read_forms(app: FastAPI) -> Forms:
    """The models that the routes of an app read their query by; one without is left as it is."""
    models: dict[str, type[BaseModel]] = {}
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute) or route.path is None:
            continue
        given = [field.field_info.annotation for field in route.dependant.query_params]
        if len(given) == 1 and isinstance(given[0], type) and issubclass(given[0], BaseModel):
            models[route.path] = given[0]
    return Forms(models)
