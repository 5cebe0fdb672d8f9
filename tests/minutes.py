"""Bars of minutes for tests: raw rows through transform and load, and what is stored then."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from etl.base.run_records import Run, open_run
from etl.base.stage_files import record_files
from etl.contracts.deliveries import Delivery
from etl.contracts.minute_files import RAW_MINUTES, RAW_SPANS
from etl.contracts.minutes import MinuteSnapshot
from etl.contracts.minutes.engines import open_minutes
from etl.contracts.raw_files import open_raw_minutes
from etl.minute_stages.load import load
from etl.minute_stages.transform import transform
from etl.settings import Settings, read_settings

FETCHED_AT = datetime.fromisoformat("2024-07-01T00:00:00")
Row = dict[str, Any]


def make_row(stamp: str, close: object = 10, symbol: str = "AAPL", **other: object) -> Row:
    """A raw row: all prices are one, but for those that are named."""
    prices = dict.fromkeys(("open", "high", "low", "close"), str(close))
    about = {"basis": "raw", "source": "files", "interval": "1m", "fetched_at": FETCHED_AT}
    row: Row = {"symbol": symbol, "timestamp": stamp, **prices, "volume": "100", **about}
    return row | other


def use_folder(data_dir: Path, **options: str) -> Settings:
    return read_settings(Settings, {"DATA_DIR": str(data_dir), **options}, {}, Path("no .env"))


def extract_rows(settings: Settings, rows: Sequence[Row], spans: Sequence[Row] = ()) -> Run:
    """What extract leaves of these rows."""
    run = open_run(settings)
    with run.record_stage("extract") as record:
        with open_raw_minutes(settings, run.run_id) as files:
            bars = pa.Table.from_pylist(list(rows), schema=RAW_MINUTES)
            asked = pa.Table.from_pylist(list(spans), schema=RAW_SPANS)
            files.write(Delivery("rows", bars, spans=asked))
        record_files(record, settings.raw_minutes_path, settings.raw_spans_path)
    return run


def transform_rows(settings: Settings, rows: Sequence[Row]) -> Run:
    run = extract_rows(settings, rows)
    transform(settings, argparse.Namespace(), run)
    return run


def load_rows(settings: Settings, rows: Sequence[Row], spans: Sequence[Row] = ()) -> Row:
    """One run over these rows; what load recorded of it."""
    run = extract_rows(settings, rows, spans)
    transform(settings, argparse.Namespace(), run)
    load(settings, run)
    recorded: Row = run.record["stages"]["load"]
    return recorded


@contextmanager
def look_at(settings: Settings) -> Iterator[MinuteSnapshot]:
    store = open_minutes(settings)
    try:
        yield store.snapshot()
    finally:
        store.close()
