"""What the parameters of several resources are made of, and the head of a symbol's list."""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WrapValidator,
    model_validator,
)

from etl.contracts.zones import ZONES

# What people call an interval → its name.
INTERVAL_NAMES = {
    **dict.fromkeys(("day", "daily", "1day"), "1d"),
    **dict.fromkeys(("week", "weekly", "1w", "1week"), "1wk"),
    **dict.fromkeys(("month", "monthly", "1month"), "1mo"),
    **dict.fromkeys(("quarter", "quarterly", "1q"), "3mo"),
    **dict.fromkeys(("year", "yearly", "annual", "1year"), "1y"),
}
# Of bars shorter than a day, whose base is in the minute store; and of daily ones and longer.
INTRADAY = ("1s", "1m", "5m", "15m", "30m", "1h")
INTERVAL_NAMES |= {
    **dict.fromkeys(("second", "1sec", "1second"), "1s"),
    **dict.fromkeys(("minute", "1min", "1minute"), "1m"),
    **{f"{count}min": f"{count}m" for count in (5, 15, 30)},
    **dict.fromkeys(("hour", "hourly", "1hour", "60m", "60min"), "1h"),
}
MANY_MONTHS = re.compile(r"\d+M")  # some mean months by it: nothing is guessed
# A year, a month or a day as ISO 8601 writes them.
PERIOD = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
# 2012-01-03T10:00+01:00 in a URL, where a plus is a blank unless it is written as %2B.
LOST_PLUS = re.compile(r"(T\d\d|:\d\d(?:\.\d+)?) (\d\d(?::?\d\d)?)$", re.ASCII)
# What of an instant is not left to Python, which takes any sign between day and time: the digits of
# an epoch would be one in the year 1362.
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d|\d{8})[Tt ].*", re.ASCII)
LONGEST_DAY = len("2012-01-31")
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)  # 201201 is no day: which digits mean what?


def lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def read_interval(value: Any) -> Any:
    if isinstance(value, str) and MANY_MONTHS.fullmatch(value.strip()):
        raise ValueError(
            f"interval={value.strip()[:10]}: minutes or months? 1m is a minute, 1mo a month;"
            " 5m, 15m and 30m are minutes, 3mo is a quarter"
        )
    name = lower(value)
    return INTERVAL_NAMES.get(name, name) if isinstance(name, str) else name


AnyCase = BeforeValidator(lower)
Adjustment = Annotated[Literal["raw", "split", "all"], AnyCase]
Basis = Literal["raw", "split"]
Interval = Annotated[
    Literal["1s", "1m", "5m", "15m", "30m", "1h", "1d", "1wk", "1mo", "3mo", "1y"],
    BeforeValidator(read_interval),
]
Hours = Annotated[Literal["regular", "extended"], AnyCase]
FormatName = Annotated[Literal["json", "columns", "csv", "ndjson", "parquet", "arrow"], AnyCase]


# Bars of these are told as they are stored; others have `complete`, for a last one may grow.
WHOLE = ("1s", "1m", "1d")


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
    """The day that is written in an instant, and the instant as it was written: naive where it has
    no offset. Which day it is of a daily bar says its exchange's clock."""

    instant: datetime

    @classmethod
    def of(cls, instant: datetime) -> Self:
        day = cls(instant.year, instant.month, instant.day)
        day.instant = instant
        return day

    @property
    def names_day(self) -> bool:
        """Midnight names a day, as programs write the timestamp of a daily bar; so does a time
        without an offset, which is of no other clock than the exchange's."""
        is_edge = not date.min.year < self.year < date.max.year  # another zone's may be none
        return self.instant.tzinfo is None or self.instant.time() == time.min or is_edge


def find_session_day(day: date | None, calendar: str | None) -> date | None:
    """The day that an instant is on a calendar's clock (XASX: in Sydney); any other day is itself.

    As written where the calendar is not known.
    """
    day = drop_time(day)
    if not isinstance(day, DayOfInstant):
        return day
    zone = ZONES.get(calendar or "")
    return (day.instant.astimezone(ZoneInfo(zone)) if zone else day.instant).date()


def drop_time(day: date | None) -> date | None:
    """The day alone, of an instant that names one whatever the clock."""
    if isinstance(day, DayOfInstant) and day.names_day:
        return date(day.year, day.month, day.day)
    return day


def name_instant(day: date | None) -> date | None:
    """An instant in UTC where it is exact, so that two ways of writing it are one. ValueError for
    one that UTC has no year for."""
    if not isinstance(day, DayOfInstant) or day.instant.tzinfo is None:
        return day
    try:
        return DayOfInstant.of(day.instant.astimezone(UTC))
    except OverflowError:
        raise ValueError(f"{day.instant.isoformat()} has no day in UTC: write another") from None


def read_day(value: Any, _: Any) -> Any:
    """The day that is named, or the first one of a month or a year."""
    return drop_time(read_period(value, is_end=False))


def read_last_day(value: Any, _: Any) -> Any:
    """The day that is named, or the last one of a month or a year."""
    return drop_time(read_period(value, is_end=True))


def read_start(value: Any, _: Any) -> Any:
    """As `read_day`; an instant is kept as it is written."""
    return read_period(value, is_end=False)


def read_end(value: Any, _: Any) -> Any:
    return read_period(value, is_end=True)


def read_period(value: Any, is_end: bool) -> Any:
    if value is None or isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        return find_day(text, is_end)
    except ValueError:
        raise ValueError(refuse_period(text)) from None


def refuse_period(text: str) -> str:
    if len(text) <= LONGEST_DAY and not text.isdecimal():
        return f"{text[:40]!r} is no day: write it as 2012-01-31"
    return (
        f"{text[:40]!r} is no day and no instant: write it as 2012-01-31, or as"
        " 2012-01-31T09:30, with Z or an offset where it is not the exchange's clock"
    )


def find_day(text: str, is_end: bool) -> date:
    """ValueError where no day is named."""
    if len(text) > LONGEST_DAY:
        return DayOfInstant.of(read_time(text))
    found = PERIOD.fullmatch(COMPACT.sub(r"\1-\2-\3", text) if len(text) == 8 else text)
    if found is None:
        raise ValueError(text)
    year, month, day = (int(part) if part else None for part in found.group(1, 2, 3))
    assert year is not None
    if day is not None:
        return date(year, month or 1, day)
    last = month or 12
    return date(year, last, monthrange(year, last)[1]) if is_end else date(year, month or 1, 1)


def read_time(text: str) -> datetime:
    if not INSTANT.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(LOST_PLUS.sub(r"\1+\2", text.upper()))


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
# Of a range, where the interval says whether an instant counts, or the day of it.
Start = Annotated[date, WrapValidator(read_start)]
End = Annotated[date, WrapValidator(read_end)]
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
    start: Start | None = Field(
        None,
        description="First day, inclusive; 2012-01 or 2012: from its first day on. An instant:"
        " the day of it on the clock of the exchange; of intraday intervals the instant itself.",
        examples=["2012-01-03"],
    )
    end: End | None = Field(
        None,
        description="Last day, inclusive; 2012-01 or 2012: to its last day. An instant: the day of"
        " it on the clock of the exchange; of intraday intervals the instant itself, which counts.",
        examples=["2012-01-31"],
    )

    @model_validator(mode="after")
    def read_bounds(self) -> Self:
        """Of bars shorter than a day a bound may be an instant, of others it is a day."""
        is_intraday = getattr(self, "interval", "1d") in INTRADAY
        for name in ("start", "end", "after"):
            value = getattr(self, name, None)
            if isinstance(value, DayOfInstant):
                setattr(self, name, name_instant(value) if is_intraday else drop_time(value))
        return self


class ViewQuery(RangeQuery):
    interval: Interval = Field(
        "1d",
        description="Bars of a day, week (Monday to Friday), month, quarter or year; a longer bar"
        " bears the day of its first session. daily, weekly, monthly and the like are taken too."
        " 1s (where it is stored), 1m, 5m, 15m, 30m and 1h are intraday: made of stored minutes,"
        " from the open of each session on.",
        examples=["1d"],
    )
    adjusted_as_of: LastDay | None = Field(
        None,
        description="Adjust only for splits and dividends with an ex-date up to this day.",
        examples=["2013-03-01"],
    )


def choose_hours() -> Any:
    """The field of what is asked for beside regular hours."""
    return Field(
        "regular",
        description="Of intraday intervals: regular, the trading hours of the sessions; extended:"
        " also bars before the open, after the close and in breaks.",
        examples=["regular"],
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
ToldHours = Annotated[Hours | None, Field(description="Only of intraday intervals.")]
ToldZone = Annotated[
    str | None,
    Field(
        description="Only of intraday intervals: the clock of the exchange, by which instants"
        " without an offset are read; UTC where no calendar is known."
    ),
]
ToldZones = Annotated[
    str | dict[str, str] | None,
    Field(
        description="Only of intraday intervals: the clock of the exchange, or that of each symbol"
        " where they differ; UTC where no calendar is known."
    ),
]
ToldProvisional = Annotated[
    list[str] | None,
    Field(
        description="Only where asked for: the days of this answer whose bars are made of minutes,"
        " for the vendor has not told them yet."
    ),
]
ToldSynthetic = Annotated[
    bool | None,
    Field(
        description="Only of intraday intervals: whether the bars were made out of daily ones, and"
        " nobody traded them; of several symbols: any of them."
    ),
]
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
