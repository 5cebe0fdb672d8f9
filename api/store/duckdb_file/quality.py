"""Notes, revisions, corporate actions, gaps, and coverage made up of them."""

from datetime import date, datetime
from typing import Any

from api.bars.volumes import divide_volume
from api.store import Rows
from api.store.duckdb_file.instruments import read_instrument
from api.store.duckdb_file.rows import DAY, EXACT_INSTANT, Cursor, read_rows


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
    rows = read_rows(
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
    asked = "SELECT volume_decimals FROM market.instruments WHERE symbol = ?"
    decimals = cursor.execute(asked, [symbol]).fetchall()[0][0] if rows else 0
    return [{**row, "volume": divide_volume(row["volume"], decimals)} for row in rows]


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
        {"symbol": symbol, "after": after, "limit": limit, **({"as_of": as_of} if as_of else {})},
    )


# Sessions of the instruments of `page`: null where the calendar is not known; bars on days of which
# it says nothing, and those on days that are no session, are counted apart.
COUNTED = f"""
ends AS (
    SELECT symbol, c.first AS known_from, c.last AS known_to
    FROM page p JOIN market.calendars c USING (exchange)
    WHERE p.first < c.first OR p.last > c.last),
unknown AS (
    SELECT symbol, count(*) AS bars_of_unknown_days
    FROM market.ohlcv_data b JOIN ends USING (symbol)
    WHERE b.timestamp < known_from OR b.timestamp > known_to GROUP BY symbol),
missing AS (
    SELECT symbol, count(*) AS gaps FROM market.gaps SEMI JOIN page USING (symbol) GROUP BY symbol),
noted AS (
    SELECT symbol, count(*) AS notes, count(*) FILTER (reason = 'provisional') AS provisional,
           count(*) FILTER (reason = 'outside sessions') AS bars_outside_sessions
    FROM market.bar_notes SEMI JOIN page USING (symbol) GROUP BY symbol),
counted AS (
    SELECT symbol, exchange, exchange AS calendar, {DAY.format("page.first")} AS first,
           {DAY.format("page.last")} AS last, bars,
           {DAY.format("CASE WHEN page.first < known_from THEN known_from END")}
               AS sessions_known_from,
           {DAY.format("CASE WHEN page.last > known_to THEN known_to END")} AS sessions_known_to,
           coalesce(gaps, 0) AS gaps, coalesce(notes, 0) AS notes,
           coalesce(provisional, 0) AS provisional,
           coalesce(bars_outside_sessions, 0) AS bars_outside_sessions,
           CASE WHEN exchange IS NULL THEN bars ELSE coalesce(bars_of_unknown_days, 0) END
               AS bars_of_unknown_days,
           CASE WHEN exchange IS NOT NULL
                THEN bars - coalesce(bars_outside_sessions, 0) - coalesce(bars_of_unknown_days, 0)
                END AS sessions_present,
           sessions_present + coalesce(gaps, 0) AS sessions_expected
    FROM page LEFT JOIN ends USING (symbol) LEFT JOIN unknown USING (symbol)
    LEFT JOIN missing USING (symbol) LEFT JOIN noted USING (symbol))"""
SESSIONS = """symbol, exchange, calendar, sessions_known_from, sessions_known_to, first, last, bars,
sessions_expected, sessions_present, bars_outside_sessions, bars_of_unknown_days"""


def read_coverage(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """Sessions expected and present, gaps with cause, notes by reason, provisional days."""
    key = [read_instrument(cursor, symbol)["symbol"]]
    counted = read_rows(
        cursor,
        f"""WITH page AS (
            SELECT symbol, exchange, first, last, bars FROM market.instruments WHERE symbol = ?),
        {COUNTED} SELECT {SESSIONS} FROM counted""",
        key,
    )
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
    return {
        **counted[0],
        "gaps": gaps,
        "notes": {note["reason"]: note["bars"] for note in notes},
        "provisional": [row["day"] for row in provisional],
    }


def read_coverages(cursor: Cursor, q: str, after: str, limit: int) -> Rows:
    """Coverage of the instruments that `read_instruments` gives, one row each, in counts."""
    return read_rows(
        cursor,
        f"""WITH page AS (
            SELECT symbol, exchange, first, last, bars FROM market.instruments
            WHERE contains(symbol, ?) AND symbol > ? ORDER BY symbol LIMIT ?),
        revised AS (
            SELECT symbol, count(*) AS revisions FROM market.ohlcv_revisions
            SEMI JOIN page USING (symbol) GROUP BY symbol),
        {COUNTED}
        SELECT {SESSIONS}, gaps, notes, provisional, coalesce(revisions, 0) AS revisions
        FROM counted LEFT JOIN revised USING (symbol) ORDER BY symbol""",
        [q.strip().upper(), after.strip().upper(), limit],
    )


def count_gaps(
    cursor: Cursor,
    symbol: str,
    start: date | None,
    end: date | None,
    as_of: datetime | None = None,
) -> int:
    """Sessions of the range without a bar; with `as_of` those between the first and the last bar
    known then that had none then."""
    missing = "SELECT session FROM market.gaps WHERE symbol = $symbol"
    rows = read_rows(
        cursor,
        f"""SELECT count(*) AS gaps FROM ({missing if as_of is None else MISSING_AS_OF})
        WHERE session >= coalesce($start::DATE, session)
        AND session <= coalesce($end::DATE, session)""",
        {
            **{"symbol": symbol, "start": start, "end": end},
            **({} if as_of is None else {"as_of": as_of}),
        },
    )
    return int(rows[0]["gaps"])


# A session is a gap now, or has a bar that came later: bars never go.
MISSING_AS_OF = """
WITH came AS (
    SELECT timestamp, min(known_from) AS came_at FROM (
        SELECT timestamp, known_from FROM market.ohlcv_known WHERE symbol = $symbol
        UNION ALL SELECT timestamp, known_from FROM market.ohlcv_revisions WHERE symbol = $symbol)
    GROUP BY timestamp),
span AS (SELECT min(timestamp) AS since, max(timestamp) AS until FROM came
         WHERE came_at <= $as_of),
sessions AS (
    SELECT session FROM market.gaps WHERE symbol = $symbol
    UNION ALL SELECT timestamp::DATE FROM came, market.instruments i
    JOIN market.calendars c USING (exchange)
    WHERE i.symbol = $symbol AND came_at > $as_of
    AND timestamp BETWEEN c.first AND c.last
    AND timestamp NOT IN (SELECT timestamp FROM market.bar_notes
                          WHERE symbol = $symbol AND reason = 'outside sessions'))
SELECT session FROM sessions, span WHERE session BETWEEN since AND until"""


def count_quality(cursor: Cursor) -> dict[str, dict[str, Any]]:
    """Of the whole store: gaps by cause, notes by reason, the newest bar's day by exchange."""
    asked = {
        "gaps": "SELECT cause, count(*) FROM market.gaps GROUP BY 1",
        "notes": "SELECT reason, count(*) FROM market.bar_notes GROUP BY 1",
        "newest": "SELECT coalesce(exchange, ''), max(last) FROM market.instruments GROUP BY 1",
    }
    return {name: dict(cursor.execute(query).fetchall()) for name, query in asked.items()}
