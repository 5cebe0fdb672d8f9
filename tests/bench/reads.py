"""Growth, memory and fairness of reads: make bench.

    python -m tests.bench.reads [--symbols 8000] [--days 5000] [--folder STORES]

    growth    read_series of the same 600 symbols, second pass: few bars against many
    memory    a worker's resident memory before and after 10,000 distinct URLs
    fairness  p99 of 8 clients of small ranges: alone, and beside 4 that take full histories

8,000 symbols make stores of 40,000,000 bars: 8 GB on the disk, some minutes. Only ratios travel.
"""

import argparse
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.settings import ApiSettings, read_settings
from api.store.duckdb_file.reader import FileReader
from api.store.duckdb_file.snapshots import Snapshot, open_snapshot
from tests.bench import loads, speed
from tests.bench.servers import fetch, serve_service, start_wrk
from tests.bench.speed import make_urls

URLS = 10_000
SAME = 600
SHORT = 667  # bars a symbol: 600 × 667 are 0.4 million
SPARE_MB = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    speed.add_options(parser)
    loads.add_options(parser)
    add_options(parser)
    run(parser.parse_args())


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, help="keep the stores of reads, for another time")


def run(args: argparse.Namespace) -> None:
    with take_folder(args.folder) as folder:
        compare_growth(folder, args.symbols * args.days)
        data = publish(folder, args.symbols, args.days).parent
        measure_memory(data, args.symbols, args.days)
        measure_fairness(data, args.symbols, args.seconds)


@contextmanager
def take_folder(folder: Path | None) -> Iterator[Path]:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)


def publish(folder: Path, symbols: int, days: int) -> Path:
    """The database of a store of so many symbols and days, made unless it is there."""
    data = folder / f"{symbols}x{days}"
    database = data / "market_data.duckdb"
    if not database.exists():
        data.mkdir(exist_ok=True)
        bars = data / "bars.parquet"
        loads.write_parquet(loads.BARS.format(symbols=symbols, first=0, last=days), bars)
        cost = loads.measure("etl.load", "--input", bars, data=data)
        print(f"loading {symbols * days:,} bars: {cost.seconds:.0f} s", flush=True)
        bars.unlink()
    return database


def compare_growth(folder: Path, bars: int) -> None:
    memory = read_settings(ApiSettings, environ={}).db_memory_mb
    small, large = (
        open_snapshot(publish(folder, symbols, SHORT), memory) for symbols in (SAME, bars // SHORT)
    )
    names = [f"S{number:05}" for number in range(SAME)]
    for snapshot in (small, large):
        time_reads(snapshot, names)
    rounds = [[time_reads(snapshot, names) for snapshot in (small, large)] for _ in range(3)]
    few, many = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(
        f"growth: read_series of {SAME} symbols, p50: {few:.2f} ms of {SAME * SHORT:,} bars,"
        f" {many:.2f} ms of {bars:,}: {many / few:.2f} x",
        flush=True,
    )


def time_reads(snapshot: Snapshot, symbols: list[str]) -> float:
    """Median milliseconds."""
    times = []
    for symbol in symbols:
        started = time.perf_counter()
        FileReader(snapshot.connection.cursor()).read_series(symbol, "raw")
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def measure_memory(data: Path, symbols: int, days: int) -> None:
    settings = read_settings(ApiSettings, environ={})
    random.seed(7)
    names = [f"S{number:05}" for number in range(symbols)]
    with serve_service(data) as server:
        base, process = server.base, server.process
        fetch(base, "/health")
        before = read_resident(process.pid)
        most = before
        for count, url in enumerate(make_urls(names, URLS, "ohlcv")):
            fetch(base, url)
            if not count % 500:
                most = max(most, read_resident(process.pid))
        most = max(most, read_resident(process.pid))
    allowed = before + settings.cache_max_mb + settings.db_memory_mb + SPARE_MB
    print(
        f"memory: {before:.0f} MB at the start, {most:.0f} MB after {URLS:,} URLs of"
        f" {symbols * days:,} bars; {allowed:.0f} MB are allowed",
        flush=True,
    )


def read_resident(pid: int) -> float:
    """Resident memory of a process, MB."""
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout) / 1024


def measure_fairness(data: Path, symbols: int, seconds: int) -> None:
    random.seed(7)
    few = [f"S{number:05}" for number in range(20)]
    small, full = data / "small.txt", data / "full.txt"
    small.write_text("\n".join(make_urls(few, 20_000, "ohlcv")) + "\n")
    others = [f"/instruments/S{number:05}/ohlcv" for number in range(20, min(symbols, 220))]
    full.write_text("\n".join(others) + "\n")
    with serve_service(data) as server:
        base = server.base
        for symbol in few:
            fetch(base, f"/instruments/{symbol}/ohlcv")
        rounds = []
        for _ in range(3):
            alone = read_p99(start_wrk(base, small, seconds, 8))
            streams = start_wrk(base, full, seconds + 2, 4)
            beside = read_p99(start_wrk(base, small, seconds, 8))
            said = streams.communicate()[0]
            rounds.append((alone, beside))
            print(f"fairness: p99 of small ranges {alone:.1f} ms, beside streams {beside:.1f} ms")
    alone, beside = (statistics.median(each) for each in zip(*rounds, strict=True))
    rate = re.search(r"Transfer/sec:\s+(\S+)", said)
    print(
        f"fairness: {beside / alone:.2f} x; the streams took {rate.group(1) if rate else '?'}"
        " a second",
        flush=True,
    )


def read_p99(process: subprocess.Popen[str]) -> float:
    """Milliseconds."""
    said = process.communicate()[0]
    found = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)", said, re.MULTILINE)
    assert found, said
    return float(found.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[found.group(2)]


if __name__ == "__main__":
    main()
