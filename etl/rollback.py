"""Publish the version before the present one again, under a new generation.

A second rollback undoes the first. Run records stay: what happened has happened.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from pathlib import Path

from etl.base import command, run_records
from etl.base.errors import StoreError
from etl.reporting.textfile import write_textfile
from etl.settings import Settings
from etl.store.duckdb_file.attached import previous_of
from etl.store.duckdb_file.file_store import write_store
from etl.store.replicas.upload import upload_published

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.rollback", __doc__)
    parser.add_argument("--database", type=command.from_here, help="DuckDB file to roll back")
    return command.main(parser, "rollback", roll_back, argv, tell_end=write_textfile)


def roll_back(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: make the version before the next one, under a new name. Act 2: publish it."""
    path: Path = getattr(args, "database", None) or settings.database_path
    previous = previous_of(path)
    if not previous.exists():
        raise StoreError(f"there is no version before this one ({previous.name}): nothing to do")
    run = run_records.open_run(settings)
    with run.record_stage("rollback"), write_store(settings, path) as store:
        was = store.restore(run)
        generation = store.publish()
    log.info("rollback: what was %s is published as %s", was, generation)
    upload_published(settings, path, run)


if __name__ == "__main__":
    raise SystemExit(main())
