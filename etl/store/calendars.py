"""The sessions of the exchanges of what comes, and which calendar a symbol has.

A calendar takes a third of a second to be built, and brings pandas with it. So a load builds only
those that the store does not list, not from as early on, or by another version of their source.
"""

import logging
from datetime import date, timedelta

import duckdb

from etl.calendar_names import check_exchange
from etl.market import sessions
from etl.market.exchanges import find_exchange
from etl.market.sessions import MARGIN

log = logging.getLogger("etl")

NO_DAY = date(2000, 1, 1)  # where nothing comes, no session is asked for


def open_sessions(
    connection: duckdb.DuckDBPyConnection, names: list[str], first: date, last: date
) -> dict[str, date]:
    """Temp table `sessions` (see sessions.create_sessions), as far as may be out of the store.

    Returns the last session that is known of each exchange.
    """
    held = read_held(connection, first)
    listed = [name for name in names if name in held]
    built = [name for name in names if name not in held]
    sessions.create_sessions(connection, built, first, last)
    if listed:
        connection.execute(
            """INSERT INTO sessions SELECT exchange, session, close FROM known_sessions
            WHERE exchange IN (SELECT unnest($names)) AND session BETWEEN $first AND $last
            ORDER BY exchange, session""",
            {"names": listed, "first": first - MARGIN, "last": last + MARGIN},
        )
    ends = {name: sessions.read_calendar(name).sessions[-1] for name in built}
    return {**ends, **{name: held[name] for name in listed}}


def read_held(connection: duckdb.DuckDBPyConnection, first: date) -> dict[str, date]:
    """Exchange → last session, of those whose sessions the store lists for bars from `first` on."""
    rows = connection.execute(
        """SELECT exchange, last FROM known_calendars
        WHERE source = ? AND listed_from <= greatest(?::DATE, first)""",
        [sessions.name_source(), first - MARGIN],
    )
    return dict(rows.fetchall())


def view_sessions(connection: duckdb.DuckDBPyConnection, default: str) -> None:
    """`symbol_exchanges` of the bars that come, and `sessions` of those exchanges, and of those of
    the symbols that only actions come of, over all their bars."""
    default = check_exchange(default)
    connection.execute(
        """CREATE TEMP VIEW told AS SELECT symbol FROM incoming_actions
        UNION SELECT symbol FROM incoming_lists"""
    )
    symbols = [
        row[0] for row in connection.execute("SELECT DISTINCT symbol FROM incoming").fetchall()
    ]
    pairs = [(symbol, find_exchange(symbol, default)) for symbol in symbols]
    connection.execute("CREATE TEMP TABLE symbol_exchanges (symbol VARCHAR, exchange VARCHAR)")
    connection.execute(
        "INSERT INTO symbol_exchanges SELECT unnest($symbols), unnest($exchanges)",
        {"symbols": [p[0] for p in pairs], "exchanges": [p[1] for p in pairs]},
    )
    stored = connection.execute("SELECT symbol FROM told").fetchall()
    first, last = find_span(connection)
    names = {p[1] for p in pairs} | {find_exchange(row[0], default) for row in stored}
    known = sorted(name for name in names if name is not None)
    for name, end in open_sessions(connection, known, first, last).items():
        if last > end + timedelta(days=3):  # a calendar's last days may be no sessions
            log.warning("load: sessions of %s are not known after %s: none is missed", name, end)


def find_span(connection: duckdb.DuckDBPyConnection) -> tuple[date, date]:
    """First and last day of all bars, stored and incoming, of the incoming symbols, and of those
    with actions alone: their notes may have to change too."""
    first, last = connection.execute(
        """SELECT min(first), max(last) FROM (
            SELECT min(timestamp) AS first, max(timestamp) AS last FROM incoming
            UNION ALL SELECT min(first), max(last) FROM known_instruments
            WHERE symbol IN (SELECT symbol FROM incoming UNION SELECT symbol FROM told))"""
    ).fetchall()[0]
    return (first.date(), last.date()) if first else (NO_DAY, NO_DAY)


def find_moved(
    connection: duckdb.DuckDBPyConnection, instruments: str, default: str
) -> dict[str, str]:
    """Symbols of `instruments` whose calendar is not the one by which they were examined, and
    the one that it is; '' where it is not known."""
    stored = connection.execute(f"SELECT symbol, exchange FROM {instruments}").fetchall()
    found = ((symbol, exchange, find_exchange(symbol, default)) for symbol, exchange in stored)
    return {symbol: now or "" for symbol, before, now in found if before != now}
