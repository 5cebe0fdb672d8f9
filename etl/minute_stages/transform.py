"""Validate the raw minutes: data/clean_minutes.parquet, data/rejected_minutes.parquet with reasons.

Reads each text as its type and each stamp as the instant at which its bar starts, applies the rules
of etl.rules.minute_rejects and keeps one row a key. Every row is clean, rejected or outside the
dates asked for.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl import transform as daily
from etl.base import parquet_sql, run_records, stage_files, whole_files
from etl.base.errors import EtlError, InputError
from etl.contracts.files import PRICES, VOLUME_TYPES
from etl.contracts.minute_files import CLEAN_MINUTES, RAW_MINUTES
from etl.contracts.minutes import BASE_INTERVALS
from etl.contracts.zones import ZONES
from etl.market.exchanges import find_exchange
from etl.market.session_spans import find_bounds
from etl.rules.minute_rejects import TWO_BARS, TYPED, bind_reason
from etl.rules.minute_stamps import view_instants, view_stamps
from etl.rules.rejects import VOLUMES
from etl.rules.remedies import read_examples
from etl.settings import Settings

log = logging.getLogger("etl")

TEXTS = ("symbol", "timestamp", *PRICES, "volume")
SYMBOL_KINDS = pa.schema(
    [
        *((name, pa.string()) for name in ("raw_symbol", "symbol", "exchange", "own_clock")),
        *((name, pa.timestamp("us")) for name in ("begins", "ends")),
    ]
)


def transform(settings: Settings, args: argparse.Namespace, run: run_records.Run) -> None:
    """Act 1: view the raw file. Act 2: validate every row. Act 3: publish clean and rejected."""
    daily.check_dates(settings)
    path = settings.raw_minutes_path
    with (
        run.record_stage("transform") as record,
        parquet_sql.connect(settings) as connection,
        whole_files.scratch_file(settings, "judged_minutes.parquet") as scratch,
    ):
        stage_files.check_files(settings, path, "extract")
        daily.bound_memory(connection, settings)
        with parquet_sql.reading(path):
            view_raw(connection, path)
            record["interval"] = check_form(connection, path)
            validate(connection, settings, record["interval"], scratch)
        daily.find_duplicates(connection, TWO_BARS)
        record.update(daily.count_rows(connection))
        record["symbols"] = daily.count_by_symbol(connection, TWO_BARS)
        publish(connection, settings, run)
        stage_files.record_files(
            record, settings.clean_minutes_path, settings.rejected_minutes_path
        )
        tell_outcome(connection, settings, record)


def view_raw(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """`raw`: the file, and `place`, the row's number."""
    names = ", ".join(RAW_MINUTES.names)
    connection.execute(
        f"CREATE TEMP VIEW raw AS SELECT {names}, file_row_number AS place"
        f" FROM {parquet_sql.scan_numbered(path)}"
    )


def check_form(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """The one interval of the file. InputError for several, for one that is not stored, and for
    prices that are adjusted."""
    found = connection.execute(
        """SELECT coalesce(interval, ''), any_value(symbol), bool_or(basis <> 'raw')
        FROM raw GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    if len(found) > 1:
        told = ", ".join(f"{interval or 'none'} ({symbol})" for interval, symbol, _ in found)
        raise InputError(f"{path} has bars of several intervals: {told}; load one after the other")
    interval, symbol, is_adjusted = found[0] if found else ("1m", "", False)
    if interval not in BASE_INTERVALS:
        raise InputError(
            f"{path}: {symbol} has bars of interval {interval or 'none'}; those that are stored are"
            f" {' and '.join(BASE_INTERVALS)}, all others are made of them"
        )
    if is_adjusted:
        raise InputError(
            f"{path}: {symbol} has prices that are adjusted for splits; minutes are kept as traded:"
            " set SOURCE_ADJUSTMENT=raw if they are, or ask for unadjusted ones"
        )
    return str(interval)


def validate(
    connection: duckdb.DuckDBPyConnection, settings: Settings, interval: str, scratch: Path
) -> None:
    """`typed`: each row as typed columns and `reason`, NULL where clean; kept in `scratch`."""
    select = select_typed(connection, settings, BASE_INTERVALS[interval])
    connection.execute(f"COPY ({select}) TO {parquet_sql.quote(scratch)} (FORMAT parquet)")
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT * FROM {parquet_sql.scan(scratch)}")


def select_typed(connection: duckdb.DuckDBPyConnection, settings: Settings, seconds: int) -> str:
    """SQL: each row of `raw` as typed columns and `reason`, NULL where clean."""
    list_symbols(connection, settings)
    renamed = ", ".join(f"{name} AS raw_{name}" for name in TEXTS)
    connection.execute(
        f"CREATE TEMP VIEW renamed AS SELECT * EXCLUDE ({', '.join(TEXTS)}), {renamed} FROM raw"
    )
    view_stamps(connection)
    view_instants(connection, seconds)
    typed, volumes = (
        ", ".join(f"{sql} AS {name}" for name, sql in some.items()) for some in (TYPED, VOLUMES)
    )
    is_outside = "timestamp < begins OR timestamp >= ends"
    reason = (
        f"coalesce(CASE WHEN {is_outside} THEN '{daily.OUT_OF_RANGE}' END,"
        f" {bind_reason(settings, seconds)})"
    )
    return f"""
        SELECT place, timestamp, symbol, {", ".join(PRICES)},
               CASE WHEN reason IS NULL THEN volume END AS volume, {", ".join(VOLUME_TYPES)},
               {", ".join(daily.PROVENANCE)}, reason
        FROM (SELECT *, {volumes} FROM (SELECT *, {reason} AS reason FROM (
            SELECT *, {typed} FROM instants)))"""


def list_symbols(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """`symbol_exchanges`: of each text of a symbol, its exchange, the clock there, and from when
    and until when its bars are asked for."""
    texts = connection.execute("SELECT DISTINCT symbol FROM raw WHERE symbol IS NOT NULL")
    rows = [describe_symbol(settings, text) for (text,) in texts.fetchall()]
    connection.register("symbol_rows", pa.Table.from_pylist(rows, schema=SYMBOL_KINDS))
    connection.execute("CREATE TEMP TABLE symbol_exchanges AS FROM symbol_rows")
    connection.unregister("symbol_rows")


def describe_symbol(settings: Settings, text: str) -> dict[str, Any]:
    symbol = text.strip().upper()
    exchange = find_exchange(symbol, settings.exchange)
    begins, ends = find_bounds(exchange, settings.start_date, settings.end_date)
    clock = ZONES.get(exchange or "")
    about = {"raw_symbol": text, "symbol": symbol, "exchange": exchange, "own_clock": clock}
    return {**about, "begins": begins, "ends": ends}


def publish(
    connection: duckdb.DuckDBPyConnection, settings: Settings, run: run_records.Run
) -> None:
    clean = ", ".join(f"{name}::{kind} AS {name}" for name, kind in CLEAN_MINUTES.items())
    daily.copy_whole(
        connection,
        f"SELECT {clean} FROM judged WHERE reason IS NULL"
        " ORDER BY date_trunc('month', timestamp), symbol, timestamp, fetched_at",
        settings.clean_minutes_path,
        run,
    )
    daily.copy_whole(
        connection,
        "SELECT raw.* EXCLUDE (place), judged.timestamp AS starts_at, reason"
        " FROM raw JOIN judged USING (place)"
        f" WHERE reason IS NOT NULL AND reason <> '{daily.OUT_OF_RANGE}' ORDER BY place",
        settings.rejected_minutes_path,
        run,
    )


def tell_outcome(
    connection: duckdb.DuckDBPyConnection, settings: Settings, record: dict[str, Any]
) -> None:
    """The counts, an example of each reason; EtlError where no row is clean."""
    path = settings.rejected_minutes_path
    daily.report(record, read_examples(connection, path) if record["reasons"] else {})
    daily.tell_rounded(connection)
    if record["rejected"] and not record["clean"]:
        raise EtlError(f"transform: no clean row; the reasons are above, the rows in {path}")
