"""Which bars a batch is about: their keys, and the months that they are in."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes.changes import KEY
from etl.contracts.minutes.duckdb_files.layout import quote


def select_keys(bars: pa.Table) -> str:
    """SQL: of the rows `t` of a file those that have the key of a bar of `wanted`. The bounds are
    told in literals, so that a file is not read where it has none."""
    bounds = [(name, pc.min_max(bars[name]).as_py()) for name in ("symbol", "timestamp")]
    within = (
        f"t.{name} BETWEEN {quote(found['min'])} AND {quote(found['max'])}"
        for name, found in bounds
        if found["min"] is not None
    )
    return " AND ".join((f"SEMI JOIN wanted USING ({KEY}) WHERE true", *within))


def list_touched(rows: pa.Table) -> list[str]:
    """The months in which the rows are."""
    found = np.unique(rows["timestamp"].to_numpy().astype("datetime64[M]"))
    return [str(month) for month in found]


def take_month(rows: pa.Table, month: str) -> pa.Table:
    return rows.filter(
        pa.array(rows["timestamp"].to_numpy().astype("datetime64[M]").astype(str) == month)
    )


def list_between(rows: pa.Table, every: Sequence[str]) -> list[str]:
    """The months from that of the first row to that of the last."""
    touched = list_touched(rows)
    return [month for month in every if touched and touched[0] <= month <= touched[-1]]
