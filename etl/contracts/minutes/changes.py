"""What comes beside what is known: which values hold, since when, and which held once.

Every engine asks here; DuckDB computes, over Arrow tables. Of a bar each answer is an observation:
these values, at the instant of fetching. In the order of these instants, equal ones after each
other are one span: the last span is the bar (known_at: its first instant, seen_at: its last), the
others are its revisions. So the newest answer wins in any order of loading, an older one that comes
late finds its place in the history, and a store that is built anew from all answers is the same. Of
an answer that said the same between two that did, nothing is kept: where an older one that says
otherwise comes later still, it counts as known until the next instant that is kept.

Of two answers of one instant the greater content wins, as in the daily store. Volumes are told with
as few decimals as they need, so that equal ones are equal. A span is of the source that began it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from etl.contracts.minutes import (
    BASE_INTERVALS,
    BATCH_BARS,
    PRICES,
    REVISIONS,
    STORED_BARS,
    BadBars,
    Batch,
    Counts,
)
from etl.contracts.minutes.digests import ACCOUNT, add_accounts, sum_bars, sum_revisions

VALUES = (*PRICES, "volume", "volume_decimals")
WITHDRAWN = pa.schema([REVISIONS.field(name) for name in ("symbol", "timestamp", "known_at")])
KEY = "symbol, timestamp"


@dataclass(frozen=True)
class Changes:
    """What an engine has to write.

    bars: STORED_BARS, each in the place of the one of its key. revisions: REVISIONS, each in the
    place of the one of its key and known_at; withdrawn: (symbol, timestamp, known_at) of those that
    are none any more. accounts: ACCOUNT by symbol, what they change: `bars` more, sums to be XORed,
    first, last, decimals, room and sources to be joined to what is there.
    """

    counts: Counts
    bars: pa.Table
    revisions: pa.Table
    withdrawn: pa.Table
    accounts: pa.Table

    @property
    def is_empty(self) -> bool:
        return not (self.bars.num_rows or self.revisions.num_rows or self.withdrawn.num_rows)


def compare(
    connection: duckdb.DuckDBPyConnection, batch: Batch, stored: pa.Table, revised: pa.Table
) -> Changes:
    """Compare a batch with what is stored of its keys; more than that may be in the tables.

    stored: STORED_BARS; revised: REVISIONS. The connection may be used by one thread at a time; its
    temporary tables `minutes_…` are written anew. BadBars: a bar that can be none.
    """
    check_bars(connection, batch)
    with registered(connection, batch.bars, stored, revised):
        for query in MATCHING:
            connection.execute(query)
        counts = Counts(*connection.execute(COUNT).fetchall()[0])
        has_history = bool(connection.execute("FROM minutes_with_history LIMIT 1").fetchall())
        for query in (*HISTORIES, *WITH_REVISIONS) if has_history else WITHOUT_REVISIONS:
            connection.execute(query)
        schemas = {"bars": STORED_BARS, "revisions": REVISIONS, "withdrawn": WITHDRAWN}
        tables = {
            name: read(connection, name, schema)
            for name, schema in {**schemas, "accounts": ACCOUNT}.items()
        }
        for name in TABLES:
            connection.execute(f"DROP TABLE IF EXISTS minutes_{name}")
    return Changes(counts, **tables)


def read(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> pa.Table:
    return connection.sql(f"FROM minutes_{name} ORDER BY ALL").to_arrow_table().cast(schema)


@contextmanager
def registered(
    connection: duckdb.DuckDBPyConnection, bars: pa.Table, stored: pa.Table, revised: pa.Table
) -> Iterator[None]:
    given = {"given": bars, "given_stored": stored, "given_revised": revised}
    for name, table in given.items():
        connection.register(f"minutes_{name}", table)
    try:
        yield
    finally:
        for name in given:
            connection.unregister(f"minutes_{name}")


def check_bars(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """BadBars for an interval that is no base, and for rows that transform rejects."""
    if batch.interval not in BASE_INTERVALS:
        raise BadBars(
            f"bars of {batch.interval} are not stored: wanted one of {', '.join(BASE_INTERVALS)}"
        )
    step = BASE_INTERVALS[batch.interval] * 1_000_000
    missing = " OR ".join(f"{each.name} IS NULL" for each in BATCH_BARS if each.name not in VALUES)
    finite = " AND ".join(f"coalesce(isfinite({name}), false)" for name in PRICES)
    connection.register("minutes_checked", batch.bars.cast(BATCH_BARS))
    found = connection.execute(
        f"""SELECT min(symbol || ' ' || timestamp) FILTER ({missing} OR NOT ({finite})
            OR epoch_us(timestamp) % {step} <> 0 OR volume < 0
            OR volume_decimals NOT BETWEEN 0 AND 18), count(*) FILTER ({missing})
        FROM minutes_checked"""
    ).fetchall()[0]
    connection.unregister("minutes_checked")
    if found[0] is not None or found[1]:
        raise BadBars(
            f"{found[0] or 'a row without symbol, timestamp, source or fetched_at'} is no bar of"
            f" {batch.interval}: run transform, which rejects such rows with the reason"
        )


# Volumes with as few decimals as they need, and no negative zero: what is equal has equal bits.
DIGITS = "volume::VARCHAR"
ZEROS = f"least(volume_decimals, length({DIGITS}) - length(rtrim({DIGITS}, '0')))"
PLAIN = f"""
SELECT {KEY}, {", ".join(f"{name} + 0 AS {name}" for name in PRICES)},
       CASE WHEN spare = 0 THEN volume ELSE volume // (10::HUGEINT ** spare)::HUGEINT END::BIGINT
           AS volume,
       CASE WHEN coalesce(volume, 0) = 0 THEN 0 ELSE volume_decimals - spare END::TINYINT
           AS volume_decimals,
       source, fetched_at
FROM (SELECT * REPLACE (coalesce(volume_decimals, 0) AS volume_decimals),
             CASE WHEN coalesce(volume_decimals, 0) = 0 OR coalesce(volume, 0) = 0 THEN 0
                  ELSE {ZEROS} END AS spare
      FROM minutes_given)"""
SAME = " AND ".join(f"c.{name} IS NOT DISTINCT FROM s.{name}" for name in VALUES)
OBSERVED = f"{KEY}, {', '.join(VALUES)}, source"
OF_BAR = ", ".join(STORED_BARS.names[:-2])
COLUMNS = ", ".join(STORED_BARS.names)
REVISION = ", ".join(REVISIONS.names)


def content(of: str = "") -> str:
    """SQL: the values as one comparable row, as in the daily store: no volume is less than any."""
    prices = ", ".join(f"{of}{name}" for name in PRICES)
    return f"({prices}, coalesce({of}volume, -1), {of}volume_decimals)"


def create(name: str, query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE minutes_{name} AS {query}"


def restrict(name: str, columns: list[str]) -> str:
    """Of what an engine gave, what has the key of a bar that comes."""
    rows = f"SELECT {', '.join(columns)} FROM minutes_given_{name}"
    return create(name, f"{rows} SEMI JOIN minutes_coming USING ({KEY})")


# The newest row of each key beside what is stored. Most are new, or said again, and so done with;
# the others have a history.
MATCHED = f"""
SELECT c.*, s.symbol IS NULL AS is_new, {SAME} AS is_same, known_at, seen_at,
       s.source AS source_before, c.fetched_at > seen_at
           OR (c.fetched_at = seen_at AND {content("c.")} > {content("s.")}) AS is_newer
FROM (SELECT *, false AS is_repeated FROM minutes_coming ANTI JOIN minutes_repeated USING ({KEY})
      UNION ALL (SELECT *, true FROM minutes_coming SEMI JOIN minutes_repeated USING ({KEY})
      QUALIFY row_number() OVER (
          PARTITION BY {KEY} ORDER BY fetched_at DESC, {content()} DESC, source) = 1)) c
LEFT JOIN minutes_stored s USING ({KEY})"""
WITH_HISTORY = f"""
SELECT {KEY} FROM minutes_matched
WHERE is_repeated OR (NOT is_new AND (NOT is_same OR fetched_at < known_at))"""
# All instants at which values of these keys were seen; one content an instant.
OBSERVATIONS = f"""
SELECT *, {content()} AS content FROM (
    SELECT {OBSERVED}, fetched_at AS seen FROM minutes_coming
    UNION ALL SELECT {OBSERVED}, known_at FROM minutes_stored
    UNION ALL SELECT {OBSERVED}, seen_at FROM minutes_stored WHERE seen_at > known_at
    UNION ALL SELECT {OBSERVED}, known_at FROM minutes_revised)
SEMI JOIN minutes_with_history USING ({KEY})
QUALIFY row_number() OVER (PARTITION BY {KEY}, seen ORDER BY content DESC, source) = 1"""
SPANS = f"""
WITH begun AS (
    SELECT *, content IS DISTINCT FROM lag(content) OVER (PARTITION BY {KEY} ORDER BY seen)
           AS begins
    FROM minutes_observations),
numbered AS (
    SELECT *, count(*) FILTER (begins) OVER (PARTITION BY {KEY} ORDER BY seen) AS number
    FROM begun)
SELECT {KEY}, {", ".join(f"min({name}) AS {name}" for name in VALUES)},
       arg_min(source, seen) AS source, min(seen) AS known_at, max(seen) AS seen_at,
       lead(min(seen)) OVER (PARTITION BY {KEY} ORDER BY number) AS known_until
FROM numbered GROUP BY {KEY}, number"""
INSERTED = f"""
SELECT {OF_BAR}, fetched_at AS known_at, fetched_at AS seen_at FROM minutes_matched
WHERE is_new AND NOT is_repeated"""
RETOLD = f"""
(SELECT {COLUMNS} FROM minutes_histories WHERE known_until IS NULL
 EXCEPT SELECT {COLUMNS} FROM minutes_stored)"""
CONFIRMED = f"""
SELECT {", ".join(STORED_BARS.names[:-3])}, source_before AS source, known_at,
       fetched_at AS seen_at
FROM minutes_matched
WHERE NOT is_repeated AND is_same AND fetched_at > seen_at"""
# What is taken away: no bar and no unit, but the sums, which XOR takes out.
TAKEN = "-bars AS bars, 0 AS decimals, 18 AS room, [] AS sources"
REPLACED = f"FROM minutes_stored SEMI JOIN minutes_altered USING ({KEY})"
REVISED = f"""
FROM minutes_revised SEMI JOIN (
    SELECT {KEY}, known_at FROM minutes_revisions UNION ALL FROM minutes_withdrawn)
USING ({KEY}, known_at)"""
ADDED_AND_TAKEN = f"""
FROM ({sum_bars("FROM minutes_altered")})
UNION ALL FROM ({sum_revisions("FROM minutes_revisions")})
UNION ALL SELECT * REPLACE ({TAKEN}) FROM ({sum_bars(REPLACED)})
UNION ALL SELECT * REPLACE ({TAKEN}) FROM ({sum_revisions(REVISED)})"""
MATCHING = (
    create("coming", PLAIN),
    create("repeated", f"SELECT {KEY} FROM minutes_coming GROUP BY ALL HAVING count(*) > 1"),
    restrict("stored", STORED_BARS.names),
    restrict("revised", REVISIONS.names),
    create("matched", MATCHED),
    create("with_history", WITH_HISTORY),
)
HISTORIES = (create("observations", OBSERVATIONS), create("histories", SPANS))
BARS = create("bars", f"FROM minutes_altered UNION ALL {CONFIRMED}")
WITH_REVISIONS = (
    create("altered", f"{INSERTED} UNION ALL {RETOLD}"),
    BARS,
    create(
        "revisions",
        f"""SELECT {REVISION} FROM minutes_histories WHERE known_until IS NOT NULL
        EXCEPT SELECT {REVISION} FROM minutes_revised""",
    ),
    create(
        "withdrawn",
        f"""SELECT {KEY}, known_at FROM minutes_revised SEMI JOIN minutes_with_history
        USING ({KEY}) ANTI JOIN (FROM minutes_histories WHERE known_until IS NOT NULL)
        USING ({KEY}, known_at)""",
    ),
    create("accounts", add_accounts(ADDED_AND_TAKEN)),
)
# Mostly there is nothing else: live batches come each second, and to plan a query takes its time.
WITHOUT_REVISIONS = (
    create("altered", INSERTED),
    BARS,
    create("revisions", "FROM minutes_revised LIMIT 0"),
    create("withdrawn", f"SELECT {KEY}, known_at FROM minutes_revised LIMIT 0"),
    create("accounts", sum_bars("FROM minutes_altered")),
)
TABLES = (
    *("coming", "repeated", "stored", "revised", "matched", "with_history", "observations"),
    *("histories", "altered", "bars", "revisions", "withdrawn", "accounts"),
)

COUNT = """
SELECT count(*) FILTER (is_new), count(*) FILTER (NOT is_new AND NOT is_same AND is_newer),
       count(*) FILTER (NOT is_new AND is_same),
       count(*) FILTER (NOT is_new AND NOT is_same AND NOT is_newer),
       (SELECT count(*) FROM minutes_coming) - count(*)
FROM minutes_matched"""
