"""The published file as a load finds it, attached as `store`: nobody writes to it."""

import logging
from pathlib import Path

import duckdb

from etl.base.errors import StoreError
from etl.contracts.tables import SCHEMA_VERSION
from etl.store.duckdb_file import changes, digests, publish
from etl.store.duckdb_file.build import Store

KNOWN = {
    "known_bars": "ohlcv_data",
    "known_since": "ohlcv_known",
    "known_revisions": "ohlcv_revisions",
    "known_instruments": "instruments",
    "known_actions": "corporate_actions",
    "known_lists": "action_lists",
    "known_answers": "answers",
    "known_calendars": "calendars",
    "known_sessions": "sessions",
}

log = logging.getLogger("etl")


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
    name_known(connection)
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
    name_known(connection)
    return Store(
        False, bars, unsorted, is_touched, version < SCHEMA_VERSION, publish.identify(path)
    )


def name_known(connection: duckdb.DuckDBPyConnection) -> None:
    """What the rules of a load know of the store, under the names of etl.store.KNOWN."""
    for name, table in KNOWN.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS FROM store.{table}")


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
