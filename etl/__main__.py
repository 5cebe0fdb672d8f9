"""The three stages in order, under one lock and as one run: what `make etl` does."""

import argparse
import logging

from etl.base import command, run_records, whole_files
from etl.extract import add_options as add_extract_options
from etl.extract import extract
from etl.load import is_out_of_step, load, write_no_bars
from etl.reporting.textfile import write_textfile
from etl.settings import Settings
from etl.sources.files.summary import tell_read
from etl.store.duckdb_file import published
from etl.store.replicas.upload import upload_published
from etl.transform import add_options as add_transform_options
from etl.transform import transform

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl", __doc__)
    add_extract_options(parser)
    add_transform_options(parser)
    parser.add_argument(
        "--if-needed",
        action="store_true",
        help="only where there is no database yet, or only the sample and a key is set",
    )
    parser.add_argument(
        "--check", action="store_true", help="read the files, tell how, and write nothing"
    )
    parser.add_argument("--json", action="store_true", help="what was read of the files, as JSON")
    return command.main(
        parser,
        "etl",
        work,
        argv,
        is_reading=lambda args: args.check,
        find_need=find_need,
        tell_end=write_textfile,
    )


def work(settings: Settings, args: argparse.Namespace) -> None:
    if args.check:
        from etl.check import check

        check(settings, args)
    else:
        run_all(settings, args)


def find_need(settings: Settings, args: argparse.Namespace) -> command.Need:
    """A database is served though nothing can be added to it now. A replica waits for its own."""
    if args.if_needed and settings.follow_url:
        return command.Need.NOTHING
    if not (args.if_needed and settings.database_path.is_file()):
        return command.Need.DUTY
    return command.Need.WISH if waits_for_real_bars(settings) else command.Need.NOTHING


def run_all(settings: Settings, args: argparse.Namespace) -> None:
    run = run_records.open_run(settings)
    source = extract(settings, args, run)
    if not has_raw_data(run):
        bring_in_step(settings, args, run)
        return
    try:
        transform(settings, args, run)
        load(settings, args, run)
    finally:
        tell_read(source, settings, run.run_id, getattr(args, "json", False))


def bring_in_step(settings: Settings, args: argparse.Namespace, run: run_records.Run) -> None:
    """Nothing came. Where EXCHANGE was corrected, or another program wrote into the database, load
    nothing: that brings gaps, notes and instruments in step with the bars."""
    if not (settings.database_path.is_file() and is_out_of_step(settings)):
        upload_published(settings, settings.database_path, run)  # what could not be, the last time
        return
    with whole_files.scratch_file(settings, "no_bars.parquet") as path:
        write_no_bars(path)
        load(settings, argparse.Namespace(**{**vars(args), "input": path}), run)


def has_raw_data(run: run_records.Run) -> bool:
    """Whether extract published anything; it does not where all is up to date."""
    return bool(run.record["stages"]["extract"].get("files"))


def waits_for_real_bars(settings: Settings) -> bool:
    """Whether the database holds only the sample, and another source is set up."""
    return settings.source != "sample" and published.read_sources(settings.database_path) == {
        "sample"
    }


if __name__ == "__main__":
    raise SystemExit(main())
