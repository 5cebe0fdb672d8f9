"""What it costs to be watched and guarded: one kept answer, asked for again and again.

Four servers in turns: all off; METRICS; METRICS with AUTH and RATE_LIMIT (a key, so that each
request is told from others, counted and limited); and all of that with the access log as JSON.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.explain import publish
from tests.bench.servers import ROOT, Server, Turn, drive, serve_service
from tests.bench.speed import make_urls, write_lines

WATCHED = {"METRICS": "on"}
GUARDED = {
    **WATCHED,
    "AUTH": "on",
    "JWT_KEY": "a key of the bench, which signs nothing that anyone could use",
    "RATE_LIMIT": "1000000000/minute",
}
SETTINGS = {
    "off": {"METRICS": "off", "AUTH": "", "RATE_LIMIT": "", "ACCESS_LOG": "off"},
    "metrics": WATCHED,
    "guarded": GUARDED,
    "logged": {**GUARDED, "ACCESS_LOG": "on", "LOG_FORMAT": "json"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """It is driven as long as speed's servers: --seconds."""


def run(args: argparse.Namespace) -> None:
    random.seed(7)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        publish(folder)
        key = make_key(folder)
        servers = {
            who: stack.enter_context(serve_service(folder, settings, key))
            for who, settings in SETTINGS.items()
        }
        lines = write_lines(folder / "urls.txt", make_urls(["S00000"], 1, "ohlcv"))
        for server in servers.values():
            drive(server, lines, seed=0)
        compare(servers, lines, args.seconds)


def compare(servers: dict[str, Server], lines: Path, seconds: int) -> None:
    """The ratio of each turn to the one of `off` beside it; the middle of them is told."""
    turns = [{who: drive(server, lines, seed) for who, server in servers.items()}
             for seed in range(seconds)]  # fmt: skip
    print(f"\n{'repeat with':12}{'requests/s':>11}{'CPU us':>9}{'/ off':>8}{'CPU off /':>11}")
    for who in servers:
        own = [turn[who] for turn in turns]
        rates = find_middle([a[who].requests / a["off"].requests * (a["off"].seconds /
                             a[who].seconds) for a in turns])  # fmt: skip
        costs = find_middle([tell_cost(turn["off"]) / tell_cost(turn[who]) for turn in turns])
        rate = sum(turn.requests for turn in own) / sum(turn.seconds for turn in own)
        cost = find_middle([tell_cost(turn) for turn in own])
        errors = sum(turn.errors for turn in own)
        told = f"  {errors} errors" if errors else ""
        print(f"{who:12}{rate:11,.0f}{cost:9.1f}{rates:8.2f}{costs:11.2f}{told}")


def tell_cost(turn: Turn) -> float:
    """Microseconds of the server's processor time that a request took."""
    return 1e6 * turn.cpu / turn.requests


def find_middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def make_key(folder: Path) -> str:
    """An API key that may read."""
    command = [sys.executable, "-m", "api.callers", "key", "--name=bench", "--scopes=read"]
    environ = {"DATA_DIR": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]
