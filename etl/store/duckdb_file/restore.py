"""The version before the published one, made ready to be published again."""

import logging
from pathlib import Path

import duckdb

from etl.base.errors import StoreError
from etl.base.run_records import Run
from etl.contracts.tables import SCHEMA_VERSION
from etl.store.duckdb_file import accounts, attached, digests, publish, versions

log = logging.getLogger("etl")


def build_previous(connection: duckdb.DuckDBPyConnection, path: Path, run: Run) -> str:
    """`next`: the version before the present one, under a new generation, with all run records;
    returns the generation that it had."""
    was = copy_previous(connection, path, attached.previous_of(path))
    digests.renew(connection)
    versions.write_versions(connection, is_whole=True)
    generation = publish.make_generation(connection, path)
    run.record["stages"]["rollback"].update(generation=generation, restored=was)
    name_anew(connection, generation, run.run_id)
    accounts.write_rollback(connection, run.as_finished())
    return was


def copy_previous(connection: duckdb.DuckDBPyConnection, path: Path, previous: Path) -> str:
    """`next`: a copy of the version before, with all run records; returns its generation.

    StoreError if there is none.
    """
    next_path = publish.next_of(path)
    publish.discard(next_path)
    attached.attach_store(connection, previous, "previous")
    was, version = connection.execute(
        "SELECT generation, schema_version FROM previous.generation"
    ).fetchall()[0]
    if version < SCHEMA_VERSION:
        attached.attach_new(connection, next_path, "next")
        attached.copy_tables(connection, "previous", "next")
    attached.detach_store(connection, "previous")
    if version == SCHEMA_VERSION:
        publish.copy_store(previous, next_path)
        attached.attach_own(connection, next_path, "next")
    if is_readable(connection, path):
        copy_runs(connection)
        attached.detach_store(connection, "store")
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


def name_anew(connection: duckdb.DuckDBPyConnection, generation: str, run_id: str) -> None:
    unsorted = attached.read_one(connection, "SELECT unsorted_rows FROM next.generation")
    publish.write_generation(connection, generation, run_id, unsorted)


def is_readable(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Attach the present version as `store`; False if it is damaged: a reason to roll back."""
    try:
        attached.attach_store(connection, path, "store")
    except (StoreError, duckdb.Error):
        return False
    return True
