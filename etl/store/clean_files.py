"""What load takes in: clean bars that keep the contract, and what came beside them.

Refuses, never repairs. Leaves temp views: `incoming` (bars with provenance; an answer has a key
once), `incoming_actions`, `incoming_lists` (answers that hold all of a symbol's actions of a kind),
`incoming_answers` (of the archive), `rejected` (symbol, timestamp of rows that transform refused).
"""

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from etl.base import parquet_sql, run_records
from etl.base.errors import InputError
from etl.contracts.files import CLEAN_BREACHES, CLEAN_COLUMNS, CLEAN_TYPES, DAILY, VOLUME_TYPES
from etl.rules.doubled_keys import find_unproven
from etl.rules.rejects import IS_REJECTED, IS_UNREADABLE_SYMBOL, REASON, REREAD, bind
from etl.settings import Settings

NO_ACTIONS = (
    "SELECT '' AS symbol, DATE '2000-01-01' AS ex_date, '' AS kind, 0.0 AS value, '' AS source,"
    " TIMESTAMP '2000-01-01' AS fetched_at, DATE '2000-01-01' AS last LIMIT 0"
)
NO_REJECTED = (
    "SELECT '' AS symbol, TIMESTAMP '2000-01-01' AS session, TIMESTAMP '2000-01-01' AS fetched_at"
    " LIMIT 0"
)
# So many rows are read once and kept: a view opens its file anew for each of thirty questions. More
# are not, for the memory that they take.
FEW_ROWS = 100_000
# A list without days is of all time.
ALWAYS = ("DATE '0001-01-01'", "DATE '9999-12-31'")


def read_input(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """`incoming`: the bars with source, basis and fetched_at (at worst the file's own time)."""
    columns = parquet_sql.read_columns(connection, path)
    check_types(columns, path)
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
    extra = {
        "source": ("VARCHAR", "'files'"),
        "basis": ("VARCHAR", parquet_sql.quote(settings.source_adjustment)),
        "fetched_at": ("TIMESTAMP", f"TIMESTAMP {parquet_sql.quote(str(modified))}"),
        "interval": ("VARCHAR", f"'{DAILY}'"),
        "volume_decimals": ("INTEGER", "0"),
        "volume_given": ("VARCHAR", "NULL"),
    }
    provenance = [
        f"coalesce({f'CAST({name} AS {kind}), ' if name in columns else ''}{default}) AS {name}"
        for name, (kind, default) in extra.items()
    ]
    picked = ["CAST(timestamp AS TIMESTAMP) AS timestamp", *CLEAN_COLUMNS[1:], *provenance]
    select = f"SELECT {', '.join(picked)} FROM {parquet_sql.scan(path)}"
    rows = connection.execute(f"SELECT count(*) FROM {parquet_sql.scan(path)}").fetchall()[0][0]
    if rows <= FEW_ROWS:
        connection.execute(f"CREATE TEMP TABLE read_rows AS {select}")
        select = "FROM read_rows"
    connection.execute(f"CREATE TEMP VIEW incoming AS {select}")
    check_rows(connection, settings, path)


def check_types(columns: dict[str, str], path: Path) -> None:
    present = {name: types for name, types in VOLUME_TYPES.items() if name in columns}
    for name, types in (CLEAN_TYPES | present).items():
        if name not in columns:
            raise InputError(f"{path} has no column {name}: it needs {', '.join(CLEAN_COLUMNS)}")
        if columns[name] not in types:
            wanted = " or ".join(types)
            raise InputError(
                f"{path}: column {name} is {columns[name]}, wanted {wanted}: cast it, or let"
                " transform do it (etl.transform --input)"
            )


def check_rows(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """NULL and doubled keys, and rows that transform would reject."""
    counted = ", ".join(f"count(*) FILTER ({condition})" for _, condition in CLEAN_BREACHES)
    counts = connection.execute(f"SELECT {counted} FROM incoming").fetchall()[0]
    for (breach, _), count in zip(CLEAN_BREACHES, counts, strict=True):
        if count:
            raise InputError(f"{path}: {count} rows with {breach}: run it through etl.transform")
    check_values(connection, settings, path)
    check_keys(connection, path)
    bases = connection.execute(
        "SELECT symbol FROM incoming GROUP BY symbol HAVING count(DISTINCT basis) > 1 LIMIT 1"
    ).fetchall()
    if bases:
        raise InputError(f"{path}: {bases[0][0]} comes on two bases: load the files one by one")
    mixed = "SELECT bool_or(source = 'sample') AND NOT bool_and(source = 'sample') FROM incoming"
    if connection.execute(mixed).fetchall()[0][0]:
        raise InputError(f"{path} mixes the sample with real bars: load the real ones alone")


def check_values(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """InputError where a rule of transform rejects a row."""
    reread = ", ".join(f"{sql} AS {name}" for name, sql in REREAD.items())
    rows = f"(SELECT *, {reread} FROM incoming)"
    if not has_rejected(connection, settings, rows):
        return
    reasons = connection.execute(
        bind(
            f"""SELECT reason, count(*), arg_min(symbol, timestamp), min(timestamp)::DATE::VARCHAR
            FROM (SELECT symbol, timestamp, {REASON} AS reason FROM {rows})
            WHERE reason IS NOT NULL GROUP BY reason ORDER BY ALL""",
            settings,
        )
    ).fetchall()
    listed = "; ".join(
        f"{count:,} rows with {reason} (the first: {symbol} {day})"
        for reason, count, symbol, day in reasons
    )
    raise InputError(f"{path}: {listed}: run it through etl.transform, which keeps the rest")


def has_rejected(connection: duckdb.DuckDBPyConnection, settings: Settings, rows: str) -> bool:
    """Whether any row is rejected: cheaper than the reason of each. A symbol is looked at once."""
    found = connection.execute(
        bind(
            f"""SELECT EXISTS (FROM (SELECT DISTINCT symbol FROM incoming)
                               WHERE {IS_UNREADABLE_SYMBOL})
            OR EXISTS (FROM {rows} WHERE {IS_REJECTED})""",
            settings,
        )
    ).fetchall()
    return bool(found[0][0])


def check_keys(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    find_unproven(connection, "FROM incoming")
    doubled = connection.execute(
        "SELECT symbol, strftime(timestamp, '%Y-%m-%d'), count(*)"
        " FROM incoming SEMI JOIN unproven USING (symbol)"
        " GROUP BY symbol, timestamp, fetched_at HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    ).fetchall()
    if doubled:
        symbol, day, count = doubled[0]
        raise InputError(f"{path}: {symbol} {day} is there {count} times: run it through transform")


def read_beside(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """What transform wrote together with these very bars: actions, lists, answers, `rejected`."""
    is_own = path.resolve() == settings.clean_path.resolve()
    run_id = run_records.read_run_id(path) if is_own else None
    actions = scan_beside(settings.clean_actions_path, run_id, NO_ACTIONS)
    connection.execute(
        f"""CREATE TEMP VIEW incoming_actions AS
        SELECT symbol, ex_date, kind, CASE kind WHEN 'split' THEN value END AS ratio,
               CASE kind WHEN 'dividend' THEN value END AS amount, source, fetched_at
        FROM ({actions}) WHERE kind IN ('split', 'dividend')"""
    )
    connection.execute(
        f"""CREATE TEMP VIEW incoming_lists AS
        SELECT DISTINCT symbol, CASE kind WHEN 'splits' THEN 'split' ELSE 'dividend' END AS kind,
               coalesce(ex_date, {ALWAYS[0]}) AS first, coalesce(last, {ALWAYS[1]}) AS last,
               fetched_at
        FROM ({actions}) WHERE kind IN ('splits', 'dividends')"""
    )
    connection.execute(
        f"""CREATE TEMP VIEW incoming_answers AS
        SELECT DISTINCT source, value::BIGINT AS number, fetched_at
        FROM ({actions}) WHERE kind = 'answer'"""
    )
    rejected = scan_beside(settings.rejected_path, run_id, NO_REJECTED)
    connection.execute(
        f"""CREATE TEMP VIEW rejected AS
        SELECT upper(trim(symbol)) AS symbol, session AS timestamp, fetched_at FROM ({rejected})
        WHERE session IS NOT NULL"""
    )


def scan_beside(path: Path, run_id: str | None, otherwise: str) -> str:
    """The SQL that reads `path` if it is of that run, else `otherwise`."""
    is_of_run = run_id is not None and run_records.read_run_id(path) == run_id
    return f"FROM {parquet_sql.scan(path)}" if is_of_run else otherwise
