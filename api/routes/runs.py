"""/etl/runs: what each run fetched, and what became of every row."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as InQuery

from api import docs, queries
from api.models import ListQuery, Run, RunsPage, RunsQuery
from api.routes import StoreOf, answer_json, answer_list, count_on, cut_rows, name_last

router = APIRouter(tags=["runs"])

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
async def list_runs(
    request: Request, query: Annotated[RunsQuery, InQuery()], store: StoreOf
) -> Response:
    """The runs that this publication knows of, newest first; a failed one too.

    A run that published nothing is listed from the next publication on; /health has the last one.
    """
    return await answer_list(
        request,
        store,
        query.limit,
        lambda c, limit: queries.read_runs(c, query.after, limit),
        name_last("run_id"),
    )


@router.get(
    "/etl/runs/{run_id}", summary="One run", responses=docs.answers(Run, "run", 404, 422, 503)
)
async def read_run(
    run_id: RunId, request: Request, query: Annotated[ListQuery, InQuery()], store: StoreOf
) -> Response:
    """Per symbol: received = inserted + revised + unchanged + stale + rejected + out of range."""
    limit = store.check_limit(query.limit)

    def question(cursor: queries.Cursor) -> Response:
        run = queries.read_run(cursor, run_id)
        rows = queries.read_run_symbols(cursor, run_id, query.after, limit + 1)
        page, following = cut_rows(request, rows, limit, count_on(query.after))
        return answer_json({**run, "next": following, "symbols": page})

    return await store.ask(question)
