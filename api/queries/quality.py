"""Notes, revisions, corporate actions, gaps, and coverage made up of them."""

from datetime import date, datetime
from typing import Any

from api.queries.bars import name_instant
from api.queries.instruments import read_instrument
from api.queries.rows import DAY, EXACT_INSTANT, Cursor, Rows, read_rows


def read_notes(
    cursor: Cursor, symbol: str, start: date | None, end: date | None, after: int, limit: int
) -> Rows:
    """Notes on a symbol's bars by day, from the row behind `after` on, at most `limit`."""
    return read_rows(
        cursor,
        f"""SELECT {DAY.format("timestamp")} AS timestamp, reason, detail, run_id,
               {EXACT_INSTANT.format("known_from")} AS known_from
        FROM market.bar_notes WHERE symbol = $symbol
        AND timestamp >= coalesce($start, timestamp) AND timestamp <= coalesce($end, timestamp)
        ORDER BY bar_notes.timestamp, reason LIMIT $limit OFFSET $after""",
        {"symbol": symbol, "start": start, "end": end, "after": after, "limit": limit},
    )


def read_revisions(
    cursor: Cursor, symbol: str, start: date | None, end: date | None, after: int, limit: int
) -> Rows:
    """Old values of a symbol's bars by day and time, each with the span in which it was known.

    A bar can change twice at one instant, to ever greater values: they come last in the order.
    """
    return read_rows(
        cursor,
        f"""SELECT {DAY.format("timestamp")} AS timestamp, open, high, low, close, volume,
               {EXACT_INSTANT.format("known_from")} AS known_from,
               {EXACT_INSTANT.format("known_to")} AS known_to, run_id
        FROM market.ohlcv_revisions WHERE symbol = $symbol
        AND timestamp >= coalesce($start, timestamp) AND timestamp <= coalesce($end, timestamp)
        ORDER BY ohlcv_revisions.timestamp, ohlcv_revisions.known_to, ohlcv_revisions.known_from,
                 open, high, low, close, volume NULLS FIRST LIMIT $limit OFFSET $after""",
        {"symbol": symbol, "start": start, "end": end, "after": after, "limit": limit},
    )


def read_actions(
    cursor: Cursor, symbol: str, as_of: datetime | None, history: bool, after: int, limit: int
) -> Rows:
    """Splits (ratio) and dividends (amount) of a symbol by ex-date, each with the span in which it
    was known; as known at `as_of`; with `history` also those that are not known any more."""
    then = "" if as_of is None else "AND known_from <= $as_of"
    gone = "" if as_of is None or history else "AND known_to > $as_of"
    if as_of is None and not history:
        gone = "AND false"
    columns = "symbol, ex_date, kind, ratio, amount, source, known_from"
    return read_rows(
        cursor,
        f"""SELECT {DAY.format("ex_date")} AS ex_date, kind, ratio, amount, source,
               {EXACT_INSTANT.format("known_from")} AS known_from,
               {EXACT_INSTANT.format("known_to")} AS known_to
        FROM (SELECT {columns}, NULL::TIMESTAMP AS known_to FROM market.corporate_actions
              UNION ALL
              SELECT {columns}, known_to FROM market.corporate_action_revisions
              WHERE true {gone}) actions
        WHERE symbol = $symbol {then}
        ORDER BY actions.ex_date, kind, actions.known_from, actions.known_to
        LIMIT $limit OFFSET $after""",
        {**name_instant(symbol, as_of), "after": after, "limit": limit},
    )


def read_coverage(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """Sessions expected and present, gaps with cause, notes by reason, provisional days."""
    instrument = read_instrument(cursor, symbol)
    key = [instrument["symbol"]]
    gaps = read_rows(
        cursor,
        f"SELECT {DAY.format('session')} AS session, cause FROM market.gaps WHERE symbol = ?"
        " ORDER BY gaps.session",
        key,
    )
    notes = read_rows(
        cursor,
        "SELECT reason, count(*) AS bars FROM market.bar_notes WHERE symbol = ?"
        " GROUP BY reason ORDER BY reason",
        key,
    )
    provisional = read_rows(
        cursor,
        f"SELECT {DAY.format('timestamp')} AS day FROM market.bar_notes"
        " WHERE symbol = ? AND reason = 'provisional' ORDER BY bar_notes.timestamp",
        key,
    )
    by_reason = {note["reason"]: note["bars"] for note in notes}
    present = instrument["bars"] - by_reason.get("outside sessions", 0)
    return {
        **{name: instrument[name] for name in ("symbol", "exchange", "first", "last", "bars")},
        "sessions_expected": present + len(gaps),
        "sessions_present": present,
        "gaps": gaps,
        "notes": by_reason,
        "provisional": [row["day"] for row in provisional],
    }


def read_coverages(cursor: Cursor, q: str, after: str, limit: int) -> Rows:
    """Coverage of the instruments that `read_instruments` gives, one row each, in counts."""
    return read_rows(
        cursor,
        """WITH page AS (
            SELECT symbol, exchange, first, last, bars FROM market.instruments
            WHERE contains(symbol, ?) AND symbol > ? ORDER BY symbol LIMIT ?),
        gaps AS (
            SELECT symbol, count(*) AS gaps FROM market.gaps SEMI JOIN page USING (symbol)
            GROUP BY symbol),
        notes AS (
            SELECT symbol, count(*) AS notes,
                   count(*) FILTER (reason = 'provisional') AS provisional,
                   count(*) FILTER (reason = 'outside sessions') AS outside
            FROM market.bar_notes SEMI JOIN page USING (symbol) GROUP BY symbol),
        revisions AS (
            SELECT symbol, count(*) AS revisions FROM market.ohlcv_revisions
            SEMI JOIN page USING (symbol) GROUP BY symbol)
        SELECT symbol, exchange, strftime(first, '%Y-%m-%d') AS first,
               strftime(last, '%Y-%m-%d') AS last, bars,
               bars - coalesce(outside, 0) + coalesce(gaps, 0) AS sessions_expected,
               bars - coalesce(outside, 0) AS sessions_present,
               coalesce(gaps, 0) AS gaps, coalesce(notes, 0) AS notes,
               coalesce(provisional, 0) AS provisional, coalesce(revisions, 0) AS revisions
        FROM page LEFT JOIN gaps USING (symbol) LEFT JOIN notes USING (symbol)
        LEFT JOIN revisions USING (symbol) ORDER BY symbol""",
        [q.strip().upper(), after.strip().upper(), limit],
    )


def count_gaps(cursor: Cursor, symbol: str, start: date | None, end: date | None) -> int:
    """Sessions of the range without a bar."""
    rows = read_rows(
        cursor,
        """SELECT count(*) AS gaps FROM market.gaps WHERE symbol = $symbol
        AND session >= coalesce($start::DATE, session) AND session <= coalesce($end::DATE, session)
        """,
        {"symbol": symbol, "start": start, "end": end},
    )
    return int(rows[0]["gaps"])
