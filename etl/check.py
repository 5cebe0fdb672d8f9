"""--check: the very stages of a load in a folder of their own, which is then thrown away.

Nothing of the data folder is read or written: what is doubtful about the bars is found against
the files alone.
"""

import argparse
import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

from etl.base import run_records
from etl.base.errors import EtlError
from etl.settings import Settings, SettingsError
from etl.sources.files import Files
from etl.sources.files.summary import Summary
from etl.store.duckdb_file import published

log = logging.getLogger("etl")


def check(settings: Settings, args: argparse.Namespace) -> None:
    if settings.source != "files":
        raise SettingsError("--check reads files: add --source files --path FILE_OR_FOLDER")
    with tempfile.TemporaryDirectory(prefix="etl-check-") as folder:
        summary, error = run_aside(replace(settings, data_dir=Path(folder)), args)
    if args.json:
        print(json.dumps(summary.as_record(), indent=1))
    else:
        print_summary(summary)
    if error:
        raise error


def run_aside(settings: Settings, args: argparse.Namespace) -> tuple[Summary, EtlError | None]:
    """The three stages without their own words; the summary tells instead."""
    from etl.extract import extract
    from etl.load import load
    from etl.transform import transform

    level = log.level
    log.setLevel(logging.CRITICAL)
    run = run_records.open_run(settings)
    source = None
    try:
        source = extract(settings, args, run)
        transform(settings, args, run)
        load(settings, args, run)
    except EtlError as error:
        if source is None:
            raise
        return finish(source, settings, run.run_id), error
    finally:
        log.setLevel(level)
    return finish(source, settings, run.run_id), None


def finish(source: object, settings: Settings, run_id: str) -> Summary:
    assert isinstance(source, Files)
    source.summary.add_rejected(settings.rejected_path, run_id)
    if settings.database_path.exists():
        add_notes(source.summary, settings.database_path)
    return source.summary


def add_notes(summary: Summary, database: Path) -> None:
    """What load found suspicious, beside the files that its symbols came from."""
    rows = published.ask_published(
        database, "SELECT symbol, reason, count(*) FROM known_notes GROUP BY ALL ORDER BY ALL"
    )
    for entry in summary.entries:
        for symbol, reason, count in rows:
            if symbol in entry.symbols[:20]:
                entry.doubts.append(f"{symbol}: {count} {reason}")


def print_summary(summary: Summary) -> None:
    for entry in summary.entries:
        print(entry.describe_fully())
    for label in summary.passed_over:
        print(f"{label}: passed over: no kind of file that is read")
