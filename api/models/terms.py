"""What the parameters of several resources are made of, and the head of a symbol's list."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Adjustment = Literal["raw", "split", "all"]
Basis = Literal["raw", "split"]
Interval = Literal["1d", "1wk", "1mo", "3mo", "1y"]
FormatName = Literal["json", "columns", "csv", "ndjson", "parquet", "arrow"]


def read_day(value: Any) -> Any:
    if value is None or isinstance(value, date):
        return value
    try:
        if len(str(value)) == 10 and "W" not in str(value):  # 2012-W01-1 is ISO too
            return date.fromisoformat(str(value))
    except ValueError:
        pass
    raise ValueError(f"{str(value)[:40]!r} is no day: write it as 2012-01-31")


def read_instant(value: Any) -> Any:
    """An instant with its offset as naive UTC."""
    try:
        instant = datetime.fromisoformat(str(value))
        if instant.tzinfo is not None:
            return instant.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{str(value)[:40]!r} is no instant: write it as 2020-05-08T20:00:00Z")


Instant = Annotated[datetime, BeforeValidator(read_instant)]
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


class ViewQuery(RangeQuery):
    interval: Interval = Field(
        "1d",
        description="Bars of a day, week (Monday to Friday), month, quarter or year; a longer bar"
        " bears the day of its first session.",
        examples=["1d"],
    )
    adjusted_as_of: Day | None = Field(
        None,
        description="Adjust only for splits and dividends with an ex-date up to this day.",
        examples=["2013-03-01"],
    )


class ListQuery(Query):
    limit: int | None = Field(
        None, description="Rows returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: int = Field(
        0, ge=0, le=2**53, description="Rows to pass over, for paging.", examples=[0]
    )


class RangeListQuery(RangeQuery, ListQuery):
    pass


class NoQuery(Query):
    pass


class Page(BaseModel):
    symbol: str
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")
