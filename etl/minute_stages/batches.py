"""The clean minutes in batches that fit into memory, each with the notes on what it touches."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa

from etl.base import parquet_sql
from etl.contracts.minutes import (
    BATCH_BARS,
    NOTES,
    SESSIONS,
    SPANS,
    Batch,
    MinuteSnapshot,
)
from etl.contracts.minutes.changes import KEY, MATCHED, PLAIN, create
from etl.contracts.runs import LOADED
from etl.contracts.tables import raise_ten
from etl.market.sessions import MARGIN
from etl.rules.minute_notes import find_notes
from etl.settings import Settings

BATCH_ROWS = 250_000
COLUMNS = ", ".join(BATCH_BARS.names)
WITHIN = "timestamp >= begins AND timestamp < ends"  # the reach of a symbol
MARGIN_SQL = f"INTERVAL {MARGIN.days} DAYS"


Stretch = tuple[datetime, datetime, int]  # from, until (exclusive), rows


class Part(NamedTuple):
    """Bars from a month on, before another; of symbols from one to another, or of all."""

    start: datetime
    end: datetime
    rows: int
    symbols: tuple[str, str] | None = None

    @property
    def condition(self) -> str:
        span = f"timestamp >= TIMESTAMP '{self.start}' AND timestamp < TIMESTAMP '{self.end}'"
        if self.symbols is None:
            return span
        first, last = map(parquet_sql.quote, self.symbols)
        return f"{span} AND symbol BETWEEN {first} AND {last}"


def view_clean(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """`clean` and `raw_spans`: what transform and extract left."""
    for name, path in (
        ("clean", settings.clean_minutes_path),
        ("raw_spans", settings.raw_spans_path),
    ):
        connection.execute(f"CREATE TEMP VIEW {name} AS FROM {parquet_sql.scan(path)}")


def list_parts(connection: duckdb.DuckDBPyConnection) -> Iterator[Part]:
    """What is loaded at once: some whole months, or some symbols of a month that is too large, or
    some days of one of these."""
    for part in gather(count_rows(connection, "month", "true")):
        yield from split_month(connection, part) if part.rows > BATCH_ROWS else [part]


def count_rows(connection: duckdb.DuckDBPyConnection, unit: str, condition: str) -> list[Stretch]:
    """The rows of each month or day that has some."""
    return connection.execute(
        f"""SELECT start, (start + INTERVAL 1 {unit})::TIMESTAMP, count(*)
        FROM (SELECT date_trunc('{unit}', timestamp)::TIMESTAMP AS start
              FROM clean WHERE {condition})
        GROUP BY ALL ORDER BY ALL"""
    ).fetchall()


def gather(stretches: Iterable[Stretch], symbols: tuple[str, str] | None = None) -> Iterator[Part]:
    """As many together as a batch holds, and one at least."""
    part: Part | None = None
    for start, end, rows in stretches:
        if part and part.rows + rows > BATCH_ROWS:
            yield part
            part = None
        part = Part(part.start if part else start, end, rows + (part.rows if part else 0), symbols)
    if part:
        yield part


def split_month(connection: duckdb.DuckDBPyConnection, month: Part) -> Iterator[Part]:
    counts = connection.execute(
        f"SELECT symbol, count(*) FROM clean WHERE {month.condition} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    for first, last, rows in join_symbols(counts):
        part = Part(month.start, month.end, rows, (first, last))
        if rows > BATCH_ROWS:
            yield from gather(count_rows(connection, "day", part.condition), part.symbols)
        else:
            yield part


def join_symbols(counts: Iterable[tuple[str, int]]) -> Iterator[tuple[str, str, int]]:
    """First and last of some symbols, and their rows: as many as a batch holds, one at least."""
    first, last, total = "", "", 0
    for symbol, rows in counts:
        if total and total + rows > BATCH_ROWS:
            yield first, last, total
            total = 0
        first, last, total = (first if total else symbol), symbol, total + rows
    if total:
        yield first, last, total


def build_batch(
    connection: duckdb.DuckDBPyConnection, snapshot: MinuteSnapshot, interval: str, part: Part
) -> Batch:
    """The bars of a part, and the notes on all sessions that it touches.

    Notes are replaced from the first to the last bar of a symbol in the batch: so the stored bars
    at both ends of those sessions come with it, which changes nothing of them. `removed` has the
    symbols whose stored bars are taken out.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE coming AS SELECT {COLUMNS} FROM clean WHERE {part.condition}"
    )
    find_reach(connection)
    join_stored(connection, snapshot, interval)
    find_notes(connection)
    return Batch(
        interval,
        read(
            connection,
            f"SELECT {COLUMNS} FROM coming UNION ALL SELECT {COLUMNS} FROM edges",
            BATCH_BARS,
        ),
        read_exchanges(connection),
        read(
            connection,
            NOTES_HERE,
            NOTES,
        ),
        read(connection, SESSIONS_NEAR, SESSIONS),
    )


# Those between the first and the last bar of a symbol in the batch: what is said of other bars of
# their sessions, the batch says that brings these.
NOTES_HERE = f"""
SELECT {", ".join(NOTES.names)} FROM notes JOIN (
    SELECT symbol, min(timestamp) AS first, max(timestamp) AS last
    FROM (SELECT symbol, timestamp FROM coming UNION ALL SELECT symbol, timestamp FROM edges)
    GROUP BY symbol) USING (symbol)
WHERE timestamp BETWEEN first AND last"""
# The sessions of the bars, and those of a month before and after: a bar of a Saturday is of the
# session that is nearest.
SESSIONS_NEAR = f"""
SELECT DISTINCT {", ".join(f"s.{name}" for name in SESSIONS.names)}
FROM session_spans s JOIN (
    SELECT exchange, min(begins) AS begins, max(ends) AS ends
    FROM reach JOIN symbol_exchanges USING (symbol) GROUP BY exchange) r USING (exchange)
WHERE s.open BETWEEN r.begins - {MARGIN_SQL} AND r.ends + {MARGIN_SQL}"""
# From when until when the sessions of a symbol last that the batch touches; without one a day.
REACH = """
CREATE OR REPLACE TEMP TABLE reach AS
WITH ends_of AS (
    SELECT symbol, exchange, unnest([min(timestamp), max(timestamp)]) AS stamp
    FROM coming JOIN symbol_exchanges USING (symbol) GROUP BY symbol, exchange),
placed AS (
    SELECT e.symbol, stamp, s.begins, s.ends FROM ends_of e
    ASOF LEFT JOIN session_spans s ON s.exchange = e.exchange AND e.stamp >= s.begins)
SELECT symbol,
       min(CASE WHEN stamp < ends THEN begins ELSE date_trunc('day', stamp) END) AS begins,
       max(CASE WHEN stamp < ends THEN ends
           ELSE date_trunc('day', stamp) + INTERVAL 1 DAY END) AS ends
FROM placed GROUP BY symbol"""


def find_reach(connection: duckdb.DuckDBPyConnection) -> None:
    """`reach` (symbol, begins, ends)."""
    connection.execute(REACH)


def join_stored(
    connection: duckdb.DuckDBPyConnection, snapshot: MinuteSnapshot, interval: str
) -> None:
    """`bars`: those of the sessions of the batch, as they will be stored; `known`: as they are;
    `edges`: the first and the last stored one of each symbol."""
    symbols, start, end = connection.execute(
        "SELECT list(symbol ORDER BY symbol), min(begins), max(ends) FROM reach"
    ).fetchall()[0]
    # told in literals, so that of a large file only these row groups are read
    near = Part(start, end, 0, (symbols[0], symbols[-1])).condition
    connection.register("stored_here", snapshot.stored(symbols, interval, start, end))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE known AS
        SELECT k.* FROM stored_here k JOIN reach USING (symbol) ANTI JOIN removed USING (symbol)
        WHERE {WITHIN}"""
    )
    connection.unregister("stored_here")
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE edges AS
        SELECT * RENAME (seen_at AS fetched_at)
        FROM known ANTI JOIN coming USING (symbol, timestamp)
        QUALIFY 1 IN (row_number() OVER (PARTITION BY symbol ORDER BY timestamp),
                      row_number() OVER (PARTITION BY symbol ORDER BY timestamp DESC))"""
    )
    prices = "symbol, timestamp, open, high, low, close"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE bars AS
        SELECT {prices}, volume::DOUBLE / {raise_ten("volume_decimals")} AS volume, seen_at
        FROM (SELECT {prices}, volume, volume_decimals, seen_at, 0 AS place FROM known
              UNION ALL SELECT {prices}, volume, volume_decimals, fetched_at, 1
              FROM (FROM clean WHERE {near}) JOIN reach USING (symbol) WHERE {WITHIN})
        QUALIFY row_number() OVER (
            PARTITION BY symbol, timestamp ORDER BY seen_at DESC, place DESC) = 1"""
    )


def read(connection: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema) -> pa.Table:
    table: pa.Table = connection.sql(query).to_arrow_table()
    return table.select(schema.names).cast(schema)


def read_exchanges(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT symbol, coalesce(exchange, '') FROM symbol_exchanges SEMI JOIN reach USING (symbol)"
    )
    return dict(rows.fetchall())


# As far as its bars were kept: outside START_DATE to END_DATE nothing is known. A span of which
# nothing is left stays, without length: it says that the store has taken its answer.
KEPT_SPANS = """
SELECT DISTINCT symbol, least(start, until) AS start, least(greatest(start, "end"), until) AS "end",
       source, fetched_at
FROM (SELECT symbol, source, fetched_at, "end", greatest(start, kept_from) AS start,
             least("end", kept_until) AS until
      FROM raw_spans JOIN symbol_exchanges USING (symbol))
ORDER BY ALL"""


def build_spans(connection: duckdb.DuckDBPyConnection, interval: str) -> Batch:
    """What was asked for whole, as a batch without bars."""
    spans = read(connection, KEPT_SPANS, SPANS)
    return Batch(interval, BATCH_BARS.empty_table(), spans=spans)


# What becomes of the bars of the batch, symbol by symbol, as the store counts them in all.
STEPS = (
    "CREATE OR REPLACE TEMP VIEW minutes_given AS FROM coming",
    "CREATE OR REPLACE TEMP VIEW minutes_stored AS FROM known",
    create("coming", PLAIN),
    create("repeated", f"SELECT {KEY} FROM minutes_coming GROUP BY ALL HAVING count(*) > 1"),
    create("matched", MATCHED),
)
OUTCOMES = """
SELECT symbol, count(*) FILTER (is_new), count(*) FILTER (NOT is_new AND NOT is_same AND is_newer),
       count(*) FILTER (NOT is_new AND is_same),
       count(*) FILTER (NOT is_new AND NOT is_same AND NOT is_newer),
       any_value(came) - count(*)
FROM minutes_matched JOIN (SELECT symbol, count(*) AS came FROM coming GROUP BY symbol)
USING (symbol) GROUP BY symbol"""


def count_outcomes(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Symbol → what became of its bars of the last batch, by the names of etl.contracts.runs."""
    for step in STEPS:
        connection.execute(step)
    rows = connection.execute(OUTCOMES).fetchall()
    for name in ("coming", "repeated", "matched"):
        connection.execute(f"DROP TABLE minutes_{name}")
    return {symbol: dict(zip(LOADED, counts, strict=True)) for symbol, *counts in rows}
