"""Parameters and answers as the documentation shows them. Parameters are checked by these models;
answers are built as plain values for speed, and tests hold them to these models.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Adjustment = Literal["raw", "split", "all"]
Basis = Literal["raw", "split"]
Interval = Literal["1d", "1wk", "1mo", "3mo", "1y"]
FormatName = Literal["json", "columns", "csv", "ndjson", "parquet", "arrow"]
ScreenColumn = Literal[
    "symbol", "bars", "last_close", "total_return", "mean_volume", "dollar_volume"
]
FallingColumn = Literal[
    "-symbol", "-bars", "-last_close", "-total_return", "-mean_volume", "-dollar_volume"
]
Floor = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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


class BarsQuery(PageQuery):
    as_of: Instant | None = Field(
        None,
        description="The bars as known at this instant: later arrivals and revisions undone.",
        examples=["2026-12-31T20:00:00Z"],
    )
    quality: Literal["all", "strict"] = Field(
        "all",
        description="strict leaves out the bars that have a note now, and says how many.",
        examples=["all"],
    )


Symbols = Field(
    max_length=3400,
    json_schema_extra={"pattern": r"[^,\s\x1c-\x1f\x85]"},  # the route says more
    description="Up to 100 symbols parted by commas; unknown ones are listed, not fatal.",
    examples=["AAPL,MSFT"],
)


class ManyQuery(BarsQuery):
    symbols: str = Symbols
    after: str | None = Field(
        None,
        max_length=64,
        description="Go on after this row, as SYMBOL:2012-01-31; `next` uses it.",
        examples=["AAPL:2012-01-31"],
    )


class LatestQuery(Query):
    symbols: str = Symbols
    format: FormatName | None = Field(
        None, description="Format of the answer; stands above Accept.", examples=["json"]
    )


class FigureQuery(ViewQuery):
    adjustment: Adjustment = Field(
        "split",
        description="The prices to reckon with. On raw ones a split looks like a crash.",
        examples=["split"],
    )


RiskFree = Field(
    0.0,
    gt=-1,
    le=10,
    allow_inf_nan=False,
    description="Annual risk-free rate; 0.03 is 3 %.",
    examples=[0.0],
)
Benchmark = Field(
    None,
    min_length=1,
    max_length=32,
    description="Symbol to compare with, in any case.",
    examples=["MSFT"],
)


class StatisticsQuery(FigureQuery):
    risk_free: float = RiskFree
    benchmark: str | None = Benchmark
    explain: bool = Field(
        False, description="Say of each figure its formula, source and n.", examples=[False]
    )


class RollingQuery(FigureQuery):
    window: int = Field(20, ge=2, le=2520, description="Returns in the window.", examples=[20])
    what: Literal["return", "volatility", "sharpe", "beta"] = Field(
        "volatility", description="The figure; beta wants a benchmark.", examples=["volatility"]
    )
    risk_free: float = RiskFree
    benchmark: str | None = Benchmark


class IndicatorsQuery(FigureQuery):
    names: str = Field(
        "sma:20,ema:50,rsi:14,macd,bbands:20:2,atr:14,vwap:20,obv,stoch:14",
        max_length=400,
        description="Indicators parted by commas, each with its parameters after colons.",
        examples=["sma:20,rsi:14"],
    )


class ReturnsQuery(FigureQuery):
    kind: Literal["simple", "log"] = Field(
        "simple", description="close / close before - 1, or its logarithm.", examples=["simple"]
    )


class DrawdownsQuery(FigureQuery):
    most: int = Field(5, ge=1, le=1000, description="So many, the deepest.", examples=[5])


class MatrixQuery(FigureQuery):
    symbols: str = Symbols
    kind: Literal["simple", "log"] = Field(
        "simple", description="Kind of returns.", examples=["simple"]
    )


class ScreenQuery(RangeQuery):
    sort: Literal[ScreenColumn, FallingColumn] = Field(
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


class InstrumentsQuery(Query):
    q: str = Field("", max_length=32, description="Part of a symbol, in any case.", examples=["O"])
    limit: int | None = Field(
        None, description="Instruments returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: str = Field(
        "", max_length=32, description="The symbol to go on after, for paging.", examples=["AAPL"]
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


class NoQuery(Query):
    pass


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
    symbol: str
    interval: Interval
    adjustment: Adjustment
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")
    data: list[Bar] | BarColumns


class Instrument(BaseModel):
    symbol: str
    first: str = Field(description="Day of the first bar.")
    last: str = Field(description="Day of the last bar.")
    bars: int
    last_close: float = Field(description="Close of the last bar, on `basis`.")
    source: str = Field(description="Where the latest bars came from.")
    basis: Basis = Field(description="Prices as stored: raw (as traded) or split-adjusted.")
    exchange: str = Field(description="MIC of the exchange whose sessions are expected.")


class InstrumentsPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[Instrument]


class Statistics(BaseModel):
    """Simple returns, ddof 1, 365.25 days a year; null where there are too few bars."""

    symbol: str
    interval: Interval
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
    sharpe_ratio: float | None
    sortino_ratio: float | None
    calmar_ratio: float | None
    skew: float | None
    kurtosis: float | None
    value_at_risk: float | None = Field(description="95 %, historical: a return.")
    expected_shortfall: float | None = Field(description="Mean of the returns beyond.")
    longest_drawdown_bars: int | None
    longest_drawdown_days: int | None
    longest_drawdown_start: str | None
    longest_drawdown_end: str | None
    up_days: int | None
    down_days: int | None
    average_true_range: float | None = Field(description="Of 14 bars, at the last one.")
    average_dollar_volume: float | None
    beta: float | None = Field(description="This and the next three: against the benchmark.")
    alpha: float | None
    correlation: float | None
    tracking_error: float | None
    explain: dict[str, Any] | None = Field(None, description="Only where asked for.")


class Gap(BaseModel):
    session: str
    cause: Literal["rejected", "not delivered", "not yet published"]


class Coverage(BaseModel):
    symbol: str
    exchange: str
    first: str
    last: str
    bars: int
    sessions_expected: int = Field(description="Sessions of the exchange: present and gaps.")
    sessions_present: int = Field(description="Bars that lie on a session.")
    gaps: list[Gap]
    notes: dict[str, int] = Field(description="Reason → bars that have such a note.")
    provisional: list[str] = Field(description="Bars fetched before their session had closed.")


class CoverageRow(BaseModel):
    """Coverage in counts; /instruments/{symbol}/coverage has the days and reasons."""

    symbol: str
    exchange: str
    first: str
    last: str
    bars: int
    sessions_expected: int = Field(description="Sessions of the exchange: present and gaps.")
    sessions_present: int = Field(description="Bars that lie on a session.")
    gaps: int = Field(description="Sessions without a bar.")
    notes: int
    provisional: int = Field(description="Bars fetched before their session had closed.")
    revisions: int = Field(description="Times that a vendor changed a bar.")


class CoveragesPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[CoverageRow]


class Page(BaseModel):
    symbol: str
    count: int = Field(description="Rows in this answer.")
    next: str | None = Field(description="Relative URL of the rows after these; null at the end.")


class Note(BaseModel):
    timestamp: str
    reason: str
    detail: str
    run_id: str = Field(description="The run that said so first.")


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


class Action(BaseModel):
    ex_date: str
    kind: Literal["split", "dividend"]
    ratio: float | None
    amount: float | None
    source: str


class ActionsPage(Page):
    data: list[Action]


class RunSummary(BaseModel):
    run_id: str
    started_at: str
    finished_at: str | None
    status: Literal["ok", "failed", "killed"]
    source: str | None
    calls: int = Field(description="Calls spent at the vendor.")
    received: int
    inserted: int
    revised: int
    unchanged: int
    stale: int = Field(description="Older than what was stored already.")
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


class ManyBar(Bar):
    symbol: str


class ManyBarsPage(BaseModel):
    as_of: str | None = Field(None, description="Only where asked for: the instant, in UTC.")
    left_out: int | None = Field(
        None, description="Only where strict: bars of the whole range that have a note."
    )
    unknown: list[str] = Field(description="Symbols asked for that are not in the store.")
    symbols: list[str] = Field(description="Symbols that have rows in this answer.")
    interval: Interval
    adjustment: Adjustment
    count: int
    next: str | None
    data: list[ManyBar] | BarColumns


class FiguresPage(BaseModel):
    """Rows of a timestamp and one column a figure; null where there are too few bars before."""

    symbol: str
    interval: Interval
    adjustment: Adjustment
    count: int
    next: None
    data: list[dict[str, Any]]


class Drawdown(BaseModel):
    peak: str
    trough: str
    recovery: str | None = Field(description="Null while the peak is not reached again.")
    depth: float = Field(description="Trough / peak - 1.")
    days: int
    bars: int


class DrawdownsAnswer(Page):
    interval: Interval
    adjustment: Adjustment
    data: list[Drawdown]


class MatrixAnswer(BaseModel):
    interval: Interval
    adjustment: Adjustment
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
    count: int
    next: str | None
    data: list[ScreenRow]


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
