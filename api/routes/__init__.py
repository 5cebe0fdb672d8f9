"""Thin: declare typed parameters, call, return. One module a resource."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request, Response

from api.database import Database, Snapshot
from api.errors import Problem
from api.formats import JSON, encode_json
from api.holdings import Holdings
from api.settings import ApiSettings

MOST_PARAMETERS = 30


async def get_settings(request: Request) -> ApiSettings:
    settings: ApiSettings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def get_snapshot(request: Request) -> Snapshot | None:
    """The snapshot that the request took before its cache look-up; None where there was none.

    That is for `Database.ask` to refuse, once the rest of the request is checked.
    """
    snapshot: Snapshot | None = getattr(request.state, "snapshot", None)
    return snapshot


async def refuse_repeated(request: Request) -> None:
    """A parameter given twice has no clear meaning; more than any page has are not even read."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > MOST_PARAMETERS:
        raise Problem(422, f"{len(names)} parameters are given: no page has {MOST_PARAMETERS}")
    for name in names:
        if names.count(name) > 1:
            raise Problem(422, f"{name} is given {names.count(name)} times: give it once")


async def get_holdings(request: Request) -> Holdings:
    holdings: Holdings = request.app.state.holdings
    return holdings


HoldingsOf = Annotated[Holdings, Depends(get_holdings)]
SettingsOf = Annotated[ApiSettings, Depends(get_settings)]
DatabaseOf = Annotated[Database, Depends(get_database)]
SnapshotOf = Annotated[Snapshot | None, Depends(get_snapshot)]


def check_limit(limit: int | None, most: int) -> int:
    """The number of rows to give: `limit`, or the most there can be."""
    if limit is not None and not 1 <= limit <= most:
        raise Problem(422, f"limit={limit}: it should be from 1 to {most} (MAX_ROWS)")
    return limit or most


def check_range(start: date | None, end: date | None) -> None:
    if start and end and start > end:
        raise Problem(422, f"start {start} is after end {end}: swap them")


def move_on(request: Request, **changes: str) -> str:
    """The request's own URL, relative, with some parameters set anew."""
    query = urlencode({**request.query_params, **changes})
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    return f"{path}?{query}"


def answer_json(value: Mapping[str, Any]) -> Response:
    """A JSON answer; its `next`, if any, stands in the Link header too."""
    following = value.get("next")
    headers = {"Link": f'<{following}>; rel="next"'} if following else None
    return Response(encode_json(value), headers=headers, media_type=JSON)
