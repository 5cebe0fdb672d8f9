"""The one list of what a request meets before the routes, outermost first:

    Gate         its head (sizes, Host), the prefix that a proxy puts in front, parts of an answer
    Cors         only where CORS_ORIGINS names who may ask from the web
    AnswerCache  kept answers, 304s, one scope a key; what a route marks goes by it
    the app      FastAPI: routing, validation, routes

They stand before FastAPI's own layers, not among its middleware: those cost as much as the look-up
of a ready answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api.edge.answers import AnswerCache
from api.edge.depends import Dependence
from api.edge.fingerprint import build_fingerprint
from api.edge.gate import Cors, Hosts, Proxies, build_hosts, check_head, read_head
from api.edge.passing import Passing
from api.edge.ranges import cut_range
from api.edge.room import Room
from api.edge.shortcut import build_shortcut
from api.settings import ApiSettings
from api.store.run_records import describe_folder

EXPOSED = [
    *("ETag", "Link", "X-Cache", "X-Data-Generation", "Content-Disposition", "Content-Range"),
    *("X-Symbol", "X-Symbols", "X-Interval", "X-Adjustment", "X-Count"),
    *("X-Unknown", "X-Detail", "X-As-Of", "X-Left-Out", "X-Actions-Known-At", "X-Never-Asked"),
    "Retry-After",
]


@dataclass
class Gate:
    """ASGI layer: refuses what no route should see, and cuts the parts that Range asks for."""

    app: ASGIApp
    hosts: Hosts
    proxies: Proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            head, size = read_head(scope["headers"])
            refusal = check_head(head, size, self.hosts)
            if refusal is not None:
                return await refusal(scope, receive, send)
            scope.setdefault("state", {})["head"] = head
            if root := self.proxies.find_root(scope.get("client"), head):
                scope["root_path"] = root
            send = cut_range(scope, send, head)
        return await self.app(scope, receive, send)


def build_front(app: FastAPI, answer: ASGIApp, settings: ApiSettings) -> Gate:
    """The layers over `answer`, which is the app's own; its routes and its state must be there."""
    front: ASGIApp = build_answer_cache(app, answer, settings)
    if settings.cors_origins:
        front = allow_origins(front, settings.cors_origins)
    return Gate(
        front,
        build_hosts(settings.api_host, settings.allowed_hosts),
        Proxies(settings.root_path, settings.trusted_proxies),
    )


def build_answer_cache(app: FastAPI, answer: ASGIApp, settings: ApiSettings) -> AnswerCache:
    return AnswerCache(
        answer,
        app.state.cache,
        app.state.database,
        Passing(app),
        Dependence(app),
        build_shortcut(app.state.series_cache, settings.max_rows),
        build_fingerprint(settings),
        ("/etl/runs", partial(describe_folder, settings.runs_dir)),
        Room(settings.work_max_mb * 2**20),
    )


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> Cors:
    is_named = "*" not in origins
    return Cors(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD"],
        allow_headers=["*"],  # whatever a tool was told to send
        # an origin that is named may ask this machine from the web, and send its cookies
        allow_credentials=is_named,
        allow_private_network=is_named,
        expose_headers=EXPOSED,
    )
