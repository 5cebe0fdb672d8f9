"""Build the next version of the store beside the published one, check it, publish it.

Works on the temp relations of load: `incoming`, `changes`, `new_actions`, `settled`, and the
published file as `store`. It is the copy that is written to, never the published file.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import duckdb

from etl import accounts, derived, digests, history, neighbourhood, publish, stage
from etl.errors import StoreError
from etl.schema import CLEAN_COLUMNS, TABLES
from etl.settings import Settings

log = logging.getLogger("etl")

# Behind so many unsorted rows the table is written out in order again (see DESIGN.md).
UNSORTED_SHARE = 0.005
SMALL_STORE = 500_000

# The oldest program that is to read the file: DuckDB 1.x refuses what 2.0 writes by itself.
STORAGE_VERSION = "v1.2.0"

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
    identity: tuple[tuple[int, int] | None, ...] = ()


def create_tables(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for table, ddl in TABLES.items():
        connection.execute(ddl.replace(f"TABLE {table}", f"TABLE {name}.{table}"))


def begin(path: Path, store: Store, is_needed: bool) -> AbstractContextManager[None]:
    """Copy the published file, if it is to be, while the block looks further at what comes."""
    publish.discard(publish.next_of(path))  # of a run that died
    if store.is_fresh or not is_needed:
        return nullcontext()
    return publish.copy_meanwhile(path, publish.next_of(path))


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
    next_path = attach_next(connection, path, store)
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
    allowed = 0 if bars < SMALL_STORE else bars * UNSORTED_SHARE
    if unsorted > allowed or not is_readable_by_all(connection):
        rewrite_sorted(connection, path)
        unsorted = 0
    record.update(generation=generation)
    accounts.add_digests(connection, record["symbols"])
    accounts.write_runs(connection, settings.runs_dir, run.as_finished())
    publish.write_generation(connection, generation, run.run_id, unsorted)
    check_next(connection, bars)
    # a copy within this process ends the lock that DuckDB holds on the file (POSIX)
    if not store.is_fresh and publish.identify(path) != store.identity:
        raise StoreError(f"{path} was changed by another program meanwhile: run load again")
    publish.finish_next(connection, next_path, path)
    if store.is_fresh:
        history.forget_confirmations(path)


def attach_next(connection: duckdb.DuckDBPyConnection, path: Path, store: Store) -> Path:
    """`next`: a copy of the published file to work on, or an empty one."""
    next_path = publish.next_of(path)
    if not store.is_fresh and not next_path.exists():
        publish.copy_store(path, next_path)
    if store.is_fresh:
        attach_new(connection, next_path, "next")
    else:
        connection.execute(f"ATTACH {stage.quote(next_path)} AS next")
    return next_path


def attach_new(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """An empty file with all tables. The version is that of a file's first page: for good."""
    connection.execute(
        f"ATTACH {stage.quote(path)} AS {name} (STORAGE_VERSION '{STORAGE_VERSION}')"
    )
    create_tables(connection, name)


def is_readable_by_all(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether `next` has the storage version that is written now; an older service's has not."""
    found = connection.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'next'"
    ).fetchall()
    return bool(found) and str(found[0][0]).startswith(STORAGE_VERSION)


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


def rewrite_sorted(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Replace `next` by the same tables written out in order: what makes reads of a symbol fast."""
    next_path, sorted_path = publish.next_of(path), publish.sorted_of(path)
    publish.discard(sorted_path)
    attach_new(connection, sorted_path, "sorted")
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
