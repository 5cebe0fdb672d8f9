"""What it is worth, and what it costs, that four instances share their answers through a Redis.

cold    four instances, each asked for all of 2,000 answers at once: how often one was made; and
        by an instance that is started anew
hits    requests a second of four instances that have all answers, beside four without Redis
faults  p99 in each half second, of four instances that are asked for what they have and, once
        in fifty, for what nobody has: Redis is killed, paused, filled, started anew
"""

import argparse
import asyncio
import itertools
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.asking import Seen, ask_all
from tests.bench.guarded import find_middle
from tests.bench.reads import publish
from tests.bench.servers import Server, find_port, serve_service, start_wrk
from tests.bench.speed import make_urls, write_lines
from tests.daemons import find_program

INSTANCES = 4
SYMBOLS, DAYS, URLS = 200, 2_000, 2_000
CONNECTIONS = 4  # to each instance
WINDOW = 0.5  # seconds
REST = 0.02  # seconds between two questions of one connection, where p99 is measured
NEW_EVERY = 50


class Redis:
    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.program, self.port = folder, program, find_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [self.program, "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        while subprocess.run(self.tell("ping"), capture_output=True, check=False).returncode:
            time.sleep(0.02)

    def tell(self, *words: str) -> list[str]:
        return ["redis-cli", "-p", str(self.port), *words]

    def configure(self, name: str, value: str) -> None:
        subprocess.run(self.tell("config", "set", name, value), check=True, capture_output=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def fill(self) -> None:
        self.configure("maxmemory-policy", "noeviction")
        self.configure("maxmemory", "1")

    def empty(self) -> None:
        self.configure("maxmemory", "0")


def nothing(redis: Redis) -> None:
    """What no fault at all looks like on this machine."""


Act = Callable[[Redis], None]
FAULTS: dict[str, tuple[Act, Act]] = {
    "none": (nothing, nothing),
    "killed": (Redis.kill, Redis.start),
    "paused": (Redis.pause, Redis.resume),
    "filled": (Redis.fill, Redis.empty),
    "started anew": (Redis.restart, nothing),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """It is driven as long as speed's servers: --seconds."""


def run(args: argparse.Namespace) -> None:
    program = find_program("redis-server")
    if program is None:
        print("redis-server is not installed (Debian: apt install redis-server): nothing is shared")
        return
    random.seed(7)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        data = publish(folder, SYMBOLS, DAYS).parent
        redis = Redis(folder, program)
        redis.start()
        stack.callback(redis.kill)
        urls = make_urls([f"S{number:05}" for number in range(SYMBOLS)], 2 * URLS, "statistics")
        urls = sorted(set(urls))[:URLS]
        alone = [stack.enter_context(serve_service(data)) for _ in range(INSTANCES)]
        settings = {"CACHE_URL": redis.url}
        sharing = [stack.enter_context(serve_service(data, settings)) for _ in range(INSTANCES)]
        asyncio.run(measure_cold("four alone", alone, urls))
        asyncio.run(measure_cold("four sharing", sharing, urls))
        with serve_service(data, settings) as anew:
            asyncio.run(measure_cold("one started anew", [anew], urls))
        measure_hits(alone, sharing, write_lines(folder / "urls.txt", urls), args.seconds)
        for fault, (harm, mend) in FAULTS.items():
            asyncio.run(measure_fault(fault, harm, mend, redis, sharing, urls))


async def measure_cold(who: str, servers: list[Server], urls: list[str]) -> None:
    """Each server is asked for all, in an order of its own."""
    orders = [iter(random.sample(urls, len(urls))) for _ in servers]
    began = time.monotonic()
    lists = await asyncio.gather(
        *(ask_all(server.base, order, CONNECTIONS, 0) for server, order in
          zip(servers, orders, strict=True))
    )  # fmt: skip
    took = time.monotonic() - began
    seen = [each for found in lists for each in found]
    made, failed = sum(each.is_made for each in seen), count_failed(seen)
    print(
        f"cold: {who}: {made:,} makings of {len(urls):,} answers in {took:.1f} s, {failed} failed"
    )


def measure_hits(alone: list[Server], sharing: list[Server], lines: Path, seconds: int) -> None:
    """In turns of a second; the middle of the ratios of two turns beside each other."""
    ratios, costs = [], []
    for seed in range(seconds):
        (before, cost), (with_redis, other) = drive(alone, lines, seed), drive(sharing, lines, seed)
        ratios.append(with_redis / before)
        costs.append(cost / other)
    print(
        f"hits: four with Redis {with_redis:,.0f}/s in the last turn, {find_middle(ratios):.2f} x"
        f" of four without; by processor time of a request {find_middle(costs):.2f} x"
    )


def drive(servers: list[Server], lines: Path, seed: int) -> tuple[float, float]:
    """Requests a second of all, and processor seconds a request."""
    before = sum(server.read_cpu() for server in servers)
    clients = [start_wrk(each.base, lines, 1, CONNECTIONS, seed=seed) for each in servers]
    said = [client.communicate()[0] for client in clients]
    found = [re.findall(r"(\d+) requests in ([\d.]+)s,", text)[0] for text in said]
    requests = sum(int(count) for count, _ in found)
    rate = sum(int(count) / float(length) for count, length in found)
    return rate, (sum(server.read_cpu() for server in servers) - before) / requests


async def measure_fault(
    fault: str, harm: Act, mend: Act, redis: Redis, servers: list[Server], urls: list[str]
) -> None:
    """Three seconds as it is, three with the fault, three after it."""
    with keep_asking(urls) as (asked, stop):
        loads = [
            asyncio.create_task(ask_all(each.base, asked, CONNECTIONS, REST)) for each in servers
        ]
        moments = []
        for act in (harm, mend, lambda _: stop()):
            await asyncio.sleep(3)
            moments.append(time.monotonic())
            await asyncio.to_thread(act, redis)
        seen = [each for found in await asyncio.gather(*loads) for each in found]
    show_fault(fault, seen, moments[0])


@contextmanager
def keep_asking(urls: list[str]) -> Iterator[tuple[Iterator[str], Callable[[], None]]]:
    """URLs without end until stopped: known ones, and now and then one that nobody asked for."""
    is_over = False

    def stop() -> None:
        nonlocal is_over
        is_over = True

    def ask() -> Iterator[str]:
        for number in itertools.count():
            if is_over:
                return
            new = f"?start=2001-01-01&risk_free={random.random():.12f}"
            yield random.choice(urls) if number % NEW_EVERY else urls[0].split("?")[0] + new

    yield ask(), stop


def show_fault(fault: str, seen: list[Seen], moment: float) -> None:
    before = find_p99([each.seconds for each in seen if each.at < moment])
    windows: dict[int, list[float]] = {}
    for each in seen:
        if each.at >= moment:
            windows.setdefault(int((each.at - moment) / WINDOW), []).append(each.seconds)
    worst = {number: find_p99(each) for number, each in sorted(windows.items())}
    doubled = WINDOW * sum(p99 > 2 * before for p99 in worst.values())
    told = " ".join(f"{1000 * p99:.0f}" for p99 in worst.values())
    print(
        f"faults: {fault}: {len(seen):,} requests, {count_failed(seen)} failed; p99 before"
        f" {1000 * before:.0f} ms, then {told}; more than double for {doubled:.1f} s",
        flush=True,
    )


def find_p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def count_failed(seen: list[Seen]) -> int:
    return sum(each.status != 200 for each in seen)
