"""When newer bars than the newest are due: what tells an old store from a closed exchange."""

from datetime import timedelta

import duckdb

from etl.market.sessions import list_closes

LONGEST_BREAK = timedelta(days=31)  # no exchange was closed for longer


def find_due(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Exchange → the close of its first session after the newest bar, as 2012-01-31T21:00:00Z.

    Of what is in `store` and what comes; of the sample nothing newer is due.
    """
    rows = connection.execute(
        """SELECT exchange, max(last)::DATE FROM (
            SELECT exchange, last FROM store.instruments WHERE source <> 'sample'
            UNION ALL SELECT exchange, max(timestamp) FROM incoming JOIN symbol_exchanges
            USING (symbol) WHERE source <> 'sample' GROUP BY exchange)
        WHERE exchange IS NOT NULL AND last IS NOT NULL GROUP BY exchange ORDER BY exchange"""
    ).fetchall()
    due = {}
    for exchange, newest in rows:
        closes = list_closes(exchange, newest + timedelta(days=1), newest + LONGEST_BREAK)
        if closes:  # else the calendar knows no later session
            due[exchange] = f"{closes[0][1]:%Y-%m-%dT%H:%M:%SZ}"
    return due
