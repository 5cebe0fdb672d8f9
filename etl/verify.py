"""Recompute what the store says of itself, from the files and the database; print each line.

Nothing is written. Exit code 1 if any line does not add up.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb

from etl.base import command, parquet_sql, run_records, stage_files, whole_files
from etl.base.errors import StoreError
from etl.contracts.minutes import MinuteStoreError
from etl.contracts.minutes.engines import open_minutes
from etl.settings import Settings
from etl.store.duckdb_file.file_store import open_store

# File → what its stage counted in all, and what transform counted by symbol.
COUNTED = {
    "raw_data": ("rows", "received"),
    "clean_data": ("clean", "clean"),
    "rejected_data": ("rejected", "rejected"),
    "raw_minutes": ("rows", "received"),
    "clean_minutes": ("clean", "clean"),
    "rejected_minutes": ("rejected", "rejected"),
}
REMEDY_OF_MINUTES = "put the minutes back from a backup, or move them away and make minutes again"
REACHED = "minutes: the store can be read"  # what contradicts it says the remedy
Lines = Iterator[tuple[str, str]]  # what is said, and what contradicts it, "" for nothing


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.verify", __doc__)
    return command.main(parser, "verify", verify, argv, is_shared=True)


def verify(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: find the stores. Act 2: check them and the files. Act 3: say what does not hold."""
    path = settings.database_path
    has_days, has_minutes = path.exists(), bool(settings.minute_store) or has_files(settings)
    if not (has_days or has_minutes):
        raise StoreError(f"{path} does not exist: run the ETL first")
    of_days = tell(check_days(settings)) if has_days else []
    of_minutes = tell(check_minutes(settings)) if has_minutes else []
    if of_days or of_minutes:
        remedy = find_remedy(of_days, of_minutes)
        raise StoreError(f"verify: {len(of_days) + len(of_minutes)} lines do not add up; {remedy}")


def find_remedy(of_days: list[str], of_minutes: list[str]) -> str:
    if of_days:
        return "`make rollback` gives the version before"
    return "that line says what to do" if of_minutes == [REACHED] else REMEDY_OF_MINUTES


def tell(lines: Lines) -> list[str]:
    """Print each line; returns those that do not hold."""
    wrong = []
    for said, fault in lines:
        wrong += [said] if fault else []
        print(f"{'WRONG' if fault else 'ok':5} {said}{f': {fault}' if fault else ''}")
    return wrong


def check_days(settings: Settings) -> Lines:
    with open_store(settings, settings.database_path) as store:
        yield from store.check()
        yield from check_files(store.connection, list_files(settings), settings)


def has_files(settings: Settings) -> bool:
    """Whether minutes were ever kept in the data folder."""
    return (settings.data_dir / "minutes" / "current.json").exists()


def check_minutes(settings: Settings) -> Lines:
    try:
        with closing(open_minutes(settings)) as store:
            yield from ((f"minutes: {said}", fault) for said, fault in store.verify())
    except MinuteStoreError as error:
        yield REACHED, str(error)
    with parquet_sql.connect(settings) as connection:
        yield from check_files(connection, list_minute_files(settings), settings)


def check_files(
    connection: duckdb.DuckDBPyConnection, files: list[tuple[Path, str]], settings: Settings
) -> Lines:
    """Of the files between the stages."""
    for path, name in files:
        yield from check_file(connection, settings, path, name)


def list_files(settings: Settings) -> list[tuple[Path, str]]:
    """The stage files, with the stage that wrote each."""
    return [
        (settings.raw_path, "extract"),
        (settings.clean_path, "transform"),
        (settings.rejected_path, "transform"),
    ]


def list_minute_files(settings: Settings) -> list[tuple[Path, str]]:
    return [
        (settings.raw_minutes_path, "extract"),
        (settings.clean_minutes_path, "transform"),
        (settings.rejected_minutes_path, "transform"),
    ]


def check_file(
    connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path, name: str
) -> Lines:
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
