"""DuckDB in memory, handed from one who asks to the next.

An instance takes 15 ms to be made and ended, and its first questions as long again, while it learns
its functions. So one that was used without an error is kept, and given to the next as if it were
new: nothing is in it, no file is open, and its settings are as asked.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

SETTINGS = ("memory_limit", "threads", "temp_directory")
OWN = "own"  # the database that is written to where none is named

idle: list[duckdb.DuckDBPyConnection] = []
of_parent: list[duckdb.DuckDBPyConnection] = []  # whose threads a forked process has not got


def leave_to_parent() -> None:
    of_parent.extend(idle)
    idle.clear()


os.register_at_fork(after_in_child=leave_to_parent)


@contextmanager
def borrow(settings: Mapping[str, str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an instance that nobody else has. settings: some of SETTINGS; the others are
    DuckDB's own."""
    instance = take(settings or {})
    try:
        with instance.cursor() as connection:
            yield connection.execute(f"USE {OWN}")
        clear(instance)
    except BaseException:
        instance.close()
        raise
    if idle or has_spilled(instance):
        instance.close()
    else:
        idle.append(instance)


def take(settings: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
    """An instance that is used by no other; from here on it is not idle."""
    try:
        instance = idle.pop()
    except IndexError:
        instance = duckdb.connect(":memory:")
    for name in SETTINGS:
        instance.execute(f"RESET GLOBAL {name}")
        if name in settings:
            instance.execute(f"SET GLOBAL {name} = ?", [settings[name]])
    instance.execute(f"ATTACH ':memory:' AS {OWN}")
    return instance


def clear(instance: duckdb.DuckDBPyConnection) -> None:
    """Close its files, and drop what was made in it."""
    attached = instance.execute(
        "SELECT database_name FROM duckdb_databases()"
        " WHERE NOT internal AND database_name <> current_database()"
    ).fetchall()
    for (name,) in attached:
        instance.execute(f'DETACH "{name}"')


def has_spilled(instance: duckdb.DuckDBPyConnection) -> bool:
    """Whether its folder for what does not fit into memory is there: it goes with the instance."""
    rows = instance.execute("SELECT current_setting('temp_directory')").fetchall()
    return Path(rows[0][0]).exists()
