"""Which answers of the archive a store has taken: one mark an answer, kept in the store itself.

So a store that goes back, begins anew or is another one is handed what it has not got.
"""

from datetime import UTC, datetime
from pathlib import Path

from etl.calls.archive import Entry
from etl.store.duckdb_file import published

Marks = set[tuple[int, datetime]]


def read_marks(database: Path, source: str) -> Marks:
    """Number and instant (naive UTC) of each answer taken; none where no store can be read."""
    query = "SELECT number, fetched_at FROM known_answers WHERE source = ?"
    return set(published.ask_published(database, query, [source]))


def mark(entry: Entry) -> tuple[int, datetime]:
    return entry.number, entry.fetched_at.astimezone(UTC).replace(tzinfo=None)
