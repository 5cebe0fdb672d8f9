"""The files between the stages: proven, before they are read, to be as the stage before left them.

Each stage records the SHA-256 of every file that it wrote, once all of them have their names. The
rule it keeps: a stage reads the files of the data folder only as recorded. So neither a damaged
disk nor a run that was killed between two files becomes a wrong bar.
"""

import logging
from pathlib import Path
from typing import Any

from etl.base import run_records, whole_files
from etl.base.errors import InputError
from etl.settings import READ_SOURCES, Settings

log = logging.getLogger("etl")

Entry = dict[str, Any]


def record_files(entry: Entry, *paths: Path) -> None:
    """Write down what a stage leaves: the digest and the size of each file."""
    entry["files"] = {path.name: whole_files.compute_digest(path) for path in paths}
    entry["sizes"] = {path.name: path.stat().st_size for path in paths}


def check_files(settings: Settings, path: Path, name: str) -> None:
    """InputError unless `path`, and all that stage `name` wrote with it, is as it was recorded.

    A file of another make, or from elsewhere, is taken as it is: nothing is known of it.
    """
    if path.parent.resolve() != settings.data_dir.resolve() or not path.is_file():
        return
    run_id = run_records.read_run_id(path)
    entry = read_entry(settings.runs_dir / f"{run_id}.json", name) if run_id else {}
    entry = entry or find_entry(settings.runs_dir, path, name)
    if not entry:
        if run_id:
            log.warning("%s is of run %s, which has no record: it cannot be proven", path, run_id)
        return
    files: dict[str, str] = entry.get("files") or {}
    if not files and entry.get("status") != "ok":
        raise InputError(f"{path} is of a run whose {name} did not end: {tell_remedy(name, entry)}")
    for file_name, digest in files.items():
        check_digest(settings.data_dir / file_name, digest, tell_remedy(name, entry))


def check_digest(path: Path, digest: str, remedy: str) -> None:
    if not path.exists():
        raise InputError(f"{path} is gone: {remedy}")
    if whole_files.compute_digest(path) != digest:
        raise InputError(
            f"{path} is not as its run left it (damaged, changed by another program, or of a run"
            f" that was killed): {remedy}"
        )


def tell_remedy(name: str, entry: Entry) -> str:
    """How to have the files of a stage again. Answers that were paid for are in the archive."""
    if entry.get("source", READ_SOURCES[0]) not in READ_SOURCES:
        return "run `make extract ARGS=--replay`, which makes no call, then `make transform`"
    return f"run `make {name}` again"


def find_entry(runs_dir: Path, path: Path, name: str) -> Entry:
    """What the newest record says that names `path`, if it is of that size: a file whose own
    run_id cannot be read, or is no longer what it was, is recognised so. Empty: none of ours."""
    for record in run_records.list_records(runs_dir):
        entry = read_entry(record, name)
        if path.name in (entry.get("sizes") or {}):
            return entry if entry["sizes"][path.name] == path.stat().st_size else {}
    return {}


def read_entry(path: Path, name: str) -> Entry:
    """What a run's record says of one stage; empty where it says nothing, or cannot be read."""
    record = run_records.read_record(path) or {"stages": {}}
    entry: Entry = record["stages"].get(name, {})
    return entry
