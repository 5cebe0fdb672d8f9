"""Synthetic and real minutes never stand beside each other: what is done where both meet."""

from typing import Any

import duckdb

from etl.base.errors import StoreError
from etl.calls.forecast import name_some
from etl.contracts.minutes import SYNTHETIC, MinuteStore, find_mixed


def check_sources(
    connection: duckdb.DuckDBPyConnection, store: MinuteStore, record: dict[str, Any]
) -> None:
    """StoreError, before anything is written, where they would be beside each other."""
    coming = read_sources(connection)
    record["sources"] = sorted({source for each in coming.values() for source in each})
    mixed = find_mixed(store.snapshot().instruments, coming)
    if not mixed:
        return
    is_made = all(coming[symbol] == {SYNTHETIC} for symbol in mixed)
    stored, come = ("real", "synthetic") if is_made else ("synthetic", "real")
    remedy = (
        "set SOURCE to where those came from, or keep these in a store of their own (DATA_DIR,"
        " MINUTE_STORE)"
    )
    raise StoreError(
        f"load: the stored minutes of {name_some(mixed)} are {stored}, and those that come are"
        f" {come}: nothing was stored, for they never stand beside each other; {remedy}"
    )


def read_sources(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Symbol → sources of what comes."""
    rows = connection.execute("SELECT DISTINCT symbol, source FROM clean").fetchall()
    found: dict[str, set[str]] = {}
    for symbol, source in rows:
        found.setdefault(symbol, set()).add(source)
    return found
