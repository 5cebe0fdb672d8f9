"""Which answers with minutes the store has taken: a span for each, in the store itself."""

from collections.abc import Collection
from datetime import datetime

import pyarrow.compute as pc

from etl.base.errors import EtlError
from etl.contracts.minutes import MinuteStoreError
from etl.contracts.minutes.engines import open_minutes
from etl.settings import Settings

INTERVAL = "1m"  # of all vendors' bars


def read_taken(
    settings: Settings, source: str, symbols: Collection[str]
) -> set[tuple[str, datetime]]:
    """(symbol, fetched_at as naive UTC) of each answer taken. EtlError where the store that is to
    take the others cannot be asked: it says so before any call is spent."""
    if not symbols:
        return set()
    try:
        store = open_minutes(settings)
        try:
            snapshot = store.snapshot()
            spans = {symbol: snapshot.spans(symbol, INTERVAL) for symbol in symbols}
            snapshot.close()
        finally:
            store.close()
    except MinuteStoreError as error:
        raise EtlError(str(error)) from None
    return {
        (symbol, at)
        for symbol, table in spans.items()
        for at in table.filter(pc.equal(table["source"], source))["fetched_at"].to_pylist()
    }
