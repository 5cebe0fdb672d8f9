"""The record of each run, data/runs/<run_id>.json: who writes it, and who reads it.

What its counts mean is said in etl/contracts/runs.py.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl import log_lines
from etl.base.errors import EtlError
from etl.base.whole_files import read_bytes, write_whole
from etl.credentials.redaction import strike
from etl.settings import Settings, SettingsError

COUNTED = ("transform", "load")  # the stages that count the rows of each symbol
TABLES = ("failures", "files", "sizes", "reasons")
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass
class Run:
    """One run of one or more stages; kept as data/runs/<run_id>.json, whatever becomes of it."""

    run_id: str
    path: Path
    record: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def record_stage(self, name: str) -> Iterator[dict[str, Any]]:
        """The record of one stage, to be filled with its counts; saved at start and at end."""
        entry: dict[str, Any] = {"status": "running", "started_at": format_instant()}
        self.record.setdefault("run_id", self.run_id)
        self.record.setdefault("stages", {})[name] = entry
        self.save()
        try:
            yield entry
            entry["status"] = "ok"
        except BaseException as error:
            entry["status"] = "failed"
            entry.pop("symbols", None)  # counted, but not what became of the rows
            is_told = isinstance(error, EtlError | SettingsError)
            entry["error"] = str(error) if is_told else type(error).__name__
            vars(error).update(stage=name, run_id=self.run_id)  # for who is told of it
            raise
        finally:
            entry["finished_at"] = format_instant()
            self.save()

    def as_finished(self) -> dict[str, Any]:
        """The record as it will be when the running stage ends well: what a publication stores."""
        ends = {"status": "ok", "finished_at": format_instant()}
        stages = {
            name: {**entry, **ends} if entry["status"] == "running" else entry
            for name, entry in self.record["stages"].items()
        }
        return {**self.record, "stages": stages}

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(self.path) as next_path:
            text = json.dumps(self.record, indent=1, default=str)
            next_path.write_text(strike(text) + "\n")


def format_instant(timespec: str = "milliseconds") -> str:
    """Now in UTC, as 2012-01-31T20:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def open_run(settings: Settings, data_path: Path | None = None) -> Run:
    """The run that wrote `data_path` (its later stages add to its record), else a new one."""
    run_id = read_run_id(data_path) if data_path else None
    run_id = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    path = settings.runs_dir / f"{run_id}.json"
    log_lines.run["run_id"] = run_id
    return Run(run_id, path, read_record(path) or {})


def read_record(path: Path) -> dict[str, Any] | None:
    """A run's record; None where there is none, or none that can be read."""
    try:
        record = json.loads(read_bytes(path))
        check_form(record, path.stem)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return dict(record)


def check_form(record: dict[str, Any], run_id: str) -> None:
    """ValueError, KeyError, TypeError or AttributeError unless it has what its readers rely on."""
    if record["run_id"] != run_id:
        raise ValueError(f"it is of the run {record['run_id']}")
    if not record["stages"]:
        raise ValueError("it is of no stage")
    for name, entry in record["stages"].items():
        datetime.fromisoformat(entry["started_at"])
        datetime.fromisoformat(entry.get("finished_at") or entry["started_at"])
        symbols = entry.get("symbols", {}) if name in COUNTED else {}
        check_types(dict, symbols, *(entry.get(table, {}) for table in TABLES))
        check_types(str, entry["status"])
        for counts in ({"calls": entry.get("calls", 0)}, *symbols.values()):
            check_types(int, *(count for what, count in counts.items() if what != "digest"))
            check_types(str, counts.get("digest") or "")


def check_types(kind: type, *values: Any) -> None:
    """TypeError unless all are of that type; a whole number has 64 bits."""
    for value in values:
        is_huge = isinstance(value, int) and abs(value) >= 2**63
        if type(value) is not kind or is_huge:
            raise TypeError(f"{value!r} is no {kind.__name__}")


def list_records(folder: Path) -> list[Path]:
    """The records, the last written first."""
    return sorted(folder.glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name), reverse=True)


def read_run_id(path: Path) -> str | None:
    """The run_id in a Parquet file's own metadata; None where there is none of our form.

    A record is kept under this name, so what a foreign file says is no part of a path.
    """
    if not path.is_file():
        return None
    try:
        text = (pq.read_metadata(path).metadata or {}).get(b"run_id", b"").decode()
    except (OSError, ValueError, MemoryError, pa.ArrowException):
        return None
    return text if RUN_ID.fullmatch(text) else None
