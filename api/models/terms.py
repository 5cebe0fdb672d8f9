"""What the parameters of several resources are made of, and the head of a symbol's list."""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from fastapi import Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator

from etl.contracts.zones import ZONES

# What people call an interval → its name.
INTERVAL_NAMES = {
    **dict.fromkeys(("day", "daily", "1day"), "1d"),
    **dict.fromkeys(("week", "weekly", "1w", "1week"), "1wk"),
    **dict.fromkeys(("month", "monthly", "1month"), "1mo"),
    **dict.fromkeys(("quarter", "quarterly", "1q"), "3mo"),
    **dict.fromkeys(("year", "yearly", "annual", "1year"), "1y"),
}
# A year, a month or a day as ISO 8601 writes them.
PERIOD = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
# 2012-01-03T10:00+01:00 in a URL, where a plus is a blank unless it is written as %2B.
LOST_PLUS = re.compile(r"(T\d\d|:\d\d(?:\.\d+)?) (\d\d(?::?\d\d)?)$", re.ASCII)
LONGEST_DAY = len("2012-01-31")
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)  # 201201 is no day: which digits mean what?


def lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def read_interval(value: Any) -> Any:
    name = lower(value)
    return INTERVAL_NAMES.get(name, name) if isinstance(name, str) else name


AnyCase = BeforeValidator(lower)
Adjustment = Annotated[Literal["raw", "split", "all"], AnyCase]
Basis = Literal["raw", "split"]
Interval = Annotated[Literal["1d", "1wk", "1mo", "3mo", "1y"], BeforeValidator(read_interval)]
FormatName = Annotated[Literal["json", "columns", "csv", "ndjson", "parquet", "arrow"], AnyCase]


def list_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def fold_symbols(text: str) -> str:
    """Symbols in upper case, each once, in the order given."""
    return ",".join(dict.fromkeys(name.upper() for name in list_names(text) if name))


def fold_names(text: str) -> str:
    return ",".join(name.lower() for name in list_names(text))


# Where the case of a text does not matter, it is read in one: two ways of writing are one request.
UpperCase = AfterValidator(str.upper)
SymbolList = AfterValidator(fold_symbols)
NameList = AfterValidator(fold_names)


class DayOfInstant(date):
    """The day that is written in an instant. Which day it is of a bar says its exchange's clock."""

    instant: datetime

    @classmethod
    def of(cls, instant: datetime) -> Self:
        day = cls(instant.year, instant.month, instant.day)
        day.instant = instant
        return day


def find_session_day(day: date | None, calendar: str | None) -> date | None:
    """The day that an instant is on a calendar's clock (XASX: in Sydney); any other day is itself.

    As written where the calendar is not known.
    """
    if not isinstance(day, DayOfInstant):
        return day
    zone = ZONES.get(calendar or "")
    return (day.instant.astimezone(ZoneInfo(zone)) if zone else day.instant).date()


def read_day(value: Any, _: Any) -> Any:
    """The day that is named, or the first one of a month or a year."""
    return read_period(value, is_end=False)


def read_last_day(value: Any, _: Any) -> Any:
    """The day that is named, or the last one of a month or a year."""
    return read_period(value, is_end=True)


def read_period(value: Any, is_end: bool) -> Any:
    if value is None or isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        return find_day(text, is_end)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day: write it as 2012-01-31") from None


def find_day(text: str, is_end: bool) -> date:
    """ValueError where no day is named."""
    if len(text) > LONGEST_DAY:
        return read_timed_day(text)
    found = PERIOD.fullmatch(COMPACT.sub(r"\1-\2-\3", text) if len(text) == 8 else text)
    if found is None:
        raise ValueError(text)
    year, month, day = (int(part) if part else None for part in found.group(1, 2, 3))
    assert year is not None
    if day is not None:
        return date(year, month or 1, day)
    last = month or 12
    return date(year, last, monthrange(year, last)[1]) if is_end else date(year, month or 1, 1)


def read_timed_day(text: str) -> date:
    """Midnight names a day, as programs write the timestamp of a daily bar; so does a time without
    an offset, which is of no other clock than the exchange's."""
    instant = read_time(text)
    is_edge = not date.min.year < instant.year < date.max.year  # another zone's may be none
    if instant.tzinfo is None or instant.time() == time.min or is_edge:
        return instant.date()
    return DayOfInstant.of(instant)


def read_time(text: str) -> datetime:
    return datetime.fromisoformat(LOST_PLUS.sub(r"\1+\2", text))


def read_instant(value: Any) -> Any:
    """An instant with its offset as naive UTC; a day (a month, a year) is its last instant."""
    text = str(value).strip()
    try:
        if len(text) <= LONGEST_DAY:
            return datetime.combine(find_day(text, is_end=True), time.max)
        instant = read_time(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text[:40]!r} is no instant: write it as 2020-05-08T20:00:00Z")


Instant = Annotated[datetime, BeforeValidator(read_instant)]
# Not BeforeValidator: pydantic would make a plain date of a DayOfInstant.
Day = Annotated[date, WrapValidator(read_day)]
LastDay = Annotated[date, WrapValidator(read_last_day)]
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
    start: Day | None = Field(
        None,
        description="First day, inclusive; 2012-01 or 2012: from its first day on. An instant:"
        " the day of it on the clock of the exchange.",
        examples=["2012-01-03"],
    )
    end: LastDay | None = Field(
        None,
        description="Last day, inclusive; 2012-01 or 2012: to its last day. An instant: the day of"
        " it on the clock of the exchange.",
        examples=["2012-01-31"],
    )


class ViewQuery(RangeQuery):
    interval: Interval = Field(
        "1d",
        description="Bars of a day, week (Monday to Friday), month, quarter or year; a longer bar"
        " bears the day of its first session. daily, weekly, monthly and the like are taken too.",
        examples=["1d"],
    )
    adjusted_as_of: LastDay | None = Field(
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


# What several answers say alike.
ToldAsOf = Annotated[str | None, Field(description="Only where asked for: the instant, in UTC.")]
ActionsKnownAt = Annotated[
    str | None,
    Field(
        description="Only of adjusted prices: since when the splits and dividends that they stand"
        " on are known; null: some were never asked for."
    ),
]
NeverAskedOf = Annotated[
    list[str] | None,
    Field(
        description="Only of adjusted prices: the symbols and kinds of actions that they need"
        " and that were never asked for, as in: AAPL dividends."
    ),
]
