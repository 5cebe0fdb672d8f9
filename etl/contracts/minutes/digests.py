"""What a store of minute bars says of each symbol in sums, whatever engine keeps the rows.

Sums of 64 bits by XOR: what is taken away is XORed once more, so that a load brings them in step by
what it changed alone, and two stores of the same rows have the same sums, in whatever order and
engine they came to be.

    digest   of the bars as they are: symbol by symbol equal in two stores that give the same bars
    known    of the bars with the instant since when they are known
    revised  of the revisions
    noted, asked, timed    of the notes, the spans, the sessions of the symbol's exchange

version (build_version) moves with each of them. `decimals` and `room` give the unit of the volumes.
"""

import hashlib

import duckdb
import pyarrow as pa

from etl.contracts.bar_digests import KEYS, LAST_KEY, add_up, fold, mix
from etl.contracts.tables import MOST_VOLUME

# As of a daily bar, and the unit of its volume: 100 and 1.00 are told in one way (see changes).
BAR_KEYS = {**KEYS, "volume_decimals::BIGINT": 0x3C6EF372FE94F82}
KNOWN_KEYS = {"digest": 0x9E3779B97F4A7C1, "epoch_us(known_at)": 0xC2B2AE3D27D4EB5}
REVISION_KEYS = {**KNOWN_KEYS, "epoch_us(known_until)": 0x165667B19E3779F}
# Digits of a number of BIGINT that can be any.
DIGITS = 18
SEPARATOR = "chr(31)"

# What an account has of one symbol, beside its symbol. Sums: see above. room: the most decimals
# with which each of its volumes fits into 63 bits.
SUMS = ("digest", "known", "revised")
ACCOUNT = pa.schema(
    [
        ("symbol", pa.string()),
        ("bars", pa.int64()),
        ("first", pa.timestamp("us")),
        ("last", pa.timestamp("us")),
        ("decimals", pa.int8()),
        ("room", pa.int8()),
        *((name, pa.uint64()) for name in SUMS),
        ("sources", pa.list_(pa.string())),
    ]
)
# Of a number of n digits 18 - n more fit, and one more where it is not above the greatest so far.
ROOM = f"""CASE WHEN coalesce(volume, 0) = 0 THEN {DIGITS}
    ELSE greatest(0, volume_decimals + {DIGITS} - length(volume::VARCHAR)
                     + (rpad(volume::VARCHAR, 19, '0') <= '{MOST_VOLUME}')::INTEGER) END"""


def digest_bars(rows: str) -> str:
    """SQL: the rows of a query over bars, with `digest`; in steps, as etl.contracts.bar_digests."""
    return f"""
        SELECT * EXCLUDE (mixed_sum, mixed_product), {fold("mixed_product")}::UBIGINT AS digest
        FROM (SELECT *, {fold("mixed_sum")} * {LAST_KEY}::UHUGEINT AS mixed_product
              FROM (SELECT *, {add_up(BAR_KEYS)} AS mixed_sum FROM ({rows})))"""


def sum_bars(rows: str) -> str:
    """SQL: the sums of the stored bars of a query by symbol, those of revisions being nothing."""
    return f"""
        SELECT symbol, count(*)::BIGINT AS bars, min(timestamp) AS first, max(timestamp) AS last,
               max(volume_decimals)::TINYINT AS decimals, min({ROOM})::TINYINT AS room,
               bit_xor(digest) AS digest, bit_xor({mix(KNOWN_KEYS)}) AS known,
               0::UBIGINT AS revised, list_sort(list(DISTINCT source)) AS sources
        FROM ({digest_bars(rows)}) GROUP BY symbol"""


def sum_revisions(rows: str) -> str:
    """SQL: the same of the revisions of a query. Unit and sources are those of old values too: an
    answer `as_of` has them."""
    return f"""
        SELECT symbol, 0::BIGINT AS bars, NULL::TIMESTAMP AS first, NULL::TIMESTAMP AS last,
               max(volume_decimals)::TINYINT AS decimals, min({ROOM})::TINYINT AS room,
               0::UBIGINT AS digest, 0::UBIGINT AS known, bit_xor({mix(REVISION_KEYS)}) AS revised,
               list_sort(list(DISTINCT source)) AS sources
        FROM ({digest_bars(rows)}) GROUP BY symbol"""


def add_accounts(accounts: str) -> str:
    """SQL: several accounts of a symbol as one."""
    return f"""
        SELECT symbol, sum(bars)::BIGINT AS bars, min(first) AS first, max(last) AS last,
               max(decimals) AS decimals, min(room) AS room,
               {", ".join(f"bit_xor({name}) AS {name}" for name in SUMS)},
               list_sort(list_distinct(flatten(list(sources)))) AS sources
        FROM ({accounts}) GROUP BY symbol"""


def account(connection: duckdb.DuckDBPyConnection, bars: pa.Table, revisions: pa.Table) -> pa.Table:
    """ACCOUNT of these rows, sorted by symbol: what a store should say that holds them alone."""
    connection.register("accounted_bars", bars)
    connection.register("accounted_revisions", revisions)
    parts = (
        f"{sum_bars('FROM accounted_bars')} UNION ALL {sum_revisions('FROM accounted_revisions')}"
    )
    found = connection.sql(f"{add_accounts(parts)} ORDER BY symbol").to_arrow_table()
    connection.unregister("accounted_bars")
    connection.unregister("accounted_revisions")
    return found.cast(ACCOUNT)


def sum_lines(rows: str, by: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """SQL: the columns of `by`, and the sum of the rows of a query that have them, each once."""
    line = f" || {SEPARATOR} || ".join(f"coalesce({name}::VARCHAR, 'NULL')" for name in columns)
    return f"""
        SELECT {", ".join(by)}, bit_xor(md5_number_lower({line})) AS sum
        FROM (SELECT DISTINCT {", ".join(dict.fromkeys((*by, *columns)))} FROM ({rows}))
        GROUP BY ALL"""


def sum_notes(rows: str, by: tuple[str, ...] = ("symbol",)) -> str:
    return sum_lines(rows, by, ("timestamp", "kind", "detail"))


def sum_spans(rows: str, by: tuple[str, ...] = ("symbol",)) -> str:
    return sum_lines(rows, by, ("start", '"end"', "source", "fetched_at"))


def sum_sessions(rows: str, by: tuple[str, ...] = ("exchange",)) -> str:
    return sum_lines(rows, by, ("session", "open", "close", "break_start", "break_end"))


def choose_decimals(decimals: int, room: int) -> int:
    """The unit in which the volumes of a symbol are read: 10^-decimals."""
    return min(decimals, room)


def build_version(exchange: str, decimals: int, *sums: int) -> str:
    """What an answer about a symbol depends on, as hex digits: the calendar it has, the unit of its
    volumes, and the sums digest, known, revised, noted, asked, timed in this order."""
    told = "|".join((exchange, str(decimals), *map(str, sums)))
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def write_digest(digest: int) -> str:
    return f"{digest:016x}"
