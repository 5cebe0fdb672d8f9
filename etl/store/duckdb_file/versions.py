"""The version of a symbol: a digest of all that an answer about it can depend on.

Two stores, or two publications of one store, that give a symbol the same version give the same
answers about it. So what a reader keeps of a symbol outlives each load that does not touch it.

It covers the instrument itself (with the digest of its bars), since when each bar is known, its
revisions, corporate actions, notes and gaps with theirs, and how far its calendar reaches. It
leaves out what no answer shows: when a bar or an action was last confirmed.
"""

from collections.abc import Collection, Sequence

import duckdb

from etl.contracts.bar_digests import digest_rows

SEPARATOR = "chr(31)"  # in no text of these tables
# Seconds times this stay below 2^63; unlike the seconds alone, their XOR tells sets of days apart.
KEY_OF_SECOND = 0x2545F491

INSTRUMENT = (
    *("symbol", "first", "last", "bars", "last_close", "source", "basis", "exchange", "digest"),
    *("splits_known_at", "dividends_known_at", "actions_known_at", "volume_decimals"),
)
ACTION = ("ex_date", "kind", "ratio", "amount", "source", "known_from")
NOTE = ("timestamp", "reason", "detail", "run_id", "known_from")
# Table → its columns that answers show, each row by itself.
ROWS = {
    "corporate_actions": ACTION,
    "corporate_action_revisions": (*ACTION, "known_to"),
    "bar_notes": NOTE,
    "bar_note_revisions": (*NOTE, "known_to"),
    "gaps": ("session", "cause"),
}
TABLES = ("ohlcv_known", "ohlcv_revisions", *ROWS)

# What a load wrote anything of: whatever comes (see rounds), is in another unit now, or was
# examined anew.
LIST_CONCERNED = """
CREATE OR REPLACE TEMP TABLE concerned AS
SELECT symbol FROM rounds UNION SELECT symbol FROM volume_units UNION SELECT symbol FROM examined
UNION SELECT symbol FROM next.instruments
WHERE exchange IN (SELECT unnest($1::VARCHAR[])) OR version IS NULL"""


def join_text(values: tuple[str, ...]) -> str:
    """SQL: the values as one text, in which a missing one has a place too."""
    return f" || {SEPARATOR} || ".join(f"coalesce({value}::VARCHAR, 'NULL')" for value in values)


def select_lines(store: str, tables: Collection[str], among: str) -> str:
    """SQL: (symbol, line) of those tables, one or more lines for all but the instrument; in no
    order. among: a SEMI JOIN that names the symbols, or nothing."""
    second = "epoch_us(timestamp) // 1000000"
    known = f"count(*)::VARCHAR, sum({second})::VARCHAR, bit_xor({second} * {KEY_OF_SECOND})"
    revised = "count(*)::VARCHAR, bit_xor(digest)"
    selects = {
        "ohlcv_known": f"""SELECT symbol, concat_ws('|', 'known', known_from, {known})
            FROM {store}.ohlcv_known {among} GROUP BY symbol, known_from""",
        "ohlcv_revisions": f"""
            SELECT symbol, concat_ws('|', 'revised', known_from, known_to, run_id, {revised})
            FROM ({digest_rows(f"FROM {store}.ohlcv_revisions {among}")})
            GROUP BY symbol, known_from, known_to, run_id""",
        **{
            table: f"""
            SELECT symbol, {join_text((repr(table), *columns))} FROM {store}.{table} {among}"""
            for table, columns in ROWS.items()
        },
    }
    nothing = "SELECT NULL::VARCHAR AS symbol, NULL::VARCHAR AS line LIMIT 0"
    return " UNION ALL ".join([f"({nothing})", *(selects[name] for name in tables)])


def select_versions(store: str, tables: Collection[str] = TABLES, among: str = "") -> str:
    """SQL: (symbol, version) of all instruments, or of those `among`, computed anew.

    Lines are added up: so that their order does not count, and none takes another back. A table
    that is left out must be empty.
    """
    parts = (*(f"i.{name}" for name in INSTRUMENT), "lines", "c.first", "c.last")
    return f"""
        SELECT i.symbol, md5_number_lower({join_text(parts)}) AS version
        FROM (FROM {store}.instruments {among}) i LEFT JOIN {store}.calendars c USING (exchange)
        LEFT JOIN (SELECT symbol, sum(md5_number_lower(line)::HUGEINT) AS lines
                   FROM ({select_lines(store, tables, among)}) GROUP BY symbol) USING (symbol)"""


def write_versions(
    connection: duckdb.DuckDBPyConnection, is_whole: bool, exchanges: Sequence[str] = ()
) -> None:
    """Bring the versions in `next` in step with all that is in it: of the symbols of this load, and
    of the exchanges whose calendar changed; or of all."""
    if not is_whole:
        connection.execute(LIST_CONCERNED, [list(exchanges)])
    among = "" if is_whole else "SEMI JOIN concerned USING (symbol)"
    counts = ", ".join(f"(SELECT count(*) FROM next.{table})" for table in TABLES)
    rows = connection.execute(f"SELECT {counts}").fetchall()[0]
    filled = [table for table, count in zip(TABLES, rows, strict=True) if count]
    connection.execute(
        f"""UPDATE next.instruments i SET version = v.version
        FROM ({select_versions("next", filled, among)}) v
        WHERE v.symbol = i.symbol AND i.version IS DISTINCT FROM v.version"""
    )
