"""Runs of the ETL, and the outcome of each symbol's rows in one."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from api.problems import Problem
from api.store.duckdb_file.rows import INSTANT, Cursor, Rows, read_rows
from api.store.run_records import RunRecord

NEVER = 2**62  # microseconds: later than every run
# The folders of an absolute path, not of a URL. A name of one may hold blanks, and not end in one.
FOLDERS = re.compile(r"""(?<![\w:/.])(?:~|[A-Za-z]:)?/(?:[^/:'"\n]*[^/:'"\s]/)+""")
RUN = f"""
SELECT run_id, {INSTANT.format("started_at")} AS started_at,
       {INSTANT.format("finished_at")} AS finished_at, status, source, calls, received, inserted,
       revised, unchanged, stale, superseded, rejected, out_of_range"""


def read_run_ids(cursor: Cursor) -> set[str]:
    """Of all runs that the store knows."""
    return {row[0] for row in cursor.execute("SELECT run_id FROM market.etl_runs").fetchall()}


def read_runs(
    cursor: Cursor | None, records: Mapping[str, RunRecord], after: str, limit: int
) -> Rows:
    """Runs, newest first, from the one behind `after` (a run_id) on.

    A run_id begins with its second; of two in one second `started_at` tells the newer. `records`
    are of runs that the store does not have, or not as they ended; without a cursor they are all.
    """
    place = (after[:16], find_start(cursor, records, after), after)
    others = [
        ((run_id[:16], record.started_us, run_id), record.summary)
        for run_id, record in records.items()
    ]
    found = [(key, row) for key, row in others if not after or key < place]
    if cursor is not None:
        found += read_stored(cursor, list(records), place, limit)
    return [row for _, row in sorted(found, key=lambda each: each[0], reverse=True)[:limit]]


def find_start(cursor: Cursor | None, records: Mapping[str, RunRecord], run_id: str) -> int:
    """When a run began, in microseconds since 1970; NEVER for one that is not known."""
    if run_id in records:
        return records[run_id].started_us
    if cursor is None or not run_id:
        return NEVER
    query = "SELECT epoch_us(started_at) FROM market.etl_runs WHERE run_id = ?"
    return next((int(row[0]) for row in cursor.execute(query, [run_id]).fetchall()), NEVER)


def read_stored(
    cursor: Cursor, without: list[str], place: tuple[str, int, str], limit: int
) -> list[tuple[tuple[str, int, str], dict[str, Any]]]:
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


def read_run(
    cursor: Cursor | None, records: Mapping[str, RunRecord], run_id: str
) -> dict[str, Any]:
    """One run with its stages and failures, or a 404 Problem."""
    if run_id in records:
        record = records[run_id]
        return {**record.summary, **read_told(record.failures, record.stages)}
    query = f"{RUN}, failures, stages FROM market.etl_runs WHERE run_id = ?"
    rows = [] if cursor is None else read_rows(cursor, query, [run_id])
    if not rows:
        raise Problem(404, f"Unknown run {run_id}: /etl/runs lists them all.")
    return {**rows[0], **read_told(rows[0]["failures"], rows[0]["stages"])}


def read_told(failures: str, stages: str) -> dict[str, Any]:
    told = {"failures": failures, "stages": stages}
    return {name: hide_folders(orjson.loads(text)) for name, text in told.items()}


def hide_folders(value: Any) -> Any:
    """Files by their names alone: no answer tells where they lie."""
    if isinstance(value, dict):
        return {hide_folders(name): hide_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [hide_folders(each) for each in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


def read_run_symbols(
    cursor: Cursor | None, records: Mapping[str, RunRecord], run_id: str, after: int, limit: int
) -> Rows:
    """Outcomes by symbol of a run, from the row behind `after` on, at most `limit`."""
    if cursor is None or run_id in records:
        return records[run_id].symbols[after : after + limit]
    return read_rows(
        cursor,
        "SELECT * EXCLUDE (run_id) FROM market.etl_run_symbols"
        " WHERE run_id = ? ORDER BY symbol LIMIT ? OFFSET ?",
        [run_id, limit, after],
    )
