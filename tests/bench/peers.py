"""What the service is measured beside: the plain design, and routes that only return a body.

    DATABASE=… BODY=… uvicorn tests.bench.peers:plain     (or :bare_fastapi, :bare_starlette)

The plain design is what one writes first: fastapi-cache2's @cache, a connection a request, a
DataFrame to dicts to response models.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from fastapi import FastAPI, HTTPException, Response
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

BODY = Path(os.environ["BODY"]).read_bytes() if "BODY" in os.environ else b"{}"
PATH = "/instruments/{symbol}/{what}"


class PlainBar(BaseModel):
    timestamp: str
    open: float
    high: float
    low: float
    close: float
    volume: int


class PlainStatistics(BaseModel):
    symbol: str
    count: int
    mean_close: float
    low: float
    high: float
    total_volume: int


@asynccontextmanager
async def start_cache(app: FastAPI) -> AsyncIterator[None]:
    FastAPICache.init(InMemoryBackend(), prefix="plain")
    yield


plain = FastAPI(lifespan=start_cache)


def ask(select: str, symbol: str, start: date | None, end: date | None) -> pd.DataFrame:
    conditions, values = ["symbol = ?"], [symbol.upper()]
    for sign, day in ((">=", start), ("<=", end)):
        if day:
            conditions.append(f"timestamp {sign} ?")
            values.append(str(day))
    with duckdb.connect(os.environ["DATABASE"], read_only=True) as connection:
        query = f"SELECT {select} FROM ohlcv_data WHERE {' AND '.join(conditions)}"
        return connection.execute(query, values).df()


@plain.get("/instruments/{symbol}/ohlcv", response_model=list[PlainBar])
@cache(expire=60)
def read_plain_bars(symbol: str, start: date | None = None, end: date | None = None) -> Any:
    bars = ask("*", symbol, start, end).sort_values("timestamp")
    if bars.empty:
        raise HTTPException(404, "no bars")
    return bars.assign(timestamp=bars["timestamp"].astype(str)).to_dict("records")


@plain.get("/instruments/{symbol}/statistics", response_model=PlainStatistics)
@cache(expire=60)
def read_plain_statistics(symbol: str, start: date | None = None, end: date | None = None) -> Any:
    figures = (
        "count(*) AS count, avg(close) AS mean_close, min(low) AS low, max(high) AS high,"
        " sum(volume)::BIGINT AS total_volume"
    )
    row = ask(figures, symbol, start, end).to_dict("records")[0]
    if not row["count"]:
        raise HTTPException(404, "no bars")
    return {"symbol": symbol.upper(), **row}


bare_fastapi = FastAPI()


@bare_fastapi.get(PATH)
async def read_body(
    symbol: str, what: str, start: date | None = None, end: date | None = None
) -> Response:
    return Response(BODY, media_type="application/json")


async def read_body_plainly(request: Request) -> Response:
    return Response(BODY, media_type="application/json")


bare_starlette = Starlette(routes=[Route(PATH, read_body_plainly)])
