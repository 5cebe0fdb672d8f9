"""Stored volumes in the unit that a load chose for their symbol, and notes of what does not fit."""

import duckdb

from etl.contracts.bar_digests import digest_rows
from etl.rules.volume_units import explain, is_lossy, rescale, write
from etl.store.duckdb_file.bar_notes import ROUNDED, retire_notes


def rescale_stored(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bring what `next` holds into the units of this load. The numbers stay the same, so that no
    bar is revised by it; those that do not are noted."""
    changed = """(FROM volume_units SEMI JOIN next.instruments USING (symbol)
                  WHERE stored <> decimals)"""
    if not connection.execute(f"FROM {changed} LIMIT 1").fetchall():
        return
    note_coarser(connection, changed, run_id)
    for table in ("ohlcv_data", "ohlcv_revisions"):
        connection.execute(
            f"""UPDATE next.{table} b SET volume = {rescale("b.volume", "stored", "decimals")}
            FROM {changed} u WHERE u.symbol = b.symbol"""
        )
    connection.execute(
        f"""UPDATE next.instruments i SET volume_decimals = u.decimals, digest = b.digest
        FROM {changed} u JOIN (SELECT symbol, bit_xor(digest) AS digest
            FROM ({digest_rows("FROM next.ohlcv_data")}) SEMI JOIN {changed} USING (symbol)
            GROUP BY symbol) b
        USING (symbol) WHERE u.symbol = i.symbol"""
    )


def note_coarser(connection: duckdb.DuckDBPyConnection, changed: str, run_id: str) -> None:
    """Note the stored bars whose volume has more decimals than fit beside what comes."""
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{ROUNDED}', {explain(write("volume", "stored"))}, $run, since
        FROM next.ohlcv_data b JOIN {changed} u USING (symbol) JOIN (
            SELECT symbol, greatest(any_value(seen_at), min(fetched_at)) AS since
            FROM delivered JOIN next.instruments USING (symbol) GROUP BY symbol) USING (symbol)
        WHERE {is_lossy("volume", "stored", "decimals")} AND NOT EXISTS (
            FROM next.bar_notes n WHERE n.symbol = b.symbol AND n.timestamp = b.timestamp
            AND n.reason = '{ROUNDED}')
        ORDER BY symbol, timestamp""",
        {"run": run_id},
    )


def note_rounded(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Note the bars of this round whose volume does not fit; retire the notes of those before."""
    retire_notes(
        connection,
        f"""SELECT n.rowid FROM next.bar_notes n JOIN changes c
        ON c.symbol = n.symbol AND c.timestamp = n.timestamp WHERE reason = '{ROUNDED}'""",
        run_id,
    )
    connection.execute(
        f"""INSERT INTO next.bar_notes
        SELECT symbol, timestamp, '{ROUNDED}', {explain("given")}, $run, since
        FROM changes JOIN rounded_volumes USING (symbol, timestamp, fetched_at)
        JOIN round_instants USING (symbol) ORDER BY symbol, timestamp""",
        {"run": run_id},
    )
