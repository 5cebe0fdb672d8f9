"""Upsert the clean bars into data/market_data.duckdb and publish it as one new version.

Loads data/clean_data.parquet; finds the bars that are new or different; writes them into a copy
of the published file and puts the copy in its place. It stores and never judges: an input that
does not keep the contract is refused whole.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from pathlib import Path
from typing import Any

import duckdb

from etl import publish, stage
from etl.errors import InputError, StoreError
from etl.schema import CLEAN_BREACHES, CLEAN_COLUMNS, CLEAN_TYPES, SCHEMA_VERSION, TABLES
from etl.settings import Settings

log = logging.getLogger("etl")

VALUES = ("open", "high", "low", "close", "volume")
# Behind so many unsorted rows the table is written out in order again (see DESIGN.md).
UNSORTED_SHARE = 0.005
SMALL_STORE = 500_000

INSERT = f"""
INSERT INTO next.ohlcv_data ({", ".join(CLEAN_COLUMNS)})
SELECT {", ".join(CLEAN_COLUMNS)} FROM changes ORDER BY symbol, timestamp"""
UPSERT = f"""{INSERT}
ON CONFLICT (symbol, timestamp) DO UPDATE SET {", ".join(f"{v} = excluded.{v}" for v in VALUES)}"""


def main(argv: list[str] | None = None) -> int:
    parser = stage.build_parser("etl.load", __doc__)
    parser.add_argument("--input", type=stage.from_here, help="clean Parquet file or folder")
    parser.add_argument("--database", type=stage.from_here, help="DuckDB file to publish")
    return stage.main(parser, "load", load, argv)


def load(settings: Settings, args: argparse.Namespace, run: stage.Run | None = None) -> None:
    """Act 1: read the input and the store. Act 2: find the changes. Act 3: publish them."""
    path: Path = getattr(args, "input", None) or settings.clean_path
    database: Path = getattr(args, "database", None) or settings.database_path
    run = run or stage.open_run(settings, path)
    with run.record_stage("load") as record, stage.connect(settings) as connection:
        read_input(connection, settings, path)
        read_actions(connection, settings, path)
        is_fresh = open_store(connection, database)
        check_basis(connection)
        record.update(find_changes(connection, is_fresh))
        if record["inserted"] or record["updated"] or find_new_actions(connection):
            record["generation"] = publish_next(connection, database, run.run_id, record, is_fresh)
        report(record)


def read_input(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """`incoming`: the clean bars with source and basis. InputError where the contract is broken."""
    columns = stage.read_columns(connection, path)
    for name, types in CLEAN_TYPES.items():
        if name not in columns:
            raise InputError(f"{path} has no column {name}: it needs {', '.join(CLEAN_COLUMNS)}")
        if columns[name] not in types:
            wanted = " or ".join(types)
            raise InputError(
                f"{path}: column {name} is {columns[name]}, wanted {wanted}: cast it, or let"
                " transform do it (etl.transform --input)"
            )
    defaults = {"source": "'files'", "basis": stage.quote(settings.source_adjustment)}
    extra = [
        f"coalesce({f'CAST({name} AS VARCHAR), ' if name in columns else ''}{default}) AS {name}"
        for name, default in defaults.items()
    ]
    picked = [f"CAST(timestamp AS TIMESTAMP) AS timestamp, {', '.join(CLEAN_COLUMNS[1:])}", *extra]
    connection.execute(
        f"CREATE TEMP VIEW incoming AS SELECT {', '.join(picked)} FROM {stage.scan(path)}"
    )
    check_contract(connection, path)


def check_contract(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse, never repair: NULL and doubled keys, and values that no store may hold."""
    counted = ", ".join(f"count(*) FILTER ({condition})" for _, condition in CLEAN_BREACHES)
    counts = connection.execute(f"SELECT {counted} FROM incoming").fetchall()[0]
    for (breach, _), count in zip(CLEAN_BREACHES, counts, strict=True):
        if count:
            raise InputError(f"{path}: {count} rows with {breach}: run it through etl.transform")
    doubled = connection.execute(
        "SELECT symbol, strftime(timestamp, '%Y-%m-%d'), count(*) FROM incoming"
        " GROUP BY symbol, timestamp HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    ).fetchall()
    if doubled:
        symbol, day, count = doubled[0]
        raise InputError(f"{path}: {symbol} {day} is there {count} times: run it through transform")
    bases = connection.execute(
        "SELECT symbol FROM incoming GROUP BY symbol HAVING count(DISTINCT basis) > 1 LIMIT 1"
    ).fetchall()
    if bases:
        raise InputError(f"{path}: {bases[0][0]} comes on two bases: load the files one by one")
    mixed = "SELECT bool_or(source = 'sample') AND NOT bool_and(source = 'sample') FROM incoming"
    if publish.read_one(connection, mixed):
        raise InputError(f"{path} mixes the sample with real bars: load the real ones alone")


def read_actions(connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path) -> None:
    """`incoming_actions`: those that transform typed together with these very bars."""
    actions = settings.clean_actions_path
    belongs = path == settings.clean_path and actions.exists()
    if belongs and stage.read_run_id(actions) == stage.read_run_id(path):
        source = stage.scan(actions)
    else:
        source = (
            "(SELECT '' AS symbol, DATE '2000-01-01' AS ex_date, '' AS kind, 0.0 AS value,"
            " '' AS source LIMIT 0)"
        )
    connection.execute(
        f"""CREATE TEMP VIEW incoming_actions AS
        SELECT symbol, ex_date, kind, CASE kind WHEN 'split' THEN value END AS ratio,
               CASE kind WHEN 'dividend' THEN value END AS amount, source FROM {source}"""
    )


def open_store(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """`store`: the published file; an empty one (returns True) at first, or instead of the sample.

    Raises StoreError when the sample would join real bars.
    """
    if path.exists():
        publish.attach_store(connection, path, "store")
        if not gives_way(connection):
            return False
        connection.execute("DETACH store")
    connection.execute("ATTACH ':memory:' AS store")
    create_tables(connection, "store")
    return True


def create_tables(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for table, ddl in TABLES.items():
        connection.execute(ddl.replace(f"TABLE {table}", f"TABLE {name}.{table}"))


def gives_way(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the store holds the sample and real bars come."""
    is_sample = "SELECT bool_and(source = 'sample') FROM "
    all_stored = publish.read_one(connection, is_sample + "store.instruments")
    all_coming = publish.read_one(connection, is_sample + "incoming")  # None: nothing comes
    if all_coming and all_stored is False:
        raise StoreError(
            "the store holds real bars, and the sample does not mix with them: set AV_API_KEY or"
            " SOURCE, or try the sample in a folder of its own (DATA_DIR)"
        )
    if all_stored and all_coming is False:
        bars = publish.read_one(connection, "SELECT count(*) FROM store.ohlcv_data")
        log.warning("load: real bars come, so the sample's %s bars are dropped", f"{bars:,}")
        return True
    return False


def check_basis(connection: duckdb.DuckDBPyConnection) -> None:
    """Bars as traded and bars adjusted for splits never mix within a symbol."""
    clash = connection.execute(
        """SELECT symbol, s.basis, i.basis
        FROM (SELECT symbol, any_value(basis) AS basis FROM incoming GROUP BY symbol) i
        JOIN store.instruments s USING (symbol) WHERE s.basis <> i.basis ORDER BY symbol"""
    ).fetchall()
    if clash:
        symbol, stored, came = clash[0]
        raise StoreError(
            f"{symbol} is stored with basis {stored} and comes with basis {came} (symbols with"
            f" this clash: {len(clash)}): set SOURCE_ADJUSTMENT={stored} if that is what the"
            " prices are, or load them into a store of their own (DATA_DIR)"
        )


def find_changes(connection: duckdb.DuckDBPyConnection, is_fresh: bool) -> dict[str, Any]:
    """`changes`: the incoming bars that are new (is_new) or differ; counts of all three kinds."""
    if is_fresh:  # nothing to compare with: a view spares the memory of a copy
        connection.execute("CREATE TEMP VIEW changes AS SELECT *, true AS is_new FROM incoming")
        count = publish.read_one(connection, "SELECT count(*) FROM incoming")
        return {"inserted": count, "updated": 0, "unchanged": 0}
    differs = " OR ".join(f"i.{name} IS DISTINCT FROM s.{name}" for name in VALUES)
    connection.execute(
        f"""CREATE TEMP TABLE changes AS
        SELECT i.*, s.symbol IS NULL AS is_new FROM incoming i
        LEFT JOIN store.ohlcv_data s ON i.symbol = s.symbol AND i.timestamp = s.timestamp
        WHERE s.symbol IS NULL OR {differs}"""
    )
    total, inserted, updated = connection.execute(
        """SELECT (SELECT count(*) FROM incoming), count(*) FILTER (is_new),
                  count(*) FILTER (NOT is_new) FROM changes"""
    ).fetchall()[0]
    return {"inserted": inserted, "updated": updated, "unchanged": total - inserted - updated}


def find_new_actions(connection: duckdb.DuckDBPyConnection) -> bool:
    columns = "symbol, ex_date, kind, ratio, amount"
    new = f"SELECT {columns} FROM incoming_actions EXCEPT SELECT {columns} FROM store."
    return bool(connection.execute(f"{new}corporate_actions LIMIT 1").fetchall())


def publish_next(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    run_id: str,
    record: dict[str, Any],
    is_fresh: bool,
) -> str:
    """Build the next version beside the published one, check it, put it in its place."""
    before, listed, unsorted, version = connection.execute(
        f"""SELECT (SELECT count(*) FROM store.ohlcv_data),
                   (SELECT coalesce(sum(bars), 0) FROM store.instruments),
                   coalesce(max(unsorted_rows), 0), coalesce(max(schema_version), {SCHEMA_VERSION})
            FROM store.generation"""
    ).fetchall()[0]
    was_touched = before != listed or publish.wal_of(path).exists()
    connection.execute("DETACH store")
    generation = publish.make_generation(path)
    next_path = start_next(connection, path, is_fresh)
    if was_touched and not is_fresh:
        mend_instruments(connection)
    write_changes(connection, is_fresh)
    bars = before + record["inserted"]
    unsorted += 0 if is_fresh else record["inserted"] + record["updated"]
    if version < SCHEMA_VERSION or unsorted > (0 if bars < SMALL_STORE else bars * UNSORTED_SHARE):
        rewrite_sorted(connection, next_path)
        unsorted = 0
    connection.execute("DELETE FROM next.generation")
    connection.execute(
        "INSERT INTO next.generation VALUES (?, ?, ?::TIMESTAMP, ?, ?)",
        [generation, SCHEMA_VERSION, stage.format_instant(), run_id, unsorted],
    )
    check_next(connection, bars)
    connection.execute("CHECKPOINT next")
    connection.execute("DETACH next")
    publish.publish_store(next_path, path)
    return generation


def start_next(connection: duckdb.DuckDBPyConnection, path: Path, is_fresh: bool) -> Path:
    """`next`: a copy of the published file to work on, or an empty one."""
    next_path = publish.next_of(path)
    publish.discard(next_path)
    if not is_fresh:
        publish.copy_store(path, next_path)
    connection.execute(f"ATTACH {stage.quote(next_path)} AS next")
    if is_fresh:
        create_tables(connection, "next")
    return next_path


def mend_instruments(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring `instruments` in step with bars that another program wrote into the published file."""
    log.warning("load: another program changed the database; its changes are kept")
    connection.execute(
        """CREATE TEMP TABLE found AS
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, count(*) AS bars,
               arg_max(close, timestamp) AS last_close FROM next.ohlcv_data GROUP BY symbol"""
    )
    connection.execute(
        "DELETE FROM next.instruments WHERE symbol NOT IN (SELECT symbol FROM found)"
    )
    connection.execute(
        """INSERT INTO next.instruments SELECT *, 'files', 'raw' FROM found
        ON CONFLICT (symbol) DO UPDATE SET first = excluded.first, last = excluded.last,
            bars = excluded.bars, last_close = excluded.last_close"""
    )


def write_changes(connection: duckdb.DuckDBPyConnection, is_fresh: bool) -> None:
    # several threads keep the order of a plain INSERT, but not of one with ON CONFLICT
    connection.execute(INSERT if is_fresh else UPSERT)
    connection.execute(
        """INSERT INTO next.instruments
        SELECT symbol, min(timestamp), max(timestamp), count(*) FILTER (is_new),
               arg_max(close, timestamp), any_value(source), any_value(basis)
        FROM changes GROUP BY symbol ORDER BY symbol
        ON CONFLICT (symbol) DO UPDATE SET
            first = least(first, excluded.first), last = greatest(last, excluded.last),
            bars = bars + excluded.bars, source = excluded.source, basis = excluded.basis,
            last_close = CASE WHEN excluded.last >= last THEN excluded.last_close
                              ELSE last_close END"""
    )
    connection.execute(
        """INSERT INTO next.corporate_actions
        SELECT symbol, ex_date, kind, ratio, amount, source FROM incoming_actions ORDER BY ALL
        ON CONFLICT (symbol, ex_date, kind) DO UPDATE SET
            ratio = excluded.ratio, amount = excluded.amount, source = excluded.source"""
    )


def rewrite_sorted(connection: duckdb.DuckDBPyConnection, next_path: Path) -> None:
    """Replace `next` by the same tables written out in order: what makes reads of a symbol fast."""
    sorted_path = next_path.with_name(next_path.name + ".sorted")
    publish.discard(sorted_path)
    connection.execute(f"ATTACH {stage.quote(sorted_path)} AS sorted")
    create_tables(connection, "sorted")
    for table in TABLES:
        order = "symbol, timestamp" if table == "ohlcv_data" else "ALL"
        connection.execute(f"INSERT INTO sorted.{table} BY NAME FROM next.{table} ORDER BY {order}")
    connection.execute("CHECKPOINT sorted")
    connection.execute("DETACH next")
    connection.execute("DETACH sorted")
    publish.discard(next_path)
    sorted_path.replace(next_path)
    connection.execute(f"ATTACH {stage.quote(next_path)} AS next")


def check_next(connection: duckdb.DuckDBPyConnection, bars: int) -> None:
    """Refuse to publish what does not add up. That keys are unique the constraint sees to."""
    found = connection.execute(
        """SELECT (SELECT count(*) FROM next.ohlcv_data),
            (SELECT count(*) FROM next.ohlcv_data WHERE symbol IS NULL OR timestamp IS NULL),
            (SELECT coalesce(sum(bars), 0) FROM next.instruments),
            (SELECT count(*) FROM duckdb_constraints() WHERE database_name = 'next'
             AND table_name = 'ohlcv_data' AND constraint_type = 'UNIQUE')"""
    ).fetchall()[0]
    if found != (bars, 0, bars, 1):
        raise StoreError(
            f"the next version does not add up ({bars} bars wanted; bars, NULL keys, bars by"
            f" instrument, constraints: {found}): the published one stays"
        )


def report(record: dict[str, Any]) -> None:
    log.info(
        "load: %s inserted, %s updated, %s unchanged; %s",
        *(f"{record[name]:,}" for name in ("inserted", "updated", "unchanged")),
        f"published as {record['generation']}"
        if record.get("generation")
        else "nothing to publish",
    )


if __name__ == "__main__":
    raise SystemExit(main())
