"""Fetch bars from a source into data/raw_data.parquet, as received.

Loads nothing but settings; asks the source for each symbol; saves what came as text with its
provenance. It renames columns and never judges a value.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from etl import stage
from etl.errors import EtlError
from etl.schema import RAW_ACTIONS, RAW_BARS
from etl.settings import SOURCES, Settings
from etl.sources import Delivery, Source, get_source

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = stage.build_parser("etl.extract", __doc__)
    add_options(parser)
    return stage.main(parser, "extract", extract, argv)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", dest="SOURCE", help=f"one of {', '.join(SOURCES)}")
    parser.add_argument("--symbols", dest="SYMBOLS", help="symbols parted by commas")
    parser.add_argument(
        "--path", dest="SOURCE_PATH", type=stage.from_here, help="file, folder or glob to read"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if any symbol failed")


def extract(settings: Settings, args: argparse.Namespace, run: stage.Run | None = None) -> None:
    """Act 1: open the source. Act 2: fetch each symbol. Act 3: publish what came."""
    run = run or stage.open_run(settings)
    with run.record_stage("extract") as record:
        source = get_source(settings)
        log.info("extract: %s", describe_source(settings))
        fetch_all(settings, source, run, record)
        record["files"] = stage.list_digests(settings.raw_path)
        report(record)
        if args.strict and record["failures"]:
            raise EtlError("extract: --strict was given and not everything came")


def describe_source(settings: Settings) -> str:
    """The source in use, and how to change it."""
    if settings.chosen_source:
        return f"source {settings.source} (as SOURCE says)"
    if settings.source == "sample":
        return "source sample (no AV_API_KEY is set: put one in .env to fetch today's bars)"
    return "source alpha_vantage (AV_API_KEY is set: SOURCE=sample or files changes it)"


def fetch_all(settings: Settings, source: Source, run: stage.Run, record: dict[str, Any]) -> None:
    """Write every delivery; publish both raw files if any bar came, else raise EtlError."""
    record.update(source=settings.source, symbols=0, rows=0, actions=0, failures={})
    seen: set[str] = set()
    with ExitStack() as files:
        bars = open_writer(files, settings.raw_path, RAW_BARS, run)
        actions = open_writer(files, settings.raw_actions_path, RAW_ACTIONS, run)
        files.enter_context(logging_redirect_tqdm([log]))
        for delivery in tqdm(source.fetch(), total=source.count, unit="symbol", disable=None):
            if delivery.error:
                record["failures"][delivery.label] = f"{delivery.error.kind}: {delivery.error}"
                log.warning("%s: %s", delivery.error.kind, delivery.error)
                continue
            record["rows"] += write_table(bars, delivery.bars, run)
            record["actions"] += write_table(actions, delivery.actions, run)
            seen.update(count_symbols(delivery))
        record["symbols"] = len(seen)
        if not record["rows"]:
            raise EtlError(
                f"extract: nothing came; {list_failures(record) or 'the files are empty'}"
            )


def open_writer(files: ExitStack, path: Any, schema: pa.Schema, run: stage.Run) -> pq.ParquetWriter:
    next_path = files.enter_context(stage.write_whole(path))
    tagged = schema.with_metadata({"run_id": run.run_id})
    return files.enter_context(pq.ParquetWriter(next_path, tagged, compression="zstd"))


def write_table(writer: pq.ParquetWriter, table: pa.Table | None, run: stage.Run) -> int:
    if table is None or not table.num_rows:
        return 0
    run_ids = pa.array([run.run_id], pa.string()).take(pa.repeat(0, table.num_rows))
    place = table.schema.get_field_index("run_id")
    table = table.set_column(place, "run_id", run_ids)
    writer.write_table(table.select(writer.schema.names).cast(writer.schema))
    return int(table.num_rows)


def count_symbols(delivery: Delivery) -> list[str]:
    return [] if delivery.bars is None else delivery.bars["symbol"].unique().to_pylist()


def report(record: dict[str, Any]) -> None:
    """The summary, with what failed last."""
    log.info("extract: %s rows of %s symbols", f"{record['rows']:,}", record["symbols"])
    if record["failures"]:
        log.warning("extract: %s failed: %s", len(record["failures"]), list_failures(record))


def list_failures(record: dict[str, Any]) -> str:
    return "; ".join(record["failures"].values())


if __name__ == "__main__":
    raise SystemExit(main())
