"""The three stages in order, under one lock and as one run: what `make etl` does."""

import argparse
import logging

from etl import publish, stage
from etl.errors import EtlError
from etl.extract import add_options as add_extract_options
from etl.extract import extract
from etl.load import load
from etl.settings import Settings
from etl.transform import add_options as add_transform_options
from etl.transform import transform

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = stage.build_parser("etl", __doc__)
    add_extract_options(parser)
    add_transform_options(parser)
    parser.add_argument(
        "--if-needed",
        action="store_true",
        help="only where there is no database yet, or only the sample and a key is set",
    )
    return stage.main(parser, "etl", run_all, argv)


def run_all(settings: Settings, args: argparse.Namespace) -> None:
    has_store = settings.database_path.exists()
    if args.if_needed and has_store and not waits_for_real_bars(settings):
        return
    try:
        run = stage.open_run(settings)
        # without a store, all that was ever paid for is to be loaded again
        args.from_start = not has_store
        extract(settings, args, run)
        if not has_raw_data(run):
            return
        transform(settings, args, run)
        load(settings, args, run)
    except EtlError as error:
        if not (args.if_needed and has_store):
            raise
        log.warning("%s; the database stays as it is", error)


def has_raw_data(run: stage.Run) -> bool:
    """Whether extract published anything; it does not where all is up to date."""
    entry = run.record["stages"]["extract"]
    return bool(entry["rows"] or entry["actions"])


def waits_for_real_bars(settings: Settings) -> bool:
    """Whether the database holds only the sample, and another source is set up."""
    return settings.source != "sample" and publish.read_sources(settings.database_path) == {
        "sample"
    }


if __name__ == "__main__":
    raise SystemExit(main())
