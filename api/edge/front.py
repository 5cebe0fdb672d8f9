"""The one list of what a request meets before the routes, outermost first:

    Watch        its name (X-Request-ID), its count and its line in the log, once it is over
    Cors         only where CORS_ORIGINS names who may ask from the web: over all, so that refusals
                 have its headers too
    Gate         its head (sizes, Host), the prefix that a proxy puts in front, who asks and how
                 often (only where a setting wants to know), parts of an answer
    AnswerCache  kept answers, 304s, one scope a key; what a route marks goes by it
    the app      FastAPI: routing, validation, routes

What was answered from the cache may be asked for again by the very same bytes: api.edge.ready gives
it then, after it has asked the gate's Admission and told the Watch.

They stand before FastAPI's own layers, not among its middleware: those cost as much as the look-up
of a ready answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.cache.memory import MemoryBackend
from api.callers import Identity, Limiter
from api.callers.rates.limiter import build_rate_limiter
from api.edge.access_log import AccessLog
from api.edge.admission import Admission
from api.edge.answers import AnswerCache
from api.edge.depends import Dependence
from api.edge.fingerprint import build_fingerprint
from api.edge.gate import (
    Cors,
    Head,
    Hosts,
    Proxies,
    build_hosts,
    check_body,
    check_head,
    is_for_others,
    refuse,
    secure,
)
from api.edge.passing import Passing
from api.edge.ranges import cut_range
from api.edge.ready import Ready
from api.edge.ready_ranges import ReadyRanges
from api.edge.room import Room
from api.edge.route_table import RouteTable
from api.edge.sharing import Sharing
from api.edge.shortcut import build_minute_shortcut, build_shortcut, is_short
from api.edge.targets import Targets, read_forms
from api.edge.watch import RequestCounts, Watch
from api.fallbacks import Standby
from api.redis_link import import_redis
from api.settings import ApiSettings
from api.store.run_records import describe_folder

EXPOSED = [
    *("ETag", "Link", "X-Cache", "X-Data-Generation", "Content-Disposition", "Content-Range"),
    *("X-Symbol", "X-Symbols", "X-Interval", "X-Adjustment", "X-Count"),
    *("X-Hours", "X-Timezone", "X-Synthetic", "X-Provisional", "X-Minute-Generation"),
    *("X-Unknown", "X-Detail", "X-As-Of", "X-Left-Out", "X-Actions-Known-At", "X-Never-Asked"),
    *("Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Request-ID"),
]

UNDECIDED = (
    "This service listens where other machines reach it, and AUTH is not set: set AUTH=on (callers"
    " say who they are) or AUTH=off (open to all), or listen on 127.0.0.1."
)


@dataclass
class Gate:
    """ASGI layer: refuses what no route should see, and cuts the parts that Range asks for.

    `admission` asks who calls and how often; without one nobody is asked. is_undecided: AUTH is not
    set, so that this machine alone may ask, whatever address a server was told to listen on.
    """

    app: ASGIApp
    hosts: Hosts
    proxies: Proxies
    admission: Admission | None = None
    is_undecided: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = scope["state"]
            head: Head = state["head"]
            refusal = check_head(head, state["head_bytes"], self.hosts)
            if b"content-length" in head or b"transfer-encoding" in head:
                refusal = refusal or check_body(scope["method"], head)
            if self.is_undecided and is_for_others(scope.get("server")):
                refusal = refusal or refuse(403, UNDECIDED)
            if refusal is not None:
                return await self.refuse(refusal, scope, receive, send)
            if root := self.proxies.find_root(scope.get("client"), head):
                scope["root_path"] = root
            if self.admission is not None:
                admitted = await self.admission.admit(scope, head)
                if isinstance(admitted, Response):
                    return await self.refuse(admitted, scope, receive, send)
                state["own_headers"] += admitted
            send = cut_range(scope, send, head)
        return await self.app(scope, receive, send)

    async def refuse(self, refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["way"] = "refused"
        await refusal(scope, receive, secure(send))


@dataclass
class Front:
    """What a request meets first, and the layers of it that others ask something of."""

    outermost: Watch
    gate: Gate
    answers: AnswerCache


def build_front(app: FastAPI, answer: ASGIApp, settings: ApiSettings) -> Front:
    """The layers over `answer`, which is the app's own; its routes and its state must be there."""
    answers = build_answer_cache(app, answer, settings)
    hosts = build_hosts(settings.api_host, settings.allowed_hosts)
    proxies = Proxies(settings.root_path, settings.trusted_proxies)
    routes = RouteTable(app)
    admission = build_admission(app, settings, routes, proxies)
    gate = Gate(answers, hosts, proxies, admission, settings.auth is None)
    front: ASGIApp = gate
    if settings.cors_origins:
        front = allow_origins(front, settings.cors_origins, bool(settings.auth))
    watch = build_watch(front, app, settings, routes, proxies)
    if front is gate and isinstance(app.state.cache, MemoryBackend):
        memory, database = app.state.cache.memory, app.state.database
        ranges = ReadyRanges(
            memory, database, answers.targets, app.state.series_cache, settings.max_rows
        )
        answers.ready = Ready(memory, database, proxies, gate.admission, watch, ranges)
    return Front(watch, gate, answers)


def build_watch(
    front: ASGIApp, app: FastAPI, settings: ApiSettings, routes: RouteTable, proxies: Proxies
) -> Watch:
    """What is told of each request that is over, as the settings say."""
    watch = Watch(front, routes)
    if settings.metrics:
        watch.observers.append(RequestCounts(app.state.counts))
    if settings.access_log:
        access_log = AccessLog(settings.log_format, proxies)
        watch.observers.append(access_log)
        watch.chores.append(access_log.flush)
    return watch


def build_admission(
    app: FastAPI, settings: ApiSettings, routes: RouteTable, proxies: Proxies
) -> Admission | None:
    """What the settings ask of callers; None where they ask nothing."""
    identity, limiter = build_identity(app, settings), build_limiter(app, settings)
    if identity is None and limiter is None:
        return None
    return Admission(routes, proxies, identity, limiter, app.state.counts)


def build_identity(app: FastAPI, settings: ApiSettings) -> Identity | None:
    if not settings.auth:
        return None
    from api.callers.identity import TokenIdentity
    from api.callers.tokens import SigningKeys

    return TokenIdentity(settings.users_path, SigningKeys(settings.jwt_key))


def build_limiter(app: FastAPI, settings: ApiSettings) -> Limiter | None:
    """What limits callers; its stand-in, where it counts in Redis, is shown in /health."""
    app.state.limiter = None
    if not settings.rate_limit_in_use:
        return None
    standby: Standby = app.state.fallbacks.setdefault("redis_limits", Standby())
    rate, url = settings.rate_limit_in_use, settings.rate_limit_url
    limiter = app.state.limiter = build_rate_limiter(rate, url, standby)
    return limiter


def build_answer_cache(app: FastAPI, answer: ASGIApp, settings: ApiSettings) -> AnswerCache:
    targets = build_targets(app, settings)
    return AnswerCache(
        answer,
        app.state.cache,
        app.state.database,
        Passing(app),
        targets,
        build_shortcut(app.state.series_cache, settings.max_rows),
        Room(settings.work_max_mb * 2**20),
        build_sharing(app, settings, targets),
        minutes=app.state.minutes,
        minute_shortcut=build_minute_shortcut(app.state.minute_texts, settings.max_rows),
    )


def build_sharing(app: FastAPI, settings: ApiSettings, targets: Targets) -> Sharing | None:
    """What instances share, where CACHE_URL names a Redis; its faults are shown in /health."""
    app.state.shared = None
    if not settings.cache_url:
        return None
    from api.cache.redis_backend import RedisBackend
    from api.cache.shared import SharedAnswers

    import_redis("CACHE_URL")
    standby: Standby = app.state.fallbacks.setdefault("redis_cache", Standby())
    backend = RedisBackend(settings.cache_url, targets.fingerprint, standby)
    app.state.shared = SharedAnswers(backend)
    return Sharing(app.state.shared, is_short, targets.has_state)


def build_targets(app: FastAPI, settings: ApiSettings) -> Targets:
    """What answers depend on: beside the request and its symbols, `/etl/runs` on the records."""
    states = ("/etl/runs", partial(describe_folder, settings.runs_dir))
    return Targets(read_forms(app), Dependence(app), build_fingerprint(settings), states)


def allow_origins(app: ASGIApp, origins: Sequence[str], has_tokens: bool) -> Cors:
    is_named = "*" not in origins
    return Cors(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", *(["POST"] if has_tokens else [])],  # POST /token
        allow_headers=["*"],  # whatever a tool was told to send
        # an origin that is named may ask this machine from the web, and send its cookies
        allow_credentials=is_named,
        allow_private_network=is_named,
        expose_headers=EXPOSED,
    )
