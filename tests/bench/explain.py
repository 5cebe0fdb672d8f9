"""Print the plans and timings that DESIGN.md quotes: python -m tests.bench.explain (1 minute).

Makes 5,000,000 bars of 1,000 symbols in a temporary folder and publishes them as `make load` does.
Times are medians of many calls on the machine that runs this; only their ratios travel.
"""

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import duckdb
import orjson
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from api.main import create_app
from api.models import Bar
from api.settings import ApiSettings, read_settings
from api.store.duckdb_file.reader import FileReader
from api.store.duckdb_file.snapshots import open_snapshot
from etl import __main__ as etl
from etl.contracts.tables import OHLCV_TABLE

SYMBOLS, DAYS = 1_000, 5_000
# Mondays to Fridays; a slow wave, another for each symbol.
BARS = f"""
    SELECT TIMESTAMP '2000-01-03' + INTERVAL (d + 2 * (d // 5)) DAY AS timestamp,
           'S' || lpad(s::VARCHAR, 5, '0') AS symbol, round(wave, 2) AS open,
           round(wave + 2, 2) AS high, round(wave - 2, 2) AS low, round(wave + 1, 2) AS close,
           (s * 1000 + d)::BIGINT AS volume
    FROM (SELECT s, d, 100 + 50 * sin(d / 100.0 + s) AS wave
          FROM range({SYMBOLS}) AS symbols(s), range({DAYS}) AS days(d))"""
ONE_SYMBOL = "SELECT timestamp, close FROM market.ohlcv_data WHERE symbol = 'S00500'"
ONE_BAR = ONE_SYMBOL + " AND timestamp = TIMESTAMP '2005-01-03'"
URL = "/instruments/S00500/ohlcv"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        heading(f"{SYMBOLS * DAYS:,} bars of {SYMBOLS:,} symbols, DuckDB {duckdb.__version__}")
        database = publish(data)
        show_order(data, database)
        show_index(database)
        show_locks(database)
        show_conflict(data)
        asyncio.run(show_cache(data))


def heading(text: str) -> None:
    print(f"\n== {text}")


def publish(data: Path) -> Path:
    duckdb.sql(f"COPY ({BARS}) TO '{data}/bars.parquet'")
    for name, text in (("first load", "all bars"), ("second load", "nothing new")):
        seconds = run_load(data, data / "bars.parquet")
        print(f"{name}: {seconds:.1f} s ({text})")
    duckdb.sql(
        f"COPY (SELECT * REPLACE (close + 0.01 AS close) FROM '{data}/bars.parquet'"
        f" WHERE timestamp = TIMESTAMP '2010-01-04') TO '{data}/day.parquet'"
    )
    print(f"a day of {SYMBOLS:,} changed bars: {run_load(data, data / 'day.parquet'):.1f} s")
    return data / "market_data.duckdb"


def run_load(data: Path, bars: Path) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "etl.load", "--input", str(bars)]
    environ = {"DATA_DIR": str(data), "LOG_LEVEL": "ERROR", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, env=environ, check=True, cwd=Path(etl.__file__).parents[1])
    return time.perf_counter() - started


def show_order(data: Path, database: Path) -> None:
    heading("what makes reading one symbol fast: rows in order")
    by_day = data / "by_day.duckdb"
    with duckdb.connect(by_day) as connection:
        connection.execute(OHLCV_TABLE)
        connection.execute(
            f"INSERT INTO ohlcv_data SELECT * FROM '{data}/bars.parquet' ORDER BY timestamp, symbol"
        )
    for name, path in (("sorted by symbol, timestamp", database), ("as days arrive", by_day)):
        cursor = attach(path)
        plan = explain(cursor, ONE_SYMBOL)
        took = time_calls(lambda c=cursor: c.execute(ONE_SYMBOL).fetchnumpy(), 100)
        print(f"{name:28} {plan}; {took:.2f} ms")


def show_index(database: Path) -> None:
    heading("what the UNIQUE index does for reads: nothing")
    cursor = attach(database)
    print(f"one bar by its key           {explain(cursor, ONE_BAR)}")
    snapshot = open_snapshot(database, 256)
    read = FileReader(snapshot.connection.cursor())
    took = time_calls(lambda: read.read_series("S00500", "raw"), 100)
    print(f"read_series, {DAYS:,} bars: {took:.2f} ms")


def attach(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(f"ATTACH '{path}' AS market (READ_ONLY)")
    return connection


def explain(cursor: duckdb.DuckDBPyConnection, query: str) -> str:
    plan = cursor.execute("EXPLAIN ANALYZE " + query).fetchall()[0][1]
    kind = re.search(r"Type: ([\w ]+?) *│", plan)
    groups = re.search(r"Row Groups Scanned: *│? *([\d]+ / [\d]+)", plan)
    return f"{kind.group(1) if kind else '?'}, row groups {groups.group(1) if groups else '?'}"


def show_locks(database: Path) -> None:
    heading("why publication replaces the file: a reader shuts out a writer")
    writable = database.with_name("open.duckdb")
    writable.write_bytes(database.read_bytes())
    reader = duckdb.connect(writable, read_only=True)
    code = f"import duckdb; duckdb.connect({str(writable)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    print(re.sub(r".*(Could not set lock on file).*", r"\1", done.stderr.strip().splitlines()[-1]))
    reader.close()


def show_conflict(data: Path) -> None:
    heading("why DO UPDATE: IBM on 2020-05-08, fetched at 14:07 and after the close")
    for action in ("NOTHING", "UPDATE SET close = excluded.close"):
        with duckdb.connect() as connection:
            connection.execute(OHLCV_TABLE)
            for close in (121.79, 122.99):
                connection.execute(
                    "INSERT INTO ohlcv_data (timestamp, symbol, close) VALUES"
                    f" ('2020-05-08', 'IBM', {close}) ON CONFLICT (symbol, timestamp) DO {action}"
                )
            stored = connection.execute("SELECT close FROM ohlcv_data").fetchall()[0][0]
            print(f"DO {action.split(' ')[0]:8} keeps {stored}")


async def show_cache(data: Path) -> None:
    heading(f"a hit of {DAYS:,} bars, in process, without a network")
    settings = read_settings(ApiSettings, {"DATA_DIR": str(data)}, {})
    service = create_app(settings)
    body = await call(service, URL)
    rows = [Bar(**row) for row in orjson.loads(body)["data"]]
    apps: dict[str, Any] = {
        "ready bytes (this service)": service,
        "bare Starlette route": build_bare(body),
        "@cache of fastapi-cache2": build_decorated(rows),
        "FastAPI without a cache": build_plain(rows),
    }
    base = 0.0
    for name, app in apps.items():
        await call(app, URL)
        took = await time_awaits(lambda a=app: call(a, URL), 50)
        base = base or took
        print(f"{name:28} {took:8.3f} ms  {took / base:8.1f} x")


class Page(BaseModel):
    data: list[Bar]


def build_bare(body: bytes) -> Starlette:
    async def read(request: Any) -> Response:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route(URL, read)])


def build_decorated(rows: list[Bar]) -> FastAPI:
    FastAPICache.init(InMemoryBackend(), prefix="explain")
    app = FastAPI()

    @app.get(URL, response_model=Page)
    @cache(expire=600)
    async def read() -> Page:
        return Page(data=rows)

    return app


def build_plain(rows: list[Bar]) -> FastAPI:
    app = FastAPI()

    @app.get(URL, response_model=Page)
    async def read() -> Page:
        return Page(data=rows)

    return app


async def call(app: Any, path: str) -> bytes:
    """One GET through the ASGI interface; the body."""
    parts: list[bytes] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "server": ("localhost", 80),
        "client": ("localhost", 1),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)


def time_calls(function: Callable[[], object], times: int) -> float:
    """Median milliseconds of a call."""
    return statistics.median(time_one(function) for _ in range(times))


def time_one(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


async def time_awaits(function: Callable[[], Awaitable[object]], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await function()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
