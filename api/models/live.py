"""Parameters of the stream of bars."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.models.terms import SymbolList, read_interval

StreamInterval = Annotated[
    Literal["1s", "1m", "5m", "15m", "30m", "1h", "1d"], BeforeValidator(read_interval)
]


class StreamQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    symbols: Annotated[str, SymbolList] = Field(
        "", description="Symbols parted by commas; empty: all.", examples=["AAPL,MSFT"]
    )
    interval: StreamInterval = Field(
        "1m", description="Of the bars; 1d: today's daily bar out of its minutes, provisional."
    )
    last_event_id: str | None = Field(
        None, description="As the header Last-Event-ID, for who cannot send one."
    )
