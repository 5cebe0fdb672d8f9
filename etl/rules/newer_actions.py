"""Corporate actions: which of those that come count, which are withdrawn, and since when.

They are known as bars are: the newest answer wins in any order of loads, and old values are kept.
An answer may also say that it lists all of a symbol's actions of one kind (`incoming_lists`):
what an older answer had and the list has not, did not happen, and goes.
"""

KEY = "symbol, ex_date, kind"


def compare(actions: str, stored: str, lists: str) -> str:
    """SQL: those of the `actions` that count: no older than what is stored, or than a stored
    list that has not got them. With is_new, differs, and the old values."""
    return f"""
        SELECT a.*, s.symbol IS NULL AS is_new, s.ratio AS old_ratio, s.amount AS old_amount,
               s.source AS old_source, s.known_from, s.symbol IS NULL
                   OR a.ratio IS DISTINCT FROM s.ratio OR a.amount IS DISTINCT FROM s.amount
                   AS differs
        FROM {actions} a LEFT JOIN {stored} s USING ({KEY})
        WHERE (s.symbol IS NULL OR a.fetched_at > s.known_at OR (a.fetched_at = s.known_at
               AND coalesce(a.ratio, a.amount) > coalesce(s.ratio, s.amount)))
        AND NOT EXISTS (
            FROM {lists} l WHERE l.symbol = a.symbol AND l.kind = a.kind
            AND a.ex_date BETWEEN l.first AND l.last AND l.known_at > a.fetched_at)"""


def find_newer_lists(lists: str, stored: str) -> str:
    """SQL: those of the `lists` that no stored list covers that is as new."""
    return f"""
        SELECT n.* FROM {lists} n WHERE NOT EXISTS (
            FROM {stored} l WHERE l.symbol = n.symbol AND l.kind = n.kind
            AND l.first <= n.first AND l.last >= n.last AND l.known_at >= n.fetched_at)"""
