"""Figures of every instrument over a range, ranked; as they are, or as they were known."""

from datetime import date, datetime
from typing import Any

from api.faults import Refused
from api.models.terms import DayOfInstant, find_session_day
from api.store import Rows
from api.store.duckdb_file.rows import DAY, Cursor, read_rows
from etl.contracts.tables import raise_ten
from etl.contracts.zones import ZONES


def screen(cursor: Cursor, wanted: dict[str, Any], limit: int) -> Rows:
    """Figures of every instrument over a range, filtered, sorted by a column, at most `limit`.

    Total return takes the splits between first and last bar out of prices as traded. It and the
    dollar volume are null where a close of the range is 0 or below.
    """
    column, is_falling = wanted["sort"].removeprefix("-"), wanted["sort"].startswith("-")
    if column not in SCREEN_COLUMNS:
        raise Refused(f"sort={column}: possible are {', '.join(SCREEN_COLUMNS)}")
    days = [
        f"timestamp {sign} {select_day(name, wanted[name])}"
        for sign, name in ((">=", "start"), ("<=", "end"))
        if wanted[name]
    ]
    has_instant = any(isinstance(wanted[name], DayOfInstant) for name in ("start", "end"))
    as_of = wanted["as_of"]
    bound = {name: wanted[name] for name in ("start", "end", "as_of") if wanted[name]}
    floors = ("min_volume", "min_dollar_volume", "min_price", "min_bars")
    return read_rows(
        cursor,
        f"""WITH ranges AS (
            SELECT symbol, min(timestamp) AS from_bar, max(timestamp) AS to_bar, count(*) AS bars,
                   arg_min(close, timestamp) AS first_close,
                   arg_max(close, timestamp) AS last_close, min(close) AS lowest,
                   avg(volume) AS mean_units,
                   avg(close * volume) AS dollar_units
            FROM ({select_bars(cursor, as_of)})
            {JOINED if has_instant else ""} {f"WHERE {' AND '.join(days)}" if days else ""}
            GROUP BY symbol),
        units AS (
            SELECT symbol, {raise_ten("volume_decimals")} AS unit FROM market.instruments),
        factors AS (
            SELECT symbol, product(ratio) AS factor FROM ranges
            JOIN market.instruments USING (symbol)
            JOIN ({select_splits(as_of)}) a USING (symbol)
            WHERE basis = 'raw' AND ex_date > from_bar::DATE AND ex_date <= to_bar::DATE
            GROUP BY symbol),
        figures AS (
            SELECT symbol, {DAY.format("from_bar")} AS first, {DAY.format("to_bar")} AS last, bars,
                   last_close,
                   CASE WHEN bars > 1 AND lowest > 0
                        THEN last_close / first_close * coalesce(factor, 1) - 1 END
                       AS total_return,
                   mean_units / unit AS mean_volume,
                   CASE WHEN lowest > 0 THEN dollar_units / unit END AS dollar_volume
            FROM ranges JOIN units USING (symbol) LEFT JOIN factors USING (symbol)),
        finite AS (  -- what is beyond a float would be sorted above every number
            SELECT * REPLACE (
                CASE WHEN isfinite(total_return) THEN total_return END AS total_return,
                CASE WHEN isfinite(dollar_volume) THEN dollar_volume END AS dollar_volume)
            FROM figures)
        FROM finite WHERE coalesce(mean_volume, 0) >= $min_volume
        AND coalesce(dollar_volume, 0) >= $min_dollar_volume
        AND ($min_price = 0 OR last_close >= $min_price) AND bars >= $min_bars
        ORDER BY {column} {"DESC" if is_falling else "ASC"} NULLS LAST, symbol
        LIMIT $limit OFFSET $after""",
        {**bound, **{n: wanted[n] for n in floors}, "limit": limit, "after": wanted["after"]},
    )


def select_day(name: str, day: date) -> str:
    """SQL: a day that was asked for; of an instant what it is on the clock of each exchange."""
    if not isinstance(day, DayOfInstant):
        return f"${name}::DATE"
    days = {calendar: find_session_day(day, calendar) for calendar in ZONES}
    cases = " ".join(f"WHEN '{c}' THEN DATE '{d}'" for c, d in days.items() if d != day)
    return f"CASE exchange {cases} WHEN '' THEN NULL ELSE ${name}::DATE END"


def select_bars(cursor: Cursor, as_of: datetime | None) -> str:
    """SQL: the bars of all instruments, or those that were known at $as_of (naive UTC)."""
    if as_of is None:
        return "FROM market.ohlcv_data"
    names = "symbol, timestamp, close, volume"
    known = "SELECT symbol, timestamp FROM market.ohlcv_known WHERE known_from <= $as_of"
    joined = f"market.ohlcv_data JOIN ({known})"
    if is_recent(cursor, as_of):
        later = known.replace("known_from <= $as_of", "(known_from <= $as_of) IS NOT TRUE")
        joined = f"market.ohlcv_data ANTI JOIN ({later})"
    return f"""SELECT {names} FROM {joined} USING (symbol, timestamp)
        UNION ALL SELECT {names} FROM market.ohlcv_revisions
        WHERE known_from <= $as_of AND known_to > $as_of"""


def is_recent(cursor: Cursor, as_of: datetime) -> bool:
    """Whether fewer bars became known after an instant than before: to leave those few out costs a
    third of gathering the many. Not where a bar lacks its instant (another program wrote it)."""
    found = cursor.execute(
        """SELECT count(*) FILTER (known_from <= $as_of) * 2 > count(*)
               AND count(*) = (SELECT count(*) FROM market.ohlcv_data) FROM market.ohlcv_known""",
        {"as_of": as_of},
    ).fetchall()
    return bool(found[0][0])


def select_splits(as_of: datetime | None) -> str:
    """SQL: the splits of all instruments; those known at $as_of that had happened by then."""
    names = "symbol, ex_date, ratio"
    present = f"SELECT {names} FROM market.corporate_actions WHERE kind = 'split'"
    if as_of is None:
        return present
    then = "known_from <= $as_of AND ex_date <= $as_of::DATE"
    return f"""{present} AND {then}
        UNION ALL SELECT {names} FROM market.corporate_action_revisions
        WHERE kind = 'split' AND {then} AND known_to > $as_of"""


def has_known(cursor: Cursor, as_of: datetime) -> bool:
    """Whether any bar was known at an instant."""
    found = cursor.execute(
        """SELECT EXISTS (FROM market.ohlcv_known WHERE known_from <= $as_of)
               OR EXISTS (FROM market.ohlcv_revisions WHERE known_from <= $as_of)""",
        {"as_of": as_of},
    ).fetchall()
    return bool(found[0][0])


JOINED = "JOIN (SELECT symbol, exchange FROM market.instruments) USING (symbol)"
SCREEN_COLUMNS = ("symbol", "bars", "last_close", "total_return", "mean_volume", "dollar_volume")
