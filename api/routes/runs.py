"""/etl/runs: what each run fetched, and what became of every row."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as InQuery

from api.docs import openapi as docs
from api.edge.route_table import needs_scope
from api.faults import NoDatabase
from api.models import ListQuery, Run, RunsPage, RunsQuery
from api.routes.context import Context, ContextOf
from api.routes.lists import answer_json, count_on, cut_rows, name_last
from api.store import Reader, runs
from api.store.run_records import RunRecord, read_unstored

router = APIRouter(tags=["runs"])

# The store's reader, None where there is no store, and the records that tell more than it.
Question = Callable[[Reader | None, Mapping[str, RunRecord]], Mapping[str, Any]]

RunId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=64,
        description="As /etl/runs gives it.",
        examples=["20261123T101641Z-1c622d"],
    ),
]


@router.get(
    "/etl/runs", summary="Runs of the ETL", responses=docs.answers(RunsPage, "runs", 422, 503)
)
@needs_scope("admin")
async def list_runs(
    request: Request, query: Annotated[RunsQuery, InQuery()], context: ContextOf
) -> Response:
    """All runs, newest first: also those that failed, or are under way, and published nothing."""
    limit = context.check_limit(query.limit)

    def question(reader: Reader | None, records: Mapping[str, RunRecord]) -> dict[str, Any]:
        rows = runs.read_runs(reader, records, query.after, limit + 1)
        page, following = cut_rows(request, rows, limit, name_last("run_id"))
        return {"count": len(page), "next": following, "data": page}

    return answer_json(await ask_runs(context, question))


@router.get(
    "/etl/runs/{run_id}", summary="One run", responses=docs.answers(Run, "run", 404, 422, 503)
)
@needs_scope("admin")
async def read_run(
    run_id: RunId, request: Request, query: Annotated[ListQuery, InQuery()], context: ContextOf
) -> Response:
    """Per symbol: received = inserted + revised + unchanged + stale + superseded + rejected +
    out of range."""
    limit = context.check_limit(query.limit)

    def question(reader: Reader | None, records: Mapping[str, RunRecord]) -> dict[str, Any]:
        run = runs.read_run(reader, records, run_id)
        rows = runs.read_run_symbols(reader, records, run_id, query.after, limit + 1)
        page, following = cut_rows(request, rows, limit, count_on(query.after))
        return {**run, "next": following, "symbols": page}

    return answer_json(await ask_runs(context, question))


async def ask_runs(context: Context, question: Question) -> Mapping[str, Any]:
    """The answer to a question about runs; NoDatabase where there is neither store nor record.

    It depends on the folder of records beside the snapshot: the cache has both in its key.
    """
    folder = context.settings.runs_dir

    def ask(reader: Reader) -> Mapping[str, Any]:
        return question(reader, read_unstored(folder, reader.read_run_ids()))

    try:
        return await context.database.ask(context.require_snapshot(), ask)
    except NoDatabase:  # a first run that failed left its record all the same
        records = await anyio.to_thread.run_sync(read_unstored, folder, ())
        if not records:
            raise
        return question(None, records)
