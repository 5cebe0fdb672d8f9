"""The minutes of one session, made out of its daily bar. Pure, and integers throughout.

Of one symbol and day every machine and version makes the same minutes: what looks random comes of
mixing 64 bits, not of a library's generator. The minutes hit the daily bar exactly: the first
opens at its open, the last closes at its close, one reaches its high and one its low, and their
volumes add up to its volume. Prices in between are whole cents.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

FNV_BASIS, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ALL_BITS = 2**64 - 1
ONE = 1 << 16  # of what is drawn: from 0 to below ONE


@dataclass(frozen=True)
class DailyBar:
    """Prices in units of 10^-decimals, of which there are two at least."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    decimals: int


@dataclass(frozen=True)
class Minutes:
    """One row a minute in which something was traded; `place`: its number in the session."""

    place: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: Integers


def draw(seed: str, count: int) -> Integers:
    """So many numbers from 0 to below ONE: splitmix64, begun at the FNV-1a of the seed."""
    state = FNV_BASIS
    for byte in seed.encode():
        state = ((state ^ byte) * FNV_PRIME) & ALL_BITS
    z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_2)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(48)).astype(np.int64)


def make_minutes(symbol: str, day: str, bar: DailyBar, count: int) -> Minutes:
    """The minutes of a session of `count` minutes (one at least)."""
    drawn = draw(f"{symbol}|{day}", 5 * count + 3)
    steps, tops, bottoms, weights, breaths = drawn[3:].reshape(5, count)
    at_high, at_low = place_extremes(drawn[:3], bar, count)
    path = make_path(steps, bar, count, at_high, at_low)
    opens, closes = path[:-1], path[1:]
    upper, lower = np.maximum(opens, closes), np.minimum(opens, closes)
    highs = np.maximum(upper, to_cents(upper + reach(tops, bar), bar))
    lows = np.minimum(lower, to_cents(lower - reach(bottoms, bar), bar))
    highs[at_high], lows[at_low] = bar.high, bar.low
    volumes = share_out(bar.volume, weights + breaths, count)
    needed = [0, at_high, at_low, count - 1]  # the daily bar rests on these, traded or not
    place = np.flatnonzero((volumes > 0) | np.isin(np.arange(count), needed))
    columns = (opens, highs, lows, closes, volumes)
    return Minutes(place, *(column[place] for column in columns))


def place_extremes(drawn: Integers, bar: DailyBar, count: int) -> tuple[int, int]:
    """The minutes of the high and of the low; where the day opens or closes at one, there."""

    def choose(number: int, extreme: int) -> int:
        if bar.open == extreme:
            return 0
        return count - 1 if bar.close == extreme else number * count // ONE

    return choose(int(drawn[0]), bar.high), choose(int(drawn[1]), bar.low)


def make_path(steps: Integers, bar: DailyBar, count: int, at_high: int, at_low: int) -> Integers:
    """The prices between the minutes, from the open to the close, through high and low."""
    knots = sorted({(at_high, bar.high), (at_low, bar.low)} - {(0, bar.high), (0, bar.low)})
    knots = [(0, bar.open), *(k for k in knots if k[0] < count), (count, bar.close)]
    pieces = [
        bridge(steps[start:end], first, last, bar)
        for (start, first), (end, last) in pairwise(knots)
        if end > start
    ]
    path = np.concatenate([np.array([bar.open], np.int64), *pieces])
    path[1:-1] = to_cents(path[1:-1], bar)
    return path


def to_cents(prices: Integers, bar: DailyBar) -> Integers:
    """The whole cents at or below, as far as some lie within the day's low and high."""
    cent = 10 ** (bar.decimals - 2)
    least, most = -(-bar.low // cent) * cent, bar.high // cent * cent
    if least > most:
        cent, least, most = 1, bar.low, bar.high
    cents: Integers = np.clip(prices // cent * cent, least, most)
    return cents


def bridge(steps: Integers, first: int, last: int, bar: DailyBar) -> Integers:
    """A walk from `first` (not given) to `last`, one price a step, about the straight line."""
    count = len(steps)
    walk: Integers = np.cumsum(2 * steps - ONE)
    numbers = np.arange(1, count + 1, dtype=np.int64)
    swing = walk - walk[-1] * numbers // count  # comes back to where it began
    width = max(1, int(np.abs(swing).max()))
    wide = 1 + (bar.high - bar.low) * math.isqrt(count) // 120
    prices = first + (last - first) * numbers // count + swing * wide // width
    prices = np.where(prices > bar.high, 2 * bar.high - prices, prices)  # turns back at both
    prices = np.where(prices < bar.low, 2 * bar.low - prices, prices)
    bounded: Integers = np.clip(prices, bar.low, bar.high)
    return bounded


def reach(drawn: Integers, bar: DailyBar) -> Integers:
    """How far a minute goes beyond its open and close: up to a hundredth of the day's range."""
    return drawn * ((bar.high - bar.low) // 100) // ONE


def share_out(volume: int, drawn: Integers, count: int) -> Integers:
    """The day's volume over its minutes: more at both ends, as on an exchange; the sum is exact."""
    centred = 2 * np.arange(count, dtype=np.int64) - (count - 1)
    shape = 64 + 192 * centred * centred // max(1, (count - 1) ** 2)
    weights = 1 + shape * drawn // (2 * ONE)
    whole = int(weights.sum())
    ends = np.array([0, *(volume * int(part) // whole for part in np.cumsum(weights))], np.int64)
    return np.diff(ends)
