"""Requests per second of the service beside its peers, in one run: make bench.

    python -m tests.bench.speed [--seconds 5]

Publishes synthetic bars, starts the service with one worker and the peers, and drives each with
`wrk` (Debian, Ubuntu: apt install wrk; macOS: brew install wrk), second by second in turns, so that
whatever else the machine does meets all of them. Only ratios travel; the processor time that a
server takes for a request is the firmer of the two.

    repeat  one URL again and again           range  new ranges of 20 symbols asked before
    cold    other symbols, an empty cache     stats  statistics of other symbols and ranges

ROAPI, where it is installed (make engines), answers the questions of range as SQL over the same
bars in Parquet.
"""

import argparse
import random
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.bench.explain import publish
from tests.bench.servers import (
    Server,
    Turn,
    drive,
    fetch,
    find_roapi,
    serve_peer,
    serve_roapi,
    serve_service,
)

PEERS = ("plain", "bare_fastapi", "bare_starlette")
YEARS = range(2000, 2012)
ROAPI_MISSING = "roapi is not installed (make engines): nothing is measured beside it"
QUESTION = (
    "SELECT timestamp, open, high, low, close, volume FROM bars WHERE symbol = '{symbol}'"
    " AND timestamp BETWEEN '{start}' AND '{end}' ORDER BY timestamp"
)


@dataclass(frozen=True)
class Result:
    """The sum of all turns of one server in a scenario."""

    turns: list[Turn]

    @property
    def requests(self) -> int:
        return max(1, sum(turn.requests for turn in self.turns))

    @property
    def rate(self) -> float:
        return self.requests / sum(turn.seconds for turn in self.turns)

    @property
    def cpu(self) -> float:
        """Microseconds of processor time a request."""
        return 1e6 * sum(turn.cpu for turn in self.turns) / self.requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_options(parser)
    run(parser.parse_args())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=5, help="to drive each server")


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        database = publish(folder)
        servers = {"service": stack.enter_context(serve_service(folder))}
        body = folder / "body.json"
        body.write_bytes(fetch(servers["service"].base, make_urls(["S00000"], 1, "ohlcv")[0]))
        for peer in PEERS:
            servers[peer] = stack.enter_context(serve_peer(peer, database, body))
        for number in range(20):
            fetch(servers["service"].base, f"/instruments/S{number:05}/ohlcv")
        compare(servers, args.seconds, folder)
        compare_roapi(servers["service"], args.seconds, folder)


def compare(servers: dict[str, Server], seconds: int, folder: Path) -> None:
    random.seed(7)
    warm = [f"S{number:05}" for number in range(20)]
    cold = [f"S{number:05}" for number in range(20, 1000)]
    scenarios = {
        "repeat": make_urls(warm[:1], 1, "ohlcv"),
        "range": make_urls(warm, 20_000, "ohlcv"),
        "cold": make_urls(cold, 20_000, "ohlcv"),
        "stats": make_urls(cold, 20_000, "statistics"),
    }
    print(
        f"\n{'scenario':9}{'who':16}{'requests/s':>11}{'CPU us':>9}{'p50':>10}{'p99':>10}"
        f"{'service /':>11}{'CPU / its':>11}"
    )
    for scenario, urls in scenarios.items():
        path = write_lines(folder / "urls.txt", urls)
        turns = [{who: drive(server, path, seed) for who, server in servers.items()}
                 for seed in range(seconds)]  # fmt: skip
        show(scenario, {who: Result([turn[who] for turn in turns]) for who in servers})


def show(scenario: str, results: dict[str, Result]) -> None:
    """p50 and p99 are those of the last turn; the ratio of processor time is the peer's over the
    service's, so that larger is better for the service in both."""
    service = results["service"]
    for who, result in results.items():
        last = result.turns[-1]
        errors = sum(turn.errors for turn in result.turns)
        print(
            f"{scenario:9}{who:16}{result.rate:11,.0f}{result.cpu:9,.0f}{last.p50:>10}{last.p99:>10}"
            f"{service.rate / result.rate:11.2f}{result.cpu / service.cpu:11.2f}"
            f"{f'  {errors} errors' if errors else ''}"
        )


def compare_roapi(service: Server, seconds: int, folder: Path) -> None:
    """One year of a symbol, a new range each: the service's URL beside the same question in SQL."""
    program = find_roapi()
    if program is None:
        print(ROAPI_MISSING)
        return
    urls = make_urls([f"S{number:05}" for number in range(20)], 20_000, "ohlcv")
    asked = write_lines(folder / "urls.txt", urls)
    questions = write_lines(folder / "questions.txt", [write_question(url) for url in urls])
    with serve_roapi(program, folder / "bars.parquet") as roapi:
        turns = [(drive(service, asked, seed), drive(roapi, questions, seed, "POST"))
                 for seed in range(seconds)]  # fmt: skip
    ours, theirs = (Result(list(each)) for each in zip(*turns, strict=True))
    show("range", {"service": ours, "roapi": theirs})


def write_question(url: str) -> str:
    """The SQL that asks for what a URL of bars asks for."""
    parts = urlsplit(url)
    symbol = parts.path.split("/")[2]
    return QUESTION.format(symbol=symbol, **{k: v[0] for k, v in parse_qs(parts.query).items()})


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def make_urls(symbols: list[str], count: int, what: str) -> list[str]:
    """A year of a symbol, from a random day on."""
    urls = []
    for _ in range(count):
        symbol, year = random.choice(symbols), random.choice(YEARS)
        day = f"{random.randint(1, 12):02}-{random.randint(1, 28):02}"
        urls.append(f"/instruments/{symbol}/{what}?start={year}-{day}&end={year + 1}-{day}")
    return urls


if __name__ == "__main__":
    main()
