"""A day of all symbols joins a month that is full, beside the same day in a month of its own.

Both are loads into the same store: each into a copy of it (links, for its files are never written
again), in a process of its own.
"""

import os
import shutil
from pathlib import Path

from tests.bench.minute_bars import FULL_DAY, NEW_MONTH, Cost
from tests.bench.minute_bars import measure as run_command
from tests.bench.minute_rows import Took, show_times

TURNS = 3
MOST_MB = 1024


def measure(folder: Path, data: Path, symbols: int) -> None:
    pairs, costs = [], []
    for _ in range(TURNS):
        full, empty = (load_day(folder, data, symbols, day) for day in (FULL_DAY, NEW_MONTH))
        pairs.append((Took(full.wall, full.cpu), Took(empty.wall, empty.cpu)))
        costs.append(full)
    show_times(f"load of a day ({costs[0].bars:,} bars)", pairs, 2.0)
    peak = max(cost.mebibytes for cost in costs)
    print(f"  its memory: {peak:,.0f} MiB, < {MOST_MB:,}: {'met' if peak < MOST_MB else 'MISSED'}")


def load_day(folder: Path, data: Path, symbols: int, day: object) -> Cost:
    copy = folder / "copy"
    shutil.copytree(data / "minutes", copy / "minutes", copy_function=os.link)
    os.sync()  # what was written before is not to be paid for here
    cost = run_command("day", copy, str(symbols), str(day))
    shutil.rmtree(copy)
    return cost
