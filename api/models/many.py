"""Several symbols at once: /ohlcv, /ohlcv/latest, /statistics/…, /screen."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from api.models.bars import Bar, BarColumns, HistoryQuery
from api.models.figures import MOST_PERIODS, FigureQuery
from api.models.terms import (
    ActionsKnownAt,
    Adjustment,
    AnyCase,
    FormatName,
    Hours,
    Instant,
    Interval,
    NeverAskedOf,
    Query,
    RangeQuery,
    SymbolList,
    ToldAsOf,
    ToldHours,
    ToldSynthetic,
    ToldZones,
    read_interval,
)

ScreenColumn = Literal[
    "symbol", "bars", "last_close", "total_return", "mean_volume", "dollar_volume"
]
FallingColumn = Literal[
    "-symbol", "-bars", "-last_close", "-total_return", "-mean_volume", "-dollar_volume"
]
Floor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SymbolsText = Annotated[str, Field(max_length=3400), SymbolList]
Symbols = Field(
    json_schema_extra={"pattern": r"[^,\s\x1c-\x1f\x85]"},  # the route says more
    description="Up to 100 symbols parted by commas.",
    examples=["AAPL,MSFT"],
)
LatestInterval = Annotated[
    Literal["1s", "1m", "5m", "15m", "30m", "1h", "1d"], BeforeValidator(read_interval)
]
OnUnknown = Annotated[Literal["error", "skip"], AnyCase] | None
Unknown = Field(
    None,
    description="What unknown symbols are: error refuses the request; skip leaves them out. JSON"
    " lists them and skips them unless told otherwise; a format that has no room for the list"
    " (csv, ndjson, parquet, arrow) refuses.",
    examples=["skip"],
)


class ManyQuery(HistoryQuery):
    symbols: SymbolsText = Symbols
    unknown: OnUnknown = Unknown
    after: str | None = Field(
        None,
        max_length=64,
        description="Go on after this row, as SYMBOL:2012-01-31, of intraday intervals as"
        " SYMBOL:20130228T143000Z; `next` uses it.",
        examples=["AAPL:2012-01-31"],
    )


class LatestQuery(Query):
    symbols: SymbolsText = Symbols
    unknown: OnUnknown = Unknown
    interval: LatestInterval = Field(
        "1d",
        description="Bars of a day, or intraday ones: 1m, 5m, 15m, 30m, 1h (1s where stored).",
        examples=["1d"],
    )
    hours: Hours = Field(
        "regular", description="Of intraday intervals: as of /ohlcv.", examples=["regular"]
    )
    provisional: bool = Field(
        False,
        description="Of interval=1d: made of today's minutes where that is newer; as of /ohlcv.",
        examples=[False],
    )
    format: FormatName | None = Field(
        None, description="Format of the answer; stands above Accept.", examples=["json"]
    )


class MatrixQuery(FigureQuery):
    symbols: SymbolsText = Symbols
    unknown: OnUnknown = Unknown
    kind: Annotated[Literal["simple", "log"], AnyCase] = Field(
        "simple", description="Kind of returns.", examples=["simple"]
    )


class CovarianceQuery(MatrixQuery):
    periods: int | None = Field(
        None,
        ge=1,
        le=MOST_PERIODS,
        description="Bars in a year: covariance is × so many, annual; of a bar unless given.",
        examples=[252],
    )


class ScreenQuery(RangeQuery):
    as_of: Instant | None = Field(
        None,
        description="Bars and splits as known at this instant: whatever came or changed later is"
        " undone. A day: to its end, UTC.",
        examples=["2026-12-31T20:00:00Z"],
    )
    sort: Annotated[Literal[ScreenColumn, FallingColumn], AnyCase] = Field(
        "-total_return",
        description="A column of the answer; a minus in front: largest first.",
        examples=["-total_return"],
    )
    min_volume: Floor = Field(0, description="Least mean volume.", examples=[0])
    min_dollar_volume: Floor = Field(0, description="Least mean of close × volume.", examples=[0])
    min_price: Floor = Field(0, description="Least last close.", examples=[0])
    min_bars: int = Field(2, ge=0, le=2**53, description="Least bars in the range.", examples=[2])
    limit: int | None = Field(
        None, description="Rows returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: int = Field(
        0, ge=0, le=2**53, description="Rows to pass over, for paging.", examples=[0]
    )


class ManyBar(Bar):
    symbol: str


class ManyBarsPage(BaseModel):
    as_of: ToldAsOf = None
    left_out: int | None = Field(
        None, description="Only where strict: bars of the whole range that have a note."
    )
    actions_known_at: ActionsKnownAt = None
    never_asked: NeverAskedOf = None
    detail: str | None = Field(None, description="Only where as_of leaves nothing: why.")
    provisional: list[str] | None = Field(
        None,
        description="Only where asked for: the bars of this answer that are made of minutes, for"
        " the vendor has not told them yet, as SYMBOL:2012-01-31.",
    )
    unknown: list[str] = Field(description="Symbols asked for that are not in the store.")
    symbols: list[str] = Field(description="Symbols that have rows in this answer.")
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZones = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    count: int
    next: str | None
    data: list[ManyBar] | BarColumns


class MatrixAnswer(BaseModel):
    as_of: ToldAsOf = None
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZones = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    actions_known_at: ActionsKnownAt = None
    never_asked: NeverAskedOf = None
    periods: int | None = Field(None, description="Only of covariance, where asked for.")
    unknown: list[str]
    symbols: list[str]
    count: int = Field(description="Returns on days that all symbols have.")
    first: str | None
    last: str | None
    left_out: list[int] = Field(description="Bars of each symbol on other days.")
    correlation: list[list[float | None]] | None = None
    covariance: list[list[float | None]] | None = None


class ScreenRow(BaseModel):
    symbol: str
    first: str
    last: str
    bars: int
    last_close: float
    total_return: float | None
    mean_volume: float | None
    dollar_volume: float | None = Field(description="Mean of close × volume.")


class ScreenPage(BaseModel):
    as_of: ToldAsOf = None
    adjustment: Literal["split"] = Field(
        description="Of total_return; last_close, volumes and dollar_volume are as stored."
    )
    actions_known_at: str | None = Field(
        None,
        description="Since when the splits are known that the returns of these rows stand on; null:"
        " some were never asked for. Absent where none are needed, and with as_of.",
    )
    never_asked: list[str] | None = Field(
        None, description="Of these rows those whose splits were never asked for: AAPL splits."
    )
    detail: str | None = Field(None, description="Only where as_of leaves nothing: why.")
    count: int
    next: str | None
    data: list[ScreenRow]
