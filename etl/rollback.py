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

from etl.base import command, parquet_sql, run_records
from etl.base.errors import StoreError
from etl.reporting.textfile import write_textfile
from etl.settings import Settings
from etl.store.duckdb_file import accounts, digests, publish, restore, versions
from etl.store.replicas.upload import upload_published

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.rollback", __doc__)
    parser.add_argument("--database", type=command.from_here, help="DuckDB file to roll back")
    return command.main(parser, "rollback", roll_back, argv, tell_end=write_textfile)


def roll_back(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: copy the version before. Act 2: name it anew. Act 3: publish it."""
    path: Path = getattr(args, "database", None) or settings.database_path
    previous = publish.previous_of(path)
    if not previous.exists():
        raise StoreError(f"there is no version before this one ({previous.name}): nothing to do")
    publish.restore_wal(path)
    run = run_records.open_run(settings)
    with (
        run.record_stage("rollback") as record,
        publish.discard_on_failure(path),
        parquet_sql.connect(settings) as connection,
    ):
        was = restore.copy_previous(connection, path, previous)
        digests.renew(connection)
        versions.write_versions(connection, is_whole=True)
        generation = publish.make_generation(connection, path)
        record.update(generation=generation, restored=was)
        restore.name_anew(connection, generation, run.run_id)
        accounts.write_rollback(connection, run.as_finished())
        publish.finish_next(connection, publish.next_of(path), path)
    log.info("rollback: what was %s is published as %s", was, generation)
    upload_published(settings, path, run)


if __name__ == "__main__":
    raise SystemExit(main())
