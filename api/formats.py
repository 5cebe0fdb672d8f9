"""Bars as bytes. NaN and infinity, which JSON has not, never get here; absent is null."""

from typing import Any

import numpy as np
import orjson

from api.series import Series

JSON = "application/json"


def encode_json(value: Any) -> bytes:
    """numpy numbers included; what is not finite becomes null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def build_rows(series: Series) -> list[dict[str, Any]]:
    """One dict a bar, in the order of the series; timestamp as 2012-01-31."""
    columns = (
        np.datetime_as_string(series.days, unit="D").tolist(),
        series.open.tolist(),
        series.high.tolist(),
        series.low.tolist(),
        series.close.tolist(),
        series.volume.tolist(),
    )
    return [
        {"timestamp": t, "open": o, "high": h, "low": lo, "close": c, "volume": v}
        for t, o, h, lo, c, v in zip(*columns, strict=True)
    ]
