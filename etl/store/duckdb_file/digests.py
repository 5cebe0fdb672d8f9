"""Digests of stored bars against those that `instruments` says: renewed, and looked through."""

import duckdb

from etl.contracts.bar_digests import BAR_DIGEST, OF_BAR, digest_rows


def renew(connection: duckdb.DuckDBPyConnection) -> None:
    """Put digests of today into a `next` that was written under an older schema.

    Those of its runs cannot be made again, for they are of bars as they were: they become NULL.
    """
    version = connection.execute("SELECT max(schema_version) FROM next.generation").fetchall()[0][0]
    if version is None or OF_BAR[version] == BAR_DIGEST:
        return
    connection.execute(
        f"""UPDATE next.instruments i SET digest = b.digest FROM (
            SELECT symbol, bit_xor(digest) AS digest
            FROM ({digest_rows("FROM next.ohlcv_data")}) GROUP BY symbol) b
        WHERE b.symbol = i.symbol"""
    )
    connection.execute("UPDATE next.etl_run_symbols SET digest = NULL")


def find_touched(version: int, store: str = "store") -> str:
    """SQL: the symbols whose bars are not those that `instruments` says: another program wrote."""
    return f"""
        SELECT symbol FROM {store}.instruments i FULL JOIN (
            SELECT symbol, count(*) AS bars, bit_xor(digest) AS digest
            FROM ({digest_rows(f"FROM {store}.ohlcv_data", version)}) GROUP BY symbol) b
        USING (symbol)
        WHERE (i.bars, i.digest) IS DISTINCT FROM (b.bars, b.digest)"""
