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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from etl import accounts, derived, digests, history, neighbourhood, publish, stage
from etl.errors import StoreError
from etl.intake import read_beside, read_input
from etl.schema import CLEAN_COLUMNS, TABLES
from etl.settings import Settings

log = logging.getLogger("etl")

# Behind so many unsorted rows the table is written out in order again (see DESIGN.md).
UNSORTED_SHARE = 0.005
SMALL_STORE = 500_000
NOTHING_NEW = "nothing to publish"

INSERT = f"""
INSERT INTO next.ohlcv_data ({", ".join(CLEAN_COLUMNS)})
SELECT {", ".join(CLEAN_COLUMNS)} FROM changes ORDER BY symbol, timestamp"""
UPSERT = f"""{INSERT}
ON CONFLICT (symbol, timestamp)
DO UPDATE SET {", ".join(f"{v} = excluded.{v}" for v in history.VALUES)}"""


@dataclass(frozen=True)
class Store:
    """What was published before this load.

    is_fresh: nothing, or the sample, which gives way. is_touched: another program wrote into it.
    """

    is_fresh: bool
    bars: int = 0
    unsorted: int = 0
    is_touched: bool = False


def main(argv: list[str] | None = None) -> int:
    parser = stage.build_parser("etl.load", __doc__)
    parser.add_argument("--input", type=stage.from_here, help="clean Parquet file or folder")
    parser.add_argument("--database", type=stage.from_here, help="DuckDB file to publish")
    return stage.main(parser, "load", load, argv)


def load(settings: Settings, args: argparse.Namespace, run: stage.Run | None = None) -> None:
    """Act 1: read the input and the store. Act 2: find the changes. Act 3: publish them."""
    path: Path = getattr(args, "input", None) or settings.clean_path
    database: Path = getattr(args, "database", None) or settings.database_path
    run = run or stage.open_run(settings, path)
    with run.record_stage("load") as record, stage.connect(settings) as connection:
        read_input(connection, settings, path)
        read_beside(connection, settings, path)
        store = open_store(connection, database)
        check_basis(connection)
        find_changes(connection, settings, database, store)
        record["symbols"] = accounts.count_by_symbol(connection)
        record.update(sum_fates(record["symbols"]))
        if has_news(connection):
            publish_next(connection, settings, database, run, store)
        report(record)


def open_store(connection: duckdb.DuckDBPyConnection, path: Path) -> Store:
    """`store`: the published file, or an empty one in its place.

    Raises StoreError when the sample would join real bars.
    """
    if path.exists():
        publish.attach_store(connection, path, "store")
        if not gives_way(connection):
            return describe_store(connection)
        connection.execute("DETACH store")
    connection.execute("ATTACH ':memory:' AS store")
    create_tables(connection, "store")
    return Store(is_fresh=True)


def describe_store(connection: duckdb.DuckDBPyConnection) -> Store:
    bars, listed, unsorted = connection.execute(
        """SELECT (SELECT count(*) FROM store.ohlcv_data),
                  (SELECT coalesce(sum(bars), 0) FROM store.instruments), unsorted_rows
        FROM store.generation"""
    ).fetchall()[0]
    return Store(False, bars, unsorted, bars != listed)


def create_tables(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for table, ddl in TABLES.items():
        connection.execute(ddl.replace(f"TABLE {table}", f"TABLE {name}.{table}"))


def gives_way(connection: duckdb.DuckDBPyConnection) -> bool:
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


def check_basis(connection: duckdb.DuckDBPyConnection) -> None:
    """Bars as traded and bars adjusted for splits never mix within a symbol."""
    clash = connection.execute(
        """SELECT symbol, s.basis, i.basis
        FROM (SELECT symbol, any_value(basis) AS basis FROM incoming GROUP BY symbol) i
        JOIN store.instruments s USING (symbol) WHERE s.basis <> i.basis ORDER BY symbol"""
    ).fetchall()
    if clash:
        symbol, stored, came = clash[0]
        raise StoreError(
            f"{symbol} is stored with basis {stored} and comes with basis {came} (symbols with"
            f" this clash: {len(clash)}): set SOURCE_ADJUSTMENT={stored} if that is what the"
            " prices are, or load them into a store of their own (DATA_DIR)"
        )


def find_changes(
    connection: duckdb.DuckDBPyConnection, settings: Settings, database: Path, store: Store
) -> None:
    """`changes` (bars to write), `new_actions`, `settled`; see history and derived."""
    derived.view_sessions(connection, settings.exchange)
    if store.is_fresh:
        # nothing to compare with: views spare the memory of a copy
        old = ", ".join(f"NULL AS old_{name}" for name in history.VALUES)
        connection.execute(
            f"CREATE TEMP VIEW differing AS SELECT *, true AS is_new, {old} FROM incoming"
        )
        connection.execute(
            "CREATE TEMP VIEW changes AS SELECT *, NULL::TIMESTAMP AS known_from FROM differing"
        )
    else:
        history.view_confirmations(connection, database)
        history.find_changes(connection)
        history.save_confirmations(connection, database)
    columns = "symbol, ex_date, kind, ratio, amount"
    connection.execute(
        f"""CREATE TEMP TABLE new_actions AS SELECT {columns} FROM incoming_actions
        EXCEPT SELECT {columns} FROM store.corporate_actions"""
    )
    derived.find_settled(connection)


def has_news(connection: duckdb.DuckDBPyConnection) -> bool:
    relations = ("changes", "new_actions", "settled")
    some = " OR ".join(f"EXISTS (FROM {name})" for name in relations)
    return bool(publish.read_one(connection, f"SELECT {some}"))


def sum_fates(symbols: dict[str, dict[str, int]]) -> dict[str, int]:
    names = ("inserted", "revised", "unchanged", "stale")
    return {name: sum(fates[name] for fates in symbols.values()) for name in names}


def publish_next(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    path: Path,
    run: stage.Run,
    store: Store,
) -> None:
    """Build the next version beside the published one, check it, put it in its place."""
    record = run.record["stages"]["load"]
    generation = publish.make_generation(path)
    next_path = start_next(connection, path, store)
    digests.renew(connection)
    is_touched = store.is_touched or (publish.wal_of(path).exists() and not store.is_fresh)
    if is_touched:
        log.warning("load: another program changed the database; its changes are kept")
        derived.mend_instruments(connection)
        history.mend_arrivals(connection, run.run_id)
    write_changes(connection, run.run_id, store)
    if is_touched:
        derived.drop_contradicted(connection)
    bars = store.bars + record["inserted"]
    unsorted = 0 if store.is_fresh else store.unsorted + record["inserted"] + record["revised"]
    connection.execute("DETACH store")
    if unsorted > (0 if bars < SMALL_STORE else bars * UNSORTED_SHARE):
        rewrite_sorted(connection, next_path)
        unsorted = 0
    record.update(generation=generation)
    accounts.add_digests(connection, record["symbols"])
    accounts.write_runs(connection, settings.runs_dir, run.as_finished())
    publish.write_generation(connection, generation, run.run_id, unsorted)
    check_next(connection, bars)
    publish.finish_next(connection, next_path, path)
    if store.is_fresh:
        history.forget_confirmations(path)


def start_next(connection: duckdb.DuckDBPyConnection, path: Path, store: Store) -> Path:
    """`next`: a copy of the published file to work on, or an empty one."""
    next_path = publish.next_of(path)
    publish.discard(next_path)
    if not store.is_fresh:
        publish.copy_store(path, next_path)
    connection.execute(f"ATTACH {stage.quote(next_path)} AS next")
    if store.is_fresh:
        create_tables(connection, "next")
    return next_path


def write_changes(connection: duckdb.DuckDBPyConnection, run_id: str, store: Store) -> None:
    # several threads keep the order of a plain INSERT, but not of one with ON CONFLICT
    connection.execute(INSERT if store.is_fresh else UPSERT)
    connection.execute(
        """INSERT INTO next.corporate_actions
        SELECT symbol, ex_date, kind, ratio, amount, source FROM incoming_actions ORDER BY ALL
        ON CONFLICT (symbol, ex_date, kind) DO UPDATE SET
            ratio = excluded.ratio, amount = excluded.amount, source = excluded.source"""
    )
    history.write_arrivals(connection, run_id)  # looks at the instruments as they were
    derived.write_instruments(connection)
    if not store.is_fresh:
        history.write_revisions(connection, run_id)
    derived.write_gaps(connection)
    neighbourhood.write_notes(connection, run_id, store.is_fresh)
    derived.write_provisional(connection, run_id)


def rewrite_sorted(connection: duckdb.DuckDBPyConnection, next_path: Path) -> None:
    """Replace `next` by the same tables written out in order: what makes reads of a symbol fast."""
    sorted_path = next_path.with_name(next_path.name + ".sorted")
    publish.discard(sorted_path)
    connection.execute(f"ATTACH {stage.quote(sorted_path)} AS sorted")
    create_tables(connection, "sorted")
    for table in TABLES:
        order = "symbol, timestamp" if table == "ohlcv_data" else "ALL"
        connection.execute(f"INSERT INTO sorted.{table} BY NAME FROM next.{table} ORDER BY {order}")
    connection.execute("CHECKPOINT sorted")
    connection.execute("DETACH next")
    connection.execute("DETACH sorted")
    publish.discard(next_path)
    sorted_path.replace(next_path)
    connection.execute(f"ATTACH {stage.quote(next_path)} AS next")


def check_next(connection: duckdb.DuckDBPyConnection, bars: int) -> None:
    """Refuse to publish what does not add up. That keys are unique the constraint sees to."""
    found = connection.execute(
        """SELECT (SELECT count(*) FROM next.ohlcv_data),
            (SELECT count(*) FROM next.ohlcv_data WHERE symbol IS NULL OR timestamp IS NULL),
            (SELECT coalesce(sum(bars), 0) FROM next.instruments),
            (SELECT count(*) FROM duckdb_constraints() WHERE database_name = 'next'
             AND table_name = 'ohlcv_data' AND constraint_type = 'UNIQUE')"""
    ).fetchall()[0]
    if found != (bars, 0, bars, 1):
        raise StoreError(
            f"the next version does not add up ({bars} bars wanted; bars, NULL keys, bars by"
            f" instrument, constraints: {found}): the published one stays"
        )


def report(record: dict[str, Any]) -> None:
    names = ("inserted", "revised", "unchanged", *(("stale",) if record["stale"] else ()))
    counts = ", ".join(f"{record[name]:,} {name}" for name in names)
    generation = record.get("generation")
    log.info("load: %s; %s", counts, f"published as {generation}" if generation else NOTHING_NEW)


if __name__ == "__main__":
    raise SystemExit(main())
