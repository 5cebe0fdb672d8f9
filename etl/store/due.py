"""When newer bars than the newest are due: what tells an old store from a closed exchange."""

from datetime import date, datetime, timedelta

import duckdb

from etl.market.sessions import list_closes
from etl.store import calendars

LONGEST_BREAK = timedelta(days=31)  # no exchange was closed for longer


def find_due(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Exchange → the close of its first session after the newest bar, as 2012-01-31T21:00:00Z.

    Of what is known and what comes; of the sample nothing newer is due.
    """
    rows = connection.execute(
        """SELECT exchange, max(last)::DATE FROM (
            SELECT exchange, last FROM known_instruments WHERE source <> 'sample'
            UNION ALL SELECT exchange, max(timestamp) FROM incoming JOIN symbol_exchanges
            USING (symbol) WHERE source <> 'sample' GROUP BY exchange)
        WHERE exchange IS NOT NULL AND last IS NOT NULL GROUP BY exchange ORDER BY exchange"""
    ).fetchall()
    closes = {exchange: find_close(connection, exchange, newest) for exchange, newest in rows}
    return {name: f"{close:%Y-%m-%dT%H:%M:%SZ}" for name, close in closes.items() if close}


def find_close(
    connection: duckdb.DuckDBPyConnection, exchange: str, newest: date
) -> datetime | None:
    """The close of the first session after a day; None if the calendar knows no later session."""
    start, end = newest + timedelta(days=1), newest + LONGEST_BREAK
    if exchange not in calendars.read_held(connection, newest):
        return next((close for _, close in list_closes(exchange, start, end)), None)
    found: datetime | None = connection.execute(
        "SELECT min(close) FROM known_sessions WHERE exchange = ? AND session BETWEEN ? AND ?",
        [exchange, start, end],
    ).fetchall()[0][0]
    return found
