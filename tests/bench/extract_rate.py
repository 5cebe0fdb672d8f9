"""Measures how much of the allowed rate extract reaches, and its memory.

    python tests/bench/extract_rate.py [--symbols 1000] [--latency 0.3] [--workers 4] [--plan 10000]

A vendor on loopback answers after the latency and refuses whatever is faster than allowed. Each
case runs extract as a process of its own and prints: calls a minute as the vendor saw them, the
share of the allowed rate (and of the whole run, start-up included), refusals, the peak memory.
--workers: the calls are made by so many workers over a private Redis. --plan: how long the plan of
so many symbols takes, which all have bars already, as a process from start to end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from contextlib import ExitStack
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

from etl.sources.alpha_vantage.plan import DATASETS  # noqa: E402
from tests.queues import read_memory_mb, start_workers  # noqa: E402
from tests.redis_server import run_redis  # noqa: E402
from tests.vendor import open_vendor  # noqa: E402

MEASURED = """
import resource, sys
from etl.extract import main
code = main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""
CASES = {
    "75 a minute": (0, 75),
    "1200 a minute": (0, 1200),
    "20 a second": (20, 1200),
    "1 a second": (1, 0),
    "no limit": (0, 0),
}


def measure(
    name: str,
    per_second: float,
    per_minute: int,
    symbols: int,
    latency: float,
    bars: int,
    workers: int,
) -> None:
    rules = {"per_second": per_second, "per_minute": per_minute, "per_day": 0, "latency": latency}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        vendor = stack.enter_context(open_vendor(**rules, bars=bars, last_bar=date(2026, 11, 20)))
        Path(folder, "symbols.txt").write_text("\n".join(f"S{i}" for i in range(symbols)))
        settings = {
            "DATA_DIR": folder,
            "AV_BASE_URL": vendor.url,
            "AV_API_KEY": "bench-key-0123",
            "AV_CALLS_PER_SECOND": str(per_second),
            "AV_CALLS_PER_MINUTE": str(per_minute),
            "AV_CALLS_PER_DAY": "0",
            "CORPORATE_ACTIONS_DAYS": "0",
            "SYMBOLS": f"@{folder}/symbols.txt",
        }
        started = []
        if workers:
            redis = stack.enter_context(run_redis(Path(folder)))
            settings |= {"QUEUE_URL": redis.url, "PYTHONWARNINGS": "ignore"}
            env = {**os.environ, **settings}
            started = stack.enter_context(start_workers(workers, env, Path(folder)))
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", MEASURED],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
        whole = time.monotonic() - began
        if done.returncode:
            print(done.stderr[-2000:])
        times = [request.at for request in vendor.requests]
        rate = 60 * (len(times) - 1) / (times[-1] - times[0])
        limits = [60 * per_second, per_minute]
        allowed = min((limit for limit in limits if limit), default=float("inf"))
        windows = {s: count_most(times, s) for s in (1, 60)}
        figures = {
            "calls": len(times),
            "a_minute": round(rate, 1),
            "share": round(rate / allowed, 3),
            "share_of_whole_run": round(60 * len(times) / whole / allowed, 3),
            "most_in_1_s": windows[1],
            "most_in_60_s": windows[60],
            "refused": vendor.refused,
            "memory_mb": int(done.stdout.split()[-1]),
            "memory_mb_of_workers": [read_memory_mb(worker) for worker in started],
        }
        print(f"{name}, {len(times)} symbols of {bars} bars: {json.dumps(figures)}", flush=True)


def count_most(times: list[float], seconds: float) -> int:
    """The most calls in any window of so many seconds."""
    return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))


def measure_plan(symbols: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"S{number}" for number in range(symbols)]
        for place, name in enumerate(names):
            kept = Path(folder, "archive", "alpha_vantage", name)
            kept.mkdir(parents=True)
            for dataset in DATASETS.values():
                file = f"{place + 1:09}.20200104T000000000000Z.{dataset}.2020-01-03.json.gz"
                (kept / file).touch()  # its name tells a plan all
        Path(folder, "symbols.txt").write_text("\n".join(names))
        settings = {"DATA_DIR": folder, "AV_API_KEY": "bench-key-0123", "AV_CALLS_PER_DAY": "0"}
        env = {**os.environ, **settings, "SYMBOLS": f"@{folder}/symbols.txt"}
        began = time.monotonic()
        command = [sys.executable, "-m", "etl.extract", "--plan"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        seconds = round(time.monotonic() - began, 2)
        print(f"the plan of {symbols:,} symbols: {seconds} s; {done.stdout.splitlines()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--bars", type=int, default=100)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--plan", type=int, default=0, help="plan so many symbols, and no more")
    args = parser.parse_args()
    if args.plan:
        measure_plan(args.plan)
        return
    threading.stack_size(256 * 1024)
    for name in args.case or [case for case in CASES if case != "no limit"]:
        count = 60 if name == "1 a second" else args.symbols
        measure(name, *CASES[name], count, args.latency, args.bars, args.workers)


if __name__ == "__main__":
    main()
