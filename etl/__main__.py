"""The three stages in order, under one lock and as one run: what `make etl` does."""

import argparse
import logging

from etl.base import command, run_records
from etl.extract import add_options as add_extract_options
from etl.extract import extract
from etl.load import load
from etl.market.exchanges import find_exchange
from etl.settings import Settings
from etl.sources.files.summary import tell_read
from etl.store.duckdb_file import publish
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
        parser, "etl", work, argv, is_reading=lambda args: args.check, find_need=find_need
    )


def work(settings: Settings, args: argparse.Namespace) -> None:
    if args.check:
        from etl.check import check

        check(settings, args)
    else:
        run_all(settings, args)


def find_need(settings: Settings, args: argparse.Namespace) -> command.Need:
    """A database is served though nothing can be added to it now."""
    if not (args.if_needed and settings.database_path.is_file()):
        return command.Need.DUTY
    return command.Need.WISH if waits_for_real_bars(settings) else command.Need.NOTHING


def run_all(settings: Settings, args: argparse.Namespace) -> None:
    run = run_records.open_run(settings)
    source = extract(settings, args, run)
    if not has_raw_data(run):
        follow_calendars(settings, args, run)
        return
    try:
        transform(settings, args, run)
        load(settings, args, run)
    finally:
        tell_read(source, settings, run.run_id, getattr(args, "json", False))


def follow_calendars(settings: Settings, args: argparse.Namespace, run: run_records.Run) -> None:
    """Where EXCHANGE was corrected and nothing came, load what came last once more: nothing of it
    is new, and gaps and notes follow the calendars."""
    stored = publish.read_exchanges(settings.database_path)
    if all(find_exchange(name, settings.exchange) == known for name, known in stored.items()):
        return
    if settings.clean_path.exists():
        load(settings, args, run)
    else:
        log.warning("load: calendars changed: gaps and notes follow them when new bars are loaded")


def has_raw_data(run: run_records.Run) -> bool:
    """Whether extract published anything; it does not where all is up to date."""
    return bool(run.record["stages"]["extract"].get("files"))


def waits_for_real_bars(settings: Settings) -> bool:
    """Whether the database holds only the sample, and another source is set up."""
    return settings.source != "sample" and publish.read_sources(settings.database_path) == {
        "sample"
    }


if __name__ == "__main__":
    raise SystemExit(main())
