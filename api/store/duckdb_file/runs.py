"""Runs of the ETL that are in the file, and the outcome of each symbol's rows in one."""

from typing import Any

from api.faults import UnknownRun
from api.store import Rows, RunPlace
from api.store.duckdb_file.rows import INSTANT, Cursor, read_rows

RUN = f"""
SELECT run_id, {INSTANT.format("started_at")} AS started_at,
       {INSTANT.format("finished_at")} AS finished_at, status, source, calls, received, inserted,
       revised, unchanged, stale, superseded, rejected, out_of_range"""


def read_run_ids(cursor: Cursor) -> set[str]:
    """Of all runs that the store knows."""
    return {row[0] for row in cursor.execute("SELECT run_id FROM market.etl_runs").fetchall()}


def find_run_start(cursor: Cursor, run_id: str) -> int | None:
    """When a run began, in microseconds since 1970."""
    query = "SELECT epoch_us(started_at) FROM market.etl_runs WHERE run_id = ?"
    return next((int(row[0]) for row in cursor.execute(query, [run_id]).fetchall()), None)


def read_stored_runs(
    cursor: Cursor, without: list[str], place: RunPlace, limit: int
) -> list[tuple[RunPlace, dict[str, Any]]]:
    """At most `limit` runs of the store behind a place, each with its own place in the order."""
    second, start, after = place
    rows = read_rows(
        cursor,
        f"""{RUN}, epoch_us(etl_runs.started_at) AS start FROM market.etl_runs
        WHERE run_id NOT IN (SELECT unnest($without::VARCHAR[])) AND ($after = ''
            OR (left(run_id, 16), epoch_us(etl_runs.started_at), run_id)
                < ($second, $start, $after))
        ORDER BY left(run_id, 16) DESC, start DESC, run_id DESC LIMIT $limit""",
        {"without": without, "second": second, "start": start, "after": after, "limit": limit},
    )
    return [((row["run_id"][:16], row.pop("start"), row["run_id"]), row) for row in rows]


def read_stored_run(cursor: Cursor, run_id: str) -> dict[str, Any]:
    """One run, its stages and failures as JSON text; UnknownRun."""
    query = f"{RUN}, failures, stages FROM market.etl_runs WHERE run_id = ?"
    rows = read_rows(cursor, query, [run_id])
    if not rows:
        raise UnknownRun(run_id)
    return rows[0]


def read_stored_symbols(cursor: Cursor, run_id: str, after: int, limit: int) -> Rows:
    """Outcomes by symbol of a run, from the row behind `after` on, at most `limit`."""
    return read_rows(
        cursor,
        "SELECT * EXCLUDE (run_id) FROM market.etl_run_symbols"
        " WHERE run_id = ? ORDER BY symbol LIMIT ? OFFSET ?",
        [run_id, limit, after],
    )
