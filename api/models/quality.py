"""Coverage, notes, revisions and corporate actions."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models.bars import Bar
from api.models.terms import Instant, ListQuery, Page


class Gap(BaseModel):
    session: str
    cause: Literal["rejected", "not delivered", "not yet published"]


class Sessions(BaseModel):
    symbol: str
    exchange: str | None = Field(description="As `calendar`.")
    calendar: str | None = Field(
        description="The calendar (MIC, 24/7 or 24/5) whose sessions are expected; null: not known."
    )
    sessions_known_from: str | None = Field(
        description="The first session that the calendar knows, where bars lie before; else null."
    )
    sessions_known_to: str | None = Field(
        description="The last session that the calendar knows, where bars lie after; else null."
    )
    first: str
    last: str
    bars: int = Field(description="Those on sessions, outside sessions and of unknown days.")
    sessions_expected: int | None = Field(
        description="Sessions of the calendar: present and gaps; null: not known."
    )
    sessions_present: int | None = Field(description="Sessions that have a bar; null: not known.")
    bars_outside_sessions: int = Field(description="Bars on days that are no session.")
    bars_of_unknown_days: int = Field(description="Bars on days that the calendar does not know.")


class Coverage(Sessions):
    gaps: list[Gap]
    notes: dict[str, int] = Field(description="Reason → bars that have such a note.")
    provisional: list[str] = Field(description="Bars fetched before their session had closed.")
    next: str | None = Field(
        description="Relative URL of the gaps and provisional bars after these; null at the end."
    )


class CoverageRow(Sessions):
    """Coverage in counts; /instruments/{symbol}/coverage has the days and reasons."""

    gaps: int = Field(description="Sessions without a bar.")
    notes: int
    provisional: int = Field(description="Bars fetched before their session had closed.")
    revisions: int = Field(description="Times that a vendor changed a bar.")


class CoveragesPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[CoverageRow]


class Note(BaseModel):
    timestamp: str
    reason: str
    detail: str
    run_id: str = Field(description="The run that said so first.")
    known_from: str


class NotesPage(Page):
    data: list[Note]


class Revision(Bar):
    """The old values."""

    model_config = ConfigDict(json_schema_extra=None)

    known_from: str
    known_to: str
    run_id: str = Field(description="The run that changed the bar.")


class RevisionsPage(Page):
    data: list[Revision]


class ActionsQuery(ListQuery):
    as_of: Instant | None = Field(
        None,
        description="The actions as known at this instant.",
        examples=["2026-12-31T20:00:00Z"],
    )
    history: bool = Field(
        False,
        description="Also those that a later answer changed or did not have any more (`known_to`).",
        examples=[False],
    )


class Action(BaseModel):
    ex_date: str
    kind: Literal["split", "dividend"]
    ratio: float | None
    amount: float | None
    source: str
    known_from: str
    known_to: str | None = Field(description="Null: this is what is known.")


class ActionsPage(Page):
    data: list[Action]
