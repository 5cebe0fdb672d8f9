"""What minutes are examined with: the exchanges and sessions of their symbols, and daily bars."""

import logging
from datetime import date

import duckdb
import pyarrow as pa

from etl.base.parquet_sql import describe
from etl.contracts.tables import raise_ten
from etl.market.exchanges import find_exchange
from etl.market.session_spans import create_spans, find_bounds
from etl.settings import Settings
from etl.store.duckdb_file import published

log = logging.getLogger("etl")

EXCHANGES = pa.schema(
    [
        *((name, pa.string()) for name in ("symbol", "exchange")),
        *((name, pa.timestamp("us")) for name in ("kept_from", "kept_until")),
    ]
)
# Prices as traded, volumes as numbers. A bar of prices that are adjusted is not comparable.
DAILY_BARS = f"""
SELECT symbol, timestamp::DATE AS day, high, low, close,
       volume::DOUBLE / {raise_ten("volume_decimals")} AS volume, known_at
FROM (FROM known_bars SEMI JOIN wanted USING (symbol)
      WHERE timestamp BETWEEN $first::DATE - 7 AND $last::DATE + 7)
JOIN (SELECT symbol, volume_decimals FROM known_instruments WHERE basis = 'raw') USING (symbol)
JOIN known_since USING (symbol, timestamp)"""


def read_beside(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """`symbol_exchanges` (symbol, exchange: NULL where none is known; kept_from, kept_until: the
    days that are kept), `session_spans` and `daily_bars` of what comes."""
    symbols = [
        row[0]
        for row in connection.execute(
            "SELECT symbol FROM clean UNION SELECT symbol FROM raw_spans ORDER BY 1"
        ).fetchall()
    ]
    exchanges = [find_exchange(symbol, settings.exchange) for symbol in symbols]
    days = (settings.start_date, settings.end_date)
    bounds = {name: find_bounds(name, *days) for name in {*exchanges}}
    rows = [
        {
            "symbol": symbol,
            "exchange": name,
            "kept_from": bounds[name][0],
            "kept_until": bounds[name][1],
        }
        for symbol, name in zip(symbols, exchanges, strict=True)
    ]
    register(connection, "symbol_exchanges", pa.Table.from_pylist(rows, schema=EXCHANGES))
    first, last = find_days(connection)
    create_spans(connection, sorted({name for name in exchanges if name}), first, last)
    register(connection, "daily_bars", read_daily_bars(settings, symbols, first, last))


def register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("table_here", table)
    connection.execute(f"CREATE TEMP TABLE {name} AS FROM table_here")
    connection.unregister("table_here")


def find_days(connection: duckdb.DuckDBPyConnection) -> tuple[date, date]:
    """First and last day of all that comes."""
    first, last = connection.execute(
        "SELECT min(timestamp)::DATE, max(timestamp)::DATE FROM clean"
    ).fetchall()[0]
    return (first, last) if first else (date(2000, 1, 1), date(2000, 1, 1))


def read_daily_bars(settings: Settings, symbols: list[str], first: date, last: date) -> pa.Table:
    """Those of the daily store, of these symbols and days; none where there is no store."""
    empty = {"symbol": pa.string(), "day": pa.date32(), "known_at": pa.timestamp("us")}
    empty |= dict.fromkeys(("high", "low", "close", "volume"), pa.float64())
    if not settings.database_path.is_file():
        return pa.schema(empty).empty_table()
    try:
        with published.look_at(settings.database_path, DAILY_BARS) as connection:
            connection.register("wanted", pa.table({"symbol": pa.array(symbols, pa.string())}))
            found = connection.sql(DAILY_BARS, params={"first": first, "last": last})
            return found.to_arrow_table()
    except duckdb.Error as error:
        log.warning("load: no session is compared with its daily bar: %s", describe(error))
        return pa.schema(empty).empty_table()
