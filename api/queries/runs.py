"""Runs of the ETL, and the fate of each symbol's rows in one."""

import re
from typing import Any

import orjson

from api.errors import Problem
from api.queries.rows import INSTANT, Cursor, Rows, read_rows

FOLDERS = re.compile(r"""(?<![\w:/.])/(?:[^/\s:'"]+/)+""")  # of an absolute path, not of a URL
RUN = f"""
SELECT run_id, {INSTANT.format("started_at")} AS started_at,
       {INSTANT.format("finished_at")} AS finished_at, status, source, calls, received, inserted,
       revised, unchanged, stale, rejected, out_of_range FROM market.etl_runs"""


def read_runs(cursor: Cursor, after: str, limit: int) -> Rows:
    """Runs, newest first, from the one behind `after` (a run_id) on.

    A run_id begins with its second; of two in one second `started_at` tells the newer.
    """
    return read_rows(
        cursor,
        f"""{RUN} WHERE $after = '' OR (left(run_id, 16), etl_runs.started_at, run_id) < (
            left($after, 16), (SELECT coalesce(max(started_at), 'infinity') FROM market.etl_runs
                               WHERE run_id = $after), $after)
        ORDER BY left(run_id, 16) DESC, etl_runs.started_at DESC, run_id DESC LIMIT $limit""",
        {"after": after, "limit": limit},
    )


def read_run(cursor: Cursor, run_id: str) -> dict[str, Any]:
    """One run with its stages and failures, or a 404 Problem."""
    found = read_rows(cursor, f"{RUN} WHERE run_id = ?", [run_id])
    if not found:
        raise Problem(404, f"Unknown run {run_id}: /etl/runs lists them all.")
    cursor.execute("SELECT failures, stages FROM market.etl_runs WHERE run_id = ?", [run_id])
    failures, stages = cursor.fetchall()[0]
    told = {"failures": failures, "stages": stages}
    return {**found[0], **{name: orjson.loads(hide_folders(told[name])) for name in told}}


def hide_folders(text: str) -> str:
    """Files by their names alone: no answer tells where they lie."""
    return FOLDERS.sub("", text)


def read_run_symbols(cursor: Cursor, run_id: str, after: int, limit: int) -> Rows:
    """The fate of each symbol's rows in a run, from the row behind `after` on, at most `limit`."""
    return read_rows(
        cursor,
        "SELECT * EXCLUDE (run_id) FROM market.etl_run_symbols"
        " WHERE run_id = ? ORDER BY symbol LIMIT ? OFFSET ?",
        [run_id, limit, after],
    )
