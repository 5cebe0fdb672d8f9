"""Since when each bar is known: which of the bars that come count, and what they replace.

A bar is known from the instant at which the answer that brought it was fetched (`known_from`), and
stands on the newest answer that said the same (`known_at`). An older answer never replaces a newer
one, whatever the order in which they are loaded. ohlcv_known has both instants of each bar, and
ohlcv_revisions the old values of those that changed.
"""

VALUES = ("open", "high", "low", "close", "volume")
OLD_VALUES = ", ".join(f"s.{name} AS old_{name}" for name in VALUES)
DIFFERS = " OR ".join(f"i.{name} IS DISTINCT FROM s.{name}" for name in VALUES)

# The columns that compare() adds to those of a bar, of bars that have nothing to be compared with.
NOTHING_STORED = ", ".join(
    [
        "true AS is_new, true AS differs",
        *(f"NULL AS old_{name}" for name in VALUES),
        "NULL::TIMESTAMP AS known_from, NULL::TIMESTAMP AS known_at",
        "NULL::VARCHAR AS old_source, false AS is_outranked",
    ]
)


def compare(bars: str, held: str, since: str, days: str) -> str:
    """SQL: those of the `bars` that are new, that differ from the stored ones (`held`), or that
    come from a newer answer than those stand on (`since`); with is_new, differs, the old values,
    known_from, known_at and old_source; is_outranked: the stored bar is of a vendor that goes
    before (see vendors).

    days: what is true of the timestamps of all these bars, told in literals; see `bound`.
    """
    return f"""
        SELECT i.*, s.symbol IS NULL AS is_new, ({DIFFERS}) AS differs, {OLD_VALUES},
               known_from, known_at, old_source,
               coalesce(vendor_rank(i.source) > vendor_rank(old_source), false) AS is_outranked
        FROM {bars} i LEFT JOIN (
            SELECT b.*, known_from, known_at, old_source
            FROM (FROM {held} WHERE {days}) b
            LEFT JOIN (SELECT symbol, timestamp, known_from, known_at, source AS old_source
                       FROM {since} WHERE {days}) k USING (symbol, timestamp)) s
        ON i.symbol = s.symbol AND i.timestamp = s.timestamp
        WHERE s.symbol IS NULL OR i.fetched_at > known_at OR {DIFFERS}"""


def counts() -> str:
    """SQL: whether a compared bar counts: it is no older than what the stored one stands on, and
    not of a vendor behind.

    Of two answers of the same instant the greater content wins, so that any order of loads gives
    one table.
    """
    return f"""(NOT is_outranked AND (is_new OR known_at IS NULL OR fetched_at > known_at
        OR (fetched_at = known_at AND {list_content("")} > {list_content("old_")})))"""


def list_content(prefix: str) -> str:
    """SQL: the values as one comparable row; a missing volume comes last."""
    columns = ", ".join(f"{prefix}{name}" for name in VALUES[:-1])
    return f"({columns}, coalesce({prefix}volume, -1))"
