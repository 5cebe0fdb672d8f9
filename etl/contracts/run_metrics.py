"""The records of runs (data/runs/) as numbers for Prometheus, given by the service and the ETL.

Names and labels are those that the rules under deploy/prometheus/ ask for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from etl.contracts import runs

Stages = dict[str, dict[str, Any]]
Record = tuple[str, Stages]  # run_id, its stages

LOOKED_THROUGH = 10  # records, for the newest run over bars of minutes
OF_MINUTES = {"bars": runs.MINUTES}
HELP = {
    "mds_etl_command_success": "Whether the last call of this command ended well",
    "mds_etl_command_timestamp_seconds": "When it ended",
    "mds_etl_last_run_success": "Whether the newest run that ended did so well",
    "mds_etl_last_run_timestamp_seconds": "When it ended",
    "mds_etl_last_run_duration_seconds": "How long it took",
    "mds_etl_last_success_timestamp_seconds": "When the newest run ended that ended well",
    "mds_etl_stage_success": "Whether this stage of the newest run ended well",
    "mds_etl_rows": "Rows of the newest run by what became of them",
    "mds_etl_failures": "What did not come in the newest run, by kind",
    "mds_etl_calls": "Calls to the vendor in the newest run",
    "mds_etl_calls_left": "Calls that may still be made today",
    "mds_etl_calls_per_day": "Calls that may be made in a day",
    "mds_etl_calls_repeated": "Calls of the newest run whose answer was lost with its worker",
    "mds_queue_in_flight": "Most calls that the newest run had handed to workers at once",
    "mds_queue_length": "Most calls of the newest run that no worker had taken yet",
    "mds_data_due_timestamp_seconds": "When the session after the newest bar closes",
    "mds_store_gaps": "Sessions without a bar, by cause",
    "mds_store_notes": "Notes on bars, by reason",
    "mds_newest_bar_timestamp_seconds": "Midnight (UTC) of the newest bar's session",
}


@dataclass(frozen=True)
class Sample:
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def list_command_samples(command: str, code: int, now: datetime) -> Iterator[Sample]:
    """Of a command of the ETL that ended now with this exit code."""
    yield Sample("mds_etl_command_success", code == 0, {"command": command})
    yield Sample("mds_etl_command_timestamp_seconds", now.timestamp(), {"command": command})


def list_run_samples(records: Iterable[Record], now: datetime) -> Iterator[Sample]:
    """Of records, the last written first: nothing of runs that are under way.

    Of runs over bars of minutes only whether the newest ended well: days that fail, or are not
    loaded, are not hidden by minutes that are.
    """
    last: runs.Run | None = None
    has_minutes = is_told = False
    for number, (run_id, stages) in enumerate(records):
        if is_told and (has_minutes or number >= LOOKED_THROUGH):
            return
        run = runs.describe_run(run_id, stages, is_last=number == 0)
        if run.summary["status"] == "running":
            continue
        if runs.is_of_minutes(stages):
            if not has_minutes:
                has_minutes = True
                is_ok = run.summary["status"] == "ok"
                yield Sample("mds_etl_last_run_success", is_ok, OF_MINUTES)
            continue
        if last is None:
            last = run
            yield from describe_last(run, now)
        if run.summary["status"] == "ok" and not is_told:
            ended = to_seconds(run.summary["finished_at"])
            yield Sample("mds_etl_last_success_timestamp_seconds", ended)
            is_told = True


def describe_last(run: runs.Run, now: datetime) -> Iterator[Sample]:
    summary = run.summary
    began = to_seconds(summary["started_at"])
    ended = to_seconds(summary["finished_at"] or summary["started_at"])
    yield Sample("mds_etl_last_run_success", summary["status"] == "ok")
    yield Sample("mds_etl_last_run_timestamp_seconds", ended)
    yield Sample("mds_etl_last_run_duration_seconds", ended - began)
    yield Sample("mds_etl_calls", summary["calls"])
    for stage, entry in run.stages.items():
        yield Sample("mds_etl_stage_success", entry["status"] == "ok", {"stage": stage})
    for outcome in runs.OUTCOMES:
        yield Sample("mds_etl_rows", summary[outcome], {"outcome": outcome})
    for kind, count in count_kinds(run.failures).items():
        yield Sample("mds_etl_failures", count, {"kind": kind})
    yield from describe_budget(run.stages.get("extract", {}), now)
    yield from describe_queue(run.stages.get("extract", {}))
    for exchange, due in run.stages.get("load", {}).get("data_due", {}).items():
        yield Sample("mds_data_due_timestamp_seconds", to_seconds(due), {"exchange": exchange})


def count_kinds(failures: Mapping[str, str]) -> dict[str, int]:
    """Failures are kept as `kind: what was said`."""
    kinds: dict[str, int] = {}
    for text in failures.values():
        kind = text.partition(":")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def describe_budget(extract: Mapping[str, Any], now: datetime) -> Iterator[Sample]:
    """The calls that were left when the run ended; on the next day all of them are."""
    left, most = extract.get("calls_left"), extract.get("calls_per_day")
    if left is None or not most:
        return
    is_over = now.timestamp() >= to_seconds(extract.get("calls_day_ends") or "9999-01-01T00:00:00Z")
    yield Sample("mds_etl_calls_left", most if is_over else left)
    yield Sample("mds_etl_calls_per_day", most)


def describe_queue(extract: Mapping[str, Any]) -> Iterator[Sample]:
    """Of a run whose calls were made by workers."""
    names = {
        "mds_etl_calls_repeated": "repeated",
        "mds_queue_in_flight": "most_in_flight",
        "mds_queue_length": "queue_length",
    }
    for name, noted in names.items():
        if noted in extract:
            yield Sample(name, extract[noted])


def list_store_samples(counts: Mapping[str, Mapping[str, Any]]) -> Iterator[Sample]:
    """Of gaps by cause, notes by reason and the newest bar (a naive instant in UTC) by exchange."""
    for cause, count in counts["gaps"].items():
        yield Sample("mds_store_gaps", count, {"cause": cause})
    for reason, count in counts["notes"].items():
        yield Sample("mds_store_notes", count, {"reason": reason})
    for exchange, newest in counts["newest"].items():
        if newest is not None:
            seconds = newest.replace(tzinfo=UTC).timestamp()
            yield Sample("mds_newest_bar_timestamp_seconds", seconds, {"exchange": exchange})


def to_seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
