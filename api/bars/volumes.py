"""Volumes with decimals: they are stored as whole numbers of units, and told as numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from api.bars.series import Series

# Whole numbers up to here are the same as floats, so that a quotient of them is rounded but once.
MOST_EXACT = 2**53


def divide_units(series: Series, decimals: int) -> Series:
    """The volumes of a series that is as stored, in units of 10^-decimals, as the nearest floats:
    with up to 15 digits their shortest text is the number that was loaded."""
    if not decimals:
        return series
    units = series.volume.data
    values = units / float(10**decimals)
    for row in np.flatnonzero(units > MOST_EXACT).tolist():
        values[row] = int(units[row]) / 10**decimals
    volume = np.ma.masked_array(values, np.ma.getmask(series.volume))
    return replace(series, volume=volume, volume_decimals=decimals)


def divide_volume(units: int | None, decimals: int) -> int | float | None:
    """One stored volume as a number."""
    return units if units is None or not decimals else units / 10**decimals


def round_volumes(values: npt.NDArray[Any], decimals: int) -> npt.NDArray[np.float64]:
    """Sums and products of volumes, which have no more decimals than the volumes: 0.1 + 0.2 is 0.3.

    What has more digits than a float stays as it is.
    """
    units = np.rint(values * float(10**decimals))
    return np.where(np.abs(units) < MOST_EXACT, units / float(10**decimals), values)
