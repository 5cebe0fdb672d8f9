"""Where the numbers of a scrape come from: workers' counts, the store, the records of runs."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import datetime
from heapq import nlargest
from pathlib import Path
from stat import S_ISREG
from typing import Any

import orjson
from fastapi import FastAPI

from api.counts import Counts
from api.faults import Fault
from api.problems import Problem
from api.store.following import LastGeneration
from api.store.minutes import Minutes
from api.store.run_records import list_run_ids
from etl.contracts.run_metrics import Record, Sample, list_run_samples, list_store_samples
from etl.settings import VERSION

log = logging.getLogger("api")
MOST_RECORDS = 200  # to look through for one that ended well


async def list_sources(app: FastAPI, now: datetime) -> AsyncIterator[Any]:
    """All families, one source after the other: one that fails costs the others nothing."""
    from api.metrics import families

    state = app.state
    refresh_gauges(app)
    yield families.build_gauge("mds_build_info", "This service", 1, {"version": VERSION})
    for family in families.build_service(state.counts.read()):
        yield family
    samples = [*await list_store(app), *list_runs(state.settings.runs_dir, now)]
    told = [*describe_store(state.database), *describe_source(state.fallbacks)]
    for name, help, value in (*told, *await describe_minutes(state.minutes)):
        yield families.build_gauge(name, help, value)
    for family in families.build_samples(samples):
        yield family


def refresh_gauges(app: Any) -> None:
    """What this worker holds now."""
    counts: Counts = app.state.counts
    memory = app.state.cache.memory
    series = len(memory.fresh) + len(memory.proven) - memory.answers
    now = {
        "in_flight": app.layers.outermost.in_flight,
        "answers": memory.answers,
        "answer_bytes": memory.answer_bytes,
        "answer_bound": memory.max_bytes,
        "series": series,
        "series_bytes": memory.bytes - memory.answer_bytes,
        "series_bound": memory.max_bytes,
    }
    for name, value in now.items():
        counts.set("gauge", name, value=value)
    for what, each in app.state.fallbacks.items():
        counts.set("gauge", "fallback", what, value=each.fault is not None)
        counts.set("fallbacks", what, value=each.count)


def describe_store(database: Any) -> Iterator[tuple[str, str, float]]:
    snapshot = database.snapshot
    yield "mds_store_up", "Whether there is a store to read", snapshot is not None
    yield "mds_store_degraded", "Whether an older store stands in", bool(database.fault)
    if snapshot is not None:
        counter = snapshot.generation.partition("-")[0]
        yield "mds_store_generation", "The counter of its generation", float(counter)
        published = snapshot.published_at.timestamp()
        yield "mds_store_published_timestamp_seconds", "When it was published", published


async def describe_minutes(minutes: Minutes) -> list[tuple[str, str, float]]:
    """Where there are bars shorter than a day, or should be."""
    with suppress(Fault):
        await minutes.newest()
    view = minutes.view
    if view is None and minutes.fault is None:
        return []
    told = [("mds_minute_store_up", "Whether minutes can be read", float(not minutes.fault))]
    if view is None:
        return told
    bars = sum(each.bars for bases in view.instruments.values() for each in bases.values())
    published, generation = view.published_at.timestamp(), view.generation.partition("-")[0]
    return [
        *told,
        ("mds_minute_store_generation", "The counter of its generation", float(generation)),
        ("mds_minute_store_published_timestamp_seconds", "When it was published", published),
        ("mds_minute_store_bars", "Bars shorter than a day", bars),
    ]


def describe_source(fallbacks: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Where this host follows another."""
    source = fallbacks.get("source")
    if isinstance(source, LastGeneration):
        state = source.read()
        yield (
            "mds_source_reached_timestamp_seconds",
            "When the source last was well",
            state.reached_at,
        )
        yield "mds_source_fetched_bytes", "Bytes that came from the source", state.fetched_bytes


async def list_store(app: FastAPI) -> list[Sample]:
    """Counted once a generation; nothing where the store does not answer."""
    database = app.state.database
    try:
        snapshot = database.newest()
        kept: tuple[str, list[Sample]] | None = getattr(app.state, "store_samples", None)
        if kept is None or kept[0] != snapshot.generation:
            counts = await database.ask(
                snapshot, lambda reader: reader.count_quality(), is_wide=True
            )
            kept = snapshot.generation, list(list_store_samples(counts))
            app.state.store_samples = kept
        return kept[1]
    except (Problem, Fault) as error:
        log.debug("metrics without those of the store: %s", error)
        return []


def list_runs(folder: Path, now: datetime) -> list[Sample]:
    try:
        return list(list_run_samples(read_records(folder), now))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.debug("metrics without those of the runs: %s", error)
        return []


def read_records(folder: Path) -> Iterator[Record]:
    """The last written first; what cannot be read is passed over."""
    for path in list_newest(folder):
        try:
            stages = orjson.loads(path.read_bytes())["stages"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(stages, dict) and stages:
            yield path.stem, stages


def list_newest(folder: Path) -> list[Path]:
    """A run whose stages are called one by one is written again by each of them."""
    written = []
    for run_id in list_run_ids(folder):
        path = folder / f"{run_id}.json"
        with suppress(OSError):
            found = path.stat()
            if S_ISREG(found.st_mode):  # a pipe would be waited for without end
                written.append((found.st_mtime_ns, path))
    return [path for _, path in nlargest(MOST_RECORDS, written)]
