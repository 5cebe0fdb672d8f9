"""Measures how much of the allowed rate extract reaches, and its memory.

    python tests/bench/extract_rate.py [--symbols 1000] [--latency 0.3]

A vendor on loopback answers after the latency and refuses whatever is faster than allowed. Each
case runs extract as a process of its own and prints: calls a minute as the vendor saw them, the
share of the allowed rate (and of the whole run, start-up included), refusals, the peak memory.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

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
    name: str, per_second: float, per_minute: int, symbols: int, latency: float, bars: int
) -> None:
    rules = {"per_second": per_second, "per_minute": per_minute, "per_day": 0, "latency": latency}
    with tempfile.TemporaryDirectory() as folder, open_vendor(**rules, bars=bars) as vendor:
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
        }
        print(f"{name}, {len(times)} symbols of {bars} bars: {json.dumps(figures)}", flush=True)


def count_most(times: list[float], seconds: float) -> int:
    """The most calls in any window of so many seconds."""
    return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--bars", type=int, default=100)
    parser.add_argument("--case", action="append", choices=list(CASES))
    args = parser.parse_args()
    threading.stack_size(256 * 1024)
    for name in args.case or [case for case in CASES if case != "no limit"]:
        count = 60 if name == "1 a second" else args.symbols
        measure(name, *CASES[name], count, args.latency, args.bars)


if __name__ == "__main__":
    main()
