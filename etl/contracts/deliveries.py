"""What a source hands over for one answer."""

from dataclasses import dataclass

import pyarrow as pa

from etl.base.errors import SourceError


@dataclass(frozen=True)
class Delivery:
    """What came for one symbol (or of one file): raw bars and corporate actions, or an error.

    is_extra: nobody asked for it by name (splits and dividends beside the bars).
    spans: of minute bars (which are of RAW_MINUTES), what was asked for whole.
    """

    label: str
    bars: pa.Table | None = None
    actions: pa.Table | None = None
    error: SourceError | None = None
    is_extra: bool = False
    spans: pa.Table | None = None
