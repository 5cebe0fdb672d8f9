"""Parameters and answers as the documentation shows them. Parameters are checked by these models;
answers are built as plain values for speed, and tests hold them to these models.
"""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Adjustment = Literal["raw", "split"]


def read_day(value: Any) -> Any:
    if value is None or isinstance(value, date):
        return value
    try:
        if len(str(value)) == 10 and "W" not in str(value):  # 2012-W01-1 is ISO too
            return date.fromisoformat(str(value))
    except ValueError:
        pass
    raise ValueError(f"{str(value)[:40]!r} is no day: write it as 2012-01-31")


Day = Annotated[date, BeforeValidator(read_day)]
Symbol = Annotated[
    str,
    Path(
        min_length=1,
        max_length=32,
        description="The instrument's symbol, in any case.",
        examples=["AAPL"],
    ),
]


class Query(BaseModel):
    """Parameters of a route; one that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class RangeQuery(Query):
    start: Day | None = Field(None, description="First day, inclusive.", examples=["2012-01-03"])
    end: Day | None = Field(None, description="Last day, inclusive.", examples=["2012-01-31"])


class BarsQuery(RangeQuery):
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
        description="raw: prices as traded; split: as if all splits had always been.",
        examples=["raw"],
    )


class StatisticsQuery(RangeQuery):
    adjustment: Adjustment = Field(
        "split",
        description="The prices to reckon with. On raw ones a split looks like a crash.",
        examples=["split"],
    )


class InstrumentsQuery(Query):
    q: str = Field("", max_length=32, description="Part of a symbol, in any case.", examples=["O"])
    limit: int | None = Field(
        None, description="Instruments returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: str = Field(
        "", max_length=32, description="The symbol to go on after, for paging.", examples=["AAPL"]
    )


class NoQuery(Query):
    pass


class Bar(BaseModel):
    """One day. Prices in the currency of the listing; volume in shares, null where unknown."""

    timestamp: str = Field(description="The session, as 2012-01-31.")
    open: float
    high: float
    low: float
    close: float
    volume: int | None


class BarsPage(BaseModel):
    symbol: str
    interval: Literal["1d"]
    adjustment: Adjustment
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")
    data: list[Bar]


class Instrument(BaseModel):
    symbol: str
    first: str = Field(description="Day of the first bar.")
    last: str = Field(description="Day of the last bar.")
    bars: int
    last_close: float = Field(description="Close of the last bar, on `basis`.")
    source: str = Field(description="Where the latest bars came from.")
    basis: Adjustment = Field(description="Prices as stored: raw (as traded) or split-adjusted.")


class InstrumentsPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[Instrument]


class Statistics(BaseModel):
    """Simple returns, ddof 1, 252 bars or 365.25 days a year; null where there are too few bars."""

    symbol: str
    interval: Literal["1d"]
    adjustment: Adjustment
    count: int
    first: str | None
    last: str | None
    open: float | None = Field(description="Open of the first bar.")
    close: float | None = Field(description="Close of the last bar.")
    high: float | None
    high_date: str | None
    low: float | None
    low_date: str | None
    mean_close: float | None
    median_close: float | None
    std_close: float | None
    total_volume: int | float | None
    mean_volume: float | None
    total_return: float | None = Field(description="Last close / first close - 1.")
    cagr: float | None = Field(description="Compound annual growth rate, a year of 365.25 days.")
    annual_volatility: float | None = Field(description="Std of daily returns × √252.")
    max_drawdown: float | None = Field(description="Deepest fall from a peak, 0 or negative.")
    peak_date: str | None
    trough_date: str | None
    best_day: str | None
    best_day_return: float | None
    worst_day: str | None
    worst_day_return: float | None


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    fault: str | None = Field(description="Why degraded, and the remedy.")
    generation: str
    published_at: str
    symbols: int
    bars: int
    first: str | None
    last: str | None
    newest_bar_age_days: int | None = Field(description="Days from the newest bar to today, UTC.")
    last_run: dict[str, Any] | None = Field(description="The newest run record, in short.")
    versions: dict[str, str]


class ParameterError(BaseModel):
    parameter: str
    message: str


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was got, what is possible, and the remedy.")
    nearest: list[str] | None = Field(None, description="On an unknown symbol: similar ones.")
    errors: list[ParameterError] | None = Field(None, description="On 422: one a parameter.")
