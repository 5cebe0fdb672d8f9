"""Rows of several files as one Arrow table."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from etl.contracts.minutes import PRICES, MinuteStoreError
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles, tell_damaged
from etl.contracts.minutes.duckdb_files.manifest import PublishedFile

AT_ONCE = 16  # files in one question
VALUES = f"timestamp, {', '.join(PRICES)}, volume"
AS_OF = " AND known_at <= $as_of"
HELD_THEN = f"{AS_OF} AND $as_of < known_until"

Values = dict[str, Any]


def ask(
    files: AttachedFiles,
    asked: Sequence[PublishedFile],
    rows: str,
    values: Values,
    live: PublishedFile | None = None,
) -> Iterator[pa.Table]:
    """The rows of a query in which {file} is one of them, in their order; {live} in it is the file
    of live batches. MinuteStoreError where one of them is damaged."""
    for first in range(0, len(asked), AT_ONCE):
        group = [*asked[first : first + AT_ONCE], *([live] if live else [])]
        with files.reading(group) as names:
            each = [rows.replace("{file}", name) for name in (names[:-1] if live else names)]
            query = " UNION ALL ".join(each).replace("{live}", names[-1])
            try:
                yield files.read(query, values)
            except duckdb.Error as error:
                raise explain(files, dict(zip(names, group, strict=True)), error) from None


def explain(
    files: AttachedFiles, group: dict[str, PublishedFile], error: duckdb.Error
) -> MinuteStoreError:
    """Which of these files cannot be read, if one of them cannot."""
    said = str(error).splitlines()[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return MinuteStoreError(f"{files.folder} cannot be read within its memory ({said})")
    for attached, file in group.items():
        try:
            files.read(f"SELECT max(hash(t)) FROM {attached}.{find_table(file)} t", {})
        except duckdb.Error as damage:
            return tell_damaged(files.folder / file.name, damage)
    return MinuteStoreError(f"{files.folder} cannot be read ({said})")


def find_table(file: PublishedFile) -> str:
    kind = file.name.partition(".")[0]
    return {"index": "instruments", "changes": "changes"}.get(kind, "bars")


def bound(
    symbols: Sequence[str], start: datetime | None, end: datetime | None
) -> tuple[str, Values]:
    """SQL: what is true of the rows of these symbols in a range, and the values that it names."""
    values: Values = {"symbol": symbols[0]} if len(symbols) == 1 else {"symbols": list(symbols)}
    where = "symbol = $symbol" if len(symbols) == 1 else "list_contains($symbols, symbol)"
    if start is not None:
        where += " AND timestamp >= $start"
        values["start"] = start
    if end is not None:
        where += " AND timestamp < $end"
        values["end"] = end
    return where, values


# Of the rows of a month, those whose keys the file of live batches has not taken over; and of that
# file the rows of one interval.
NOT_TAKEN = """ AND NOT EXISTS (FROM {live}.bars l WHERE l.interval = $interval
    AND l.symbol = t.symbol AND l.timestamp = t.timestamp)"""
OF_INTERVAL = " AND interval = $interval"


def select_values(where: str, as_of: datetime | None) -> str:
    """SQL: the bars of one symbol, as they are or as they were known; the volume of each is in a
    unit of its own."""
    columns = f"{VALUES}, volume_decimals"
    if as_of is None:
        return f"SELECT {columns} FROM {{file}}.bars t WHERE {where}"
    return (
        f"SELECT {columns} FROM {{file}}.bars t WHERE {where}{AS_OF}"
        f" UNION ALL SELECT {columns} FROM {{file}}.revisions t WHERE {where}{HELD_THEN}"
    )


def put_in_order(rows: pa.Table) -> pa.Table:
    """The rows by timestamp. They are mostly: what a load appended to a month is behind it."""
    instants = rows["timestamp"].to_numpy()
    if (instants[1:] > instants[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(instants, kind="stable")))
