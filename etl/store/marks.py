"""Which answers of the archive a store has taken: one mark an answer, kept in the store itself.

So a store that goes back, begins anew or is another one is handed what it has not got.
"""

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from etl.calls.archive import Entry
from etl.store.duckdb_file import publish

Marks = set[tuple[int, datetime]]


def read_marks(database: Path, source: str) -> Marks:
    """Number and instant (naive UTC) of each answer taken; none where no store can be read."""
    try:
        with duckdb.connect(":memory:") as connection:
            publish.attach(connection, database, "store")
            query = "SELECT number, fetched_at FROM store.answers WHERE source = ?"
            return set(connection.execute(query, [source]).fetchall())
    except duckdb.Error:
        return set()


def mark(entry: Entry) -> tuple[int, datetime]:
    return entry.number, entry.fetched_at.astimezone(UTC).replace(tzinfo=None)
