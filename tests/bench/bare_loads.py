"""What transform and load are measured beside: the same work as bare SQL, each a process.

    python -m tests.bench.bare_loads build RAW.parquet CLEAN.parquet DATABASE
    python -m tests.bench.bare_loads append DATABASE BARS.parquet

build   the plain design's cleaning (types, filters, a z-score, one row a key) as one statement, and
        an insert in order into a new database
append  what no load that publishes can do without: copy the file, upsert, checkpoint, fsync, rename
"""

import os
import shutil
import sys
from pathlib import Path

import duckdb

from etl.contracts.tables import OHLCV_TABLE

COLUMNS = ("timestamp", "symbol", "open", "high", "low", "close", "volume")
CLEAN = """
    SELECT try_cast(timestamp AS TIMESTAMP) AS timestamp, upper(trim(symbol)) AS symbol,
           try_cast(open AS DOUBLE) AS open, try_cast(high AS DOUBLE) AS high,
           try_cast(low AS DOUBLE) AS low, try_cast(close AS DOUBLE) AS close,
           try_cast(volume AS BIGINT) AS volume
    FROM '{raw}'"""
IS_GOOD = (
    "timestamp IS NOT NULL AND open > 0 AND low > 0 AND close > 0 AND high >= low AND volume >= 0"
)


def build(raw: str, clean: str, database: str) -> None:
    duckdb.connect().execute(
        f"""COPY (
            SELECT {", ".join(COLUMNS)} FROM (
                SELECT *, (close - avg(close) OVER w) / stddev(close) OVER w AS score,
                       row_number() OVER (PARTITION BY symbol, timestamp) AS copy
                FROM ({CLEAN.format(raw=raw)}) WHERE {IS_GOOD}
                WINDOW w AS (PARTITION BY symbol))
            WHERE abs(score) < 6 AND copy = 1 ORDER BY symbol, timestamp
        ) TO '{clean}' (FORMAT parquet)"""
    )
    with duckdb.connect(database) as connection:
        connection.execute(OHLCV_TABLE)
        connection.execute(
            f"INSERT INTO ohlcv_data SELECT * FROM '{clean}' ORDER BY symbol, timestamp"
        )


def append(database: str, bars: str) -> None:
    next_path = f"{database}.bare.next"
    shutil.copyfile(database, next_path)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH '{next_path}' AS next")
        connection.execute(
            f"""INSERT INTO next.ohlcv_data SELECT {", ".join(COLUMNS)} FROM '{bars}'
            ON CONFLICT (symbol, timestamp) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])}"""
        )
        connection.execute("CHECKPOINT next")
        connection.execute("DETACH next")
    with Path(next_path).open("rb") as file:
        os.fsync(file.fileno())
    Path(next_path).replace(f"{database}.bare")
    Path(f"{database}.bare").unlink()


if __name__ == "__main__":
    {"build": build, "append": append}[sys.argv[1]](*sys.argv[2:])
