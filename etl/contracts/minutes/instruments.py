"""What is known of each symbol, out of the sums that an engine keeps: the same in every engine."""

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from etl.contracts.minutes import SESSIONS, MinuteInstrument
from etl.contracts.minutes.digests import (
    ACCOUNT,
    build_version,
    choose_decimals,
    sum_sessions,
    write_digest,
)

# A row that an engine keeps by symbol and interval. noted, asked: sums of its notes and spans.
ACCOUNTS = pa.schema(
    [
        ("interval", pa.string()),
        ("exchange", pa.string()),
        *ACCOUNT,
        ("noted", pa.uint64()),
        ("asked", pa.uint64()),
    ]
)
SUMS = ("digest", "known", "revised", "noted", "asked", "timed")
# Sessions so near to the bars of a symbol may have a say about them.
NEAR = "INTERVAL 14 DAY"

# timed: of the sessions near the symbol's bars; of sums by XOR up to two days, what lies between.
DESCRIBE = f"""
WITH sums AS (
    SELECT exchange, session, bit_xor(sum) OVER (PARTITION BY exchange ORDER BY session) AS upto
    FROM (SELECT exchange, session, sum FROM
          ({sum_sessions("FROM minutes_sessions", by=("exchange", "session"))})))
SELECT a.*, xor(coalesce(l.upto, 0), coalesce(f.upto, 0))::UBIGINT AS timed
FROM minutes_accounts_of_all a
ASOF LEFT JOIN sums l ON a.exchange = l.exchange AND a.last + {NEAR} >= l.session
ASOF LEFT JOIN sums f ON a.exchange = f.exchange AND a.first - {NEAR} >= f.session
WHERE bars > 0 ORDER BY a.symbol, a.interval"""


def describe(
    connection: duckdb.DuckDBPyConnection, accounts: pa.Table, sessions: pa.Table
) -> Mapping[tuple[str, str], MinuteInstrument]:
    """(symbol, interval) → what is known of it, of ACCOUNTS, and SESSIONS of all exchanges."""
    connection.register("minutes_accounts_of_all", accounts.cast(ACCOUNTS))
    connection.register("minutes_sessions", sessions.cast(SESSIONS))
    rows = connection.sql(DESCRIBE).to_arrow_table().to_pylist()
    connection.unregister("minutes_accounts_of_all")
    connection.unregister("minutes_sessions")
    return {(row["symbol"], row["interval"]): describe_one(row) for row in rows}


def describe_one(row: dict[str, Any]) -> MinuteInstrument:
    decimals = choose_decimals(row["decimals"], row["room"])
    return MinuteInstrument(
        *(row["symbol"], row["interval"], row["exchange"]),
        *(row["bars"], row["first"], row["last"], decimals),
        write_digest(row["digest"]),
        build_version(row["exchange"], decimals, *(row[name] for name in SUMS)),
        tuple(row["sources"]),
    )
