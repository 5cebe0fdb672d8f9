"""Notes of bars that were fetched before their session closed."""

import duckdb

from etl.store.duckdb_file.bar_notes import NOT_FINAL, retire_notes


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
