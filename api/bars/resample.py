"""Bars of weeks, months, quarters and years from daily ones: a pure function of a Series.

No calendar and no clock: what is known of a period is what is stored.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from api.bars.series import TOO_BIG, Days, Flags, Series, Volumes
from api.bars.volumes import round_volumes

INTERVALS = ("1d", "1wk", "1mo", "3mo", "1y")
MONTHS = {"1mo": 1, "3mo": 3, "1y": 12}
Integers = npt.NDArray[np.int64]


def resample(series: Series, interval: str) -> Series:
    """Bars of a week (Monday to Sunday, ISO), month, quarter or year, from daily ones.

    First open, highest high, lowest low, last close, sum of the volumes that are known (masked
    where none is, or beyond 64 bits); days: the first session that is stored. Adjust before: a
    split inside a period would mix two kinds of share.

    A bar is complete if there is a bar in a later period, or one on the last day of its own that
    can be a session: Monday to Friday, and Saturday or Sunday if the symbol has ever traded on
    one. There is no calendar here, so where that day is a holiday (Good Friday, say), the bar
    turns complete with the first session of the next period; none is ever called complete early.
    """
    if interval not in INTERVALS:
        raise ValueError(f"interval={interval}: possible are {', '.join(INTERVALS)}")
    if series.interval != "1d":
        raise ValueError(f"bars of {series.interval} cannot be resampled: start from daily ones")
    if interval == "1d":
        return series
    days = series.days
    firsts = find_firsts(number_periods(days, interval))
    lasts = np.append(firsts, len(series))[1:] - 1
    return replace(
        series,
        interval=interval,
        timestamps=series.timestamps[firsts],
        open=series.open[firsts],
        high=np.maximum.reduceat(series.high, firsts) if len(firsts) else series.high,
        low=np.minimum.reduceat(series.low, firsts) if len(firsts) else series.low,
        close=series.close[lasts],
        volume=sum_volumes(series.volume, firsts, series.volume_decimals),
        complete=find_complete(days, interval, len(firsts)),
    )


def number_periods(days: Days, interval: str) -> Integers:
    """For each day the number of its period; 1970-01-01, day 0, is a Thursday."""
    if interval == "1wk":
        return (days.astype("datetime64[D]").astype(np.int64) + 3) // 7
    return days.astype("datetime64[M]").astype(np.int64) // MONTHS[interval]


def find_firsts(numbers: Integers) -> npt.NDArray[np.intp]:
    """Where a new number begins, in a sorted array."""
    is_first = np.ones(len(numbers), bool)
    is_first[1:] = numbers[1:] != numbers[:-1]
    return np.flatnonzero(is_first)


def sum_volumes(volume: Volumes, firsts: npt.NDArray[np.intp], decimals: int) -> Volumes:
    if not len(firsts):
        return volume
    numbers = volume.filled(0)
    sums = np.add.reduceat(numbers, firsts)
    is_known = np.logical_or.reduceat(~np.ma.getmaskarray(volume), firsts)
    if decimals:
        return np.ma.masked_array(round_volumes(sums, decimals), ~is_known)
    # past 64 bits integers wrap round, floats do not
    is_wrapped = np.abs(sums - np.add.reduceat(numbers.astype(float), firsts)) > TOO_BIG / 2
    return np.ma.masked_array(sums, ~is_known | is_wrapped)


def find_complete(days: Days, interval: str, count: int) -> Flags:
    """True for each of `count` periods, but for a last one that the days do not finish."""
    complete = np.ones(count, bool)
    if count:
        complete[-1] = days[-1] >= find_last_session(days, interval)
    return complete


def find_last_session(days: Days, interval: str) -> np.datetime64:
    """The last day of the last day's period that can be a session, holidays apart."""
    following = number_periods(days[-1:], interval)[0] + 1
    if interval == "1wk":
        after = np.datetime64(int(following) * 7 - 3, "D")
    else:
        after = np.datetime64(int(following) * MONTHS[interval], "M").astype("datetime64[D]")
    weekdays = (days.astype(np.int64) + 3) % 7
    mask = [True] * 5 + [bool((weekdays == day).any()) for day in (5, 6)]
    last: np.datetime64 = np.busday_offset(after, -1, roll="forward", weekmask=mask)
    return last
