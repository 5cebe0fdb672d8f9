"""The index: what is known of all symbols, so that no reader scans the months for it."""

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from etl.contracts.minutes import SESSIONS, SPANS, MinuteInstrument
from etl.contracts.minutes.digests import SUMS, sum_spans
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles
from etl.contracts.minutes.duckdb_files.layout import list_columns
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile
from etl.contracts.minutes.duckdb_files.reading import ask
from etl.contracts.minutes.instruments import ACCOUNTS, describe

TABLES = ("instruments", "sessions", "spans")
Instruments = Mapping[tuple[str, str], MinuteInstrument]


class Known:
    """The instruments of the newest generation. Those of the index are described once for all
    generations that have it and the same sessions: live batches come each second."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:")
        self.index: PublishedFile | None = None
        self.live_sessions = self.sessions = SESSIONS.empty_table()
        self.of_index: Instruments = {}

    def read(self, files: AttachedFiles, manifest: Manifest) -> Instruments:
        live_sessions = read_table(files, manifest.live, "sessions", SESSIONS)
        if manifest.index != self.index or not live_sessions.equals(self.live_sessions):
            self.sessions = read_sessions(files, manifest, live_sessions)
            accounts = read_table(files, manifest.index, "instruments", ACCOUNTS)
            self.of_index = describe(self.connection, accounts, self.sessions)
            self.index, self.live_sessions = manifest.index, live_sessions
        live = read_table(files, manifest.live, "instruments", ACCOUNTS)
        if not live.num_rows:
            return self.of_index
        return {**self.of_index, **describe(self.connection, live, self.sessions)}


def read_table(
    files: AttachedFiles, file: PublishedFile | None, table: str, schema: pa.Schema
) -> pa.Table:
    """A whole table of the index, or of the file of live batches."""
    tables = ask(files, [file] if file else [], f"FROM {{file}}.{table}", {})
    return pa.concat_tables([schema.empty_table(), *(each.cast(schema) for each in tables)])


def read_sessions(files: AttachedFiles, manifest: Manifest, live: pa.Table) -> pa.Table:
    there = read_table(files, manifest.index, "sessions", SESSIONS)
    with duckdb.connect(":memory:") as connection:
        connection.register("there", there)
        connection.register("live", live)
        rest = connection.sql("FROM there ANTI JOIN live USING (exchange, session)")
        return pa.concat_tables([rest.to_arrow_table().cast(SESSIONS), live])


# One table at a time, registered as `given`, goes into the next index, or the next file of live
# batches, which has the same tables; returned is whether anything is another then.


def add_accounts(
    connection: duckdb.DuckDBPyConnection, into: str, interval: str, *others: str
) -> None:
    """Accounts of changes, joined to what is known of their symbols. others: files that may have
    spans of a symbol that is new here."""
    told = {"interval": interval}
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE joined AS
        SELECT symbol, sum(bars)::BIGINT AS bars, min(first) AS first, max(last) AS last,
               max(decimals) AS decimals, min(room) AS room,
               {", ".join(f"bit_xor({name}) AS {name}" for name in (*SUMS, "noted"))},
               list_sort(list_distinct(flatten(list(sources)))) AS sources
        FROM (FROM given UNION ALL BY NAME
              SELECT * EXCLUDE (interval, exchange, asked) FROM {into}.instruments
              SEMI JOIN given USING (symbol) WHERE interval = $interval) GROUP BY symbol""",
        told,
    )
    names = ("bars", "first", "last", "decimals", "room", *SUMS, "noted", "sources")
    connection.execute(
        f"""UPDATE {into}.instruments i SET {", ".join(f"{name} = j.{name}" for name in names)}
        FROM joined j WHERE j.symbol = i.symbol AND i.interval = $interval""",
        told,
    )
    lacking = f"""FROM joined j
        ANTI JOIN (FROM {into}.instruments WHERE interval = $interval) USING (symbol)"""
    if connection.execute(f"{lacking} LIMIT 1", told).fetchall():
        insert_instruments(connection, into, interval, lacking, *others)


def insert_instruments(
    connection: duckdb.DuckDBPyConnection, into: str, interval: str, lacking: str, *others: str
) -> None:
    """Rows of symbols that are new, or new in this interval; there may be spans of them already."""
    spans = " UNION ALL ".join(
        f"(FROM {file}.spans WHERE interval = $interval)" for file in (into, *others)
    )
    connection.execute(
        f"""INSERT INTO {into}.instruments BY NAME
        SELECT $interval AS interval, coalesce(e.exchange, '') AS exchange, j.*,
               coalesce(s.sum, 0) AS asked
        FROM ({lacking}) j LEFT JOIN ({sum_spans(spans)}) s USING (symbol)
        LEFT JOIN (SELECT symbol, max(exchange) AS exchange FROM {into}.instruments GROUP BY ALL) e
            USING (symbol) ORDER BY symbol""",
        {"interval": interval},
    )


def write_exchanges(connection: duckdb.DuckDBPyConnection, into: str) -> bool:
    """given: symbol, exchange."""
    found = connection.execute(
        f"""UPDATE {into}.instruments i SET exchange = g.exchange FROM given g
        WHERE g.symbol = i.symbol AND g.exchange <> i.exchange"""
    ).fetchall()
    return bool(found[0][0])


def write_sessions(connection: duckdb.DuckDBPyConnection, into: str, *others: str) -> bool:
    """others: files that have sessions too, which need not be told again."""
    known = "".join(f" EXCEPT FROM {file}.sessions" for file in (into, *others))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE new_sessions AS
        SELECT DISTINCT ON (exchange, session) * FROM (FROM given{known})"""
    )
    connection.execute(
        f"""DELETE FROM {into}.sessions
        WHERE (exchange, session) IN (SELECT (exchange, session) FROM new_sessions)"""
    )
    found = connection.execute(
        f"INSERT INTO {into}.sessions FROM new_sessions ORDER BY exchange, session"
    ).fetchall()
    return bool(found[0][0])


def write_spans(
    connection: duckdb.DuckDBPyConnection, into: str, interval: str, *others: str
) -> bool:
    """Each is kept: it tells too which answers the store has taken."""
    columns, told = list_columns(SPANS), {"interval": interval}
    known = "".join(
        f" EXCEPT SELECT {columns} FROM {file}.spans WHERE interval = $interval"
        for file in (into, *others)
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE new_spans AS
        SELECT {columns} FROM (SELECT {columns} FROM given{known}) ORDER BY ALL""",
        told,
    )
    connection.execute(
        f"""UPDATE {into}.instruments i SET asked = xor(asked, s.sum)
        FROM ({sum_spans("FROM new_spans")}) s
        WHERE s.symbol = i.symbol AND i.interval = $interval""",
        told,
    )
    found = connection.execute(
        f"INSERT INTO {into}.spans (interval, {columns}) SELECT $interval, * FROM new_spans", told
    ).fetchall()
    return bool(found[0][0])


def remove(connection: duckdb.DuckDBPyConnection, into: str) -> bool:
    """given: symbol."""
    found = [
        connection.execute(f"DELETE FROM {into}.{table} WHERE symbol IN (FROM given)").fetchall()
        for table in ("instruments", "spans")
    ]
    return any(rows[0][0] for rows in found)
