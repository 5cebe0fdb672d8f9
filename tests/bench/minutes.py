"""Minutes, beside what reads and loads them at the least: make bench ARGS="--only minutes".

    first     of a day, a month, two years of a symbol: beside DuckDB's reading and the encoding
    hours     of a month, beside the reading of its minutes
    again     another range of what was read, requests a second: beside a bare FastAPI route
    load      a day of all symbols into the store, beside the same into a month that is empty
    crowd     four instances asked for different minutes: memory, and daily questions beside it
    engines   a month from ClickHouse and from PostgreSQL, where they are installed

--bars 5000000 makes 100 symbols, 50000000 makes 500; --folder keeps the store for another time.
The clock means little where others want the processors: the ratio of processor time is beside it.
"""

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench import loads, minute_bars
from tests.bench import minute_again as again
from tests.bench import minute_crowd as crowd
from tests.bench import minute_engines as engines
from tests.bench import minute_loads as day_loads
from tests.bench import minute_reads as reads
from tests.bench.minute_bars import Shape
from tests.bench.minute_rows import show_head
from tests.bench.reads import take_folder

DAILY_SYMBOLS, DAYS = 200, 3_200


def add_options(parser: argparse.ArgumentParser) -> None:
    """Servers are driven for --seconds; --folder keeps the store."""
    parser.add_argument("--bars", type=int, default=5_000_000, help="of the store of minutes")


def run(args: argparse.Namespace) -> None:
    shape = Shape(args.bars, max(12, min(500, args.bars // 50_000)))
    with take_folder(args.folder) as folder, tempfile.TemporaryDirectory(dir=folder) as name:
        data, space = publish(folder, shape), Path(name)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        show_head()
        reads.measure(data, shape)
        again.measure(space, data, shape, args.seconds)
        day_loads.measure(space, data, shape.symbols)
        daily = [f"S{number:05}" for number in range(DAILY_SYMBOLS)]
        crowd.measure(space, data, shape, daily, min(10_000, args.bars // 2_500))
        engines.measure(space, data, shape)
        print(f"load average at the end {os.getloadavg()[0]:.1f}", flush=True)


def publish(folder: Path, shape: Shape) -> Path:
    """The data folder of a store of minutes and one of days, made unless it is there."""
    data = folder / f"minutes-{shape.bars}"
    if not (data / "minutes" / "current.json").exists():
        cost = minute_bars.measure("store", data, str(shape.bars), str(shape.symbols))
        print(
            f"minutes: {cost.bars:,} bars of {shape.symbols} symbols loaded in {cost.wall:,.0f} s,"
            f" {cost.cpu:,.0f} of processor; {measure_size(data) / cost.bars:.1f} bytes a bar on"
            f" the disk; {cost.mebibytes:,.0f} MiB",
            flush=True,
        )
    if not (data / "market_data.duckdb").exists():
        bars = data / "bars.parquet"
        loads.write_parquet(loads.BARS.format(symbols=DAILY_SYMBOLS, first=0, last=DAYS), bars)
        loads.measure("etl.load", "--input", bars, data=data)
        bars.unlink()
    return data


def measure_size(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "minutes").rglob("*.duckdb"))
