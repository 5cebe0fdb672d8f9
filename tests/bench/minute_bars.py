"""A store of minutes to be measured: bars in cents that walk at random, the same on each machine.

    python -m tests.bench.minute_bars store FOLDER BARS SYMBOLS
    python -m tests.bench.minute_bars day FOLDER SYMBOLS 2024-06-28

Some symbols go back two years, the others as far as makes so many bars. All end on the last session
but one of a month, so that one more day joins a month that is full. Each command prints what it
cost, as JSON; what it takes to make the bars is left out.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etl.contracts.minutes import BATCH_BARS, SESSIONS, Batch, MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.market.sessions import list_sessions
from tests.bench.servers import ROOT

EXCHANGE = "XNYS"
FIRST, LAST = date(2022, 6, 27), date(2024, 6, 27)  # two years
FULL_DAY, NEW_MONTH = date(2024, 6, 28), date(2024, 7, 1)  # the sessions after these
FETCHED = datetime(2024, 7, 10)  # noqa: DTZ001
MINUTES = 390  # of a session
TOGETHER = 30  # symbols of a batch: a month of them are 250,000 bars
KIB = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere


@dataclass(frozen=True)
class Shape:
    """Which symbols there are; `long` of them go back two years, the others `days` sessions."""

    bars: int
    symbols: int

    @property
    def long(self) -> int:
        return max(1, min(4, self.bars // 1_000_000))

    @property
    def names(self) -> list[str]:
        return [f"S{number:05}" for number in range(self.symbols)]

    @property
    def days(self) -> int:
        rest = self.bars - self.long * len(list_days()) * MINUTES
        return max(44, rest // (MINUTES * (self.symbols - self.long)))  # two months at least


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of processors; bars: how many it was for."""

    wall: float
    cpu: float
    mebibytes: float
    bars: int


@cache
def read_sessions() -> pa.Table:
    return list_sessions(EXCHANGE, FIRST).select(SESSIONS.names).cast(SESSIONS)


def list_days() -> list[date]:
    return [day for day in read_sessions()["session"].to_pylist() if FIRST <= day <= LAST]


def build_batch(names: Sequence[str], days: Sequence[date]) -> Batch:
    """Bars of these symbols on sessions of one month."""
    stamps = list_stamps(days)
    tables = [build_bars(name, stamps) for name in names]
    bars = pa.concat_tables(tables).combine_chunks()
    sessions = read_sessions().slice(0, 800)
    return Batch("1m", bars, dict.fromkeys(names, EXCHANGE), sessions=sessions)


def list_stamps(days: Sequence[date]) -> Any:
    wanted = set(days)
    opens = [
        np.arange(np.datetime64(row["open"], "m"), np.datetime64(row["close"], "m"))
        for row in read_sessions().to_pylist()
        if row["session"] in wanted
    ]
    return np.concatenate(opens).astype("datetime64[us]")


def build_bars(name: str, stamps: Any) -> pa.Table:
    """A walk in cents; nobody's price is below zero after so few steps."""
    count, number = len(stamps), int(name[1:])
    random = np.random.default_rng([number, int(stamps[0].astype(np.int64) // 10**6)])
    close = 10_000 + 37 * number + np.cumsum(random.integers(-3, 4, count))
    opened = np.concatenate([close[:1], close[:-1]])
    cents = {
        "open": opened,
        "high": np.maximum(opened, close) + random.integers(0, 4, count),
        "low": np.minimum(opened, close) - random.integers(0, 4, count),
        "close": close,
    }
    columns = {
        "symbol": np.full(count, name),
        "timestamp": stamps,
        **{column: values / 100 for column, values in cents.items()},
        "volume": random.lognormal(8, 1, count).astype(np.int64) + 1,
        "volume_decimals": np.zeros(count, np.int8),
        "source": np.full(count, "bench"),
        "fetched_at": np.full(count, FETCHED, "datetime64[us]"),
    }
    return pa.table(columns, schema=BATCH_BARS)


def list_batches(shape: Shape) -> Iterator[Batch]:
    """Month after month, as a load brings them."""
    days = list_days()
    others = set(days[-shape.days :])
    for _, month in groupby(days, key=lambda day: (day.year, day.month)):
        every = list(month)
        some = [day for day in every if day in others]
        yield build_batch(shape.names[: shape.long], every)
        rest = shape.names[shape.long :] if some else []
        for first in range(0, len(rest), TOGETHER):
            yield build_batch(rest[first : first + TOGETHER], some)


def load(store: MinuteStore, batches: Iterator[Batch]) -> Cost:
    """Upsert all, and publish once."""
    wall = cpu = 0.0
    bars = 0
    with store.writing():
        for batch in batches:
            began = time.perf_counter(), time.process_time()
            store.upsert(batch, "bench")
            wall, cpu = wall + time.perf_counter() - began[0], cpu + time.process_time() - began[1]
            bars += batch.bars.num_rows
        began = time.perf_counter(), time.process_time()
        store.publish()
    wall, cpu = wall + time.perf_counter() - began[0], cpu + time.process_time() - began[1]
    return Cost(wall, cpu, read_peak(), bars)


def read_peak() -> float:
    """The most memory that this process had, MiB; what its parent had does not count."""
    try:
        said = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 2**20
    return int(said.partition("VmHWM:")[2].split()[0]) / 1024


def measure(*words: str | Path) -> Cost:
    """A command of this module, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.minute_bars", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Cost(**json.loads(done.stdout))


def main(command: str, folder: str, *words: str) -> None:
    if command == "store":
        batches = list_batches(Shape(int(words[0]), int(words[1])))
    else:
        names, day = Shape(0, int(words[0])).names, date.fromisoformat(words[1])
        batches = iter([build_batch(names, [day])])
    with closing(open_place(Place(Path(folder)))) as store:
        print(json.dumps(load(store, batches).__dict__))


if __name__ == "__main__":
    main(*sys.argv[1:])
