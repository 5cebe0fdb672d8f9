"""Seconds and memory of transform and load beside bare SQL, in one run: make bench.

    python -m tests.bench.loads [--symbols 8000] [--days 5000] [--times 3]

build   5,000,000 raw rows (1,000 symbols): transform and load into a new store
append  one new day of --symbols symbols into a store of --symbols x --days bars

8,000 symbols make 40,000,000 bars: 8 GB on the disk, 5 GB of memory, some minutes. Every step is a
process, measured from start to end; medians over some turns are printed, of the ratios too, for
the disk is not the same at all times. Only ratios travel.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAW_SYMBOLS, RAW_DAYS = 1_000, 5_000
# Mondays to Fridays; a slow wave with noise on it, another for each symbol.
BARS = """
    SELECT TIMESTAMP '2000-01-03' + INTERVAL (d + 2 * (d // 5)) DAY AS timestamp,
           'S' || lpad(s::VARCHAR, 5, '0') AS symbol,
           round(100 + wave + random(), 2) AS open, round(102 + wave + random(), 2) AS high,
           round(98 + wave - random(), 2) AS low, round(100 + wave + random(), 2) AS close,
           (random() * 1e8)::BIGINT AS volume
    FROM (SELECT s, d, 50 * sin(d / 100.0 + s) AS wave
          FROM range({symbols}) AS symbols(s), range({first}, {last}) AS days(d))
    ORDER BY symbol, timestamp"""
TEXT = """
    SELECT symbol, strftime(timestamp, '%Y-%m-%d') AS timestamp,
           COLUMNS(['open', 'high', 'low', 'close', 'volume'])::VARCHAR FROM ({bars})"""


@dataclass(frozen=True)
class Cost:
    seconds: float
    mebibytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_options(parser)
    run(parser.parse_args())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--symbols", type=int, default=1_000, help="of the store that a day joins")
    parser.add_argument("--days", type=int, default=5_000, help="bars a symbol in that store")
    parser.add_argument("--times", type=int, default=3, help="turns, of which the median counts")


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), args.times)
    with tempfile.TemporaryDirectory() as folder:
        append(Path(folder), args.symbols, args.days, args.times)


def build(folder: Path, times: int) -> None:
    print(f"\n{RAW_SYMBOLS * RAW_DAYS:,} raw rows into a new store")
    raw = folder / "raw.parquet"
    bars = BARS.format(symbols=RAW_SYMBOLS, first=0, last=RAW_DAYS)
    write_parquet(TEXT.format(bars=bars), raw)
    bare, transform, load = [], [], []
    for turn in range(times):
        data = folder / f"data{turn}"
        clean, database = folder / f"clean{turn}.parquet", folder / f"bare{turn}.duckdb"
        bare.append(measure("tests.bench.bare_loads", "build", raw, clean, database))
        transform.append(measure("etl.transform", "--input", raw, data=data))
        load.append(measure("etl.load", data=data))
        for path in (clean, database, *data.glob("*.*")):
            path.unlink()
    both = [Cost(a.seconds + b.seconds, max(a.mebibytes, b.mebibytes))
            for a, b in zip(transform, load, strict=True)]  # fmt: skip
    show("bare SQL", bare, bare)
    show("transform", transform, bare)
    show("load", load, bare)
    show("both", both, bare)


def append(folder: Path, symbols: int, days: int, times: int) -> None:
    print(f"\n{symbols:,} new bars, one a symbol, into {symbols * days:,}")
    database, bars = folder / "market_data.duckdb", folder / "bars.parquet"
    write_parquet(BARS.format(symbols=symbols, first=0, last=days), bars)
    measure("etl.load", "--input", bars, data=folder)
    bars.unlink()
    bare, load = [], []
    for turn in range(times):
        day = days + turn
        write_parquet(BARS.format(symbols=symbols, first=day, last=day + 1), bars)
        bare.append(measure("tests.bench.bare_loads", "append", database, bars))
        load.append(measure("etl.load", "--input", bars, data=folder))
    show("bare upsert", bare, bare)
    show("load", load, bare)


def write_parquet(select: str, path: Path) -> None:
    """In a process of its own: a child's peak of memory would begin with what this one holds."""
    code = (
        "import duckdb, sys; connection = duckdb.connect();"
        " connection.execute('SET enable_progress_bar = false').execute(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, f"COPY ({select}) TO '{path}'"], check=True)


def measure(module: str, *args: str | Path, data: Path | None = None) -> Cost:
    """Run a module as a process to its end."""
    environ = {"PATH": "/usr/bin:/bin", "LOG_LEVEL": "ERROR", "DATA_DIR": str(data or "")}
    os.sync()  # what was written before is not to be paid for here
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", module, *map(str, args)], env=environ, cwd=ROOT
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{module} failed")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    return Cost(seconds, usage.ru_maxrss * scale / 2**20)


def show(who: str, costs: list[Cost], bare: list[Cost]) -> None:
    seconds = statistics.median(cost.seconds for cost in costs)
    ratio = statistics.median(c.seconds / b.seconds for c, b in zip(costs, bare, strict=True))
    most = max(cost.mebibytes for cost in costs)
    print(f"  {who:12}{seconds:7.2f} s {ratio:6.2f} x bare {most:7,.0f} MiB")


if __name__ == "__main__":
    main()
