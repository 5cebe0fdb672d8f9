"""Series: one symbol's columns, the unit of reading. Everything here is a pure function of one."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Volumes = np.ma.MaskedArray[Any, np.dtype[np.int64]]
Split = tuple[date, float]


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, sorted by day, no day twice; all columns have the same length.

    days: datetime64[D]; open, high, low, close: float64; volume: int64, masked where the vendor
    gave none. `adjustment` says which prices these are: raw (as traded) or split.
    """

    symbol: str
    adjustment: str
    days: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Volumes

    def __len__(self) -> int:
        return len(self.days)


def take_slice(series: Series, part: slice) -> Series:
    columns = {name: getattr(series, name)[part] for name in ("days", *PRICES, "volume")}
    return replace(series, **columns)


PRICES = ("open", "high", "low", "close")


def keep(series: Series, mask: npt.NDArray[np.bool_]) -> Series:
    columns = {name: getattr(series, name)[mask] for name in ("days", *PRICES, "volume")}
    return replace(series, **columns)


def slice_days(series: Series, start: date | None, end: date | None) -> Series:
    """The bars from `start` to `end`, both inclusive; None leaves that side open."""
    first = 0 if start is None else int(np.searchsorted(series.days, np.datetime64(start), "left"))
    last = len(series)
    if end is not None:
        last = int(np.searchsorted(series.days, np.datetime64(end), "right"))
    return take_slice(series, slice(first, max(first, last)))


def adjust(series: Series, splits: list[Split], adjustment: str) -> Series:
    """The same bars as traded (raw) or as if all splits had always been (split).

    Before a split of ratio r, split-adjusted prices are raw prices / r, and volumes are × r.
    """
    if adjustment == series.adjustment or not splits:
        return replace(series, adjustment=adjustment)
    factors = compute_split_factors(series.days, splits)
    if adjustment == "raw":
        factors = 1 / factors
    prices = {name: getattr(series, name) / factors for name in PRICES}
    volumes = np.rint(series.volume.data * factors).astype(np.int64)
    volume = np.ma.masked_array(volumes, series.volume.mask)
    return replace(series, adjustment=adjustment, volume=volume, **prices)


def compute_split_factors(days: Days, splits: list[Split]) -> Floats:
    """For each day the product of the ratios of all splits after it."""
    factors = np.ones(len(days))
    for ex_date, ratio in splits:
        factors[days < np.datetime64(ex_date)] *= ratio
    return factors
