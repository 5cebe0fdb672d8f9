"""Upsert the clean bars into data/market_data.duckdb and publish it as one new version.

Loads data/clean_data.parquet; finds the bars that are new or different; writes them into a copy
of the published file and puts the copy in its place. It stores and never judges: an input that
does not keep the contract is refused whole.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from pathlib import Path
from typing import Any

import duckdb

from etl.base import command, parquet_sql, run_records, stage_files
from etl.base.errors import StoreError
from etl.contracts import runs
from etl.contracts.files import CLEAN_TYPES
from etl.settings import Settings
from etl.store import accounts, actions, changes, digests, gaps, reevaluation, rounds, volumes
from etl.store.clean_files import read_beside, read_input
from etl.store.duckdb_file import build, publish
from etl.store.duckdb_file.build import Store

log = logging.getLogger("etl")

NOTHING_NEW = "nothing to publish"
# Notes that many bars at once have where the prices are on another basis than was said.
WRONG_BASIS = ("unrecorded split",)


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.load", __doc__)
    parser.add_argument("--input", type=command.from_here, help="clean Parquet file or folder")
    parser.add_argument("--database", type=choose_database, help="DuckDB file to publish")
    return command.main(parser, "load", load, argv)


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
        publish.discard_on_failure(database),
        parquet_sql.connect(settings) as connection,
    ):
        stage_files.check_files(settings, path, "transform")
        with parquet_sql.reading(path):
            read_input(connection, settings, path)
        read_beside(connection, settings, path)
        store = open_store(connection, database)
        leave_out_clashes(connection, record)
        volumes.unify_units(connection)
        rounds.compare_bars(connection, store.is_fresh)
        is_needed = store.is_touched or has_news(connection) or has_moved(connection, settings)
        with build.begin(database, store, is_needed):
            gaps.view_sessions(connection, settings.exchange)
            record["symbols"] = accounts.count_by_symbol(connection)
            record.update(sum_outcomes(record["symbols"]))
            add_left_out(record, run)
        if is_needed:
            build.publish_next(connection, settings, database, run, store)
            changes.drop_confirmed(database)
        report(record)


def open_store(connection: duckdb.DuckDBPyConnection, path: Path) -> Store:
    """`store`: the published file, or an empty one in its place.

    Raises StoreError when the sample would join real bars.
    """
    publish.restore_wal(path)
    if path.exists():
        publish.attach_store(connection, path, "store")
        if not is_replaced(connection):
            return describe_store(connection, path)
        publish.detach_store(connection, "store")
    connection.execute("ATTACH ':memory:' AS store")
    publish.create_tables(connection, "store")
    return Store(is_fresh=True)


def describe_store(connection: duckdb.DuckDBPyConnection, path: Path) -> Store:
    bars, unsorted, version = connection.execute(
        """SELECT (SELECT count(*) FROM store.ohlcv_data), unsorted_rows, schema_version
        FROM store.generation"""
    ).fetchall()[0]
    is_touched = publish.may_be_touched(connection, path) and bool(
        connection.execute(f"{digests.find_touched(version)} LIMIT 1").fetchall()
    )
    if version < 3:
        changes.read_confirmed(connection, path)
    return Store(False, bars, unsorted, is_touched, version < 3, publish.identify(path))


def is_replaced(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the store holds the sample and real bars come."""
    is_sample = "SELECT bool_and(source = 'sample') FROM "
    all_stored = publish.read_one(connection, is_sample + "store.instruments")
    all_coming = publish.read_one(connection, is_sample + "incoming")  # None: nothing comes
    if all_coming and all_stored is False:
        raise StoreError(
            "the store holds real bars, and the sample does not mix with them: set AV_API_KEY or"
            " SOURCE, or try the sample in a folder of its own (DATA_DIR)"
        )
    if all_stored and all_coming is False:
        bars = publish.read_one(connection, "SELECT count(*) FROM store.ohlcv_data")
        log.warning("load: real bars come, so the sample's %s bars are dropped", f"{bars:,}")
        return True
    return False


def leave_out_clashes(connection: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> None:
    """Bars as traded and bars adjusted for splits never mix within a symbol: `incoming` without
    the symbols that come on another basis than is stored, which are failures of the run.

    Raises StoreError where nothing else came.
    """
    clashes = connection.execute(
        """SELECT symbol, s.basis, i.basis, i.source, rows
        FROM (SELECT symbol, any_value(basis) AS basis, any_value(source) AS source,
                     count(*) AS rows FROM incoming GROUP BY symbol) i
        JOIN store.instruments s USING (symbol) WHERE s.basis <> i.basis ORDER BY symbol"""
    ).fetchall()
    record["failures"] = {clash[0]: f"basis: {explain_clash(*clash[:4])}" for clash in clashes}
    record["left_out"] = {clash[0]: clash[4] for clash in clashes}
    if not clashes:
        return
    connection.execute("ALTER VIEW incoming RENAME TO offered")
    symbols = ", ".join(parquet_sql.quote(symbol) for symbol in record["left_out"])
    connection.execute(f"CREATE TEMP VIEW incoming AS FROM offered WHERE symbol NOT IN ({symbols})")
    told = [explain_clash(*clash[:4]) for clash in clashes[:5]]
    more = f"; and {len(clashes) - 5} more" if clashes[5:] else ""
    if not connection.execute("FROM incoming LIMIT 1").fetchall():
        raise StoreError("; ".join(told) + more)
    log.warning("load: left out, the rest is loaded: %s%s", "; ".join(told), more)


def explain_clash(symbol: str, stored: str, came: str, source: str) -> str:
    """What clashes, with a remedy that does something: a vendor's basis cannot be set."""
    remedy = (
        f"set SOURCE_ADJUSTMENT={stored} if that is what the prices are"
        if source == "files"
        else f"take {symbol} out of SYMBOLS, or load its file anew in an empty DATA_DIR with"
        f" SOURCE_ADJUSTMENT={came} if that is what its prices are"
    )
    return (
        f"{symbol} is stored with basis {stored} and comes with basis {came}: {remedy},"
        " or load them into a store of their own (DATA_DIR)"
    )


def add_left_out(record: dict[str, Any], run: run_records.Run) -> None:
    """Count the rows that were left out among the rejected, with those that transform rejected."""
    judged = run.record["stages"].get("transform", {}).get("symbols", {})
    for symbol, rows in record["left_out"].items():
        rejected = judged.get(symbol, {}).get("rejected", 0)
        record["symbols"][symbol] = {"rejected": rejected + rows}


def has_news(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything comes that the store does not know yet, be it that an answer was taken."""
    news = (
        "FROM pending",
        actions.compare("incoming_actions", "store"),
        actions.find_newer_lists("incoming_lists", "store"),
        "FROM incoming_answers EXCEPT FROM store.answers",
    )
    return any(connection.execute(f"FROM ({query}) LIMIT 1").fetchall() for query in news)


def has_moved(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether a stored symbol has another calendar now: its gaps and notes are of the old one."""
    return bool(reevaluation.find_moved(connection, "store", settings.exchange))


def is_out_of_step(settings: Settings) -> bool:
    """Whether the published file has to be written anew though nothing comes."""
    with parquet_sql.connect(settings) as connection:
        publish.attach_store(connection, settings.database_path, "store")
        store = describe_store(connection, settings.database_path)
        return store.is_touched or has_moved(connection, settings)


def write_no_bars(path: Path) -> None:
    """A clean file without a bar."""
    columns = ", ".join(f"NULL::{types[0]} AS {name}" for name, types in CLEAN_TYPES.items())
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            f"COPY (SELECT {columns} LIMIT 0) TO {parquet_sql.quote(path)} (FORMAT parquet)"
        )


def sum_outcomes(symbols: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(fates[name] for fates in symbols.values()) for name in runs.LOADED}


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
