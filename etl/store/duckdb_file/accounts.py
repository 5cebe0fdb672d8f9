"""The outcome of every row: run records (data/runs/) as tables etl_runs and etl_run_symbols.

Per run and symbol: received = inserted + revised + unchanged + stale + superseded + rejected + out
of range, duplicates being among the rejected. Superseded is a row that comes together with a newer
answer of the same bar, or whose bar another vendor has that goes before. `make verify` recomputes
all of it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl.base import run_records, whole_files
from etl.contracts import runs

Record = dict[str, Any]


def add_digests(connection: duckdb.DuckDBPyConnection, symbols: dict[str, Record]) -> None:
    """Put the digest of each loaded symbol's stored bars into its record, as 16 hex digits."""
    rows = connection.execute("SELECT symbol, digest FROM next.instruments").fetchall()
    for symbol, digest in rows:
        if symbol in symbols:
            symbols[symbol]["digest"] = f"{digest:016x}"


def write_runs(connection: duckdb.DuckDBPyConnection, folder: Path, current: Record) -> None:
    """Copy the records that `next` has not seen, and the current one, into its two tables."""
    seen = {r[0] for r in connection.execute("SELECT run_id FROM next.etl_runs").fetchall()}
    for table in ("etl_runs", "etl_run_symbols"):
        connection.execute(f"DELETE FROM next.{table} WHERE run_id = ?", [current["run_id"]])
    ours = runs.describe_run(current["run_id"], current["stages"])
    found = [ours, *read_unseen(folder, seen | {current["run_id"]})]
    insert(connection, "etl_runs", [build_row(run) for run in found])
    rows = [{"run_id": r.summary["run_id"], **row} for r in found for row in r.symbols]
    insert(connection, "etl_run_symbols", rows)


def write_rollback(connection: duckdb.DuckDBPyConnection, record: Record) -> None:
    """A rollback as a run that received nothing, and left each symbol's bars as they are."""
    run = runs.describe_run(record["run_id"], record["stages"])
    insert(connection, "etl_runs", [build_row(run)])
    zeros = ", ".join(f"0 AS {name}" for name in runs.SYMBOL_COUNTS)
    connection.execute(
        f"""INSERT INTO next.etl_run_symbols BY NAME
        SELECT ? AS run_id, symbol, {zeros}, format('{{:016x}}', digest) AS digest
        FROM next.instruments ORDER BY symbol""",
        [record["run_id"]],
    )


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[Record]) -> None:
    if rows:
        connection.register("inserting", pa.Table.from_pylist(rows))
        connection.execute(f"INSERT INTO next.{table} BY NAME FROM inserting ORDER BY ALL")
        connection.unregister("inserting")


def read_unseen(folder: Path, seen: set[str]) -> Iterator[runs.Run]:
    """The records of other runs, oldest first. One that cannot be read is set aside."""
    for path in sorted(folder.glob("*.json")):
        if path.stem in seen:
            continue
        if record := run_records.read_record(path):
            yield runs.describe_run(path.stem, record["stages"])
        else:
            whole_files.set_aside(path, "the store has nothing of this run")


def build_row(run: runs.Run) -> Record:
    """A row of etl_runs."""
    stages = json.dumps(run.stages, default=str)
    return {**run.summary, "failures": json.dumps(run.failures), "stages": stages}
