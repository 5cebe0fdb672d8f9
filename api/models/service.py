"""/health, and the error body that every route gives."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class MinuteHealth(BaseModel):
    """The minute store; no key but `fault` where it could not be read yet."""

    fault: str | None = Field(description="Why it, or its newest generation, cannot be read.")
    generation: str | None = None
    published_at: str | None = None
    symbols: int | None = None
    bars: int | None = None
    last: str | None = Field(None, description="Start of the newest bar.")


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    fault: str | None = Field(description="Why degraded, and the remedy.")
    fallbacks: dict[str, str] = Field(description="What is gone and stood in for, with the remedy.")
    generation: str
    published_at: str
    symbols: int
    bars: int
    first: str | None
    last: str | None
    newest_bar_age_days: int | None = Field(description="Days from the newest bar to today, UTC.")
    minutes: MinuteHealth | None = Field(
        description="Bars shorter than a day; null where there are none."
    )
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
    request_id: str | None = Field(None, description="X-Request-ID: the request in the log.")


class TokenAnswer(BaseModel):
    """RFC 6749, 5.1."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds.")
    refresh_token: str = Field(description="Good for one POST /token, which gives the next.")
    scope: str = Field(description="Parted by spaces.")
