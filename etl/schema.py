"""The contracts between the stages: columns of the raw and clean files, tables of the database."""

import pyarrow as pa

PRICES = ("open", "high", "low", "close")

# As received: whatever the vendor said, as text, with its provenance. `basis` says whether the
# prices are as traded (raw) or already adjusted for splits (split).
RAW_BARS = pa.schema(
    [
        *((name, pa.string()) for name in ("symbol", "timestamp", *PRICES, "volume", "adj_close")),
        *((name, pa.string()) for name in ("basis", "source", "run_id")),
        ("fetched_at", pa.timestamp("us")),
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

# What a clean file promises beyond its types: (what is wrong with a row, condition).
CLEAN_BREACHES = (
    ("a NULL key", "timestamp IS NULL OR symbol IS NULL"),
    (
        "a symbol that is empty, padded or not upper case",
        "symbol = '' OR symbol <> upper(trim(symbol))",
    ),
    ("a timestamp that is not midnight", "timestamp <> date_trunc('day', timestamp)"),
    *(
        (f"a {name} that is missing or not finite", f"{name} IS NULL OR NOT isfinite({name})")
        for name in PRICES
    ),
)

SCHEMA_VERSION = 1

OHLCV_TABLE = """
CREATE TABLE ohlcv_data (
    timestamp TIMESTAMP,
    symbol VARCHAR,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    UNIQUE (symbol, timestamp)
)"""

# One row a symbol, kept in step by every load, so that no reader has to scan the bars for it.
INSTRUMENTS_TABLE = """
CREATE TABLE instruments (
    symbol VARCHAR PRIMARY KEY,
    first TIMESTAMP,
    last TIMESTAMP,
    bars BIGINT,
    last_close DOUBLE,
    source VARCHAR,
    basis VARCHAR
)"""

# kind 'split': ratio is new shares for one old; kind 'dividend': amount is cash a share.
ACTIONS_TABLE = """
CREATE TABLE corporate_actions (
    symbol VARCHAR,
    ex_date DATE,
    kind VARCHAR,
    ratio DOUBLE,
    amount DOUBLE,
    source VARCHAR,
    UNIQUE (symbol, ex_date, kind)
)"""

# One row: which publication this file is. unsorted_rows counts bars behind the sorted part.
GENERATION_TABLE = """
CREATE TABLE generation (
    generation VARCHAR,
    schema_version INTEGER,
    published_at TIMESTAMP,
    run_id VARCHAR,
    unsorted_rows BIGINT
)"""

TABLES = {
    "ohlcv_data": OHLCV_TABLE,
    "instruments": INSTRUMENTS_TABLE,
    "corporate_actions": ACTIONS_TABLE,
    "generation": GENERATION_TABLE,
}
