"""Build the next version of the store beside the published one, and check it.

Works on the temp relations of load (see rounds), and the published file as `store`. It is the copy
that is written to, never the published file.
"""

import logging
from pathlib import Path

import duckdb

from etl.base import run_records
from etl.base.errors import StoreError
from etl.contracts.files import CLEAN_COLUMNS
from etl.rules import newer_bars
from etl.settings import Settings
from etl.store import Delta
from etl.store.duckdb_file import (
    accounts,
    actions,
    attached,
    bar_notes,
    changes,
    digests,
    disagreements,
    gaps,
    instruments,
    provisional,
    publish,
    reevaluation,
    rounds,
    session_table,
    versions,
    volumes,
)
from etl.store.duckdb_file.published import Published

log = logging.getLogger("etl")

# Behind so many unsorted rows the table is written out in order again (see DESIGN.md): of a small
# store, as many as a read passes over in a twentieth of a millisecond.
UNSORTED_SHARE = 0.005
UNSORTED_ROWS = 2_048

INSERT = f"""
INSERT INTO next.ohlcv_data ({", ".join(CLEAN_COLUMNS)})
SELECT {", ".join(CLEAN_COLUMNS)} FROM changes ORDER BY symbol, timestamp"""
UPSERT = f"""{INSERT}
ON CONFLICT (symbol, timestamp)
DO UPDATE SET {", ".join(f"{v} = excluded.{v}" for v in newer_bars.VALUES)}"""


def build_next(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    path: Path,
    delta: Delta,
    run: run_records.Run,
    before: Published,
) -> None:
    """`next`: what was published, with the delta in it; checked, and named in the run's record."""
    record = run.record["stages"]["load"]
    generation = publish.make_generation(connection, path)
    attach_next(connection, path, before)
    digests.renew(connection)
    is_touched = before.is_touched or (attached.wal_of(path).exists() and not before.is_fresh)
    touched = take_foreign_changes(connection, delta.exchange, run) if is_touched else []
    volumes.rescale_stored(connection, run.run_id)
    reevaluation.reevaluate(connection, touched, delta.exchange, run.run_id)
    unsorted = before.unsorted + write_rounds(connection, run.run_id, before)
    moved = session_table.write_calendars(connection)
    if is_touched:
        instruments.drop_contradicted(connection)
    versions.write_versions(connection, not before.is_copied or is_touched, moved)
    bars = before.bars + delta.inserted
    attached.detach_store(connection, "store")
    unsorted = put_in_order(connection, path, bars, unsorted)
    record.update(generation=generation, notes=count_new_notes(connection, run.run_id))
    accounts.add_digests(connection, record["symbols"])
    accounts.write_runs(connection, settings.runs_dir, run.as_finished())
    publish.write_generation(connection, generation, run.run_id, unsorted)
    check_next(connection, bars)


def take_foreign_changes(
    connection: duckdb.DuckDBPyConnection, exchange: str, run: run_records.Run
) -> list[str]:
    """What another program wrote is kept, and described; returns the symbols it is of."""
    log.warning("load: another program changed the database; its changes are kept")
    touched = instruments.repair_instruments(connection, exchange)
    for symbol in touched:  # so that the record says what their bars are from now on
        run.record["stages"]["load"]["symbols"].setdefault(symbol, {})
    changes.repair_known(connection, run.run_id)
    return touched


def put_in_order(
    connection: duckdb.DuckDBPyConnection, path: Path, bars: int, unsorted: int
) -> int:
    """Write `next` out sorted where too many rows are not; returns how many are not, then."""
    allowed = max(UNSORTED_ROWS, bars * UNSORTED_SHARE)
    if unsorted <= allowed and is_readable_by_all(connection):
        return unsorted
    rewrite_sorted(connection, path)
    return 0


def count_new_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, int]:
    """Reason → how many notes this run adds."""
    rows = connection.execute(
        "SELECT reason, count(*) FROM next.bar_notes WHERE run_id = ? GROUP BY reason ORDER BY ALL",
        [run_id],
    )
    return dict(rows.fetchall())


def attach_next(connection: duckdb.DuckDBPyConnection, path: Path, before: Published) -> None:
    """`next`: a copy of the published file to work on, or an empty one."""
    next_path = publish.next_of(path)
    if before.is_copied:
        if not next_path.exists():
            publish.copy_store(path, next_path)
        attached.attach_own(connection, next_path, "next")
    else:
        attached.attach_new(connection, next_path, "next")
    if before.is_older:
        log.info("load: the database is of an older schema: written anew, with its history")
        attached.copy_tables(connection, "store", "next")
        changes.write_seen(connection)


def is_readable_by_all(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether `next` has the storage version that is written now; an older service's has not."""
    found = connection.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'next'"
    ).fetchall()
    return bool(found) and str(found[0][0]).startswith(attached.STORAGE_VERSION)


def write_rounds(connection: duckdb.DuckDBPyConnection, run_id: str, before: Published) -> int:
    """All that comes, one answer of a symbol after the other. Returns how many bars were written
    behind the sorted ones."""
    count, are_few = rounds.number_rounds(connection)
    unsorted = 0
    for number in range(1, count + 1):
        rounds.open_round(connection, number, count, are_few)
        is_first = before.is_fresh and number == 1
        if not is_first:
            unsorted += attached.read_one(connection, "SELECT count(*) FROM changes")
        write_round(connection, run_id, is_first)
    connection.execute(
        "INSERT INTO next.answers FROM incoming_answers EXCEPT FROM next.answers ORDER BY ALL"
    )
    return unsorted


def write_round(connection: duckdb.DuckDBPyConnection, run_id: str, is_first: bool) -> None:
    # several threads keep the order of a plain INSERT, but not of one with ON CONFLICT
    connection.execute(INSERT if is_first else UPSERT)
    changes.write_known(connection, run_id)
    actions.write_actions(connection, run_id)
    instruments.write_instruments(connection)
    actions.tell_instruments(connection)
    if not is_first:
        changes.write_revisions(connection, run_id)
    gaps.write_gaps(connection)
    bar_notes.write_notes(connection, run_id, is_first)
    disagreements.write_disagreements(connection, run_id)
    provisional.write_provisional(connection, run_id)
    volumes.note_rounded(connection, run_id)


def rewrite_sorted(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Replace `next` by the same tables written out in order: what makes reads of a symbol fast."""
    next_path, sorted_path = publish.next_of(path), publish.sorted_of(path)
    publish.discard(sorted_path)
    attached.attach_new(connection, sorted_path, "sorted")
    attached.copy_tables(connection, "next", "sorted")
    connection.execute("CHECKPOINT sorted")
    connection.execute("DETACH next")
    connection.execute("DETACH sorted")
    publish.discard(next_path)
    sorted_path.replace(next_path)
    attached.attach_own(connection, next_path, "next")


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
