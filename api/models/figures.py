"""Figures of one symbol: statistics, rolling, indicators, returns, drawdowns."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.models.terms import (
    ActionsKnownAt,
    Adjustment,
    AnyCase,
    Hours,
    Instant,
    Interval,
    NameList,
    Page,
    ToldAsOf,
    ToldHours,
    ToldSynthetic,
    ToldZone,
    UpperCase,
    ViewQuery,
    choose_hours,
)


class FigureQuery(ViewQuery):
    adjustment: Adjustment = Field(
        "split",
        description="The prices to reckon with. On raw ones a split looks like a crash.",
        examples=["split"],
    )
    as_of: Instant | None = Field(
        None,
        description="Bars, splits and dividends as known at this instant. A day: to its end, UTC.",
        examples=["2099-12-31T20:00:00Z"],
    )
    hours: Hours = choose_hours()


RiskFree = Field(
    0.0,
    gt=-1,
    le=10,
    allow_inf_nan=False,
    description="Annual risk-free rate; 0.03 is 3 %.",
    examples=[0.0],
)
BenchmarkText = Annotated[str, Field(min_length=1, max_length=32), UpperCase]
Benchmark = Field(
    None,
    description="Symbol to compare with, in any case.",
    examples=["MSFT"],
)


MOST_PERIODS = 366 * 86_400  # seconds of a year
Periods = Field(
    None,
    ge=1,
    le=MOST_PERIODS,
    description="Bars in a year, for annual figures. Unless given: of days 365 for 24/7, 260 for"
    " 24/5, 252 for all others; 52 weeks, 12 months, 4 quarters; of shorter bars as many as a usual"
    " session of the exchange has in its regular hours, times its days.",
    examples=[252],
)


class StatisticsQuery(FigureQuery):
    risk_free: float = RiskFree
    periods: int | None = Periods
    benchmark: BenchmarkText | None = Benchmark
    explain: bool = Field(
        False, description="Say of each figure its formula, source and n.", examples=[False]
    )


class RollingQuery(FigureQuery):
    window: int = Field(20, ge=2, le=2520, description="Returns in the window.", examples=[20])
    what: Annotated[Literal["return", "volatility", "sharpe", "beta"], AnyCase] = Field(
        "volatility", description="The figure; beta wants a benchmark.", examples=["volatility"]
    )
    risk_free: float = RiskFree
    periods: int | None = Periods
    benchmark: BenchmarkText | None = Benchmark


class IndicatorsQuery(FigureQuery):
    names: Annotated[str, Field(max_length=400), NameList] = Field(
        "sma:20,ema:50,rsi:14,macd,bbands:20:2,atr:14,vwap:20,obv,stoch:14",
        description="Indicators parted by commas, each with its parameters after colons.",
        examples=["sma:20,rsi:14"],
    )


class ReturnsQuery(FigureQuery):
    kind: Annotated[Literal["simple", "log"], AnyCase] = Field(
        "simple", description="close / close before - 1, or its logarithm.", examples=["simple"]
    )


class DrawdownsQuery(FigureQuery):
    most: int | None = Field(
        None, ge=1, le=1000, description="So many, the deepest; 5 unless given.", examples=[5]
    )


class Statistics(BaseModel):
    """Simple returns, ddof 1, 365.25 days a year; null where there are too few bars.

    Of bars shorter than a day all days here are instants: the starts of the bars, in UTC."""

    symbol: str
    as_of: ToldAsOf = None
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZone = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    actions_known_at: ActionsKnownAt = None
    never_asked: list[str] | None = Field(
        None, description="Only of adjusted prices: the kinds of actions never asked for."
    )
    periods: int = Field(
        description="Bars in a year, of which annual figures are made; beside a benchmark alpha"
        " and tracking error are made of the days both trade on (see explain)."
    )
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
    cagr: float | None = Field(
        description="Compound annual growth rate, a year of 365.25 days; null within a day."
    )
    annual_volatility: float | None = Field(description="Std of returns × √periods.")
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


class FiguresPage(BaseModel):
    """Rows of a timestamp and one column a figure; null where there are too few bars before."""

    symbol: str
    as_of: ToldAsOf = None
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZone = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    actions_known_at: ActionsKnownAt = None
    never_asked: list[str] | None = Field(
        None, description="Only of adjusted prices: the kinds of actions never asked for."
    )
    periods: int | None = Field(None, description="Only of rolling: bars in a year.")
    count: int
    next: None
    data: list[dict[str, Any]]


class Drawdown(BaseModel):
    peak: str
    trough: str
    recovery: str | None = Field(description="Null while the peak is not reached again.")
    depth: float | None = Field(description="Trough / peak - 1; null where it fell to 0 or below.")
    days: int
    bars: int


class DrawdownsAnswer(Page):
    as_of: ToldAsOf = None
    interval: Interval
    hours: ToldHours = None
    timezone: ToldZone = None
    synthetic: ToldSynthetic = None
    adjustment: Adjustment
    actions_known_at: ActionsKnownAt = None
    never_asked: list[str] | None = Field(
        None, description="Only of adjusted prices: the kinds of actions never asked for."
    )
    data: list[Drawdown]
