"""What a batch changes beside the bars, reckoned in DuckDB over what the server said is there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes import NOTES, Batch
from etl.contracts.minutes.digests import ACCOUNT, DIGITS, SUMS, sum_notes, sum_spans
from etl.contracts.minutes.instruments import ACCOUNTS
from etl.contracts.minutes.postgresql.reading import Span

ALL_SUMS = (*SUMS, "noted", "asked")
RANGES = pa.schema(
    [ACCOUNT.field("symbol"), ("first", pa.timestamp("us")), ("last", pa.timestamp("us"))]
)
# Each table has some of the columns: what it does not say changes nothing.
JOIN = f"""
SELECT '{{interval}}' AS interval, symbol, coalesce(max(chosen), max(exchange), '') AS exchange,
       coalesce(sum(bars), 0)::BIGINT AS bars, min(first) AS first, max(last) AS last,
       coalesce(max(decimals), 0)::TINYINT AS decimals,
       coalesce(min(room), {DIGITS})::TINYINT AS room,
       {", ".join(f"coalesce(bit_xor({name}), 0)::UBIGINT AS {name}" for name in ALL_SUMS)},
       coalesce(list_sort(list_distinct(flatten(list(sources) FILTER (sources IS NOT NULL)))), [])
           AS sources
FROM (FROM there UNION ALL BY NAME FROM changed
      UNION ALL BY NAME SELECT symbol, sum AS noted FROM ({sum_notes("FROM noted")})
      UNION ALL BY NAME SELECT symbol, sum AS asked FROM ({sum_spans("FROM asked")})
      UNION ALL BY NAME SELECT symbol, exchange AS chosen FROM chosen)
GROUP BY symbol HAVING count(*) > count(chosen)"""
NOTES_MOVED = """
WITH replaced AS (SELECT t.* FROM there t JOIN ranges r
                  ON t.symbol = r.symbol AND t.timestamp BETWEEN r.first AND r.last)
SELECT true AS comes, * FROM (FROM coming EXCEPT FROM replaced)
UNION ALL SELECT false, * FROM (FROM replaced EXCEPT FROM coming)"""


@contextmanager
def given(engine: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    for name, table in tables.items():
        engine.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            engine.unregister(name)


def find_new(engine: duckdb.DuckDBPyConnection, coming: pa.Table, there: pa.Table) -> pa.Table:
    """The rows that are not there, each once."""
    with given(engine, coming=coming, there=there):
        return engine.sql("FROM coming EXCEPT FROM there").to_arrow_table().cast(coming.schema)


def move_notes(
    engine: duckdb.DuckDBPyConnection, batch: Batch, there: pa.Table, ranges: Mapping[str, Span]
) -> tuple[pa.Table, pa.Table]:
    """Notes that come, and that go because those of their range are replaced."""
    rows = [{"symbol": s, "first": first, "last": last} for s, (first, last) in ranges.items()]
    within = pa.Table.from_pylist(rows, RANGES)
    with given(engine, coming=batch.notes.cast(NOTES), there=there, ranges=within):
        return split(engine.sql(NOTES_MOVED).to_arrow_table(), NOTES)


def split(moved: pa.Table, schema: pa.Schema) -> tuple[pa.Table, pa.Table]:
    comes = moved["comes"]
    come, gone = (moved.filter(which).select(schema.names) for which in (comes, pc.invert(comes)))
    return come.cast(schema), gone.cast(schema)


def join_accounts(
    engine: duckdb.DuckDBPyConnection,
    batch: Batch,
    there: pa.Table,
    changed: pa.Table,
    noted: pa.Table,
    asked: pa.Table,
) -> pa.Table:
    """ACCOUNTS of the symbols of a batch that are others then. there: those of its interval;
    changed: what the bars change; noted: notes that come or go; asked: spans that come."""
    pairs = {"symbol": list(batch.exchanges), "exchange": list(batch.exchanges.values())}
    chosen = pa.table(pairs, pa.schema([ACCOUNTS.field("symbol"), ACCOUNTS.field("exchange")]))
    with given(engine, there=there, changed=changed, noted=noted, asked=asked, chosen=chosen):
        names = ", ".join(f'"{name}"' for name in ACCOUNTS.names)
        joined = JOIN.format(interval=batch.interval)
        found = engine.sql(f"SELECT {names} FROM ({joined}) EXCEPT SELECT {names} FROM there")
        return found.to_arrow_table().cast(ACCOUNTS)
