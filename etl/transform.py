"""Validate the raw bars: data/clean_data.parquet, and data/rejected_data.parquet with reasons.

Loads data/raw_data.parquet; reads each text as its type, applies the rules of etl.quality and
keeps one row a key; saves both files. Every row is clean, rejected or outside the dates asked.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from etl.base import command, parquet_sql, run_records, stage_files, whole_files
from etl.base.errors import EtlError, InputError
from etl.contracts.files import CLEAN_COLUMNS, DAILY, PRICES, RAW_BARS, VOLUME_TYPES
from etl.reporting.textfile import write_textfile
from etl.rules.clean_actions import type_actions
from etl.rules.doubled_keys import find_unproven
from etl.rules.rejects import DUPLICATE, REASON, TWO_BARS, TYPED, VOLUMES, bind
from etl.rules.remedies import read_examples, tell_remedy
from etl.settings import Settings, SettingsError

log = logging.getLogger("etl")

NEEDED = ("symbol", "timestamp", *PRICES)
TEXTS = (*NEEDED, "volume")
VALUES = (*PRICES, "volume", "volume_decimals")
# What a raw file of another make may lack; fetched_at falls back to the file's own time.
DEFAULTS = {
    **dict.fromkeys(("volume", "adj_close", "run_id", "file", "line"), "NULL"),
    "source": "'files'",
    "interval": f"'{DAILY}'",
}
TYPES = {"fetched_at": "TIMESTAMP", "line": "BIGINT"}
CORE_MB = 64  # memory for each core's share of a sort
TIMESTAMPTZ = "TIMESTAMP WITH TIME ZONE"
OUT_OF_RANGE = "out of range"  # of the dates asked for: neither clean nor rejected
PROVENANCE = ("source", "fetched_at", "run_id", "basis", "interval")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.transform", __doc__)
    add_options(parser)
    parser.add_argument("--input", type=command.from_here, help="raw Parquet file to judge")
    return command.main(parser, "transform", transform, argv, tell_end=write_textfile)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", dest="START_DATE", help="first day to keep, as 2012-01-31")
    parser.add_argument("--end", dest="END_DATE", help="last day to keep (inclusive)")


def transform(
    settings: Settings, args: argparse.Namespace, run: run_records.Run | None = None
) -> None:
    """Act 1: view the raw file. Act 2: validate every row. Act 3: publish clean and rejected."""
    check_dates(settings)
    path: Path = getattr(args, "input", None) or settings.raw_path
    run = run or run_records.open_run(settings, path)
    with (
        run.record_stage("transform") as record,
        parquet_sql.connect(settings) as connection,
        whole_files.scratch_file(settings, "judged.parquet") as scratch,
    ):
        stage_files.check_files(settings, path, "extract")
        bound_memory(connection, settings)
        with parquet_sql.reading(path):
            view_raw(connection, settings, path)
            check_interval(connection, path)
            validate(connection, settings, scratch)
        find_duplicates(connection)
        record.update(count_rows(connection))
        record["symbols"] = count_by_symbol(connection)
        publish_bars(connection, settings, path, run)
        record["actions"] = publish_actions(connection, settings, run)
        stage_files.record_files(
            record, settings.clean_path, settings.rejected_path, settings.clean_actions_path
        )
        tell_outcome(connection, settings, record)
        check_clean(settings, record)


def bound_memory(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """All that transform does can spill to the disk; its sort would keep every row in memory."""
    if not settings.etl_memory_mb:
        cores = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
        connection.execute(f"SET memory_limit = '{max(2, cores) * CORE_MB}MiB'")


def publish_actions(
    connection: duckdb.DuckDBPyConnection, settings: Settings, run: run_records.Run
) -> int:
    """Actions belong to the bars that they came with, and to no other file. Returns their count."""
    has_actions = run_records.read_run_id(settings.raw_actions_path) == run.run_id
    count = type_actions(connection, settings.raw_actions_path if has_actions else None)
    copy_whole(connection, "FROM good_actions", settings.clean_actions_path, run)
    return count


def tell_outcome(
    connection: duckdb.DuckDBPyConnection, settings: Settings, record: dict[str, Any]
) -> None:
    has_rejects = bool(record["reasons"])
    report(record, read_examples(connection, settings.rejected_path) if has_rejects else {})
    tell_rounded(connection)
    if TWO_BARS in record["reasons"]:
        tell_two_bars(connection)


def check_clean(settings: Settings, record: dict[str, Any]) -> None:
    """EtlError where all rows were rejected; splits and dividends may come alone."""
    if record["rows"] and not record["clean"]:
        raise EtlError(
            f"transform: no clean row; the reasons are above, the rows in {settings.rejected_path}"
        )


def check_dates(settings: Settings) -> None:
    start, end = settings.start_date, settings.end_date
    if start and end and start > end:
        raise SettingsError(f"START_DATE={start} is after END_DATE={end}: swap them")


def view_raw(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """`raw`: the file with every column of RAW_BARS as text, and `place`, the row's number."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: name one raw Parquet file")
    columns = parquet_sql.read_columns(connection, path)
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
    defaults = {
        **DEFAULTS,
        "basis": parquet_sql.quote(settings.source_adjustment),
        "fetched_at": f"TIMESTAMP {parquet_sql.quote(str(modified))}",
    }
    # a clock where the zone of an instant is shows the session; the machine's zone does not
    zones = parquet_sql.read_zones(path) if TIMESTAMPTZ in columns.values() else {}
    given = {
        name: parquet_sql.show_wall_clock(name, zones[name])
        if name in zones and name != "fetched_at"
        else name
        for name in columns
    }
    picked = [
        f"CAST({given.get(name, defaults.get(name))} AS {TYPES.get(name, 'VARCHAR')}) AS {name}"
        for name in RAW_BARS.names
    ]
    connection.execute(
        f"CREATE TEMP VIEW raw AS SELECT {', '.join(picked)}, file_row_number AS place"
        f" FROM {parquet_sql.scan_numbered(path)}"
    )


def check_interval(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """InputError for bars that are not daily: nothing behind would tell them from those."""
    found = connection.execute(
        f"SELECT symbol, interval FROM raw WHERE interval <> '{DAILY}' LIMIT 1"
    ).fetchall()
    if found:
        raise InputError(
            f"{path}: {found[0][0]} has bars of interval {found[0][1]}, and daily bars ({DAILY})"
            " are what is kept: take the others out"
        )


def validate(connection: duckdb.DuckDBPyConnection, settings: Settings, scratch: Path) -> None:
    """`typed`: each row as typed columns and `reason`, NULL where clean; kept in `scratch`."""
    typed, volumes = (
        ", ".join(f"{sql} AS {name}" for name, sql in some.items()) for some in (TYPED, VOLUMES)
    )
    bounds = [
        f"timestamp::DATE {sign} DATE '{day}'"
        for sign, day in (("<", settings.start_date), (">", settings.end_date))
        if day
    ]
    outside = f"CASE WHEN {' OR '.join(bounds)} THEN '{OUT_OF_RANGE}' END" if bounds else "NULL"
    reason = f"coalesce({outside}, {bind(REASON, settings)})"
    kept = ", ".join(("place", *PROVENANCE))
    # renamed, not packed as one struct: each text that repeats is then read and cast once
    text = ", ".join(f"{name} AS raw_{name}" for name in TEXTS)
    select = f"""
        SELECT place, timestamp, symbol, {", ".join(PRICES)},
               CASE WHEN reason IS NULL THEN volume END AS volume,
               {", ".join(VOLUME_TYPES)}, {", ".join(PROVENANCE)}, reason
        FROM (SELECT *, {volumes} FROM (SELECT *, {reason} AS reason FROM (
            SELECT *, {typed} FROM (SELECT {kept}, {text} FROM raw))))"""
    # a scratch file, not a table: it keeps 5 million rows out of memory
    connection.execute(f"COPY ({select}) TO {parquet_sql.quote(scratch)} (FORMAT parquet)")
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT * FROM {parquet_sql.scan(scratch)}")


def find_duplicates(connection: duckdb.DuckDBPyConnection, two_bars: str = TWO_BARS) -> None:
    """`judged`: `typed`, with the rows of one key and one answer rejected, but for one.

    Where they differ none is kept: nothing says which is right. Equal ones are told apart by
    content, so that any order gives one table. Rows of several answers, fetched at different
    instants, stay: load takes them one after the other.
    """
    find_unproven(connection, "SELECT symbol, timestamp FROM typed WHERE reason IS NULL")
    content = ", ".join(f"{name} DESC NULLS LAST" for name in (*PRICES, "volume", *PROVENANCE))
    differs = " OR ".join(f"min({name}) OVER one <> max({name}) OVER one" for name in VALUES)
    connection.execute(
        f"""CREATE TEMP TABLE duplicates AS
        SELECT place, CASE WHEN {differs} THEN '{two_bars}' ELSE '{DUPLICATE}' END AS reason,
               row_number() OVER (PARTITION BY symbol, timestamp, fetched_at ORDER BY {content})
               AS number
        FROM typed
        JOIN (SELECT symbol, timestamp, fetched_at FROM typed SEMI JOIN unproven USING (symbol)
              WHERE reason IS NULL GROUP BY ALL HAVING count(*) > 1)
             USING (symbol, timestamp, fetched_at)
        WHERE typed.reason IS NULL
        WINDOW one AS (PARTITION BY symbol, timestamp, fetched_at)"""
    )
    connection.execute(f"DELETE FROM duplicates WHERE reason = '{DUPLICATE}' AND number = 1")
    connection.execute(
        """CREATE TEMP VIEW judged AS SELECT typed.* REPLACE (
            coalesce(duplicates.reason, typed.reason) AS reason)
        FROM typed LEFT JOIN duplicates USING (place)"""
    )


def tell_rounded(connection: duckdb.DuckDBPyConnection) -> None:
    """How many volumes have more digits than are kept, and one of them."""
    count, example = connection.execute(
        """SELECT count(*), arg_min(format('{} of {} {}', volume_given, symbol, timestamp::DATE),
               place) FROM judged WHERE volume_given IS NOT NULL AND reason IS NULL"""
    ).fetchall()[0]
    if count:
        log.warning(
            "transform: %s more digits than 63 bits hold: rounded, as %s",
            "1 volume has" if count == 1 else f"{count:,} volumes have",
            example,
        )


def tell_two_bars(connection: duckdb.DuckDBPyConnection) -> None:
    """One example of two different bars of one day, with the values of both and the remedy."""
    rows = connection.execute(
        f"""SELECT judged.symbol, strftime(judged.timestamp, '%Y-%m-%d'), raw.file, raw.line,
               concat_ws(' ', raw.open, raw.high, raw.low, raw.close, raw.volume)
        FROM judged JOIN raw USING (place) WHERE reason = '{TWO_BARS}'
        ORDER BY judged.symbol, judged.timestamp, place LIMIT 2"""
    ).fetchall()
    if rows:
        shown = " and ".join(f"{row[4]}{f' ({row[2]}:{row[3]})' if row[2] else ''}" for row in rows)
        log.warning(
            "transform: %s: %s %s has %s: neither is kept; take out the wrong one, or name the"
            " instruments apart in a column Symbol",
            TWO_BARS,
            *rows[0][:2],
            shown,
        )


def count_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Rows in, and their outcomes: clean, out_of_range, rejected and rejected by reason."""
    rows = connection.execute("SELECT reason, count(*) FROM judged GROUP BY ALL ORDER BY ALL")
    reasons = dict(rows.fetchall())
    counts = {"clean": reasons.pop(None, 0), "out_of_range": reasons.pop(OUT_OF_RANGE, 0)}
    rejected = sum(reasons.values())
    total = connection.execute("SELECT count(*) FROM raw").fetchall()[0][0]
    if total != rejected + sum(counts.values()):
        raise EtlError(f"transform: {total} rows in, but {counts} and {rejected} rejected")
    return {"rows": total, **counts, "rejected": rejected, "reasons": reasons}


def count_by_symbol(
    connection: duckdb.DuckDBPyConnection, two_bars: str = TWO_BARS
) -> dict[str, dict[str, int]]:
    """The same by symbol; rows without one are counted under the empty symbol."""
    rows = connection.execute(
        f"""SELECT coalesce(symbol, ''), count(*), count(*) FILTER (reason IS NULL),
                   count(*) FILTER (reason <> '{OUT_OF_RANGE}'),
                   count(*) FILTER (reason IN ('{DUPLICATE}', '{two_bars}')),
                   count(*) FILTER (reason = '{OUT_OF_RANGE}')
        FROM judged GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    names = ("received", "clean", "rejected", "duplicates", "out_of_range")
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def publish_bars(
    connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path, run: run_records.Run
) -> None:
    clean = ", ".join((*CLEAN_COLUMNS, *VOLUME_TYPES, *PROVENANCE))
    copy_whole(
        connection,
        f"SELECT {clean} FROM judged WHERE reason IS NULL ORDER BY symbol, timestamp, fetched_at",
        settings.clean_path,
        run,
    )
    copy_whole(
        connection,
        "SELECT raw.* EXCLUDE (place), judged.timestamp AS session, reason"
        " FROM raw JOIN judged USING (place)"
        f" WHERE reason IS NOT NULL AND reason <> '{OUT_OF_RANGE}' ORDER BY place",
        settings.rejected_path,
        run,
    )


def copy_whole(
    connection: duckdb.DuckDBPyConnection, select: str, path: Path, run: run_records.Run
) -> None:
    with whole_files.write_whole(path) as next_path:
        connection.execute(
            f"COPY ({select}) TO {parquet_sql.quote(next_path)} (FORMAT parquet, COMPRESSION zstd,"
            f" KV_METADATA {{run_id: {parquet_sql.quote(run.run_id)}}})"
        )


def report(record: dict[str, Any], examples: dict[str, str]) -> None:
    counts = f"{record['rows']:,} rows in = {record['clean']:,} clean"
    log.info(
        "transform: %s + %s rejected + %s out of range",
        counts,
        f"{record['rejected']:,}",
        f"{record['out_of_range']:,}",
    )
    for reason, count in record["reasons"].items():
        log.warning(
            "transform: rejected %s: %s, as %s (%s)",
            f"{count:,}",
            reason,
            examples.get(reason, ""),
            tell_remedy(reason),
        )


if __name__ == "__main__":
    raise SystemExit(main())
