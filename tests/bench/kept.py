"""What a publication leaves of the kept answers: make bench.

    python -m tests.bench.kept [--kept-symbols 1000] [--kept-urls 10000] [--publications 50]

Asks for all URLs after each publication, of which each changes a bar of 1 % of the symbols, and
prints the share of answers that were kept. In this process, for time is not what is measured.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from starlette.types import ASGIApp, Message

from api.main import create_app
from api.settings import ApiSettings, read_settings
from tests.bench.explain import run_load
from tests.bench.speed import make_urls

DAYS = 500
SHARE = 100  # one symbol in so many is touched
MEMORY_MB = 4096  # so that nothing is forgotten for want of room


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_options(parser)
    run(parser.parse_args())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kept-symbols", type=int, default=1000, help="of the kept answers' store")
    parser.add_argument("--kept-urls", type=int, default=10_000)
    parser.add_argument("--publications", type=int, default=50)


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rate = asyncio.run(measure(Path(folder), args))
    print(
        f"kept: {args.kept_urls:,} URLs after each of {args.publications} publications that touch"
        f" 1 % of {args.kept_symbols:,} symbols: {rate:.1%} are hits"
    )


async def measure(data: Path, args: argparse.Namespace) -> float:
    """The share of hits over all publications; the first answers are not counted."""
    write_bars(data / "bars.parquet", args.kept_symbols)
    run_load(data, data / "bars.parquet")
    given = {"DATA_DIR": str(data), "CACHE_MAX_MB": str(MEMORY_MB)}
    app = create_app(read_settings(ApiSettings, given, environ={}, env_file=Path("no .env")))
    symbols = [name_symbol(number) for number in range(args.kept_symbols)]
    urls = make_urls(symbols, args.kept_urls, "ohlcv")
    await count_hits(app, urls)
    hits = 0
    for number in range(args.publications):
        touch(data, random.sample(symbols, max(1, len(symbols) // SHARE)), number)
        hits += await count_hits(app, urls)
    return hits / (len(urls) * args.publications)


def name_symbol(number: int) -> str:
    return f"S{number:05}"


def write_bars(path: Path, symbols: int) -> None:
    duckdb.sql(
        f"""COPY (
            SELECT format('S{{:05d}}', s) AS symbol,
                   TIMESTAMP '2004-01-05' + INTERVAL 7 DAY * d AS timestamp,
                   100.0::DOUBLE + s % 7 AS open, 110.0::DOUBLE AS high, 90.0::DOUBLE AS low,
                   101.0::DOUBLE + d % 3 AS close,
                   1000 + d AS volume
            FROM range({symbols}) t(s), range({DAYS}) u(d) ORDER BY ALL) TO '{path}'"""
    )


def touch(data: Path, symbols: list[str], number: int) -> None:
    """Publish another close of a bar of each of these symbols."""
    chosen = ", ".join(f"'{symbol}'" for symbol in symbols)
    duckdb.sql(
        f"""COPY (SELECT * REPLACE (101.0::DOUBLE + {number % 7 + 1} AS close)
        FROM '{data}/bars.parquet' WHERE symbol IN ({chosen}) AND timestamp = '2005-01-03')
        TO '{data}/touched.parquet'"""
    )
    run_load(data, data / "touched.parquet")


async def count_hits(app: ASGIApp, urls: list[str]) -> int:
    found = [await ask(app, url) for url in urls]
    return sum(found)


async def ask(app: ASGIApp, url: str) -> bool:
    """Whether the answer, which must be a 200, was kept."""
    parts, start = urlsplit(url), {}

    async def receive() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)

    scope = {
        **{"type": "http", "method": "GET", "path": parts.path, "raw_path": parts.path.encode()},
        **{"query_string": parts.query.encode(), "headers": [], "root_path": "", "scheme": "http"},
        **{"http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
    }
    await app(scope, receive, send)
    if start["status"] != 200:
        raise RuntimeError(f"{url} is answered with {start['status']}")
    return dict(start["headers"])[b"x-cache"] == b"HIT"


if __name__ == "__main__":
    main()
