"""Bars of minutes: extract, transform and load them, under the one lock: what `make minutes` does.

They come of the same sources as daily bars and pass through files of their own. Where no source is
set up they are made out of the daily sample, and marked `synthetic`.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse

from etl.base import command, run_records
from etl.extract import add_options as add_extract_options
from etl.minute_stages.extract import extract
from etl.minute_stages.load import load
from etl.minute_stages.transform import transform
from etl.reporting.textfile import write_textfile
from etl.settings import Settings
from etl.transform import add_options as add_transform_options


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.minutes", __doc__)
    add_extract_options(parser)
    add_transform_options(parser)
    parser.add_argument(
        "--since", dest="MINUTES_SINCE", help="day from which on minutes are made or asked"
    )
    return command.main(parser, "minutes", run_all, argv, tell_end=write_textfile)


def run_all(settings: Settings, args: argparse.Namespace) -> None:
    run = run_records.open_run(settings)
    if extract(settings, args, run):
        transform(settings, args, run)
        load(settings, run)


if __name__ == "__main__":
    raise SystemExit(main())
