"""Sessions without a bar, kept in step with each load.

Only what changed is looked at, so the work grows with the changes and not with the store. Works
on the temp relations of a round (see rounds), and on `next` with the changes in it.
"""

import duckdb

# So many closed sessions after the last bar are said to be not yet published; after more the
# vendor has ended the series.
PUBLICATION_LAG = 5


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
    add_missing(connection)
    connection.execute(
        """UPDATE next.gaps g SET cause = 'rejected' WHERE EXISTS (
            FROM round_rejected r WHERE r.symbol = g.symbol AND r.timestamp = g.session)"""
    )


def add_missing(connection: duckdb.DuckDBPyConnection) -> None:
    """The sessions without a bar that `next` does not have as gaps yet."""
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
