"""Four instances that are asked for much of minutes: their memory, and daily questions beside it.

python -m tests.bench.minute_crowd URLS BASE…     asks each base for its share of the lines
"""

import asyncio
import itertools
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from api.settings import ApiSettings, read_settings
from tests.bench.asking import Seen, ask_all
from tests.bench.minute_bars import Shape, list_days
from tests.bench.minute_reads import write_url
from tests.bench.minute_rows import NO_TIME, Took, show
from tests.bench.reads import SPARE_MB, read_resident
from tests.bench.servers import ROOT, Server, fetch, serve_service
from tests.bench.shared import INSTANCES, REST, count_failed, find_p99
from tests.bench.speed import make_urls, write_lines

TURNS = 3
ALONE = 4  # seconds
CONNECTIONS = 2  # of daily questions, to each instance
MOST_SESSIONS = 5  # of a question for minutes


def measure(folder: Path, data: Path, shape: Shape, daily: list[str], count: int) -> None:
    """daily: the symbols that have bars of days."""
    random.seed(7)
    asked = list_questions(shape, count)
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_service(data)) for _ in range(INSTANCES)]
        for server in servers:
            fetch(server.base, "/health")
        before = [read_resident(server.process.pid) for server in servers]
        urls = sorted(set(make_urls(daily, 4 * count, "ohlcv")))
        asyncio.run(compare(folder, servers, asked, urls))
        show_memory(before, [read_resident(server.process.pid) for server in servers])


def list_questions(shape: Shape, count: int) -> list[str]:
    """Different ones: any symbol, up to a week from any session on, of minutes and of hours."""
    days, found = list_days()[-shape.days :], set[str]()
    for _ in range(20 * count):
        first = random.randrange(len(days))
        last = min(first + random.randrange(MOST_SESSIONS), len(days) - 1)
        interval = random.choice(("1m", "1m", "5m", "1h"))
        found.add(write_url(random.choice(shape.names), days[first], days[last], interval))
        if len(found) == count:
            break
    return random.sample(sorted(found), len(found))


async def compare(folder: Path, servers: list[Server], asked: list[str], daily: list[str]) -> None:
    alone, beside, failed, seconds = [], [], 0, 0.0
    urls = itertools.cycle(random.sample(daily, len(daily)))
    for turn in range(TURNS):
        seen = await ask_days(servers, urls, sleep_on)
        alone.append(find_p99([each.seconds for each in seen]))
        lines = write_lines(folder / "asked.txt", asked[turn::TURNS])
        began = time.monotonic()
        busy = await ask_days(servers, urls, partial(ask_beside, lines, servers))
        seconds += time.monotonic() - began
        beside.append(find_p99([each.seconds for each in busy]))
        failed += count_failed(seen) + count_failed(busy)
    ratio = statistics.median(b / a for a, b in zip(alone, beside, strict=True))
    ours, peer = (1000 * statistics.median(each) for each in (beside, alone))
    show("p99 of daily questions, beside and without", ours, peer, Took(ratio, NO_TIME), 2.0)
    print(f"  {len(asked):,} questions for minutes in {seconds:.0f} s; {failed} of days failed")


def sleep_on() -> None:
    time.sleep(ALONE)


def ask_beside(lines: Path, servers: list[Server]) -> None:
    """In a process of its own, so that it does not slow down those who ask here."""
    bases = [server.base for server in servers]
    command = [sys.executable, "-m", "tests.bench.minute_crowd", str(lines), *bases]
    subprocess.run(command, cwd=ROOT, check=True)


async def ask_days(
    servers: list[Server], urls: Iterator[str], meanwhile: Callable[[], None]
) -> list[Seen]:
    """Daily questions, as long as something else takes."""
    is_over = False

    def ask() -> Iterator[str]:
        while not is_over:
            yield next(urls)

    asking = [
        asyncio.create_task(ask_all(server.base, ask(), CONNECTIONS, REST)) for server in servers
    ]
    await asyncio.to_thread(meanwhile)
    is_over = True
    return [seen for found in await asyncio.gather(*asking) for seen in found]


def show_memory(before: list[float], after: list[float]) -> None:
    settings = read_settings(ApiSettings, environ={})
    allowed = settings.cache_max_mb + settings.db_memory_mb + SPARE_MB
    grown = max(b - a for a, b in zip(before, after, strict=True))
    print(
        f"  memory of the largest of {len(after)}: {max(after):,.0f} MB, {grown:,.0f} more than at"
        f" its start; {allowed:,} more are allowed: {'met' if grown < allowed else 'MISSED'}",
        flush=True,
    )


async def ask_shares(lines: list[str], bases: list[str]) -> int:
    """How many failed."""
    shares = [iter(lines[place :: len(bases)]) for place in range(len(bases))]
    asking = (ask_all(base, share, 1, 0) for base, share in zip(bases, shares, strict=True))
    return sum(map(count_failed, await asyncio.gather(*asking)))


def main(path: str, *bases: str) -> int:
    failed = asyncio.run(ask_shares(Path(path).read_text().split(), list(bases)))
    if failed:
        print(f"{failed} questions for minutes failed", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
