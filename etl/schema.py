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

# What a clean file promises beyond its types and the rules of etl.quality: (what is wrong with a
# row, condition).
CLEAN_BREACHES = (
    ("a NULL key", "timestamp IS NULL OR symbol IS NULL"),
    ("a symbol that is padded or not upper case", "symbol <> upper(trim(symbol))"),
)

# 2: digests of another arithmetic (etl.digests).
SCHEMA_VERSION = 2

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
# digest is the XOR of the digests of the symbol's bars: it moves with each changed bar.
INSTRUMENTS_TABLE = """
CREATE TABLE instruments (
    symbol VARCHAR PRIMARY KEY,
    first TIMESTAMP,
    last TIMESTAMP,
    bars BIGINT,
    last_close DOUBLE,
    source VARCHAR,
    basis VARCHAR,
    exchange VARCHAR,
    digest UBIGINT
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

# What is suspicious, or not final yet, about a kept bar. A note never changes a value.
NOTES_TABLE = """
CREATE TABLE bar_notes (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    reason VARCHAR,
    detail VARCHAR,
    run_id VARCHAR
)"""

# Sessions of the exchange without a bar; cause: rejected, not delivered, not yet published.
GAPS_TABLE = """
CREATE TABLE gaps (
    symbol VARCHAR,
    session DATE,
    cause VARCHAR
)"""

# The old values of every bar that changed, and from when to when they were what was known.
REVISIONS_TABLE = """
CREATE TABLE ohlcv_revisions (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    known_from TIMESTAMP,
    known_to TIMESTAMP,
    run_id VARCHAR
)"""

# One row an inserted block: since when its bars are known. Every bar lies in exactly one.
ARRIVALS_TABLE = """
CREATE TABLE ohlcv_arrivals (
    symbol VARCHAR,
    first TIMESTAMP,
    last TIMESTAMP,
    known_from TIMESTAMP,
    run_id VARCHAR
)"""

# The record of each run (data/runs/), and the fate of every row it received.
RUNS_TABLE = """
CREATE TABLE etl_runs (
    run_id VARCHAR PRIMARY KEY,
    started_at TIMESTAMP,
    finished_at TIMESTAMP,
    status VARCHAR,
    source VARCHAR,
    calls BIGINT,
    received BIGINT,
    inserted BIGINT,
    revised BIGINT,
    unchanged BIGINT,
    stale BIGINT,
    rejected BIGINT,
    out_of_range BIGINT,
    failures VARCHAR,
    stages VARCHAR
)"""
RUN_SYMBOLS_TABLE = """
CREATE TABLE etl_run_symbols (
    run_id VARCHAR,
    symbol VARCHAR,
    received BIGINT,
    inserted BIGINT,
    revised BIGINT,
    unchanged BIGINT,
    stale BIGINT,
    rejected BIGINT,
    duplicates BIGINT,
    out_of_range BIGINT,
    digest VARCHAR
)"""

TABLES = {
    "ohlcv_data": OHLCV_TABLE,
    "instruments": INSTRUMENTS_TABLE,
    "corporate_actions": ACTIONS_TABLE,
    "generation": GENERATION_TABLE,
    "bar_notes": NOTES_TABLE,
    "gaps": GAPS_TABLE,
    "ohlcv_revisions": REVISIONS_TABLE,
    "ohlcv_arrivals": ARRIVALS_TABLE,
    "etl_runs": RUNS_TABLE,
    "etl_run_symbols": RUN_SYMBOLS_TABLE,
}
