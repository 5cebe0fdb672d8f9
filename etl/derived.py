"""Instruments, gaps and provisional bars: what follows from the bars, kept in step with each load.

Only what changed is looked at, so the work grows with the changes and not
with the store. Works on the temp relations of a round (see rounds), and on `next`, the version
under construction, with the changes in it.
"""

import logging
from datetime import date, timedelta

import duckdb

from etl import digests, sessions
from etl.digests import BAR_DIGEST
from etl.exchanges import check_exchange, find_exchange, resolve_name
from etl.neighbourhood import NOT_FINAL, retire_notes
from etl.schema import SCHEMA_VERSION

log = logging.getLogger("etl")

# So many closed sessions after the last bar are said to be not yet published; after more the
# vendor has ended the series.
PUBLICATION_LAG = 5
NO_DAY = date(2000, 1, 1)  # where nothing comes, no session is asked for


def write_instruments(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW moved AS
        SELECT symbol, timestamp, close, is_new, source, basis, {BAR_DIGEST} AS digest FROM changes
        UNION ALL
        SELECT symbol, NULL, NULL, false, NULL, NULL, {BAR_DIGEST} FROM (
            SELECT symbol, timestamp, old_open AS open, old_high AS high, old_low AS low,
                   old_close AS close, old_volume AS volume FROM changes WHERE NOT is_new)"""
    )
    connection.execute(
        """INSERT INTO next.instruments BY NAME
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last,
               count(*) FILTER (is_new) AS bars, arg_max(close, timestamp) AS last_close,
               any_value(source) AS source, any_value(basis) AS basis,
               any_value(exchange) AS exchange, bit_xor(digest) AS digest
        FROM moved LEFT JOIN symbol_exchanges USING (symbol) GROUP BY symbol ORDER BY symbol
        ON CONFLICT (symbol) DO UPDATE SET
            first = least(first, excluded.first), last = greatest(last, excluded.last),
            bars = bars + excluded.bars, source = excluded.source, basis = excluded.basis,
            exchange = excluded.exchange, digest = xor(digest, excluded.digest),
            last_close = CASE WHEN excluded.last >= last THEN excluded.last_close
                              ELSE last_close END"""
    )
    connection.execute(
        """UPDATE next.instruments i SET seen_at = greatest(i.seen_at, a.seen_at)
        FROM (SELECT symbol, max(fetched_at) AS seen_at FROM arriving GROUP BY symbol) a
        WHERE a.symbol = i.symbol"""
    )


def mend_instruments(connection: duckdb.DuckDBPyConnection, default: str) -> list[str]:
    """Bring `instruments` in step with bars that another program wrote into the published file.

    Returns the symbols that still have bars and were not as `instruments` said.
    """
    touched = connection.execute(digests.find_touched(SCHEMA_VERSION, "next")).fetchall()
    connection.execute(
        f"""CREATE TEMP TABLE found AS
        SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, count(*) AS bars,
               arg_max(close, timestamp) AS last_close, bit_xor({BAR_DIGEST}) AS digest
        FROM next.ohlcv_data GROUP BY symbol"""
    )
    connection.execute(
        "DELETE FROM next.instruments WHERE symbol NOT IN (SELECT symbol FROM found)"
    )
    connection.execute(
        """INSERT INTO next.instruments BY NAME
        SELECT *, 'files' AS source, 'raw' AS basis, NULL AS exchange FROM found
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
    sessions.create_sessions(connection, known, first, last)
    for name in known:
        end = sessions.read_calendar(name).sessions[-1]
        if last > end + timedelta(days=3):  # a calendar's last days may be no sessions
            log.warning("load: sessions of %s are not known after %s: none is missed", name, end)


def write_calendars(connection: duckdb.DuckDBPyConnection) -> None:
    """From when to when the calendars know sessions: those of this load, and those not written."""
    found = connection.execute(
        """SELECT DISTINCT exchange FROM symbol_exchanges
        UNION SELECT exchange FROM next.instruments ANTI JOIN next.calendars USING (exchange)"""
    ).fetchall()
    names = sorted(name for (name,) in found if name and resolve_name(name) == name)
    spans = [sessions.read_calendar(name).sessions for name in names]
    connection.execute("DELETE FROM next.calendars WHERE exchange IN (SELECT unnest(?))", [names])
    connection.execute(
        """INSERT INTO next.calendars
        SELECT unnest($names), unnest($firsts)::DATE, unnest($lasts)::DATE""",
        {"names": names, "firsts": [s[0] for s in spans], "lasts": [s[-1] for s in spans]},
    )


def find_span(connection: duckdb.DuckDBPyConnection) -> tuple[date, date]:
    """First and last day of all bars, stored and incoming, of the incoming symbols, and of those
    with actions alone: their notes may have to change too."""
    first, last = connection.execute(
        """SELECT min(first), max(last) FROM (
            SELECT min(timestamp) AS first, max(timestamp) AS last FROM incoming
            UNION ALL SELECT min(first), max(last) FROM store.instruments
            WHERE symbol IN (SELECT symbol FROM incoming UNION SELECT symbol FROM told))"""
    ).fetchall()[0]
    return (first.date(), last.date()) if first else (NO_DAY, NO_DAY)


def write_provisional(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Note bars fetched before their session closed, until a later answer says the same."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE finished AS
        SELECT n.rowid AS place FROM next.bar_notes n JOIN arriving a USING (symbol, timestamp)
        LEFT JOIN symbol_exchanges USING (symbol)
        LEFT JOIN sessions s ON s.exchange = symbol_exchanges.exchange
             AND s.session = timestamp::DATE
        WHERE n.reason = '{NOT_FINAL}' AND (a.differs OR a.fetched_at >= s.close)"""
    )
    retire_notes(connection, "SELECT place FROM finished", run_id)
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{NOT_FINAL}',
               format('fetched at {{}} UTC, before the close at {{}}', fetched_at, close_at), $run,
               since
        FROM (SELECT c.symbol, c.timestamp, c.fetched_at, s.close AS close_at, since
              FROM changes c JOIN symbol_exchanges USING (symbol)
              JOIN round_instants USING (symbol)
              JOIN sessions s ON s.exchange = symbol_exchanges.exchange
                   AND s.session = c.timestamp::DATE AND c.fetched_at < s.close)
        ORDER BY symbol, timestamp""",
        {"run": run_id},
    )


def write_gaps(connection: duckdb.DuckDBPyConnection) -> None:
    """Sessions without a bar: those newly within first to last, and the last few not yet there."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE reached AS
        SELECT symbol, n.exchange, b.first AS old_first, b.last AS old_last, n.first, n.last,
               n.seen_at
        FROM (SELECT DISTINCT symbol FROM arriving)
        JOIN next.instruments n USING (symbol) LEFT JOIN before b USING (symbol)"""
    )
    connection.execute(
        """DELETE FROM next.gaps g WHERE
        EXISTS (FROM changes c WHERE c.symbol = g.symbol AND c.timestamp = g.session)
        OR (cause = 'not yet published' AND symbol IN (SELECT symbol FROM reached))"""
    )
    find_short(connection)
    connection.execute(
        """INSERT INTO next.gaps
        SELECT symbol, session, 'not delivered' FROM (
            SELECT o.symbol, s.session FROM short o JOIN sessions s
            ON s.exchange = o.exchange AND s.session > o.after AND s.session < o.before) e
        WHERE NOT EXISTS (FROM changes c SEMI JOIN short USING (symbol)
                          WHERE c.symbol = e.symbol AND c.timestamp = e.session)
        AND NOT EXISTS (FROM next.gaps g WHERE g.symbol = e.symbol AND g.session = e.session)
        ORDER BY symbol, session"""
    )
    connection.execute(
        f"""INSERT INTO next.gaps
        SELECT symbol, session, 'not yet published' FROM (
            SELECT r.symbol, s.session, count(*) OVER (PARTITION BY r.symbol) AS late
            FROM reached r JOIN sessions s
            ON s.exchange = r.exchange AND s.session > r.last AND s.close <= r.seen_at)
        WHERE late <= {PUBLICATION_LAG} AND (symbol, session) NOT IN (
            SELECT (symbol, session) FROM next.gaps) ORDER BY symbol, session"""
    )
    connection.execute(
        """UPDATE next.gaps g SET cause = 'rejected' WHERE EXISTS (
            FROM round_rejected r WHERE r.symbol = g.symbol AND r.timestamp = g.session)"""
    )


def find_short(connection: duckdb.DuckDBPyConnection) -> None:
    """`short` (symbol, exchange, after, before): spans newly within first to last, ends left out,
    with fewer bars on sessions than sessions: only those are looked at day by day.

    The bars of such a span are all among the changes, for nothing was stored there.
    """
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE opened AS
        SELECT symbol, exchange, first AS after, last AS before FROM reached
        WHERE old_first IS NULL
        UNION ALL SELECT symbol, exchange, first, old_first FROM reached WHERE first < old_first
        UNION ALL SELECT symbol, exchange, old_last, last FROM reached WHERE last > old_last"""
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE short AS
        SELECT symbol, exchange, after, before FROM (
            SELECT symbol, exchange, after, before, count(*) AS sessions
            FROM opened o JOIN sessions s USING (exchange)
            WHERE session > after AND session < before
                  AND session > (SELECT min(after) FROM opened) GROUP BY ALL)
        LEFT JOIN (
            SELECT symbol, after, count(*) AS bars FROM changes JOIN opened USING (symbol)
            JOIN sessions s USING (exchange)
            WHERE session = timestamp::DATE AND timestamp > after AND timestamp < before
            GROUP BY ALL) USING (symbol, after)
        WHERE sessions > coalesce(bars, 0)"""
    )
