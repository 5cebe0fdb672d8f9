"""What the tests of the store share: answers with the instant of their fetching, and its tables."""

import argparse
import logging
import shutil
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.base import run_records
from etl.load import load
from etl.market.sessions import list_closes
from etl.settings import Settings, read_settings
from etl.store.duckdb_file.versions import select_versions
from tests.conftest import CLEAN_SCHEMA, make_row, query_store

Answer = tuple[str, Sequence[tuple[Any, ...]]]  # when it was fetched; symbol, day, close, volume
ANSWER_SCHEMA = CLEAN_SCHEMA.append(pa.field("fetched_at", pa.timestamp("us")))


def store_of(data_dir: Path) -> Path:
    return data_dir / "market_data.duckdb"


def make_answer(path: Path, *answers: Answer) -> Path:
    """A clean Parquet file with the bars of one answer or of several."""
    rows = [
        {**make_row(*bar), "fetched_at": datetime.fromisoformat(fetched_at)}
        for fetched_at, bars in answers
        for bar in bars
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA), path)
    return path


def load_file(data_dir: Path, path: Path, **settings: str) -> dict[str, Any]:
    """Load in this process, without lock and log; the record of the stage."""
    data_dir.mkdir(parents=True, exist_ok=True)
    read = read_settings(Settings, {"DATA_DIR": str(data_dir), **settings}, {}, Path("no .env"))
    logging.getLogger("etl").handlers = []  # those of an earlier call are closed
    run = run_records.open_run(read)
    load(read, argparse.Namespace(input=path), run)
    record: dict[str, Any] = run.record["stages"]["load"]
    return record


def load_answer(
    data_dir: Path, fetched_at: str, *bars: tuple[Any, ...], **settings: str
) -> dict[str, Any]:
    path = make_answer(data_dir.parent / "answers" / "one.parquet", (fetched_at, bars))
    return load_file(data_dir, path, **settings)


def hash_bars(database: Path) -> str:
    """SHA-256 of every bar, all columns, in the order of the key; "" without a store."""
    if not database.exists():
        return ""
    found: str = query_store(
        database,
        """SELECT sha256(coalesce(string_agg(concat_ws('|', symbol, epoch_us(timestamp), open,
               high, low, close, coalesce(volume::VARCHAR, 'none')), chr(10)
               ORDER BY symbol, timestamp), '')) FROM ohlcv_data""",
    )[0][0]
    return found


def write_store(database: Path, *queries: str) -> None:
    """Change the published file, as another program may that has the right to."""
    database.chmod(0o644)
    with duckdb.connect(str(database)) as connection:
        for query in queries:
            connection.execute(query)
    database.chmod(0o444)


# What a load does last, so that a test can change any table by itself.
RENEW_VERSIONS = f"""UPDATE instruments i SET version = v.version
FROM ({select_versions("main")}) v WHERE v.symbol = i.symbol"""

# A file of schema 4 as schema 3 had it.
OF_3 = (
    "DROP TABLE sessions",
    "ALTER TABLE calendars DROP COLUMN source",
    "ALTER TABLE calendars DROP COLUMN listed_from",
    *(
        f"""CREATE TABLE older AS SELECT * EXCLUDE ({new}) FROM {table}; DROP TABLE {table};
        ALTER TABLE older RENAME TO {table}"""
        for table, new in {"instruments": "interval", "ohlcv_known": "source"}.items()
    ),
    "UPDATE generation SET schema_version = 3",
)
# And then as schema 2 had it; the digests of bars are the same.
OF_2 = (
    """CREATE TABLE ohlcv_arrivals AS
    SELECT symbol, timestamp AS first, timestamp AS last,
           coalesce(came_at, known_from) AS known_from, run_id FROM ohlcv_known LEFT JOIN (
               SELECT symbol, timestamp, min(known_from) AS came_at
               FROM ohlcv_revisions GROUP BY ALL) USING (symbol, timestamp)""",
    *(
        f"""CREATE TABLE older AS SELECT * EXCLUDE ({new}) FROM {table}; DROP TABLE {table};
        ALTER TABLE older RENAME TO {table}"""
        for table, new in {
            "instruments": "seen_at, splits_known_at, dividends_known_at, actions_known_at,"
            " volume_decimals, version",
            "corporate_actions": "known_from, known_at",
            "bar_notes": "known_from",
            "etl_runs": "superseded",
            "etl_run_symbols": "superseded",
        }.items()
    ),
    *(
        f"DROP TABLE {table}"
        for table in (
            *("ohlcv_known", "corporate_action_revisions", "action_lists", "answers"),
            *("bar_note_revisions", "calendars"),
        )
    ),
    "UPDATE generation SET schema_version = 2",
)


def make_older(database: Path, version: int = 2) -> None:
    """Turn a published file into what the version of schema 2, or 3, would have written."""
    write_store(database, *OF_3, *(OF_2 if version < 3 else ()))


def identify(path: Path) -> tuple[int, int, int]:
    """What changes with every publication."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def copy_folder(folder: Path, copy: Path) -> Path:
    """A data folder of its own with the same content."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy


def list_sessions(exchange: str, first: date, last: date) -> list[date]:
    """The days on which `exchange` trades, from `first` to `last` inclusive."""
    return [session for session, _ in list_closes(exchange, first, last)]
