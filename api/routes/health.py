"""/health: is there data, how old is it, how did the last run end. Never cached."""

import platform
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import fastapi
import orjson
from fastapi import APIRouter, Request, Response
from fastapi import Query as InQuery

from api.callers import Caller, Identity
from api.docs import openapi as docs
from api.edge.passing import passes_cache
from api.edge.route_table import READ_SCOPE, open_to_all, weighs
from api.encode.formats import JSON
from api.encode.text import encode_json
from api.fallbacks import list_fallbacks
from api.faults import Damaged, Fault
from api.models import Health, NoQuery
from api.routes.context import Context, ContextOf
from api.routes.lists import answer_json
from api.store import Snapshot
from api.store.run_records import read_record
from etl.settings import VERSION

router = APIRouter(tags=["service"])

NO_STORE = {"Cache-Control": "no-store", "Vary": "Authorization, X-API-Key"}
VERSIONS = {
    "service": VERSION,
    "python": platform.python_version(),
    "duckdb": duckdb.__version__,
    "fastapi": fastapi.__version__,
}


@router.get(
    "/health", summary="State of the service", responses=docs.answers(Health, "health", 422, 503)
)
@passes_cache()
@open_to_all
@weighs(0)
async def read_health(
    request: Request, query: Annotated[NoQuery, InQuery()], context: ContextOf
) -> Response:
    """503 while there is no database; `degraded` while an older one stands in for a bad one, and
    while nobody can be let in, since the file of users cannot be used.

    Where callers say who they are, who may not read gets the status alone.
    """
    snapshot = context.require_snapshot()
    snapshot, totals = await read_totals(context, snapshot)
    minutes = await describe_minutes(context)
    fault = context.database.fault or find_identity_fault(request)
    fault = fault or (minutes["fault"] if minutes else None)
    status = "degraded" if fault else "ok"
    if not may_read(request):
        return Response(encode_json({"status": status}), headers=NO_STORE, media_type=JSON)
    answer = answer_json(
        {
            "status": status,
            "fault": fault,
            "fallbacks": list_fallbacks(request.app.state.fallbacks),
            "generation": snapshot.generation,
            "published_at": snapshot.published_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **totals,
            "newest_bar_age_days": count_days_since(totals["last"]),
            "minutes": minutes,
            "last_run": read_last_run(context.settings.runs_dir),
            "versions": VERSIONS,
        }
    )
    answer.headers.update(NO_STORE)
    return answer


async def read_totals(context: Context, snapshot: Snapshot) -> tuple[Snapshot, dict[str, Any]]:
    """What is stored in all, and the snapshot of which it was read."""
    try:
        return snapshot, await context.database.ask(snapshot, lambda r: r.read_totals())
    except Damaged:  # another version may stand in by now
        snapshot = context.database.newest()
        return snapshot, await context.database.ask(snapshot, lambda r: r.read_totals())


async def describe_minutes(context: Context) -> dict[str, Any] | None:
    """What there is of bars shorter than a day; None where there are none, and no fault either."""
    try:
        view = await context.minutes.newest()
    except Fault as error:
        return {"fault": str(error)}
    if view is None:
        return None
    found = [each for bases in view.instruments.values() for each in bases.values()]
    return {
        "fault": context.minutes.fault,
        "generation": view.generation,
        "published_at": view.published_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "symbols": len(view.instruments),
        "bars": sum(each.bars for each in found),
        "last": f"{max(each.last for each in found).isoformat()}Z" if found else None,
    }


def find_identity_fault(request: Request) -> str | None:
    admission = request.app.layers.gate.admission
    identity: Identity | None = None if admission is None else admission.identity
    return None if identity is None else identity.fault


def may_read(request: Request) -> bool:
    """Whether who asks has the scope to read; the gate asks nobody where all have."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller is None or READ_SCOPE in caller.scopes


def count_days_since(day: str | None) -> int | None:
    return (datetime.now(UTC).date() - date.fromisoformat(day)).days if day else None


def read_last_run(folder: Path) -> dict[str, Any] | None:
    """run_id, status and end of the newest run record; None where there is none to read."""
    newest = max((path.stem for path in folder.glob("*.json") if path.is_file()), default="")
    record = read_record(folder, newest, is_last=True)
    if record is None:
        return None
    stages: dict[str, dict[str, Any]] = orjson.loads(record.stages)
    finished = [stage["finished_at"] for stage in stages.values() if "finished_at" in stage]
    return {
        "run_id": newest,
        "status": record.summary["status"],
        "failed": len(stages.get("extract", {}).get("failures", {})),
        "source": record.summary["source"],
        "stages": {name: stage["status"] for name, stage in stages.items()},
        "finished_at": max(finished, default=None),
    }
