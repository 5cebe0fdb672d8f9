"""What all questions are asked with: the cursor, rows as dicts, days and instants as text."""

from typing import Any

import duckdb

Cursor = duckdb.DuckDBPyConnection
Rows = list[dict[str, Any]]
DAY = "strftime({}, '%Y-%m-%d')"
INSTANT = "strftime({}, '%Y-%m-%dT%H:%M:%SZ')"
# To the microsecond, where there are any: as `as_of` it means the very instant.
EXACT_INSTANT = r"regexp_replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%f'), '\.?0+$', '') || 'Z'"


def read_rows(cursor: Cursor, query: str, parameters: Any) -> Rows:
    """The whole result, one dict a row."""
    cursor.execute(query, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
