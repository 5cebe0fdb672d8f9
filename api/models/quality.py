"""Coverage, notes, revisions and corporate actions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.models.bars import Bar
from api.models.instruments import StoredInterval
from api.models.terms import (
    Instant,
    ListQuery,
    Page,
    RangeListQuery,
    ToldSynthetic,
    ToldZone,
    read_interval,
)

Base = Annotated[Literal["1s", "1m", "1d"], BeforeValidator(read_interval)]


def choose_stored() -> Any:
    """The field of what stored bars are asked for."""
    return Field(
        "1d",
        description="Of which stored bars: 1d, or shorter ones (1m; 1s where it is stored).",
        examples=["1d"],
    )


class CoverageQuery(ListQuery):
    interval: Base = choose_stored()


class OfInterval(RangeListQuery):
    interval: Base = choose_stored()


class OfMinutes(Page):
    interval: str | None = Field(None, description="Only of bars shorter than a day.")
    timezone: ToldZone = None
    synthetic: ToldSynthetic = None


class MinuteGap(BaseModel):
    session: str
    bars: int
    expected: int
    no_trade: int
    not_delivered: int


class MinuteCoverage(BaseModel):
    """Of bars shorter than a day; all counts but `bars` and
    bars_outside_hours are of regular hours, null where no calendar is known."""

    symbol: str
    interval: str
    calendar: str | None
    timezone: str = Field(description="The clock of the exchange.")
    synthetic: bool = Field(description="Made out of daily bars: nobody traded them.")
    sources: list[str]
    first: str
    last: str
    bars: int
    sessions_expected: int | None
    sessions_present: int | None = Field(description="Sessions that have a bar.")
    bars_expected: int | None = Field(description="Minutes (or seconds) of the sessions.")
    bars_present: int | None
    no_trade: int | None = Field(
        description="Minutes without a bar that were asked for whole: nobody traded in them, as far"
        " as the source can tell."
    )
    not_delivered: int | None = Field(description="Minutes without a bar that nobody asked for.")
    bars_outside_hours: int | None = Field(description="Beside the regular hours.")
    gaps: list[MinuteGap] = Field(
        description="Sessions with minutes that were not delivered, or without any bar."
    )
    notes: dict[str, int] = Field(description="Reason → notes.")
    next: str | None


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
    intervals: list[StoredInterval] = Field(description="Bars shorter than a day that are stored.")


class CoveragesPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[CoverageRow]


class Note(BaseModel):
    timestamp: str
    reason: str
    detail: str
    run_id: str | None = Field(None, description="The run that said so first; only of days.")
    known_from: str | None = Field(None, description="Only of days.")


class NotesPage(OfMinutes):
    data: list[Note]


class Revision(Bar):
    """The old values."""

    model_config = ConfigDict(json_schema_extra=None)

    known_from: str
    known_to: str
    run_id: str | None = Field(None, description="The run that changed the bar; only of days.")
    source: str | None = Field(None, description="Whose value it was; only of minutes.")


class RevisionsPage(OfMinutes):
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
