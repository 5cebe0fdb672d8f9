"""The next file of one month: a copy of the published one, or a new one, that a load writes to."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from etl.base.whole_files import flush_to_disk
from etl.contracts.minutes import NOTES, REVISIONS, STORED_BARS
from etl.contracts.minutes.changes import KEY
from etl.contracts.minutes.duckdb_files.attached import tell_damaged
from etl.contracts.minutes.duckdb_files.layout import (
    OF_MONTH,
    attach_new,
    attach_own,
    list_columns,
)
from etl.contracts.minutes.duckdb_files.manifest import PublishedFile

# Behind so many bars that were appended a month is written out in order again: a load costs no more
# than it brings, and a reader meets few bars that are none of his.
APPENDED_SHARE = 0.2
SET = ", ".join(f"{name} = g.{name}" for name in STORED_BARS.names[2:])


@dataclass
class NextMonth:
    """name: under which it is attached. appended: bars behind the sorted ones."""

    path: Path
    name: str
    appended: int
    is_empty: bool


def open_month(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    name: str,
    folder: Path,
    published: PublishedFile | None,
) -> NextMonth:
    path.parent.mkdir(parents=True, exist_ok=True)
    if published is None:
        attach_new(connection, path, name, OF_MONTH)
        return NextMonth(path, name, 0, True)
    copy_whole(folder / published.name, path, published.sha256)
    attach_own(connection, path, name)
    return NextMonth(path, name, published.appended, False)


def copy_whole(source: Path, target: Path, sha256: str) -> None:
    """Copy a published file; MinuteStoreError if it is not as it was: a copy would keep the
    damage, under a digest of its own."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(1 << 20):
            digest.update(block)
            writing.write(block)
    if digest.hexdigest() != sha256:
        raise tell_damaged(source, "its bytes are not those that were published")


# What is written is registered as `given`, all of it of this month.


def write_bars(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    """STORED_BARS, each in the place of the one of its key. given_stored: those there."""
    if not month.is_empty:
        connection.execute(
            f"""UPDATE {month.name}.bars b SET {SET}
            FROM (FROM given SEMI JOIN given_stored USING ({KEY})) g
            WHERE b.symbol = g.symbol AND b.timestamp = g.timestamp"""
        )
    columns = list_columns(STORED_BARS)
    added = connection.execute(
        f"""INSERT INTO {month.name}.bars ({columns})
        SELECT {columns} FROM given ANTI JOIN given_stored USING ({KEY}) ORDER BY {KEY}"""
    ).fetchall()
    month.appended += 0 if month.is_empty else added[0][0]
    month.is_empty = False


def write_revisions(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    """REVISIONS, each in the place of the one of its key and known_at. given_withdrawn: (symbol,
    timestamp, known_at) of those that are none any more."""
    key = f"{KEY}, known_at"
    connection.execute(
        f"""DELETE FROM {month.name}.revisions WHERE ({key}) IN (
            SELECT ({key}) FROM given UNION ALL SELECT ({key}) FROM given_withdrawn)"""
    )
    columns = list_columns(REVISIONS)
    connection.execute(
        f"INSERT INTO {month.name}.revisions ({columns}) SELECT {columns} FROM given ORDER BY ALL"
    )


def write_notes(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    """NOTES, in the place of those of given_stored."""
    columns = list_columns(NOTES)
    connection.execute(
        f"""DELETE FROM {month.name}.notes WHERE ({columns}) IN (
            SELECT ({columns}) FROM given_stored)"""
    )
    connection.execute(
        f"INSERT INTO {month.name}.notes ({columns}) SELECT {columns} FROM given ORDER BY ALL"
    )


def remove(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    """All of the symbols in `given`."""
    for table in OF_MONTH:
        connection.execute(f"DELETE FROM {month.name}.{table} WHERE symbol IN (FROM given)")
    month.appended = max(month.appended, 1)  # what is left may be little: it is written out anew


def close_month(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    """Bring it in order, if need be, and to disk."""
    total = connection.execute(f"SELECT count(*) FROM {month.name}.bars").fetchall()[0][0]
    if month.appended > total * APPENDED_SHARE:
        rewrite(connection, month)
    close_file(connection, month.name, month.path)


def rewrite(connection: duckdb.DuckDBPyConnection, month: NextMonth) -> None:
    target = month.path.with_name(month.path.name + ".sorted")
    attach_new(connection, target, "in_order", OF_MONTH)
    for table, schema in OF_MONTH.items():
        columns = list_columns(schema)
        connection.execute(
            f"""INSERT INTO in_order.{table} ({columns})
            SELECT {columns} FROM {month.name}.{table} ORDER BY {KEY}"""
        )
    connection.execute(f"DETACH {month.name}")
    close_file(connection, "in_order", target)
    target.replace(month.path)
    attach_own(connection, month.path, month.name)
    month.appended = 0


def close_file(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    connection.execute(f"CHECKPOINT {name}")
    connection.execute(f"DETACH {name}")
    flush_to_disk(path)
