"""The only SQL of the API: one function a question, each on a cursor of its own.

Tables are named in full (market.…): a cursor does not inherit USE.
"""

import re
from datetime import date, datetime
from typing import Any

import duckdb
import numpy as np
import orjson

from api.errors import Problem
from api.series import FIELDS, PRICES, Days, Dividend, Series, Split

Cursor = duckdb.DuckDBPyConnection
Catalog = dict[str, tuple[str, bool]]

INSTRUMENT = """
SELECT symbol, strftime(first, '%Y-%m-%d') AS first, strftime(last, '%Y-%m-%d') AS last, bars,
       last_close, source, basis, exchange FROM market.instruments"""
# What kind of instrument it is, as far as its symbol and its exchange tell.
LISTING = """
SELECT symbol, exchange, CASE WHEN starts_with(symbol, '^') THEN 'index'
       WHEN exchange = '24/7' THEN 'crypto' WHEN exchange = '24/5' THEN 'forex'
       WHEN exchange = 'CMES' THEN 'futures' ELSE 'stock' END AS kind FROM market.instruments"""
BAR = "timestamp, open, high, low, close, volume"
DAY = "strftime({}, '%Y-%m-%d')"
INSTANT = "strftime({}, '%Y-%m-%dT%H:%M:%SZ')"
# To the microsecond, where there are any: as `as_of` it means the very instant.
EXACT_INSTANT = r"regexp_replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%f'), '\.?0+$', '') || 'Z'"

FOLDERS = re.compile(r"""(?<![\w:/.])/(?:[^/\s:'"]+/)+""")  # of an absolute path, not of a URL


def read_rows(cursor: Cursor, query: str, parameters: Any) -> list[dict[str, Any]]:
    """The whole result as dicts."""
    cursor.execute(query, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_instruments(cursor: Cursor, q: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Instruments whose symbol contains `q` and comes after `after`, in order, at most `limit`."""
    return read_rows(
        cursor,
        f"{INSTRUMENT} WHERE contains(symbol, ?) AND symbol > ? ORDER BY symbol LIMIT ?",
        [q.strip().upper(), after.strip().upper(), limit],
    )


def read_instrument(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """One instrument, in any case. Raises a 404 Problem with the nearest names."""
    wanted = symbol.strip().upper()
    found = read_rows(cursor, f"{INSTRUMENT} WHERE symbol = ?", [wanted])
    if not found:
        raise build_unknown(cursor, wanted)
    return found[0]


def read_listing(cursor: Cursor, symbol: str) -> dict[str, Any]:
    """symbol, exchange and kind of an instrument. Raises a 404 Problem with the nearest names."""
    found = read_rows(cursor, f"{LISTING} WHERE symbol = ?", [symbol])
    if not found:
        raise build_unknown(cursor, symbol)
    return found[0]


def search_listings(
    cursor: Cursor, q: str, kind: str, exchange: str, limit: int
) -> list[dict[str, Any]]:
    """Listings whose symbol contains `q`, of a kind and an exchange ('' is any), at most `limit`:
    the symbol itself first, then those that begin so, each in order."""
    return read_rows(
        cursor,
        f"""{LISTING} WHERE contains(symbol, $q) AND $kind IN ('', kind)
        AND $exchange IN ('', exchange)
        ORDER BY symbol <> $q, NOT starts_with(symbol, $q), symbol LIMIT $limit""",
        {"q": q, "kind": kind, "exchange": exchange, "limit": limit},
    )


def read_exchanges(cursor: Cursor) -> list[str]:
    """The exchanges of all instruments, in order."""
    cursor.execute("SELECT DISTINCT exchange FROM market.instruments ORDER BY exchange")
    return [row[0] for row in cursor.fetchall()]


def build_unknown(cursor: Cursor, symbol: str) -> Problem:
    nearest = find_nearest(cursor, symbol)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "/instruments lists them all."
    return Problem(404, f"Unknown symbol {symbol}: {hint}", nearest=nearest)


def find_nearest(cursor: Cursor, symbol: str) -> list[str]:
    """Up to three symbols that few changes of letters turn into `symbol`, or that begin so."""
    distance = "damerau_levenshtein(symbol, $symbol)"
    cursor.execute(
        f"""SELECT symbol FROM market.instruments
        WHERE {distance} <= greatest(1, length($symbol) // 2) OR starts_with(symbol, $symbol)
        ORDER BY {distance}, symbol LIMIT 3""",
        {"symbol": symbol},
    )
    return [row[0] for row in cursor.fetchall()]


def read_catalog(cursor: Cursor) -> Catalog:
    """symbol → (basis, whether it has corporate actions), of all instruments."""
    cursor.execute(
        """SELECT symbol, basis, symbol IN (SELECT symbol FROM market.corporate_actions)
        FROM market.instruments"""
    )
    return {symbol: (basis, has_actions) for symbol, basis, has_actions in cursor.fetchall()}


def read_series(cursor: Cursor, symbol: str, basis: str) -> Series:
    """All bars of a stored symbol, on the basis they are stored on.

    No ORDER BY: rows lie sorted, but for a short tail, and sorting that here costs less.
    """
    cursor.execute(f"SELECT {BAR} FROM market.ohlcv_data WHERE symbol = ?", [symbol])
    return build_series(symbol, basis, cursor.fetchnumpy())


def build_series(symbol: str, basis: str, columns: dict[str, Any]) -> Series:
    """The columns side by side in one block of memory, which is freed whole, without crumbs."""
    days = columns["timestamp"].astype("datetime64[D]")
    order: Any = slice(None)
    if len(days) > 1 and not (days[1:] > days[:-1]).all():
        order = np.argsort(days)
        days = days[order]
    block = np.empty((len(FIELDS), len(days)))
    volume = np.ma.asarray(columns["volume"])[order]
    for row, name in enumerate(PRICES):
        block[row] = columns[name][order]
    whole = block[-1].view(np.int64)
    whole[:] = volume.data
    opens, highs, lows, closes = block[:-1]
    traded = np.ma.masked_array(whole, volume.mask)
    return Series(symbol, basis, days, opens, highs, lows, closes, traded)


def read_series_as_of(cursor: Cursor, symbol: str, basis: str, as_of: datetime) -> Series:
    """The bars as known at `as_of` (naive UTC): later arrivals left out, later revisions undone."""
    cursor.execute(
        f"""WITH revised AS (
            FROM market.ohlcv_revisions WHERE symbol = $symbol),
        present AS (
            SELECT b.*, coalesce(
                (SELECT max(known_to) FROM revised r WHERE r.timestamp = b.timestamp),
                a.known_from) AS known_from
            FROM market.ohlcv_data b LEFT JOIN market.ohlcv_arrivals a
            ON a.symbol = $symbol AND b.timestamp BETWEEN a.first AND a.last
            WHERE b.symbol = $symbol)
        SELECT {BAR} FROM present WHERE known_from <= $as_of
        UNION ALL
        SELECT {BAR} FROM revised WHERE known_from <= $as_of AND known_to > $as_of""",
        {"symbol": symbol, "as_of": as_of},
    )
    return build_series(symbol, basis, cursor.fetchnumpy())


def read_noted_days(cursor: Cursor, symbol: str) -> Days:
    """The days of the bars that have a note, datetime64[D]."""
    cursor.execute("SELECT DISTINCT timestamp FROM market.bar_notes WHERE symbol = ?", [symbol])
    columns: dict[str, Any] = cursor.fetchnumpy()
    days: Days = columns["timestamp"].astype("datetime64[D]")
    return days


def read_adjusting(cursor: Cursor, symbol: str) -> tuple[list[Split], list[Dividend]]:
    """What prices are adjusted by: splits (ex_date, new shares for one old) and dividends."""
    cursor.execute(
        "SELECT kind, ex_date, coalesce(ratio, amount) FROM market.corporate_actions"
        " WHERE symbol = ? ORDER BY ex_date",
        [symbol],
    )
    rows = cursor.fetchall()
    splits = [(day, value) for kind, day, value in rows if kind == "split"]
    return splits, [(day, value) for kind, day, value in rows if kind == "dividend"]


def read_totals(cursor: Cursor) -> dict[str, Any]:
    """symbols, bars, first and last day of the whole store."""
    return read_rows(
        cursor,
        "SELECT count(*) AS symbols, coalesce(sum(bars), 0)::BIGINT AS bars,"
        " strftime(min(first), '%Y-%m-%d') AS first, strftime(max(last), '%Y-%m-%d') AS last"
        " FROM market.instruments",
        [],
    )[0]


def read_notes(
    cursor: Cursor, symbol: str, start: date | None, end: date | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Notes on a symbol's bars by day, from the row behind `after` on, at most `limit`."""
    return read_rows(
        cursor,
        f"""SELECT {DAY.format("timestamp")} AS timestamp, reason, detail, run_id
        FROM market.bar_notes WHERE symbol = $symbol
        AND timestamp >= coalesce($start, timestamp) AND timestamp <= coalesce($end, timestamp)
        ORDER BY bar_notes.timestamp, reason LIMIT $limit OFFSET $after""",
        {"symbol": symbol, "start": start, "end": end, "after": after, "limit": limit},
    )


def read_revisions(
    cursor: Cursor, symbol: str, start: date | None, end: date | None, after: int, limit: int
) -> list[dict[str, Any]]:
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


def read_actions(cursor: Cursor, symbol: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Splits (ratio) and dividends (amount) of a symbol by ex-date."""
    return read_rows(
        cursor,
        f"""SELECT {DAY.format("ex_date")} AS ex_date, kind, ratio, amount, source
        FROM market.corporate_actions WHERE symbol = $symbol
        ORDER BY corporate_actions.ex_date, kind LIMIT $limit OFFSET $after""",
        {"symbol": symbol, "after": after, "limit": limit},
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


def read_coverages(cursor: Cursor, q: str, after: str, limit: int) -> list[dict[str, Any]]:
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


def screen(cursor: Cursor, wanted: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Figures of every instrument over a range, filtered, sorted by a column, at most `limit`.

    Total return takes the splits between first and last bar out of prices as traded.
    """
    column, is_falling = wanted["sort"].removeprefix("-"), wanted["sort"].startswith("-")
    if column not in SCREEN_COLUMNS:
        raise Problem(422, f"sort={column}: possible are {', '.join(SCREEN_COLUMNS)}")
    days = [
        f"timestamp {sign} ${name}::DATE"
        for sign, name in ((">=", "start"), ("<=", "end"))
        if wanted[name]
    ]
    bound = {name: wanted[name] for name in ("start", "end") if wanted[name]}
    floors = ("min_volume", "min_dollar_volume", "min_price", "min_bars")
    return read_rows(
        cursor,
        f"""WITH ranges AS (
            SELECT symbol, min(timestamp) AS from_bar, max(timestamp) AS to_bar, count(*) AS bars,
                   arg_min(close, timestamp) AS first_close,
                   arg_max(close, timestamp) AS last_close, avg(volume) AS mean_volume,
                   avg(close * volume) AS dollar_volume
            FROM market.ohlcv_data {f"WHERE {' AND '.join(days)}" if days else ""}
            GROUP BY symbol),
        factors AS (
            SELECT symbol, product(ratio) AS factor FROM ranges
            JOIN market.instruments USING (symbol)
            JOIN market.corporate_actions a USING (symbol)
            WHERE basis = 'raw' AND kind = 'split'
                  AND ex_date > from_bar::DATE AND ex_date <= to_bar::DATE GROUP BY symbol),
        figures AS (
            SELECT symbol, {DAY.format("from_bar")} AS first, {DAY.format("to_bar")} AS last, bars,
                   last_close,
                   CASE WHEN bars > 1 THEN last_close / first_close * coalesce(factor, 1) - 1 END
                       AS total_return, mean_volume, dollar_volume
            FROM ranges LEFT JOIN factors USING (symbol)),
        finite AS (  -- a price of 0 has no return, and NaN would be sorted above every number
            SELECT * REPLACE (
                CASE WHEN isfinite(total_return) THEN total_return END AS total_return,
                CASE WHEN isfinite(dollar_volume) THEN dollar_volume END AS dollar_volume)
            FROM figures)
        FROM finite WHERE coalesce(mean_volume, 0) >= $min_volume
        AND coalesce(dollar_volume, 0) >= $min_dollar_volume
        AND last_close >= $min_price AND bars >= $min_bars
        ORDER BY {column} {"DESC" if is_falling else "ASC"} NULLS LAST, symbol
        LIMIT $limit OFFSET $after""",
        {**bound, **{n: wanted[n] for n in floors}, "limit": limit, "after": wanted["after"]},
    )


SCREEN_COLUMNS = ("symbol", "bars", "last_close", "total_return", "mean_volume", "dollar_volume")
RUN = f"""
SELECT run_id, {INSTANT.format("started_at")} AS started_at,
       {INSTANT.format("finished_at")} AS finished_at, status, source, calls, received, inserted,
       revised, unchanged, stale, rejected, out_of_range FROM market.etl_runs"""


def read_runs(cursor: Cursor, after: str, limit: int) -> list[dict[str, Any]]:
    """Runs, newest first, from the one behind `after` (a run_id) on.

    A run_id begins with its second; of two in one second `started_at` tells the newer.
    """
    return read_rows(
        cursor,
        f"""{RUN} WHERE $after = '' OR (left(run_id, 16), etl_runs.started_at, run_id) < (
            left($after, 16), (SELECT coalesce(max(started_at), 'infinity') FROM market.etl_runs
                               WHERE run_id = $after), $after)
        ORDER BY left(run_id, 16) DESC, etl_runs.started_at DESC, run_id DESC LIMIT $limit""",
        {"after": after, "limit": limit},
    )


def read_run(cursor: Cursor, run_id: str) -> dict[str, Any]:
    """One run with its stages and failures, or a 404 Problem."""
    found = read_rows(cursor, f"{RUN} WHERE run_id = ?", [run_id])
    if not found:
        raise Problem(404, f"Unknown run {run_id}: /etl/runs lists them all.")
    cursor.execute("SELECT failures, stages FROM market.etl_runs WHERE run_id = ?", [run_id])
    failures, stages = cursor.fetchall()[0]
    told = {"failures": failures, "stages": stages}
    return {**found[0], **{name: orjson.loads(hide_folders(told[name])) for name in told}}


def hide_folders(text: str) -> str:
    """Files by their names alone: no answer tells where they lie."""
    return FOLDERS.sub("", text)


def read_run_symbols(cursor: Cursor, run_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """The fate of each symbol's rows in a run, from the row behind `after` on, at most `limit`."""
    return read_rows(
        cursor,
        "SELECT * EXCLUDE (run_id) FROM market.etl_run_symbols"
        " WHERE run_id = ? ORDER BY symbol LIMIT ? OFFSET ?",
        [run_id, limit, after],
    )
