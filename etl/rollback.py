"""Publish the version before the present one again, under a new generation.

A second rollback undoes the first. Run records stay: what happened has happened.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from pathlib import Path

import duckdb

from etl.base import command, parquet_sql, run_records
from etl.base.errors import StoreError
from etl.settings import Settings
from etl.store import accounts, digests, versions
from etl.store.duckdb_file import publish

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.rollback", __doc__)
    parser.add_argument("--database", type=command.from_here, help="DuckDB file to roll back")
    return command.main(parser, "rollback", roll_back, argv)


def roll_back(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: copy the version before. Act 2: name it anew. Act 3: publish it."""
    path: Path = getattr(args, "database", None) or settings.database_path
    previous = publish.previous_of(path)
    if not previous.exists():
        raise StoreError(f"there is no version before this one ({previous.name}): nothing to do")
    publish.restore_wal(path)
    run = run_records.open_run(settings)
    with (
        run.record_stage("rollback") as record,
        publish.discard_on_failure(path),
        parquet_sql.connect(settings) as connection,
    ):
        was = copy_previous(connection, path, previous)
        digests.renew(connection)
        versions.write_versions(connection)
        generation = publish.make_generation(path)
        record.update(generation=generation, restored=was)
        unsorted = publish.read_one(connection, "SELECT unsorted_rows FROM next.generation")
        publish.write_generation(connection, generation, run.run_id, unsorted)
        accounts.write_rollback(connection, run.as_finished())
        publish.finish_next(connection, publish.next_of(path), path)
    log.info("rollback: what was %s is published as %s", was, generation)


def copy_previous(connection: duckdb.DuckDBPyConnection, path: Path, previous: Path) -> str:
    """`next`: a copy of the version before, with all run records; returns its generation."""
    next_path = publish.next_of(path)
    publish.discard(next_path)
    publish.attach_store(connection, previous, "previous")
    was, version = connection.execute(
        "SELECT generation, schema_version FROM previous.generation"
    ).fetchall()[0]
    if version < 3:
        publish.attach_new(connection, next_path, "next")
        publish.copy_tables(connection, "previous", "next")
    publish.detach_store(connection, "previous")
    if version >= 3:
        publish.copy_store(previous, next_path)
        connection.execute(f"ATTACH {parquet_sql.quote(next_path)} AS next")
    if is_readable(connection, path):
        copy_runs(connection)
        publish.detach_store(connection, "store")
    return str(was)


def copy_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """The run records of the present version; none where they are what is damaged in it."""
    connection.execute("BEGIN")
    try:
        for table in ("etl_run_symbols", "etl_runs"):
            connection.execute(
                f"INSERT INTO next.{table} BY NAME FROM store.{table}"
                " WHERE run_id NOT IN (SELECT run_id FROM next.etl_runs) ORDER BY ALL"
            )
        connection.execute("COMMIT")
    except duckdb.Error as error:
        connection.execute("ROLLBACK")
        log.warning("rollback: later runs are not in it: %s", str(error).splitlines()[0])


def is_readable(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Attach the present version as `store`; False if it is damaged: a reason to roll back."""
    try:
        publish.attach_store(connection, path, "store")
    except (StoreError, duckdb.Error):
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
