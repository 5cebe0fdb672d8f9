"""Load the clean minutes into the store that MINUTE_STORE names, and publish them as one.

Reads data/clean_minutes.parquet some months at a time, compares it with what is stored, examines
the sessions that it touches, and hands both on. What readers see changes once, at the end.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import duckdb

from etl.base import parquet_sql, run_records, stage_files
from etl.base.errors import StoreError
from etl.calls.forecast import name_some
from etl.contracts import runs
from etl.contracts.minutes import SYNTHETIC, MinuteSnapshot, MinuteStore, MinuteStoreError
from etl.contracts.minutes.engines import MEMORY_MB, open_minutes
from etl.minute_stages import batches, beside, sources
from etl.settings import Settings

log = logging.getLogger("etl")

NOTHING_NEW = "nothing to publish"


def load(settings: Settings, run: run_records.Run) -> None:
    """Act 1: open the clean file and the store. Act 2: hand on batch by batch. Act 3: publish."""
    interval = run.record["stages"]["transform"]["interval"]
    with (
        run.record_stage("load") as record,
        parquet_sql.connect(settings) as connection,
        telling_errors(),
        closing(open_minutes(settings, settings.etl_memory_mb or MEMORY_MB)) as store,
        store.writing(),
    ):
        stage_files.check_files(settings, settings.clean_minutes_path, "transform")
        record.update(interval=interval, symbols={}, notes={})
        bound_memory(connection, settings)
        with parquet_sql.reading(settings.clean_minutes_path):
            batches.view_clean(connection, settings)
            beside.read_beside(connection, settings)
            sources.check_sources(connection, store, record)
            hand_on(connection, store, interval, run.run_id, record)
        before = store.newest()
        after = store.publish()
        record.update({"generation": after} if after != before else {})
        report(connection, record)


@contextmanager
def telling_errors() -> Iterator[None]:
    """What the store says goes out as an error of the ETL: one line, exit code 1."""
    try:
        yield
    except MinuteStoreError as error:
        raise StoreError(str(error)) from error


def bound_memory(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """What is read here is a batch at a time; the engine has memory of its own."""
    if not settings.etl_memory_mb:
        connection.execute(f"SET memory_limit = '{MEMORY_MB // 2}MiB'")


def hand_on(
    connection: duckdb.DuckDBPyConnection,
    store: MinuteStore,
    interval: str,
    run_id: str,
    record: dict[str, Any],
) -> None:
    """Each batch, then the spans; counts go into the record."""
    snapshot: MinuteSnapshot = store.snapshot()
    symbols: dict[str, Counter[str]] = {}
    notes: Counter[str] = Counter()
    for part in batches.list_parts(connection):
        batch = batches.build_batch(connection, snapshot, interval, part)
        store.upsert(batch, run_id)
        notes.update(batch.notes["kind"].to_pylist())
        for symbol, counts in batches.count_outcomes(connection).items():
            symbols.setdefault(symbol, Counter()).update(counts)
    spans = batches.build_spans(connection, interval)
    if spans.spans.num_rows:
        store.upsert(spans, run_id)
    record["symbols"] = {symbol: dict(counts) for symbol, counts in sorted(symbols.items())}
    record["notes"] = dict(sorted(notes.items()))
    record.update({n: sum(c[n] for c in symbols.values()) for n in runs.LOADED})


def report(connection: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> None:
    some = (name for name in ("stale", "superseded") if record[name])
    counts = ", ".join(f"{record[n]:,} {n}" for n in ("inserted", "revised", "unchanged", *some))
    generation = record.get("generation")
    log.info("load: %s; %s", counts, f"published as {generation}" if generation else NOTHING_NEW)
    if record["notes"]:
        told = ", ".join(f"{count:,} {kind}" for kind, count in record["notes"].items())
        log.info("load: notes on the sessions of this load: %s", told)
    made = connection.execute(
        f"SELECT DISTINCT symbol FROM clean WHERE source = '{SYNTHETIC}' ORDER BY 1"
    ).fetchall()
    if made:
        log.info(
            "load: the minutes of %s are synthetic: made out of the daily sample, nobody traded"
            " them, and every answer says so; a key (AV_API_KEY) or SOURCE brings real ones",
            name_some([symbol for (symbol,) in made]),
        )
