"""The application factory, and the server: python -m api.main."""

import logging
import logging.config
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI
from starlette.types import Receive, Scope, Send

from api.cache.memory import Memory, MemoryBackend
from api.cache.minute_cache import MinuteCache
from api.cache.minute_texts import MinuteTexts
from api.cache.series_cache import SeriesCache
from api.callers.rates.limiter import warn_of_workers
from api.docs import openapi as docs
from api.edge.answers import AnswerCache
from api.edge.front import Front, build_front
from api.edge.gate import Proxies
from api.edge.protocol import Protocol, build_connections, raise_descriptors
from api.edge.shared_counts import open_counts, share_counts
from api.fallbacks import Fallback, LastSecrets
from api.live.hub import Hub
from api.live.reading import Reading
from api.live.streams import Streams
from api.log_config import build_log_config
from api.metrics import routes as metrics
from api.metrics.sources import refresh_gauges
from api.page import routes as dashboard
from api.problems import install_handlers
from api.protocols.alpaca import routes as alpaca
from api.protocols.openbb import routes as openbb
from api.protocols.udf import routes as udf
from api.redis_link import check_redis
from api.routes import (
    bars,
    figures,
    generations,
    health,
    instruments,
    many,
    quality,
    runs,
    stream,
)
from api.routes.context import refuse_repeated
from api.settings import (
    ApiSettings,
    SettingsError,
    check_guard,
    find_oddities,
    load_secrets,
    read_settings,
)
from api.store.duckdb_file.sending import Sender
from api.store.duckdb_file.snapshots import Database
from api.store.following import LastGeneration, run_follower
from api.store.minutes import Minutes
from etl.credentials.watch import watch_secrets
from etl.settings import VERSION

log = logging.getLogger("api")

# Seconds that a thread may hold the interpreter against the event loop; Python's own is 0.005.
SWITCH_INTERVAL = 0.001
# Of CACHE_MAX_MB; the rest lies between the bytes that are counted and those of the process.
COUNTED = 15 / 16
MODULES = (
    *(health, instruments, bars, stream, figures, many, quality, runs, generations),
    *(udf, openbb, alpaca, dashboard),
)


class Service(FastAPI):
    """FastAPI behind the layers that a request meets first: see api.edge.front."""

    layers: Front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.layers.outermost(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)

    @property
    def front(self) -> AnswerCache:
        """What lies right behind the gate."""
        return self.layers.answers


def create_app(settings: ApiSettings | None = None) -> Service:
    """An app of its own database and cache; nothing is opened before the first request."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    settings = settings or read_settings(ApiSettings)
    app = Service(
        title="Market Data Service",
        version=VERSION,
        description=docs.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": "."}],  # beside this file, whatever prefix a proxy puts in front
        openapi_url=None,  # docs.py serves it
        generate_unique_id_function=lambda route: route.name,  # what a generated client calls it
        dependencies=[Depends(refuse_repeated)],
        lifespan=run_beside,
    )
    app.state.settings = settings
    fallbacks: dict[str, Fallback] = {"vault": LastSecrets(settings)}
    app.state.fallbacks = fallbacks
    app.state.counts = open_counts()
    proxies = Proxies("", settings.trusted_proxies)
    app.state.connections = build_connections(settings.client_connections, proxies)
    app.state.database = Database(
        settings.database_path, settings.db_memory_mb, settings.query_timeout
    )
    app.state.sender = Sender(app.state.database)
    if settings.follow_url:
        stand_in_for_source(app, settings)
    app.state.database.counts = app.state.counts if settings.metrics else None
    memory = Memory(int(settings.cache_max_mb * 2**20 * COUNTED))
    app.state.cache = MemoryBackend(memory)
    app.state.series_cache = SeriesCache(memory, app.state.database)
    app.state.minutes = Minutes(settings)
    app.state.minute_cache = MinuteCache(memory, app.state.minutes)
    turns = app.state.series_cache.turns
    app.state.minute_texts = MinuteTexts(memory, app.state.minute_cache, turns)
    app.state.hub = Hub(app.state.minutes, app.state.database)
    app.state.reading = Reading(app.state.minutes, app.state.minute_cache)
    app.state.streams = Streams(settings.streams_per_caller)
    for module in MODULES:
        app.include_router(module.router)
    if settings.auth:
        install_tokens(app, settings)
    app.include_router(metrics.router)
    docs.install_docs(app, settings.max_rows, bool(settings.auth))
    install_handlers(app)
    app.layers = build_front(app, app.answer, settings)
    if settings.metrics and settings.api_workers > 1:  # others tell of what this one holds
        app.layers.outermost.chores.append(partial(refresh_gauges, app))
    return app


@asynccontextmanager
async def run_beside(app: FastAPI) -> AsyncIterator[None]:
    """What goes on in the background while the app is served."""
    load_secrets(app.state.settings)
    with watch_secrets(app.state.settings):
        yield
    app.state.minutes.close()
    for each in (app.state.limiter, app.state.shared):
        if each is not None:
            await each.close()


def stand_in_for_source(app: FastAPI, settings: ApiSettings) -> None:
    """Tell how this host stands to FOLLOW_URL, where that is not well."""
    following = app.state.fallbacks["source"] = LastGeneration(settings)
    app.state.database.tell_waiting = following.tell_waiting


def install_tokens(app: FastAPI, settings: ApiSettings) -> None:
    """Let users sign in: what that needs is loaded only where callers say who they are."""
    from api.callers.grants import build_grants
    from api.routes import sign_in

    check_guard(settings)
    app.state.grants = build_grants(settings)
    app.include_router(sign_in.router)


def main() -> int:
    """Serve as the settings say; 2 for a bad setting, 1 when the port is taken."""
    try:
        settings = read_settings(ApiSettings)
        check_guard(settings)
        check_redis(settings)
        load_secrets(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    log_config = build_log_config(settings)
    logging.config.dictConfig(log_config)
    for line in list_warnings(settings):
        tell(settings, logging.WARNING, line)
    if fault := find_port_fault(settings):
        tell(settings, logging.ERROR, fault)
        return 1
    address = f"http://{settings.api_host}:{settings.api_port}"
    tell(settings, logging.INFO, f"Dashboard: {address}/")
    tell(settings, logging.INFO, f"Documentation: {address}/docs")
    raise_descriptors()
    with run_follower(settings), share_counts(settings.api_workers if settings.metrics else 1):
        run_server(settings, log_config)
    return 0


def list_warnings(settings: ApiSettings) -> list[str]:
    """What somebody who starts the service should know."""
    lines = find_oddities(ApiSettings)
    if warning := warn_of_workers(settings):
        lines.append(warning)
    if settings.auth and not settings.users_path.exists():
        lines.append("there is no user and no key yet: make user, make key")
    return lines


def tell(settings: ApiSettings, level: int, line: str) -> None:
    """To who starts the service: where a program reads along, as a line of the log."""
    if settings.log_format == "json":
        log.log(level, "%s", line)
    elif level == logging.INFO:
        print(line, flush=True)
    else:
        print(f"{logging.getLevelName(level).lower()}: {line}", file=sys.stderr)


def run_server(settings: ApiSettings, log_config: dict[str, Any]) -> None:
    uvicorn.run(
        "api.main:create_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=settings.api_workers,
        log_level=settings.log_level.lower(),
        log_config=log_config,
        access_log=False,  # ours has more in a line and costs less: api.edge.access_log
        server_header=False,
        proxy_headers=False,  # a client is who connects: X-Forwarded-For can be made up
        ws="none",
        http=Protocol,
    )


def find_port_fault(settings: ApiSettings) -> str | None:
    """Why the address cannot be served on, in one line; None if it can."""
    address = f"{settings.api_host}:{settings.api_port}"
    try:
        family = socket.getaddrinfo(settings.api_host, settings.api_port)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.api_host, settings.api_port))
    except OSError as error:
        return f"{address} cannot be served on ({error.strerror}): set API_PORT or API_HOST"
    return None


if __name__ == "__main__":
    raise SystemExit(main())
