"""Synthetic and real minutes of a symbol never stand beside each other: what is done instead.

Real ones take the place of synthetic ones, which can be made again at any time. The other way round
is refused, before a bar is written.
"""

import logging
from typing import Any

import duckdb

from etl.base.errors import StoreError
from etl.calls.forecast import name_some
from etl.contracts.minutes import SYNTHETIC, MinuteStore, find_mixed

log = logging.getLogger("etl")


def check_sources(
    connection: duckdb.DuckDBPyConnection, store: MinuteStore, record: dict[str, Any]
) -> None:
    """Take out of the store the synthetic minutes of symbols of which real ones come; `removed`
    (symbol) has these. StoreError, before anything is written, where synthetic ones would come
    beside real ones."""
    coming = read_sources(connection)
    record["sources"] = sorted({source for each in coming.values() for source in each})
    mixed = find_mixed(store.snapshot().instruments, coming)
    if refused := [symbol for symbol in mixed if SYNTHETIC in coming[symbol]]:
        raise StoreError(
            f"load: the stored minutes of {name_some(refused)} are real, and those that come are"
            " synthetic: nothing was stored, for they never stand beside each other; set SOURCE to"
            " where the stored ones came from, or try the synthetic ones in a store of their own"
            " (DATA_DIR, MINUTE_STORE)"
        )
    connection.execute(
        "CREATE TEMP TABLE removed AS SELECT unnest(?::VARCHAR[]) AS symbol", [mixed]
    )
    if mixed:
        record["replaced"] = mixed
        store.remove(mixed)
        log.warning(
            "load: the stored minutes of %s are synthetic, and real ones come: they take the place"
            " of the synthetic ones, which can be made again at any time",
            name_some(mixed),
        )


def read_sources(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Symbol → sources of what comes."""
    rows = connection.execute("SELECT DISTINCT symbol, source FROM clean").fetchall()
    found: dict[str, set[str]] = {}
    for symbol, source in rows:
        found.setdefault(symbol, set()).add(source)
    return found
