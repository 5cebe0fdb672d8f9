"""Gaps and notes of symbols whose calendar changed, or whose bars another program changed, anew.

EXCHANGE may be corrected, or a suffix come to mean another calendar: then what was said of sessions
is wrong for all bars of a symbol, and not only around those that come. Works on `next`.
"""

import logging
from datetime import date

import duckdb

from etl.base.run_records import format_instant
from etl.calendar_names import resolve_name
from etl.store import calendars
from etl.store.duckdb_file import bar_notes
from etl.store.duckdb_file.bar_notes import NOT_FINAL, retire_notes
from etl.store.duckdb_file.gaps import PUBLICATION_LAG

log = logging.getLogger("etl")


def reevaluate(
    connection: duckdb.DuckDBPyConnection, touched: list[str], default: str, run_id: str
) -> list[str]:
    """Find gaps and notes of all bars of the symbols that moved, or are named, as of now.

    Returns these symbols. The temp table `sessions` is as before.
    """
    moved = calendars.find_moved(connection, "next.instruments", default)
    symbols = sorted({*moved, *touched})
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE examined AS SELECT unnest(?) AS symbol", [symbols]
    )
    if not symbols:
        return []
    if moved:
        set_exchanges(connection, moved)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE again AS
        SELECT symbol, exchange, first, last, seen_at FROM next.instruments
        WHERE symbol IN (SELECT unnest(?))""",
        [symbols],
    )
    connection.execute("ALTER TABLE sessions RENAME TO sessions_of_load")
    list_sessions(connection)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE round_instants AS"
        " SELECT symbol, $now::TIMESTAMP AS fetched_at, $now::TIMESTAMP AS since FROM again",
        {"now": format_instant("seconds")},
    )
    rewrite_gaps(connection)
    rewrite_provisional(connection, run_id)
    bar_notes.rewrite_notes(connection, run_id)
    connection.execute("DROP TABLE sessions")
    connection.execute("ALTER TABLE sessions_of_load RENAME TO sessions")
    return symbols


def set_exchanges(connection: duckdb.DuckDBPyConnection, moved: dict[str, str]) -> None:
    connection.execute(
        """UPDATE next.instruments i SET exchange = nullif(m.exchange, '')
        FROM (SELECT unnest($symbols) AS symbol, unnest($exchanges) AS exchange) m
        WHERE m.symbol = i.symbol""",
        {"symbols": [*moved], "exchanges": [*moved.values()]},
    )
    some = ", ".join(f"{name} ({moved[name] or 'not known'})" for name in [*moved][:5])
    more = f" and {len(moved) - 5} more" if len(moved) > 5 else ""
    log.info("load: calendars changed, gaps and notes are found anew: %s%s", some, more)


def list_sessions(connection: duckdb.DuckDBPyConnection) -> None:
    first, last = connection.execute(
        "SELECT min(first)::DATE, greatest(max(last), max(seen_at))::DATE FROM again"
    ).fetchall()[0]
    names = connection.execute("SELECT DISTINCT exchange FROM again").fetchall()
    known = sorted(name for (name,) in names if name and resolve_name(name) == name)
    day = date(2000, 1, 1)
    calendars.open_sessions(connection, known, first or day, last or day)


def rewrite_gaps(connection: duckdb.DuckDBPyConnection) -> None:
    """As derived.write_gaps of a symbol that was not stored; what was rejected is still so."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE was_rejected AS
        SELECT symbol, session FROM next.gaps SEMI JOIN again USING (symbol)
        WHERE cause = 'rejected'"""
    )
    connection.execute("DELETE FROM next.gaps WHERE symbol IN (SELECT symbol FROM again)")
    connection.execute(
        f"""INSERT INTO next.gaps
        SELECT e.symbol, e.session, CASE WHEN r.symbol IS NULL THEN cause ELSE 'rejected' END
        FROM (
            SELECT symbol, session, 'not delivered' AS cause
            FROM again a JOIN sessions s USING (exchange)
            WHERE session > a.first AND session < a.last AND NOT EXISTS (
                FROM next.ohlcv_data b WHERE b.symbol = a.symbol AND b.timestamp = s.session)
            UNION ALL
            SELECT symbol, session, 'not yet published'
            FROM (SELECT symbol, session, count(*) OVER (PARTITION BY symbol) AS late
                  FROM again a JOIN sessions s USING (exchange)
                  WHERE session > a.last AND close <= a.seen_at)
            WHERE late <= {PUBLICATION_LAG}) e
        LEFT JOIN was_rejected r USING (symbol, session) ORDER BY ALL"""
    )


def rewrite_provisional(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bars whose newest answer came before their session closed."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE not_final AS
        SELECT symbol, timestamp, since,
               format('fetched at {} UTC, before the close at {}', known_from, close) AS detail
        FROM next.ohlcv_known k JOIN again a USING (symbol) JOIN round_instants USING (symbol)
        JOIN sessions s ON s.exchange = a.exchange AND s.session = timestamp::DATE
        WHERE known_at < close"""
    )
    stored = f"""SELECT n.rowid AS place, symbol, timestamp, detail FROM next.bar_notes n
        SEMI JOIN again USING (symbol) WHERE reason = '{NOT_FINAL}'"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE old_notes AS {stored}")
    gone = "SELECT place FROM old_notes ANTI JOIN not_final USING (symbol, timestamp, detail)"
    retire_notes(connection, gone, run_id)
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{NOT_FINAL}', detail, ?, since
        FROM not_final ANTI JOIN old_notes USING (symbol, timestamp, detail) ORDER BY ALL""",
        [run_id],
    )
