"""/instruments/{symbol}/ohlcv: its parameters, and bars as rows and as columns."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.models.terms import (
    WHOLE,
    ActionsKnownAt,
    Adjustment,
    AnyCase,
    FormatName,
    Hours,
    Instant,
    Interval,
    NameList,
    Start,
    ToldAsOf,
    ToldHours,
    ToldProvisional,
    ToldSynthetic,
    ToldZone,
    ViewQuery,
    choose_hours,
)

SEPARATORS = {"\t": "tab", "comma": ",", "semicolon": ";", "pipe": "|"}


def read_separator(value: Any) -> Any:
    return SEPARATORS.get(value, value) if isinstance(value, str) else value


Separator = Annotated[Literal[",", ";", "|", "tab"], BeforeValidator(read_separator)]
Decimal = Literal[".", ","]


class PageQuery(ViewQuery):
    limit: int | None = Field(
        None,
        description="Rows returned; default and most is MAX_ROWS (50,000 unless set otherwise).",
        examples=[2],
    )
    order: Annotated[Literal["asc", "desc"], AnyCase] = Field(
        "asc", description="asc: oldest first; desc: newest first.", examples=["asc"]
    )
    adjustment: Adjustment = Field(
        "raw",
        description="raw: prices as traded; split: as if all splits had always been; all:"
        " dividends put into the price too.",
        examples=["raw"],
    )
    fields: Annotated[str, Field(max_length=100), NameList] | None = Field(
        None,
        description="Columns parted by commas, in any case; timestamp always comes.",
        examples=["open,high,low,close,volume"],
    )
    format: FormatName | None = Field(
        None, description="Format of the answer; stands above Accept.", examples=["json"]
    )
    sep: Separator | None = Field(
        None,
        description="Of csv: what stands between two values; a comma unless decimal is one.",
        examples=[","],
    )
    decimal: Decimal = Field(
        ".",
        description="Of csv: the decimal mark; a point unless given. A German Excel reads a comma.",
        examples=["."],
    )

    @model_validator(mode="after")
    def leave_out_defaults(self) -> Self:
        """What says no more than its default is as if it were not there."""
        if self.sep == (";" if self.decimal == "," else ","):
            self.sep = None
        if self.fields is not None:
            self.fields = leave_out_usual(self.fields.split(","), self.interval)
        return self


def leave_out_usual(names: list[str], interval: str) -> str | None:
    """Columns without the timestamp, which comes anyway; None where that leaves what comes too."""
    if len(names) > 1 and names.count("timestamp") == 1:
        names.remove("timestamp")
    extra = () if interval in WHOLE else ("complete",)
    usual = [*(n for n in Bar.model_fields if n not in ("timestamp", "complete")), *extra]
    return None if names == usual else ",".join(names)


class HistoryQuery(PageQuery):
    as_of: Instant | None = Field(
        None,
        description="Bars, splits, dividends and notes as known at this instant: whatever came or"
        " changed later is undone. A day: to its end, UTC.",
        examples=["2026-12-31T20:00:00Z"],
    )
    quality: Annotated[Literal["all", "strict"], AnyCase] = Field(
        "all",
        description="strict leaves out the bars that have a note (with as_of: that had one then),"
        " and says how many.",
        examples=["all"],
    )
    hours: Hours = choose_hours()
    provisional: bool = Field(
        False,
        description="Of interval=1d: add a bar of each session after the last stored day, made of"
        " its minutes so far (regular hours). `provisional` of the answer names these days; the"
        " vendor's own bars take their place once they are loaded.",
        examples=[False],
    )


class BarsQuery(HistoryQuery):
    after: Start | None = Field(
        None,
        description="Go on after the bar of this day, of intraday intervals after the one that"
        " begins at this instant (20130228T143000Z); `next` uses it.",
        examples=["2012-01-03"],
    )


SOME_FIELDS = ConfigDict(json_schema_extra={"required": ["timestamp"]})  # `fields` chooses


class Bar(BaseModel):
    """One day. Prices in the currency of the listing; volume in shares, null where unknown.

    Volumes of an instrument that has had one with decimals (crypto) are floats."""

    model_config = SOME_FIELDS

    timestamp: str = Field(
        description="The session, as 2012-01-31; of intraday intervals the start of the bar in UTC,"
        " as 2012-01-31T14:30:00Z."
    )
    open: float
    high: float
    low: float
    close: float
    volume: int | float | None
    complete: bool | None = Field(
        None, description="Only of intervals over a day, and from 5m to 1h."
    )


class BarColumns(BaseModel):
    """The bars of format=columns: one array a column, all of the same length."""

    model_config = SOME_FIELDS

    timestamp: list[str]
    symbol: list[str] = Field(description="Only where several symbols can be asked for.")
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[int | float | None]
    complete: list[bool] = Field(description="Only of intervals over a day, and from 5m to 1h.")


class BarsPage(BaseModel):
    as_of: ToldAsOf = None
    left_out: int | None = Field(
        None, description="Only where strict: bars of the whole range that have a note."
    )
    actions_known_at: ActionsKnownAt = None
    never_asked: list[str] | None = Field(
        None,
        description="Only of adjusted prices: the kinds of actions (splits, dividends) that they"
        " need and that were never asked for.",
    )
    detail: str | None = Field(None, description="Only where as_of leaves nothing: why.")
    provisional: ToldProvisional = None
    symbol: str
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZone = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")
    data: list[Bar] | BarColumns
