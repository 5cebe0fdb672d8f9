"""The files between the stages of minute bars: raw, spans, clean."""

import pyarrow as pa

from etl.contracts.files import PRICES, RAW_BARS
from etl.contracts.minutes import SPANS

# As received, as text, with its provenance: as RAW_BARS, and how its stamps are to be read.
# timestamp: with an offset or Z (exact), an epoch (exact), or the wall clock of `zone`.
# zone: a name of the tz database; NULL = the clock of the symbol's exchange.
# stamp_is: whether a stamp is the start or the end of its bar; NULL = start.
# interval: that of the whole file, one of BASE_INTERVALS.
RAW_MINUTES = pa.schema(
    [
        *(RAW_BARS.field(name) for name in ("symbol", "timestamp", *PRICES, "volume")),
        ("zone", pa.string()),
        ("stamp_is", pa.string()),
        *(
            RAW_BARS.field(name)
            for name in ("basis", "source", "run_id", "fetched_at", "file", "line", "interval")
        ),
    ]
)
STAMPS = ("start", "end")
# What was asked for whole, as SPANS of the store; naive UTC, end exclusive. A row may be there
# though no bar came: that says that nothing was traded. An answer that is archived has one, so
# that (symbol, source, fetched_at) says whether the store has taken it.
RAW_SPANS = SPANS.insert(4, pa.field("run_id", pa.string()))

# Column → DuckDB type of the clean file, sorted by (month, symbol, timestamp, fetched_at).
CLEAN_MINUTES = {
    "symbol": "VARCHAR",
    "timestamp": "TIMESTAMP",  # start of the bar, naive UTC
    **dict.fromkeys(PRICES, "DOUBLE"),
    "volume": "BIGINT",
    "volume_decimals": "TINYINT",
    "source": "VARCHAR",
    "fetched_at": "TIMESTAMP",
}
