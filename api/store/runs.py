"""Runs of the ETL: those that the store has, and the records of those that it has not.

Without a reader there is no store yet, and the records are all there is.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from api.faults import UnknownRun
from api.store import Reader, Rows
from api.store.run_records import RunRecord

NEVER = 2**62  # microseconds: later than every run
# The folders of an absolute path, not of a URL. A name of one may hold blanks, and not end in one.
FOLDERS = re.compile(r"""(?<![\w:/.])(?:~|[A-Za-z]:)?/(?:[^/:'"\n]*[^/:'"\s]/)+""")


def read_runs(
    reader: Reader | None, records: Mapping[str, RunRecord], after: str, limit: int
) -> Rows:
    """Runs, newest first, from the one behind `after` (a run_id) on.

    A run_id begins with its second; of two in one second `started_at` tells the newer. `records`
    are of runs that the store does not have, or not as they ended.
    """
    place = (after[:16], find_start(reader, records, after), after)
    others = [
        ((run_id[:16], record.started_us, run_id), record.summary)
        for run_id, record in records.items()
    ]
    found = [(key, row) for key, row in others if not after or key < place]
    if reader is not None:
        found += reader.read_stored_runs(list(records), place, limit)
    return [row for _, row in sorted(found, key=lambda each: each[0], reverse=True)[:limit]]


def find_start(reader: Reader | None, records: Mapping[str, RunRecord], run_id: str) -> int:
    """When a run began, in microseconds since 1970; NEVER for one that is not known."""
    if run_id in records:
        return records[run_id].started_us
    found = reader.find_run_start(run_id) if reader is not None and run_id else None
    return NEVER if found is None else found


def read_run(
    reader: Reader | None, records: Mapping[str, RunRecord], run_id: str
) -> dict[str, Any]:
    """One run with its stages and failures; UnknownRun."""
    if run_id in records:
        record = records[run_id]
        return {**record.summary, **read_told(record.failures, record.stages)}
    if reader is None:
        raise UnknownRun(run_id)
    run = reader.read_stored_run(run_id)
    return {**run, **read_told(run["failures"], run["stages"])}


def read_run_symbols(
    reader: Reader | None, records: Mapping[str, RunRecord], run_id: str, after: int, limit: int
) -> Rows:
    """Outcomes by symbol of a run, from the row behind `after` on, at most `limit`."""
    if reader is None or run_id in records:
        return records[run_id].symbols[after : after + limit]
    return reader.read_stored_symbols(run_id, after, limit)


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
