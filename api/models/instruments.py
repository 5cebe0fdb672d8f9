"""/instruments and /instruments/{symbol}."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.models.terms import Basis, Query, UpperCase

InAnyCase = Annotated[str, Field(max_length=32), UpperCase]


class InstrumentsQuery(Query):
    q: InAnyCase = Field("", description="Part of a symbol, in any case.", examples=["O"])
    limit: int | None = Field(
        None, description="Instruments returned; default and most is MAX_ROWS.", examples=[5]
    )
    after: InAnyCase = Field(
        "", description="The symbol to go on after, for paging.", examples=["AAPL"]
    )


class StoredInterval(BaseModel):
    """Of these, longer intervals are made (5m to 1h)."""

    interval: Literal["1s", "1m"]
    first: str = Field(description="Start of the first bar, UTC.")
    last: str = Field(description="Start of the last bar, UTC.")
    bars: int
    synthetic: bool = Field(description="Made out of daily bars: nobody traded them.")


class Instrument(BaseModel):
    symbol: str
    first: str | None = Field(description="Day of the first daily bar; null: there are none.")
    last: str | None = Field(description="Day of the last daily bar.")
    bars: int = Field(description="Daily ones.")
    last_close: float | None = Field(description="Close of the last daily bar, on `basis`.")
    source: str = Field(description="Where the latest bars came from.")
    basis: Basis = Field(description="Prices as stored: raw (as traded) or split-adjusted.")
    exchange: str | None = Field(
        description="The calendar (MIC, 24/7 or 24/5) whose sessions are expected; null: not known."
    )
    actions_known_at: str | None = Field(
        description="Since when splits and dividends are known: the instant of the older of the"
        " last two answers about them; null: one of them was never asked for."
    )
    splits_known_at: str | None = Field(description="The last answer about splits; null: never.")
    dividends_known_at: str | None = Field(
        description="The last answer about dividends; null: never."
    )
    intervals: list[StoredInterval] = Field(description="Bars shorter than a day that are stored.")


class InstrumentsPage(BaseModel):
    count: int = Field(description="Instruments in this answer.")
    next: str | None = Field(description="Relative URL of those after these; null at the end.")
    data: list[Instrument]
