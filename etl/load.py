"""Upsert the clean bars into data/market_data.duckdb and publish it as one new version.

Loads data/clean_data.parquet; finds the bars that are new or different; writes them into a copy
of the published file and puts the copy in its place. It stores and never validates: an input that
does not keep the contract is refused whole.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb

from etl.base import command, parquet_sql, run_records, stage_files
from etl.base.instances import borrow
from etl.contracts import runs
from etl.contracts.files import CLEAN_TYPES
from etl.reporting.textfile import write_textfile
from etl.rules import vendors
from etl.settings import Settings
from etl.store import Delta, WritableStore, calendars, incoming, outcomes, volumes
from etl.store.clean_files import read_beside, read_input
from etl.store.duckdb_file.file_store import open_store, write_store
from etl.store.due import find_due
from etl.store.replicas.upload import upload_published

log = logging.getLogger("etl")

NOTHING_NEW = "nothing to publish"
# Notes that many bars at once have where the prices are on another basis than was said.
WRONG_BASIS = ("unrecorded split",)


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.load", __doc__)
    parser.add_argument("--input", type=command.from_here, help="clean Parquet file or folder")
    parser.add_argument("--database", type=choose_database, help="DuckDB file to publish")
    return command.main(parser, "load", load, argv, tell_end=write_textfile)


def choose_database(text: str) -> Path:
    """A path to publish at, known to do before anything is made in its folder."""
    path = command.from_here(text)
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"{path} is no file: name the DuckDB file to publish")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist: make it first")
    if path.stem.endswith((".next", ".previous")):
        raise argparse.ArgumentTypeError(
            f"{path.name} is how this service names the version in the making or the one before:"
            " choose another name"
        )
    return path


def load(settings: Settings, args: argparse.Namespace, run: run_records.Run | None = None) -> None:
    """Act 1: read the input and the store. Act 2: find the changes. Act 3: publish them."""
    path: Path = getattr(args, "input", None) or settings.clean_path
    database: Path = getattr(args, "database", None) or settings.database_path
    run = run or run_records.open_run(settings, path)
    with (
        run.record_stage("load") as record,
        write_store(settings, database) as store,
    ):
        take_input(store.connection, settings, path)
        is_touched = compare(store, record)
        is_needed = is_touched or incoming.changes_store(store.connection, settings)
        with store.preparing() if is_needed else nullcontext():
            describe(store.connection, settings, run)
        if is_needed:
            store.apply(Delta(record["inserted"], settings.exchange), run)
            store.publish()
            vendors.report_replaced(store.connection)
        report(record)
    upload_published(settings, database, run)


def take_input(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """What comes, as views, and which vendor of it goes before."""
    stage_files.check_files(settings, path, "transform")
    with parquet_sql.reading(path):
        read_input(connection, settings, path)
    read_beside(connection, settings, path)
    vendors.rank_vendors(connection, settings)


def compare(store: WritableStore, record: dict[str, Any]) -> bool:
    """Set what comes against what is known of it. Returns whether another program wrote there."""
    known, connection = store.read_known(), store.connection
    if incoming.replaces_sample(connection):
        known = store.begin_anew()
    incoming.leave_out_clashes(connection, record)
    volumes.unify_units(connection)
    incoming.compare_bars(connection, known.is_fresh)
    return known.is_touched


def describe(
    connection: duckdb.DuckDBPyConnection, settings: Settings, run: run_records.Run
) -> None:
    """Find the sessions of what comes, and count what becomes of it."""
    record = run.record["stages"]["load"]
    calendars.view_sessions(connection, settings.exchange)
    record.update(count_outcomes(connection), data_due=find_due(connection))
    add_left_out(record, run)


def add_left_out(record: dict[str, Any], run: run_records.Run) -> None:
    """Count the rows that were left out among the rejected, with those that transform rejected."""
    judged = run.record["stages"].get("transform", {}).get("symbols", {})
    for symbol, rows in record["left_out"].items():
        rejected = judged.get(symbol, {}).get("rejected", 0)
        record["symbols"][symbol] = {"rejected": rejected + rows}


def is_out_of_step(settings: Settings) -> bool:
    """Whether the published file has to be written anew though nothing comes."""
    with open_store(settings, settings.database_path) as store:
        is_touched = store.read_known().is_touched
        return is_touched or incoming.has_moved(store.connection, settings)


def write_no_bars(path: Path) -> None:
    """A clean file without a bar."""
    columns = ", ".join(f"NULL::{types[0]} AS {name}" for name, types in CLEAN_TYPES.items())
    with borrow() as connection:
        connection.execute(
            f"COPY (SELECT {columns} LIMIT 0) TO {parquet_sql.quote(path)} (FORMAT parquet)"
        )


def count_outcomes(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What became of the rows, symbol by symbol and in all."""
    symbols = outcomes.count_by_symbol(connection)
    sums = {name: sum(counts[name] for counts in symbols.values()) for name in runs.LOADED}
    return {"symbols": symbols, **sums}


def report(record: dict[str, Any]) -> None:
    some = (name for name in ("stale", "superseded") if record[name])
    names = ("inserted", "revised", "unchanged", *some)
    counts = ", ".join(f"{record[name]:,} {name}" for name in names)
    generation = record.get("generation")
    log.info("load: %s; %s", counts, f"published as {generation}" if generation else NOTHING_NEW)
    notes = record.get("notes") or {}
    if notes:
        log.info("load: new notes: %s", ", ".join(f"{n:,} {reason}" for reason, n in notes.items()))
    if suspect := sum(notes.get(reason, 0) for reason in WRONG_BASIS):
        log.warning(
            "load: %s %s as if prices were on another basis than said (see the notes): set"
            " SOURCE_ADJUSTMENT=split if they are adjusted for splits, as Yahoo's are, or load the"
            " splits that are missing, into a store of their own (DATA_DIR)",
            suspect,
            "bar looks" if suspect == 1 else "bars look",
        )
    if record["stale"]:
        log.warning(
            "load: %s %s from files older than what is stored and differ from it: touch a file to"
            " make it the newer one",
            f"{record['stale']:,}",
            "bar comes" if record["stale"] == 1 else "bars come",
        )


if __name__ == "__main__":
    raise SystemExit(main())
