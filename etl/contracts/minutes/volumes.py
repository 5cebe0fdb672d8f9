"""Volumes of one symbol in one unit."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


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
