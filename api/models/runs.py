"""/etl/runs: each run, and the outcome of each symbol's rows in it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.models.terms import Query


class RunsQuery(Query):
    limit: int | None = Field(
        None, description="Runs returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: str = Field(
        "",
        max_length=64,
        description="The run_id to go on after, for paging.",
        examples=["20990101T000000Z-000000"],
    )


class RunSummary(BaseModel):
    run_id: str
    started_at: str
    finished_at: str | None
    status: Literal["ok", "failed", "killed", "running"]
    source: str | None
    calls: int = Field(description="Calls spent at the vendor.")
    received: int
    inserted: int
    revised: int
    unchanged: int
    stale: int = Field(description="Older than what was stored already.")
    superseded: int = Field(description="Came together with a newer answer of the same bar.")
    rejected: int
    out_of_range: int


class RunsPage(BaseModel):
    count: int
    next: str | None
    data: list[RunSummary]


class RunSymbol(BaseModel):
    symbol: str
    received: int
    inserted: int
    revised: int
    unchanged: int
    stale: int
    superseded: int
    rejected: int
    duplicates: int = Field(description="Among the rejected.")
    out_of_range: int
    digest: str | None = Field(description="Of all stored bars of the symbol after this run.")


class Run(RunSummary):
    failures: dict[str, str]
    stages: dict[str, Any]
    next: str | None = Field(
        description="Relative URL of the symbols after these; null at the end."
    )
    symbols: list[RunSymbol]
