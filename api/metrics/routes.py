"""GET /metrics, in Prometheus' text format: to loopback, else to who may."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from api.callers import Caller
from api.edge.gate import LOOPBACK
from api.edge.passing import passes_cache
from api.edge.route_table import open_to_all, weighs
from api.metrics.sources import list_sources
from api.problems import Problem

router = APIRouter(include_in_schema=False)

OFF = "Metrics are off: set METRICS=on."
WHO = (
    "Metrics are for this machine, for who has the scope admin, and for who sends"
    " METRICS_TOKEN as Authorization: Bearer."
)
BEARER = b"Bearer "


@router.get("/metrics")
@passes_cache()
@open_to_all
@weighs(0)
async def read_metrics(request: Request) -> Response:
    """Loopback is who connects from there and speaks for nobody else."""
    if not request.app.state.settings.metrics:
        raise Problem(404, OFF)
    refusal = await find_refusal(request)
    if refusal is not None:
        return refusal
    return encode(
        request, [family async for family in list_sources(request.app, datetime.now(UTC))]
    )


async def find_refusal(request: Request) -> Response | None:
    head = request.scope["state"]["head"]
    if is_local(request) or has_token(request, head.get(b"authorization", b"")):
        return None
    admission = request.app.layers.gate.admission
    if admission is None or admission.identity is None:
        raise Problem(401, WHO, {"WWW-Authenticate": "Bearer"})
    found: Caller | Response = await admission.find_caller(request.scope, head, "admin")
    return found if isinstance(found, Response) else None


def is_local(request: Request) -> bool:
    """Whether this machine asks for itself: what a proxy sends on comes from elsewhere."""
    names = ("x-forwarded-for", "x-forwarded-prefix", "forwarded", "x-real-ip", "via")
    if request.client is None or any(name in request.headers for name in names):
        return False
    return request.client.host.removeprefix("::ffff:") in LOOPBACK


def has_token(request: Request, given: bytes) -> bool:
    values: tuple[str, ...] = request.app.state.settings.metrics_token.values
    is_bearer = given[: len(BEARER)].lower() == BEARER.lower()
    given = given[len(BEARER) :].strip()
    matches = [secrets.compare_digest(given, token.encode()) for token in values if token]
    return is_bearer and any(matches)


def encode(request: Request, families: Iterable[Any]) -> Response:
    """In the format that the scraper asks for; only a scrape loads the library."""
    from prometheus_client.exposition import choose_encoder

    encoder, media_type = choose_encoder(request.headers.get("accept", ""))
    headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
    return Response(encoder(Scrape(families)), headers=headers)


class Scrape:
    """A registry of one scrape."""

    def __init__(self, families: Iterable[Any]) -> None:
        self.families = families

    def collect(self) -> Iterable[Any]:
        return self.families
