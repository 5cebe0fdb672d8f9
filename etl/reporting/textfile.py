"""What the ETL tells node_exporter's textfile collector, after each command (METRICS_TEXTFILE).

The newest runs by their records, the published store, and how this command ended: so a run that
failed before it had a record is told too.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from etl.base.clock import Clock
from etl.base.parquet_sql import describe
from etl.base.run_records import list_records, read_record
from etl.base.whole_files import write_whole
from etl.contracts import runs
from etl.contracts.run_metrics import (
    HELP,
    OF_MINUTES,
    Record,
    Sample,
    list_command_samples,
    list_run_samples,
    list_store_samples,
)
from etl.settings import Settings
from etl.store.duckdb_file import published

log = logging.getLogger("etl")

NAME = "market_data_etl.prom"
MOST_RECORDS = 200  # to look through for a run that ended well
QUESTIONS = {
    "gaps": "SELECT cause, count(*) FROM known_gaps GROUP BY 1",
    "notes": "SELECT reason, count(*) FROM known_notes GROUP BY 1",
    "newest": "SELECT coalesce(exchange, ''), max(last) FROM known_instruments GROUP BY 1",
}


def write_textfile(settings: Settings, command: str, code: int) -> None:
    """Tell how a command ended with exit code `code`; what hinders it costs a warning alone."""
    path = settings.metrics_textfile
    if path is None:
        return
    try:
        path = path / NAME if path.is_dir() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = show(list_samples(settings, command, code, Clock().now()))
        with write_whole(path, is_shared=True) as next_path:
            next_path.write_text(text)
    except (OSError, duckdb.Error, ValueError) as error:
        log.warning("METRICS_TEXTFILE was not written: %s", describe(error))


def list_samples(settings: Settings, command: str, code: int, now: datetime) -> Iterator[Sample]:
    yield from list_command_samples(command, code, now)
    for sample in list_run_samples(read_records(settings.runs_dir), now):
        is_ours = sample.labels == (OF_MINUTES if command == runs.MINUTES else {})
        is_state = sample.name == "mds_etl_last_run_success" and is_ours
        yield Sample(sample.name, 0, sample.labels) if is_state and code else sample
    if settings.database_path.is_file():
        yield from list_store_samples(count_store(settings.database_path))


def read_records(folder: Path) -> Iterator[Record]:
    """The last written first; what cannot be read is passed over."""
    for path in list_records(folder)[:MOST_RECORDS]:
        record = read_record(path)
        if record is not None:
            yield path.stem, record["stages"]


def count_store(path: Path) -> dict[str, dict[str, Any]]:
    with published.look_at(path, " ".join(QUESTIONS.values())) as connection:
        return {name: dict(connection.execute(q).fetchall()) for name, q in QUESTIONS.items()}


def show(samples: Iterable[Sample]) -> str:
    """Prometheus' text format: each name with its samples, also where it has none now."""
    by_name: dict[str, list[Sample]] = {name: [] for name in HELP}
    for sample in samples:
        by_name[sample.name].append(sample)
    lines = []
    for name, some in by_name.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{show_labels(sample)} {float(sample.value)!r}" for sample in some]
    return "\n".join(lines) + "\n"


def show_labels(sample: Sample) -> str:
    pairs = (f'{name}="{escape(value)}"' for name, value in sample.labels.items())
    return f"{{{','.join(pairs)}}}" if sample.labels else ""


def escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
