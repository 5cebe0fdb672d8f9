"""The records that each run of the ETL keeps in data/runs/, as the rows that /etl/runs gives.

The store has the runs up to its own publication. A run that failed, was killed or is under way
published nothing: its record is all there is of it.
"""

import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

Rows = list[dict[str, Any]]

FILE_NAME = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{6})\.json", re.ASCII)  # as the ETL makes them
OUTCOMES = ("inserted", "revised", "unchanged", "stale", "superseded", "rejected", "out_of_range")
COUNTS = ("received", *OUTCOMES)
SYMBOL_COUNTS = (*COUNTS[:7], "duplicates", "out_of_range")
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
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without end
            return None
        return parse_record(path, is_last, (found.st_ino, found.st_mtime_ns, found.st_size))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(KEPT)
def parse_record(path: Path, is_last: bool, identity: tuple[int, int, int]) -> RunRecord:
    """`identity` is that of the file, so that one that was replaced is read again."""
    stages: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())["stages"]
    extract = stages.get("extract", {})
    symbols = list_symbols(stages)
    ends = [stage["finished_at"] for stage in stages.values() if stage.get("finished_at")]
    started = min(stage["started_at"] for stage in stages.values())
    status = derive_status([stage["status"] for stage in stages.values()], is_last)
    summary = {
        "run_id": path.stem,
        "started_at": cut_seconds(started),
        "finished_at": cut_seconds(max(ends)) if ends and status != "running" else None,
        "status": status,
        "source": extract.get("source"),
        "calls": extract.get("calls", 0),
        **{name: sum(row[name] for row in symbols) for name in COUNTS},
    }
    short = {name: drop_symbols(stage) for name, stage in stages.items()}
    failures = orjson.dumps(
        {**extract.get("failures", {}), **stages.get("load", {}).get("failures", {})}
    ).decode()
    started_us = int(datetime.fromisoformat(started).timestamp() * 1e6)
    return RunRecord(summary, started_us, failures, orjson.dumps(short).decode(), symbols)


def derive_status(states: list[str], is_last: bool) -> str:
    """Runs follow one another: a stage that never ended, in another than the last, was killed."""
    if "failed" in states:
        return "failed"
    if "running" in states:
        return "running" if is_last else "killed"
    return "ok"


def list_symbols(stages: dict[str, dict[str, Any]]) -> Rows:
    """What each symbol received, and what became of it as far as the run came."""
    cleaned = stages.get("transform", {}).get("symbols", {})
    loaded = stages.get("load", {}).get("symbols", {})
    return [
        describe_symbol(symbol, {**cleaned.get(symbol, {}), **loaded.get(symbol, {})})
        for symbol in sorted({*cleaned, *loaded})
    ]


def describe_symbol(symbol: str, counts: dict[str, Any]) -> dict[str, Any]:
    row = {name: counts.get(name, 0) for name in SYMBOL_COUNTS}
    row["received"] = counts.get("received", sum(row[name] for name in OUTCOMES))
    return {"symbol": symbol, **row, "digest": counts.get("digest")}


def drop_symbols(stage: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stage.items() if name != "symbols"}


def cut_seconds(instant: str) -> str:
    """2012-01-31T20:00:00.123Z as 2012-01-31T20:00:00Z."""
    return f"{instant[:19]}Z"
