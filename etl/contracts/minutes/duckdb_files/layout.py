"""The tables of the files, and the months that an instant is in."""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl.contracts.minutes import CHANGES, NOTES, REVISIONS, SESSIONS, SPANS, STORED_BARS
from etl.contracts.minutes.instruments import ACCOUNTS

# Rows that are read at once. It divides DuckDB's own 122,880, so that each group is full. It has to
# be said at each attachment too: else a checkpoint merges the groups, and writes all of them anew.
ROW_GROUPS = "ROW_GROUP_SIZE 30720"
# DuckDB 1.2 and newer read it, as the daily file.
NEW = f"(STORAGE_VERSION 'v1.2.0', {ROW_GROUPS})"
# Tables of a month's file, and of the index.
OF_MONTH = {"bars": STORED_BARS, "revisions": REVISIONS, "notes": NOTES}
INTERVAL = pa.field("interval", pa.string())
OF_INDEX = {
    "instruments": ACCOUNTS,
    "sessions": SESSIONS,
    "spans": pa.schema([INTERVAL, *SPANS]),
}
# And of the file of live batches: its rows take the place of those of their key in the others.
OF_LIVE = {
    "bars": pa.schema([INTERVAL, *STORED_BARS]),
    "revisions": pa.schema([INTERVAL, *REVISIONS]),
    "changes": CHANGES,
    **OF_INDEX,
}
TYPES = {
    "string": "VARCHAR",
    "timestamp[us]": "TIMESTAMP",
    "double": "DOUBLE",
    "int64": "BIGINT",
    "int8": "TINYINT",
    "int32": "INTEGER",
    "uint64": "UBIGINT",
    "date32[day]": "DATE",
    "list<item: string>": "VARCHAR[]",
}


def connect(config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def quote(value: object) -> str:
    """A path, text or instant as an SQL literal, for the places where nothing can be bound."""
    return "'" + str(value).replace("'", "''") + "'"


def attach_new(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, tables: dict[str, pa.Schema]
) -> None:
    """A file with empty tables, to write to."""
    path.unlink(missing_ok=True)
    connection.execute(f"ATTACH {quote(path)} AS {name} {NEW}")
    for table, schema in tables.items():
        columns = ", ".join(f'"{each.name}" {TYPES[str(each.type)]}' for each in schema)
        connection.execute(f"CREATE TABLE {name}.{table} ({columns})")


def month_of(instant: datetime) -> str:
    return f"{instant:%Y-%m}"


def attach_own(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """A file that is there, to write to."""
    connection.execute(f"ATTACH {quote(path)} AS {name} ({ROW_GROUPS})")


def list_columns(schema: pa.Schema) -> str:
    return ", ".join(f'"{name}"' for name in schema.names)
