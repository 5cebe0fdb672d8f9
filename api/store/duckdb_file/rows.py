"""What all questions are asked with: the cursor, rows as dicts, days and instants as text."""

from typing import Any

import duckdb

from api.store import Rows

DAY = "strftime({}, '%Y-%m-%d')"
INSTANT = "strftime({}, '%Y-%m-%dT%H:%M:%SZ')"
# To the microsecond, where there are any: as `as_of` it means the very instant.
EXACT_INSTANT = r"regexp_replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%f'), '\.?0+$', '') || 'Z'"


class Cursor:
    """A cursor of DuckDB's: what is asked with `execute` is fetched before the next question."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor

    def execute(self, query: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        return self.cursor.execute(query, parameters)


def read_rows(cursor: Cursor, query: str, parameters: Any) -> Rows:
    """The whole result, one dict a row."""
    found = cursor.execute(query, parameters)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
