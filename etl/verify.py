"""Recompute what the store says of itself, from the files and the database; print each line.

Nothing is written. Exit code 1 if any line does not add up.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Iterator
from pathlib import Path

import duckdb

from etl.base import command, parquet_sql, run_records, stage_files, whole_files
from etl.base.errors import StoreError
from etl.settings import Settings
from etl.store.duckdb_file.file_store import open_store

# File → what its stage counted in all, and what transform counted by symbol.
COUNTED = {
    "raw_data": ("rows", "received"),
    "clean_data": ("clean", "clean"),
    "rejected_data": ("rejected", "rejected"),
}


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.verify", __doc__)
    return command.main(parser, "verify", verify, argv, is_shared=True)


def verify(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: open the store. Act 2: check database and files. Act 3: say what does not hold."""
    path = settings.database_path
    if not path.exists():
        raise StoreError(f"{path} does not exist: run the ETL first")
    wrong = 0
    with open_store(settings, path) as store:
        for said, fault in (*store.check(), *check_files(store.connection, settings)):
            wrong += bool(fault)
            print(f"{'WRONG' if fault else 'ok':5} {said}{f': {fault}' if fault else ''}")
    if wrong:
        raise StoreError(
            f"verify: {wrong} lines do not add up; `make rollback` gives the version before"
        )


def check_files(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> Iterator[tuple[str, str]]:
    """(what is said, what contradicts it) of the files between the stages."""
    for path, name in list_files(settings):
        yield from check_file(connection, settings, path, name)


def list_files(settings: Settings) -> list[tuple[Path, str]]:
    """The stage files, with the stage that wrote each."""
    return [
        (settings.raw_path, "extract"),
        (settings.clean_path, "transform"),
        (settings.rejected_path, "transform"),
    ]


def check_file(
    connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path, name: str
) -> Iterator[tuple[str, str]]:
    """Whether a file is the one that its run recorded, and holds the rows that were counted."""
    if not path.exists():
        return
    try:
        rows = count_rows(connection, path)
    except duckdb.Error as error:
        yield f"{path.name} can be read", str(error).splitlines()[0]
        return
    run_id = run_records.read_run_id(path)
    if run_id is None:  # of another make
        return
    record_path = settings.runs_dir / f"{run_id}.json"
    entry = stage_files.read_entry(record_path, name)
    recorded = entry.get("files", {}).get(path.name)
    if recorded is None:
        yield f"{path.name} has a record of run {run_id}", "there is none"
        return
    digest = whole_files.compute_digest(path)
    yield f"{path.name} is as run {run_id} left it", "" if digest == recorded else "it differs"
    counts, fate = COUNTED[path.stem]
    yield f"{path.name} has the rows that were counted", compare(sum(rows.values()), entry[counts])
    judged = stage_files.read_entry(record_path, "transform").get("symbols", {})
    wanted = {symbol: fates[fate] for symbol, fates in judged.items() if fates[fate]}
    differing = [s for s in rows.keys() | wanted.keys() if rows.get(s) != wanted.get(s)]
    if judged:
        yield f"{path.name} has them symbol by symbol", ", ".join(sorted(differing)[:3])


def count_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, int]:
    """symbol → rows; duckdb.Error where the file cannot be read."""
    return dict(
        connection.execute(
            "SELECT coalesce(upper(trim(symbol)), ''), count(*)"
            f" FROM {parquet_sql.scan(path)} GROUP BY 1"
        ).fetchall()
    )


def compare(found: int, counted: int) -> str:
    return "" if found == counted else f"{found} rows, {counted} counted"


if __name__ == "__main__":
    raise SystemExit(main())
