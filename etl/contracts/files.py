"""The contracts between the stages: columns of the raw and clean files, tables of the database."""

import pyarrow as pa

PRICES = ("open", "high", "low", "close")
# The one interval that is kept. A file of an older version does not name it.
DAILY = "1d"

# As received: whatever the vendor said, as text, with its provenance. `basis` says whether the
# prices are as traded (raw) or already adjusted for splits (split).
RAW_BARS = pa.schema(
    [
        *((name, pa.string()) for name in ("symbol", "timestamp", *PRICES, "volume", "adj_close")),
        *((name, pa.string()) for name in ("basis", "source", "run_id")),
        ("fetched_at", pa.timestamp("us")),
        # of bars out of files: which one, and its line (or row)
        ("file", pa.string()),
        ("line", pa.int64()),
        ("interval", pa.string()),
    ]
)
RAW_ACTIONS = pa.schema(
    [
        *((name, pa.string()) for name in ("symbol", "ex_date", "kind", "value")),
        *((name, pa.string()) for name in ("source", "run_id")),
        ("fetched_at", pa.timestamp("us")),
    ]
)

# Judged: column → the DuckDB types that load accepts for it. Nothing is cast where a value could
# change by it.
CLEAN_TYPES = {
    "timestamp": ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"),
    "symbol": ("VARCHAR",),
    **dict.fromkeys(PRICES, ("DOUBLE",)),
    "volume": ("BIGINT", "INTEGER"),
}
CLEAN_COLUMNS = tuple(CLEAN_TYPES)
# What a clean file may have of its volumes. volume_decimals: the unit is 10^-volume_decimals (1.5
# is 15 with 1); where the file has none, volumes are whole numbers. volume_given: the volume as it
# came, where it was rounded.
VOLUME_TYPES = {
    "volume_decimals": ("INTEGER", "TINYINT", "SMALLINT", "BIGINT"),
    "volume_given": ("VARCHAR",),
}

# What a clean file promises beyond its types and the rules of etl.quality: (what is wrong with a
# row, condition).
CLEAN_BREACHES = (
    ("a NULL key", "timestamp IS NULL OR symbol IS NULL"),
    ("a symbol that is padded or not upper case", "symbol <> upper(trim(symbol))"),
    ("a volume_decimals outside 0 to 18", "volume_decimals NOT BETWEEN 0 AND 18"),
    (f"an interval other than {DAILY}", f"interval <> '{DAILY}'"),
)
