"""First questions: the service, called in this process, beside DuckDB's own reading.

The peer has the months of the same store attached to a connection of its own. It reads the rows
that are asked for as Arrow, and no more; what it reads is encoded as the service does it. The
service reads whole months, for whoever asks next.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa

from api.encode.text import encode_rows
from api.main import Service, create_app
from api.settings import ApiSettings, read_settings
from etl.contracts.minutes.duckdb_files.layout import connect, quote
from etl.contracts.minutes.duckdb_files.manifest import read_manifest
from tests.bench.minute_bars import FIRST, LAST, Shape, list_days
from tests.bench.minute_rows import show_times, take_turns

ROUNDS = 20
COLUMNS = "timestamp, open, high, low, close, volume"
MEMORY_MB = 256
MOST_ROWS = 250_000  # two years of minutes are 196,000


class Duck:
    """The rows that a URL asks for, by DuckDB alone; a session is a day of UTC here."""

    def __init__(self, data: Path) -> None:
        self.connection = connect({"memory_limit": f"{MEMORY_MB}MiB"})
        self.months: dict[str, str] = {}
        folder = data / "minutes"
        for month, file in read_manifest(folder).of_interval("1m").items():
            name = f"m{month.replace('-', '_')}"
            self.connection.execute(f"ATTACH {quote(folder / file.name)} AS {name} (READ_ONLY)")
            self.months[month] = name

    def read(self, url: str) -> pa.Table:
        symbol, first, last = read_url(url)
        values = {
            "symbol": symbol,
            "start": datetime.combine(first, time()),
            "end": datetime.combine(last + timedelta(1), time()),
        }
        where = "symbol = $symbol AND timestamp >= $start AND timestamp < $end"
        rows = [
            f"SELECT {COLUMNS} FROM {name}.bars WHERE {where}"
            for month, name in self.months.items()
            if f"{first:%Y-%m}" <= month <= f"{last:%Y-%m}"
        ]
        with self.connection.cursor() as cursor:
            return cursor.sql(" UNION ALL ".join(rows), params=values).to_arrow_table()

    async def read_arrow(self, url: str) -> pa.Table:
        return self.read(url)

    async def answer(self, url: str) -> bytes:
        table = await self.read_arrow(url)
        columns: dict[str, Any] = {name: table[name].to_numpy() for name in table.column_names}
        columns["timestamp"] = columns["timestamp"].astype("datetime64[s]")
        return b'{"data":[' + encode_rows(columns, "json") + b"]}"


class Own:
    """The service, called as its server calls it."""

    def __init__(self, data: Path) -> None:
        given = {"DATA_DIR": str(data), "MAX_ROWS": str(MOST_ROWS), "QUERY_TIMEOUT": "60"}
        self.app: Service = create_app(read_settings(ApiSettings, given, environ={}))

    async def read_minutes(self, url: str) -> object:
        """As the service reads them where it has not yet: columns, out of its store."""
        symbol, first, last = read_url(url)
        minutes = self.app.state.minutes
        view = await minutes.newest()
        span = (np.datetime64(day, "s") for day in (first, last + timedelta(1)))
        return await minutes.ask(partial(view.read_series, view.find_base(symbol, "1m"), *span))

    async def answer(self, url: str) -> bytes:
        parts, body, status = urlsplit(url), [], 0
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1"},
            **{"method": "GET", "scheme": "http", "path": parts.path, "root_path": ""},
            **{"raw_path": parts.path.encode(), "query_string": parts.query.encode()},
            "headers": [(b"host", b"127.0.0.1")],
            **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {}},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            body.append(message.get("body", b""))

        await self.app(scope, receive, send)
        if status != 200:
            raise SystemExit(f"{url}: {status} {b''.join(body)[:300]!r}")
        return b"".join(body)


def read_url(url: str) -> tuple[str, date, date]:
    parts = urlsplit(url)
    asked = {name: found[0] for name, found in parse_qs(parts.query).items()}
    first, last = (date.fromisoformat(asked[name]) for name in ("start", "end"))
    return parts.path.split("/")[2], first, last


def write_url(symbol: str, first: date, last: date, interval: str = "1m") -> str:
    return f"/instruments/{symbol}/ohlcv?start={first}&end={last}&interval={interval}"


def list_places(shape: Shape) -> Iterator[tuple[str, list[date]]]:
    """Symbols and the sessions of a month that is whole, each once; not the last month, which some
    later day joins, nor the symbols of two years."""
    days = list_days()[-shape.days :]
    months: dict[str, list[date]] = {}
    for day in days:
        months.setdefault(f"{day:%Y-%m}", []).append(day)
    whole = [found for month, found in months.items() if f"{LAST:%Y-%m}" > month][1:] or [days]
    for month in reversed(whole):
        for name in shape.names[shape.long + 1 :]:  # one is asked before, to open the files
            yield name, month


def list_questions(shape: Shape) -> Iterator[tuple[str, list[str]]]:
    """Kind → questions of which none was asked before, nor its month."""
    places = list_places(shape)
    rounds = max(4, min(ROUNDS, shape.symbols // 4))
    days = [(name, each[5], each[5]) for name, each in islice(places, rounds)]
    months = [(name, each[0], each[-1]) for name, each in islice(places, rounds)]
    years = [(name, list_days()[0], LAST) for name in shape.names[: shape.long]]
    hours = [(name, each[0], each[-1]) for name, each in islice(places, rounds)]
    for kind, asked in (("a day", days), ("a month", months), ("two years", years)):
        yield kind, [write_url(*each) for each in asked]
    yield "1h", [write_url(*each, interval="1h") for each in hours]


def measure(data: Path, shape: Shape) -> None:
    asyncio.run(ask_all(data, shape))


async def ask_all(data: Path, shape: Shape) -> None:
    own, other, duck = Own(data), Own(data), Duck(data)
    opening = write_url(shape.names[shape.long], FIRST, LAST)
    with closing(duck.connection):
        for ask in (own.answer, other.answer, duck.answer):
            await ask(opening)
        for kind, urls in list_questions(shape):
            if kind == "1h":
                await compare_hours(own, other, duck, urls)
            else:
                pairs = await take_turns(own.answer, duck.answer, urls)
                show_times(f"first question, {kind}", pairs, 1.5)


async def compare_hours(own: Own, other: Own, duck: Duck, urls: list[str]) -> None:
    """Beside what reads and computes nothing: the service's own reader, and DuckDB alone."""
    half = len(urls) // 2
    pairs = await take_turns(own.answer, other.read_minutes, urls[:half])
    show_times("1m to 1h of a month; the read of it", pairs, 1.3)
    pairs = await take_turns(own.answer, duck.read_arrow, urls[half:])
    show_times("1m to 1h of a month; DuckDB's read of it", pairs, 1.3)
