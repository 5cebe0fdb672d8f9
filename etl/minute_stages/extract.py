"""Fetch minute bars from a source into data/raw_minutes.parquet, as received."""

import argparse
import logging
from dataclasses import replace
from typing import Any

from etl import extract as daily
from etl.base import run_records, stage_files
from etl.base.errors import EtlError
from etl.calls.forecast import tell
from etl.contracts.raw_files import open_raw_minutes
from etl.contracts.runs import MINUTES
from etl.settings import Settings
from etl.sources import Source
from etl.sources.minutes import get_minute_source
from etl.sources.registry import choose_archives

log = logging.getLogger("etl")


def extract(settings: Settings, args: argparse.Namespace, run: run_records.Run) -> bool:
    """Act 1: open the source. Act 2: fetch each symbol. Act 3: publish what came.

    Returns whether anything came; where nothing did, the files of the run before stay.
    """
    order = daily.open_order(args)
    if order.is_replay:
        settings = replace(settings, chosen_sources=choose_archives(settings))
    with run.record_stage("extract") as record:
        record["bars"] = MINUTES
        source = get_minute_source(settings, order)
        log.info("minutes: %s", daily.describe_source(settings, order))
        has_written = daily.fetch_all(settings, source, run, record, open_raw_minutes)
        if has_written:
            stage_files.record_files(record, settings.raw_minutes_path, settings.raw_spans_path)
        report(source, record)
        if args.strict and (record["failures"] or record["not_asked"]):
            raise EtlError("extract: --strict was given and not everything came")
    return has_written


def report(source: Source, record: dict[str, Any]) -> None:
    """The summary, with what failed last."""
    log.info("extract: %s", summarize(source, record))
    daily.tell_not_asked(record)
    daily.tell_failed(record)


def summarize(source: Source, record: dict[str, Any]) -> str:
    since = (
        f", from {record['since']} on (MINUTES_SINCE goes further back)"
        if record.get("since")
        else ""
    )
    if record["rows"]:
        return f"{tell(record['rows'], 'row')} of {tell(record['symbols'], 'symbol')}{since}"
    if record.get("answers"):
        return f"{tell(record['answers'], 'answer')} without a bar{since}"
    return f"all up to date ({tell(record.get('up_to_date', 0), 'symbol')}): nothing to ask"
