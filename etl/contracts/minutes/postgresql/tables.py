"""The tables of the store, all in the schema `minutes` of one database.

Bars are partitioned by month: a load touches the month that it is about alone, and one symbol's
month lies in few pages. Where the extension timescaledb is in the database before the tables are,
they are hypertables in its place: compressed after a while, and with bars of an hour beside them
for whoever asks in SQL. The statements that read and write are the same.
"""

from collections.abc import Iterable
from datetime import datetime

from psycopg.errors import InvalidSchemaName, UndefinedTable

from etl.contracts.minutes import BASE_INTERVALS
from etl.contracts.minutes.postgresql.connections import Connection

SCHEMA = "minutes"
FORMAT = 1  # of the tables: a store of another one is not touched
ABSENT = (UndefinedTable, InvalidSchemaName)  # what is told of a store that was never written

# Numbers first, for they then lie where they need no padding. Sums (digests.py) are 64 bits, with a
# sign here.
OF_BAR = """
    timestamp timestamp NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume bigint CHECK (volume >= 0),
    known_at timestamp NOT NULL,
    volume_decimals smallint NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL"""
COMMON = f"""
CREATE TABLE {SCHEMA}.generation (
    generation text COLLATE "C" NOT NULL,
    counter bigint NOT NULL,
    published_at timestamp NOT NULL,
    run_id text NOT NULL,
    changes_kept_from bigint NOT NULL,
    changes bigint NOT NULL,
    format integer NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
-- changed_in: the generation that last changed anything of the symbol, or of the calendar
CREATE TABLE {SCHEMA}.instruments (
    symbol text COLLATE "C" NOT NULL,
    interval text COLLATE "C" NOT NULL,
    exchange text COLLATE "C" NOT NULL,
    bars bigint NOT NULL,
    first timestamp,
    last timestamp,
    decimals smallint NOT NULL,
    room smallint NOT NULL,
    digest bigint NOT NULL,
    known bigint NOT NULL,
    revised bigint NOT NULL,
    noted bigint NOT NULL,
    asked bigint NOT NULL,
    sources text[] COLLATE "C" NOT NULL,
    changed_in text COLLATE "C" NOT NULL,
    PRIMARY KEY (interval, symbol)
);
CREATE TABLE {SCHEMA}.calendars (
    exchange text COLLATE "C" PRIMARY KEY,
    changed_in text COLLATE "C" NOT NULL
);
CREATE TABLE {SCHEMA}.sessions (
    exchange text COLLATE "C" NOT NULL,
    session date NOT NULL,
    open timestamp NOT NULL,
    close timestamp NOT NULL,
    break_start timestamp,
    break_end timestamp,
    PRIMARY KEY (exchange, session)
);
CREATE TABLE {SCHEMA}.changes (
    counter bigint NOT NULL,
    number integer NOT NULL,
    kind text COLLATE "C" NOT NULL,
    interval text COLLATE "C" NOT NULL,
    {OF_BAR},
    PRIMARY KEY (counter, number)
);"""
OF_INTERVAL = f"""
CREATE TABLE {SCHEMA}.bars_{{interval}} (
    {OF_BAR},
    seen_at timestamp NOT NULL,
    PRIMARY KEY (symbol, timestamp)
) {{partitioned}};
CREATE TABLE {SCHEMA}.revisions_{{interval}} (
    {OF_BAR},
    known_until timestamp NOT NULL,
    PRIMARY KEY (symbol, timestamp, known_at)
);
CREATE TABLE {SCHEMA}.notes_{{interval}} (
    symbol text COLLATE "C" NOT NULL,
    timestamp timestamp NOT NULL,
    kind text COLLATE "C" NOT NULL,
    detail text COLLATE "C"
);
CREATE INDEX ON {SCHEMA}.notes_{{interval}} (symbol, timestamp);
CREATE TABLE {SCHEMA}.spans_{{interval}} (
    symbol text COLLATE "C" NOT NULL,
    start timestamp NOT NULL,
    "end" timestamp NOT NULL,
    source text COLLATE "C" NOT NULL,
    fetched_at timestamp NOT NULL
);
CREATE INDEX ON {SCHEMA}.spans_{{interval}} (symbol, start);"""

# Bars of an hour are those of the clock in UTC: the service makes its own, from the session's open.
HYPERTABLE = f"""
SELECT create_hypertable('{SCHEMA}.bars_{{interval}}', 'timestamp',
    chunk_time_interval => INTERVAL '1 month');
ALTER TABLE {SCHEMA}.bars_{{interval}} SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'symbol', timescaledb.compress_orderby = 'timestamp');
SELECT add_compression_policy('{SCHEMA}.bars_{{interval}}', INTERVAL '60 days');
CREATE MATERIALIZED VIEW {SCHEMA}.hours_{{interval}} WITH (timescaledb.continuous) AS
    SELECT symbol, time_bucket('1 hour', timestamp) AS timestamp, first(open, timestamp) AS open,
           max(high) AS high, min(low) AS low, last(close, timestamp) AS close,
           sum(volume) AS volume
    FROM {SCHEMA}.bars_{{interval}} GROUP BY 1, 2 WITH NO DATA;
SELECT add_continuous_aggregate_policy('{SCHEMA}.hours_{{interval}}',
    start_offset => INTERVAL '90 days', end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour');"""
# A table of its own first: to create it as a partition would shut out who reads until the end of
# the transaction, to attach it does not.
MONTH = f"""
CREATE TABLE {SCHEMA}.{{month}} (LIKE {SCHEMA}.{{table}} INCLUDING ALL);
ALTER TABLE {SCHEMA}.{{table}} ATTACH PARTITION {SCHEMA}.{{month}}
    FOR VALUES FROM ('{{start}}') TO ('{{end}}');"""


def run(connection: Connection, statements: str) -> None:
    connection.execute(statements.encode())


def create_tables(connection: Connection) -> None:
    """Within the transaction of the load that is the first."""
    run(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    run(connection, COMMON)
    is_hyper = has_timescale(connection)
    partitioned = "" if is_hyper else "PARTITION BY RANGE (timestamp)"
    for interval in BASE_INTERVALS:
        run(connection, OF_INTERVAL.format(interval=interval, partitioned=partitioned))
        if is_hyper:
            run(connection, HYPERTABLE.format(interval=interval))


def has_tables(connection: Connection) -> bool:
    """False too where another program has the schema: to create them is then refused."""
    return connection.execute(b"SELECT to_regclass('minutes.generation')").fetchone() != (None,)


def has_timescale(connection: Connection) -> bool:
    found = connection.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
    return found.rowcount > 0


def add_months(connection: Connection, table: str, instants: Iterable[datetime]) -> None:
    """A partition for each month that has none yet; nothing to do where bars are a hypertable."""
    kind = connection.execute(
        "SELECT relkind FROM pg_class WHERE oid = %s::regclass", (f"{SCHEMA}.{table}",)
    ).fetchone()
    if kind != ("p",):
        return
    for year, month in sorted({(each.year, each.month) for each in instants}):
        name = f"{table}_{year:04}_{month:02}"
        there = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{name}",)).fetchone()
        if there == (None,):
            start = datetime(year, month, 1)  # noqa: DTZ001
            end = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001
            run(connection, MONTH.format(table=table, month=name, start=start, end=end))
