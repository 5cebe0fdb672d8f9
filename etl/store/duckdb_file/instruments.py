"""One row a symbol: what its bars amount to, kept in step by what changed alone."""

import duckdb

from etl.contracts import bar_digests
from etl.contracts.tables import SCHEMA_VERSION
from etl.market.exchanges import find_exchange
from etl.store.duckdb_file import digests

# The bars that are written, and the values that they take the place of.
WRITTEN = """
SELECT symbol, timestamp, open, high, low, close, volume, is_new, true AS is_now, source, basis,
       interval
FROM changes
UNION ALL
SELECT symbol, timestamp, old_open, old_high, old_low, old_close, old_volume, false, false, NULL,
       NULL, NULL
FROM changes WHERE NOT is_new"""


def write_instruments(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""INSERT INTO next.instruments BY NAME
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last,
               count(*) FILTER (is_new) AS bars,
               arg_max(close, timestamp) FILTER (is_now) AS last_close,
               arg_max(source, timestamp) FILTER (is_now) AS source, any_value(basis) AS basis,
               any_value(interval) AS interval, any_value(exchange) AS exchange,
               bit_xor(digest) AS digest, coalesce(any_value(decimals), 0) AS volume_decimals
        FROM ({bar_digests.digest_rows(WRITTEN)})
        LEFT JOIN symbol_exchanges USING (symbol)
        LEFT JOIN volume_units USING (symbol)
        GROUP BY symbol ORDER BY symbol
        ON CONFLICT (symbol) DO UPDATE SET
            first = least(first, excluded.first), last = greatest(last, excluded.last),
            bars = bars + excluded.bars, basis = excluded.basis,
            source = CASE WHEN excluded.last >= last THEN excluded.source ELSE source END,
            exchange = excluded.exchange, digest = xor(digest, excluded.digest),
            last_close = CASE WHEN excluded.last >= last THEN excluded.last_close
                              ELSE last_close END"""
    )
    connection.execute(
        """UPDATE next.instruments i SET seen_at = greatest(i.seen_at, a.seen_at)
        FROM (SELECT symbol, max(fetched_at) AS seen_at FROM arriving GROUP BY symbol) a
        WHERE a.symbol = i.symbol"""
    )


def repair_instruments(connection: duckdb.DuckDBPyConnection, default: str) -> list[str]:
    """Bring `instruments` in step with bars that another program wrote into the published file.

    Returns the symbols that still have bars and were not as `instruments` said.
    """
    touched = connection.execute(digests.find_touched(SCHEMA_VERSION, "next")).fetchall()
    connection.execute(
        f"""CREATE TEMP TABLE found AS
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, count(*) AS bars,
               arg_max(close, timestamp) AS last_close, bit_xor(digest) AS digest
        FROM ({bar_digests.digest_rows("FROM next.ohlcv_data")}) GROUP BY symbol"""
    )
    connection.execute(
        "DELETE FROM next.instruments WHERE symbol NOT IN (SELECT symbol FROM found)"
    )
    connection.execute(
        """INSERT INTO next.instruments BY NAME
        SELECT *, 'files' AS source, 'raw' AS basis, NULL AS exchange, '1d' AS interval FROM found
        ON CONFLICT (symbol) DO UPDATE SET first = excluded.first, last = excluded.last,
            bars = excluded.bars, last_close = excluded.last_close, digest = excluded.digest"""
    )
    symbols = [row[0] for row in touched]
    connection.execute(
        """UPDATE next.instruments i SET exchange = e.exchange
        FROM (SELECT unnest($symbols) AS symbol, unnest($exchanges) AS exchange) e
        WHERE e.symbol = i.symbol""",
        {"symbols": symbols, "exchanges": [find_exchange(name, default) for name in symbols]},
    )
    held = {r[0] for r in connection.execute("SELECT symbol FROM next.instruments").fetchall()}
    return [symbol for symbol in symbols if symbol in held]


def drop_contradicted(connection: duckdb.DuckDBPyConnection) -> None:
    """What `next` says of bars that another program deleted, and gaps that it filled."""
    connection.execute(
        """DELETE FROM next.gaps g WHERE EXISTS (
            FROM next.ohlcv_data b WHERE b.symbol = g.symbol AND b.timestamp = g.session)"""
    )
    connection.execute(
        "DELETE FROM next.gaps WHERE symbol NOT IN (SELECT symbol FROM next.instruments)"
    )
    for table in ("bar_notes", "bar_note_revisions", "ohlcv_revisions"):
        connection.execute(
            f"""DELETE FROM next.{table} t WHERE NOT EXISTS (
                FROM next.ohlcv_data b WHERE b.symbol = t.symbol AND b.timestamp = t.timestamp)"""
        )
