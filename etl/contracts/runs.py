"""A run as its record tells it (data/runs/<run_id>.json): the rows of etl_runs, etl_run_symbols.

Load stores these rows; the API and the report give the same of a run that published nothing.
"""

from dataclasses import dataclass
from typing import Any

LOADED = ("inserted", "revised", "unchanged", "stale", "superseded")
OUTCOMES = (*LOADED, "rejected", "out_of_range")
COUNTS = ("received", *OUTCOMES)
SYMBOL_COUNTS = ("received", *LOADED, "rejected", "duplicates", "out_of_range")
MINUTES = "minutes"  # what `bars` of extract says in a run over bars of minutes
FAILING = ("extract", "load", "upload")  # stages of which something may fail by itself

Row = dict[str, Any]
Stages = dict[str, Row]


@dataclass(frozen=True)
class Run:
    """summary: a row of etl_runs, but for these two: failures by label, stages without symbols.

    symbols: rows of etl_run_symbols, without their run_id.
    """

    summary: Row
    failures: dict[str, str]
    stages: Stages
    symbols: list[Row]


def is_of_minutes(stages: Stages) -> bool:
    return stages.get("extract", {}).get("bars") == MINUTES


def describe_run(run_id: str, stages: Stages, is_last: bool = False) -> Run:
    """ValueError for stages that are none. `is_last`: a stage that has not ended may be running."""
    try:
        symbols = list_symbols(stages)
        return Run(
            summarize(run_id, stages, symbols, is_last),
            {k: v for s in FAILING for k, v in find(stages, s, "failures").items()},
            {name: drop_symbols(stage) for name, stage in stages.items()},
            symbols,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of a run: {error!r}") from None


def summarize(run_id: str, stages: Stages, symbols: list[Row], is_last: bool) -> Row:
    extract = stages.get("extract", {})
    return {
        "run_id": run_id,
        "started_at": min(stage["started_at"] for stage in stages.values()),
        "finished_at": max(stage.get("finished_at") or "" for stage in stages.values()) or None,
        "status": derive_status([stage["status"] for stage in stages.values()], is_last),
        "source": extract.get("source"),
        "calls": extract.get("calls", 0),
        **{name: sum(row[name] for row in symbols) for name in COUNTS},
    }


def derive_status(states: list[str], is_last: bool) -> str:
    """Runs follow one another: a stage that never ended, in another than the last, was killed."""
    if "failed" in states:
        return "failed"
    if "running" in states:
        return "running" if is_last else "killed"
    return "ok"


def list_symbols(stages: Stages) -> list[Row]:
    """What each symbol received, and what became of it as far as the run came.

    A run whose load failed has rows that no stage has disposed of: they stay out of the sum.
    """
    cleaned, loaded = find(stages, "transform", "symbols"), find(stages, "load", "symbols")
    return [
        describe_symbol(symbol, {**cleaned.get(symbol, {}), **loaded.get(symbol, {})})
        for symbol in sorted(cleaned.keys() | loaded.keys())
    ]


def describe_symbol(symbol: str, counts: Row) -> Row:
    row = {name: counts.get(name, 0) for name in SYMBOL_COUNTS}
    row["received"] = counts.get("received", sum(row[name] for name in OUTCOMES))
    return {"symbol": symbol, **row, "digest": counts.get("digest")}


def find(stages: Stages, stage: str, name: str) -> Row:
    found: Row = stages.get(stage, {}).get(name, {})
    return found


def drop_symbols(stage: Row) -> Row:
    return {name: value for name, value in stage.items() if name != "symbols"}
