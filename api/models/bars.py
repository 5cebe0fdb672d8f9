"""/instruments/{symbol}/ohlcv: its parameters, and bars as rows and as columns."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models.terms import Adjustment, Day, FormatName, Instant, Interval, ViewQuery


class PageQuery(ViewQuery):
    limit: int | None = Field(
        None,
        description="Rows returned; default and most is MAX_ROWS (50,000 unless set otherwise).",
        examples=[2],
    )
    order: Literal["asc", "desc"] = Field(
        "asc", description="asc: oldest first; desc: newest first.", examples=["asc"]
    )
    adjustment: Adjustment = Field(
        "raw",
        description="raw: prices as traded; split: as if all splits had always been; all:"
        " dividends put into the price too.",
        examples=["raw"],
    )
    fields: str | None = Field(
        None,
        max_length=100,
        description="Columns parted by commas; timestamp always comes.",
        examples=["open,high,low,close,volume"],
    )
    format: FormatName | None = Field(
        None, description="Format of the answer; stands above Accept.", examples=["json"]
    )


class HistoryQuery(PageQuery):
    as_of: Instant | None = Field(
        None,
        description="Bars, splits, dividends and notes as known at this instant: whatever came or"
        " changed later is undone.",
        examples=["2026-12-31T20:00:00Z"],
    )
    quality: Literal["all", "strict"] = Field(
        "all",
        description="strict leaves out the bars that have a note (with as_of: that had one then),"
        " and says how many.",
        examples=["all"],
    )


class BarsQuery(HistoryQuery):
    after: Day | None = Field(
        None,
        description="Go on after the bar of this day; `next` uses it.",
        examples=["2012-01-03"],
    )


SOME_FIELDS = ConfigDict(json_schema_extra={"required": ["timestamp"]})  # `fields` chooses


class Bar(BaseModel):
    """One day. Prices in the currency of the listing; volume in shares, null where unknown."""

    model_config = SOME_FIELDS

    timestamp: str = Field(description="The session, as 2012-01-31.")
    open: float
    high: float
    low: float
    close: float
    volume: int | None
    complete: bool | None = Field(None, description="Only of intervals over a day.")


class BarColumns(BaseModel):
    """The bars of format=columns: one array a column, all of the same length."""

    model_config = SOME_FIELDS

    timestamp: list[str]
    symbol: list[str] = Field(description="Only where several symbols can be asked for.")
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[int | None]
    complete: list[bool] = Field(description="Only of intervals over a day.")


class BarsPage(BaseModel):
    as_of: str | None = Field(None, description="Only where asked for: the instant, in UTC.")
    left_out: int | None = Field(
        None, description="Only where strict: bars of the whole range that have a note."
    )
    actions_known_at: str | None = Field(
        None,
        description="Only of adjusted prices: since when the splits and dividends that they stand"
        " on are known; null: some were never asked for.",
    )
    never_asked: list[str] | None = Field(
        None,
        description="Only of adjusted prices: the kinds of actions (splits, dividends) that they"
        " need and that were never asked for.",
    )
    symbol: str
    interval: Interval
    adjustment: Adjustment
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")
    data: list[Bar] | BarColumns
