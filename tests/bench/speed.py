"""Requests per second of the service beside its peers, in one run: make bench.

    python -m tests.bench.speed [--seconds 5]

Publishes synthetic bars, starts the service with one worker and the peers, and drives each with
`wrk` (Debian, Ubuntu: apt install wrk; macOS: brew install wrk). Only ratios travel.

    repeat  one URL again and again           range  new ranges of 20 symbols asked before
    cold    other symbols, an empty cache     stats  statistics of other symbols and ranges
"""

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.bench.explain import publish

ROOT = Path(__file__).parents[2]
PEERS = ("plain", "bare_fastapi", "bare_starlette")
CONNECTIONS = 8
YEARS = range(2000, 2012)


@dataclass(frozen=True)
class Result:
    rate: float
    p50: str
    p99: str
    errors: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_options(parser)
    run(parser.parse_args())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=5, help="to drive each server")


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        database = publish(Path(folder))
        service, _ = servers.enter_context(serve_service(Path(folder)))
        body = Path(folder) / "body.json"
        body.write_bytes(fetch(service, make_urls(["S00000"], 1, "ohlcv")[0]))
        bases = {"service": service}
        for name in PEERS:
            bases[name] = servers.enter_context(serve_peer(name, database, body))
        for number in range(20):
            fetch(service, f"/instruments/S{number:05}/ohlcv")
        compare(bases, args.seconds, Path(folder))


def compare(bases: dict[str, str], seconds: int, folder: Path) -> None:
    random.seed(7)
    warm = [f"S{number:05}" for number in range(20)]
    cold = [f"S{number:05}" for number in range(20, 1000)]
    scenarios = {
        "repeat": make_urls(warm[:1], 1, "ohlcv"),
        "range": make_urls(warm, 20_000, "ohlcv"),
        "cold": make_urls(cold, 20_000, "ohlcv"),
        "stats": make_urls(cold, 20_000, "statistics"),
    }
    print(f"\n{'scenario':9}{'who':16}{'requests/s':>11}{'p50':>10}{'p99':>10}{'service /':>11}")
    for scenario, urls in scenarios.items():
        path = folder / "urls.txt"
        path.write_text("\n".join(urls) + "\n")
        results = {who: drive(base, path, seconds) for who, base in bases.items()}
        for who, result in results.items():
            ratio = results["service"].rate / result.rate
            print(
                f"{scenario:9}{who:16}{result.rate:11,.0f}{result.p50:>10}{result.p99:>10}"
                f"{ratio:11.2f}{f'  {result.errors} errors' if result.errors else ''}"
            )


def make_urls(symbols: list[str], count: int, what: str) -> list[str]:
    """A year of a symbol, from a random day on."""
    urls = []
    for _ in range(count):
        symbol, year = random.choice(symbols), random.choice(YEARS)
        day = f"{random.randint(1, 12):02}-{random.randint(1, 28):02}"
        urls.append(f"/instruments/{symbol}/{what}?start={year}-{day}&end={year + 1}-{day}")
    return urls


def drive(base: str, urls: Path, seconds: int) -> Result:
    said = start_wrk(base, urls, seconds, CONNECTIONS).communicate()[0]
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Result(
        float(find(r"Requests/sec:\s+([\d.]+)", said)),
        find(r"^\s+50%\s+(\S+)", said),
        find(r"^\s+99%\s+(\S+)", said),
        int(errors.group(1)) if errors else 0,
    )


def start_wrk(base: str, urls: Path, seconds: int, connections: int) -> subprocess.Popen[str]:
    """wrk asking for random lines of a file, under way; its report comes on stdout."""
    script = str(Path(__file__).with_name("random_urls.lua"))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, base]
    return subprocess.Popen(
        command, env={**os.environ, "URLS": str(urls)}, stdout=subprocess.PIPE, text=True
    )


def find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return found.group(1)


@contextmanager
def serve_service(data: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The service with one worker over a data folder."""
    port = find_port()
    environ = {**os.environ, "DATA_DIR": str(data), "API_PORT": str(port), "LOG_LEVEL": "ERROR"}
    with serve([sys.executable, "-m", "api.main"], environ, port) as served:
        yield served


@contextmanager
def serve_peer(name: str, database: Path, body: Path) -> Iterator[str]:
    port = find_port()
    environ = {**os.environ, "DATABASE": str(database), "BODY": str(body)}
    command = [sys.executable, "-m", "uvicorn", f"tests.bench.peers:{name}", "--port", str(port)]
    with serve([*command, "--log-level", "error", "--no-access-log"], environ, port) as (base, _):
        yield base


@contextmanager
def serve(
    command: list[str], environ: dict[str, str], port: int
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a server and its process, once it answers."""
    base = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(base)
            yield base, process
        finally:
            process.terminate()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(base: str) -> None:
    for _ in range(300):
        try:
            fetch(base, "/openapi.json")
            return
        except HTTPError:
            return  # it answers
        except URLError:
            time.sleep(0.1)
    raise SystemExit(f"{base} does not answer")


def fetch(base: str, path: str) -> bytes:
    with urlopen(base + path, timeout=10) as answer:
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    main()
