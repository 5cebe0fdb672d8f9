"""Volumes in the unit in which they are read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from etl.contracts.minutes import BARS


def to_unit(
    volumes: pa.ChunkedArray, decimals: pa.ChunkedArray, wanted: int | NDArray[np.int64]
) -> pa.ChunkedArray:
    """Volumes, each in units of 10^-decimals of its own, in those of 10^-wanted; one that has more
    decimals than that is rounded, half up."""
    told = decimals.to_numpy().astype(np.int64)
    if (told == wanted).all():
        return volumes
    whole, rest = np.divmod(
        pc.fill_null(volumes, 0).to_numpy(), finer := 10 ** np.maximum(0, told - wanted)
    )
    numbers = (whole + (rest >= finer - rest)) * 10 ** np.maximum(0, wanted - told)
    return pa.chunked_array([pa.array(numbers, mask=pc.is_null(volumes).to_numpy())])


def shape_bars(rows: pa.Table, wanted: int | NDArray[np.int64]) -> pa.Table:
    """BARS of rows that have `volume_decimals` too: volumes in units of 10^-wanted."""
    volumes = to_unit(rows["volume"], rows["volume_decimals"], wanted)
    at = rows.column_names.index("volume")
    return rows.set_column(at, "volume", volumes).select(BARS.names).cast(BARS)
