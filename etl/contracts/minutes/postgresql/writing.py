"""What a load writes: rows by COPY, and what has to be known of each symbol beside them."""

from collections.abc import Sequence

import pyarrow as pa

from etl.contracts.minutes.postgresql.columns import quote
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.copying import write_rows
from etl.contracts.minutes.postgresql.tables import run


def copy_rows(connection: Connection, table: str, rows: pa.Table) -> None:
    """Rows to a table that has none of their keys. Columns by name."""
    names = ", ".join(map(quote, rows.column_names))
    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT binary)"
    with connection.cursor().copy(statement.encode()) as copy:
        for piece in write_rows(rows):
            copy.write(piece)


def stage(connection: Connection, target: str, rows: pa.Table) -> None:
    """Rows in the table `staged` of this transaction, with the columns of the target."""
    names = ", ".join(map(quote, rows.column_names))
    run(connection, "DROP TABLE IF EXISTS pg_temp.staged")
    run(
        connection,
        f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0",
    )
    copy_rows(connection, "pg_temp.staged", rows)


def put_rows(connection: Connection, target: str, rows: pa.Table, key: Sequence[str]) -> None:
    """Each row in the place of the one of its key."""
    if not rows.num_rows:
        return
    stage(connection, target, rows)
    names = ", ".join(map(quote, rows.column_names))
    changed = [quote(name) for name in rows.column_names if name not in key]
    values = ", ".join(f"{name} = excluded.{name}" for name in changed)
    run(
        connection,
        f"""INSERT INTO {target} ({names}) SELECT {names} FROM pg_temp.staged
        ON CONFLICT ({", ".join(key)}) DO UPDATE SET {values}""",
    )


def remove_rows(connection: Connection, target: str, keys: pa.Table) -> None:
    if not keys.num_rows:
        return
    stage(connection, target, keys)
    same = " AND ".join(f"t.{name} = s.{name}" for name in map(quote, keys.column_names))
    run(connection, f"DELETE FROM {target} t USING pg_temp.staged s WHERE {same}")
