"""Price series made on the spot, and the sample as it ships, split-adjusted."""

import csv
import gzip
from datetime import date
from functools import cache

import numpy as np
import pandas as pd

from api.bars.adjust import adjust
from api.bars.series import PRICES, Floats, Series, Timestamps
from etl.settings import PROJECT_ROOT

SAMPLE = PROJECT_ROOT / "data" / "sample"


def make_series(
    closes: Floats | list[float], symbol: str = "X", first: str = "2020-01-01"
) -> Series:
    """Closes on days one after another; the open is the close, the range 1 to each side."""
    column = np.array(closes, dtype=float)
    times: Timestamps = np.datetime64(first, "D") + np.arange(len(column))
    times = times.astype("datetime64[s]")
    volume = np.ma.masked_array(np.full(len(column), 1000), False)
    with np.errstate(over="ignore"):
        return Series(symbol, "raw", times, column, column + 1, column - 1, column, volume)


def walk_series(seed: int, count: int, symbol: str = "X", shared: float = 0.0) -> Series:
    """A random walk on weekdays, here and there a bar missing, here and there a volume unknown.

    `shared` is the part of each move that is the same in every walk.
    """
    own, market = np.random.default_rng([seed, *map(ord, symbol)]), np.random.default_rng(7)
    weekdays = np.busday_offset("2015-01-01", np.arange(count + count // 20 + 1), roll="forward")
    moves = shared * market.normal(0.0003, 0.012, len(weekdays))
    moves = moves + (1 - shared) * own.normal(0.0003, 0.015, len(weekdays))
    closes = 50 * np.exp(np.cumsum(moves))
    opens = closes * np.exp(own.normal(0, 0.005, len(closes)))
    highs = np.maximum(opens, closes) * (1 + own.random(len(closes)) / 50)
    lows = np.minimum(opens, closes) * (1 - own.random(len(closes)) / 50)
    volumes = own.integers(0, 10**7, len(closes))
    volume = np.ma.masked_array(volumes, own.random(len(closes)) < 0.05)
    kept = np.sort(own.permutation(len(weekdays))[:count])
    columns = (weekdays.astype("datetime64[s]"), opens, highs, lows, closes, volume)
    return Series(symbol, "split", *(column[kept] for column in columns))


@cache
def read_sample(symbol: str) -> Series:
    """The sample's bars of a symbol, as if all its splits had always been."""
    with gzip.open(SAMPLE / "bars.csv.gz", "rt") as file:
        frame = pd.read_csv(file)
    frame = frame[frame["symbol"] == symbol].sort_values("timestamp")
    days = frame["timestamp"].to_numpy(dtype="datetime64[s]")
    prices = (frame[name].to_numpy(float) for name in PRICES)
    volume = np.ma.masked_array(frame["volume"].to_numpy(np.int64), False)
    with (SAMPLE / "splits.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] == symbol]
    splits = [(date.fromisoformat(row["ex_date"]), float(row["value"])) for row in rows]
    return adjust(Series(symbol, "raw", days, *prices, volume), splits, "split")
