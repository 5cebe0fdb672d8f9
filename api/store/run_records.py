"""The records that each run of the ETL keeps in data/runs/, as the rows that /etl/runs gives.

The store has the runs up to its own publication. A run that failed, was killed or is under way
published nothing: its record is all there is of it.
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

import orjson

from etl.contracts import runs

Rows = list[dict[str, Any]]

FILE_NAME = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{6})\.json", re.ASCII)  # as the ETL makes them
KEPT = 256  # records that were read already


@dataclass(frozen=True)
class RunRecord:
    """A run as the store would have it; `failures` and `stages` are JSON text.

    started_us: microseconds since 1970, which tell the newer of two runs of one second.
    """

    summary: dict[str, Any]
    started_us: int
    failures: str
    stages: str
    symbols: Rows


def describe_folder(folder: Path) -> str:
    """A text that changes with each record that is written: each is renamed into the folder."""
    try:
        newest = max(list_run_ids(folder), default="")
        found = [folder.stat(), *([(folder / f"{newest}.json").stat()] if newest else [])]
    except OSError:
        return "none"
    return " ".join(f"{each.st_ino} {each.st_mtime_ns} {each.st_size}" for each in found)


def list_run_ids(folder: Path) -> list[str]:
    """The ids of all records; none where there is no folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 (names alone: half the cost of Path.iterdir)
    except OSError:
        return []
    return [match[1] for name in names if (match := FILE_NAME.fullmatch(name))]


def read_unstored(folder: Path, stored: Collection[str]) -> dict[str, RunRecord]:
    """Records by run_id that tell more than the store, which has the runs `stored`.

    They are those of other runs, and the newest stored one, if a stage of it has failed since.
    """
    ids = list_run_ids(folder)
    last = max(stored, default="")
    found = {}
    for run_id in [each for each in ids if each == last or each not in stored]:
        record = read_record(folder, run_id, is_last=run_id == max(ids))
        if record and (run_id != last or record.summary["status"] == "failed"):
            found[run_id] = record
    return found


def read_record(folder: Path, run_id: str, is_last: bool) -> RunRecord | None:
    """One record; None where there is none that can be read."""
    path = folder / f"{run_id}.json"
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode):  # a pipe would be waited for without end
            return None
        return parse_record(path, is_last, (found.st_ino, found.st_mtime_ns, found.st_size))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(KEPT)
def parse_record(path: Path, is_last: bool, identity: tuple[int, int, int]) -> RunRecord:
    """`identity` is that of the file, so that one that was replaced is read again."""
    run = runs.describe_run(path.stem, orjson.loads(path.read_bytes())["stages"], is_last)
    started, ended = run.summary["started_at"], run.summary["finished_at"]
    summary = {
        **run.summary,
        "started_at": cut_seconds(started),
        "finished_at": cut_seconds(ended) if ended and run.summary["status"] != "running" else None,
    }
    return RunRecord(
        summary,
        int(datetime.fromisoformat(started).timestamp() * 1e6),
        orjson.dumps(run.failures).decode(),
        orjson.dumps(run.stages).decode(),
        run.symbols,
    )


def cut_seconds(instant: str) -> str:
    """2012-01-31T20:00:00.123Z as 2012-01-31T20:00:00Z."""
    return f"{instant[:19]}Z"
