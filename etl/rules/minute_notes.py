"""Notes on bars of minutes: what is suspicious but possible. A note never changes a value.

What is said of a bar depends on the bars of its session alone, so a load examines the sessions that
it touches, whole. What is true of many bars at once is said once, of the first of them.
"""

from dataclasses import dataclass

import duckdb

from etl.contracts.files import PRICES
from etl.rules.notes import is_outside

AROUND = 5  # bars on each side whose median tells where a price was, and where it is again
NEEDED = 3  # of these there must be so many
SPIKE = 0.02  # least share by which a price leaves and returns
RANGES = 10  # ... and so many times the usual range of a minute of its session
# So many bars with equal prices, or with equal prices and volume, are a frozen price; bars of
# seconds must last as long as so many minutes.
SAME_PRICES = 60
SAME_BARS = 4
BEYOND_DAY = 0.01  # share outside the day's high and low: in the session, and before and after it
BEYOND_DAY_EXTENDED = 0.2
# What minutes and the daily bar differ by though neither is wrong: the day's close is that of an
# auction, which trades much of the day's volume, and late reports count for the day alone.
HIGH_LOW = 0.005
CLOSE = 0.01
LEAST_VOLUME = 0.6
MOST_VOLUME = 1.05

IS_REGULAR = "coalesce(timestamp >= open_at AND timestamp < close_at AND NOT is_break, true)"


@dataclass(frozen=True)
class RowRule:
    kind: str
    condition: str
    detail: str


ROW_RULES = (
    *(
        RowRule(
            f"{price}_outside_range",
            is_outside(price),
            f"format('{price} {{:.6g}} is not within low {{:.6g}} to high {{:.6g}}',"
            f" {price}, low, high)",
        )
        for price in ("open", "close")
    ),
    RowRule(
        "not_positive",
        "low <= 0 OR open <= 0 OR close <= 0 OR high <= 0",
        "format('the lowest price is {:.6g}', least(open, high, low, close))",
    ),
    RowRule(
        "outside_day_range",
        f"""is_comparable AND (high > day_high * (1 + {BEYOND_DAY})
            OR low < day_low * (1 - {BEYOND_DAY})) AND (is_regular
            OR high > day_high * (1 + {BEYOND_DAY_EXTENDED})
            OR low < day_low * (1 - {BEYOND_DAY_EXTENDED}))""",
        "format('low {:.6g} to high {:.6g}; the daily bar has {:.6g} to {:.6g}',"
        " low, high, day_low, day_high)",
    ),
)


def find_notes(connection: duckdb.DuckDBPyConnection) -> None:
    """Temp table `notes` (symbol, timestamp, kind, detail), one row a bar and kind.

    bars (symbol, timestamp, prices, volume DOUBLE, seen_at): whole sessions, one row a key.
    symbol_exchanges (symbol, exchange), session_spans: see session_spans.create_spans.
    daily_bars (symbol, day, high, low, close, volume DOUBLE, known_at): as traded.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE notes"
        " (symbol VARCHAR, timestamp TIMESTAMP, kind VARCHAR, detail VARCHAR)"
    )
    connection.execute(place_bars())
    for rule in (note_rows, note_spikes, note_frozen, note_outside, note_unfinished, note_days):
        connection.execute(f"INSERT INTO notes {rule()}")
    connection.execute("DROP TABLE placed")


def place_bars() -> str:
    """`placed`: each bar with its session, whether it lies within it, and its daily bar.

    is_comparable: the daily bar is one of a session that was over.
    """
    return f"""
        CREATE OR REPLACE TEMP TABLE placed AS
        WITH found AS (
            SELECT bar.*, e.exchange, s.session AS listed, s.open AS open_at, s.close AS close_at,
                   coalesce(timestamp >= s.break_start AND timestamp < s.break_end, false)
                   AS is_break
            FROM bars bar LEFT JOIN symbol_exchanges e USING (symbol)
            ASOF LEFT JOIN session_spans s
                ON e.exchange = s.exchange AND bar.timestamp >= s.begins),
        sure AS (
            SELECT * REPLACE (CASE WHEN is_near THEN open_at END AS open_at,
                              CASE WHEN is_near THEN close_at END AS close_at),
                   CASE WHEN is_near THEN listed ELSE timestamp::DATE END AS session
            FROM (SELECT *, coalesce(timestamp < close_at + INTERVAL 20 DAYS, false) AS is_near
                  FROM found))
        SELECT sure.*, {IS_REGULAR} AS is_regular,
               d.high AS day_high, d.low AS day_low, d.close AS day_close,
               d.volume AS day_volume,
               coalesce(d.known_at >= close_at, false) AS is_comparable
        FROM sure LEFT JOIN daily_bars d ON d.symbol = sure.symbol AND d.day = sure.session"""


def note_rows() -> str:
    """One scan for all rules that need only the bar itself."""
    cases = ", ".join(
        f"CASE WHEN {rule.condition} THEN {{kind: '{rule.kind}', detail: {rule.detail}}} END"
        for rule in ROW_RULES
    )
    some = " OR ".join(f"({rule.condition})" for rule in ROW_RULES)
    return f"""
        SELECT symbol, timestamp, note.kind, note.detail
        FROM (SELECT symbol, timestamp, unnest([{cases}]) AS note FROM placed WHERE {some})
        WHERE note IS NOT NULL"""


def note_spikes() -> str:
    """A price that leaves those around it by much, and is back within minutes.

    Looked at closely are only sessions in which a price leaves the three closes before it.
    """
    session = "PARTITION BY symbol, session ORDER BY timestamp"
    return f"""
        WITH near AS (
            SELECT *, high > (1 + {SPIKE}) * min(close) OVER w OR low < (1 - {SPIKE}) * max(close)
                OVER w AS is_far
            FROM placed WHERE low > 0
            WINDOW w AS ({session} ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)),
        wild AS (
            SELECT * FROM placed WHERE low > 0 AND (symbol, session) IN
                (SELECT (symbol, session) FROM near WHERE is_far)),
        sides AS (
            SELECT *, median(close) OVER b AS before, count(*) OVER b AS befores,
                   median(close) OVER a AS after, count(*) OVER a AS afters,
                   greatest({SPIKE}, {RANGES} * median((high - low) / low)
                       OVER (PARTITION BY symbol, session)) AS share
            FROM wild WINDOW
                b AS ({session} ROWS BETWEEN {AROUND} PRECEDING AND 1 PRECEDING),
                a AS ({session} ROWS BETWEEN 1 FOLLOWING AND {AROUND} FOLLOWING)),
        spikes AS (
            SELECT *, high > (1 + share) * greatest(before, after) AS is_up,
                   low < (1 - share) * least(before, after) AS is_down
            FROM sides WHERE befores >= {NEEDED} AND afters >= {NEEDED}
                AND abs(after - before) < share / 2 * least(before, after))
        SELECT symbol, timestamp, 'spike', format(
            '{{:.6g}}, where the bars before are at {{:.6g}} and those after at {{:.6g}}',
            CASE WHEN is_up THEN high ELSE low END, before, after)
        FROM spikes WHERE is_up OR is_down"""


def note_frozen() -> str:
    """Bars that repeat the one before form runs; the first bar of a long one is noted, once."""
    prices = ", ".join(PRICES)
    return f"""
        FROM ({find_runs(prices, SAME_PRICES)}
              UNION ALL {find_runs(f"{prices}, volume", SAME_BARS, "AND volume > 0")})
        QUALIFY row_number() OVER (PARTITION BY symbol, timestamp ORDER BY kind, detail) = 1"""


def find_runs(names: str, least: int, condition: str = "") -> str:
    """SQL: a note on the first of `least` bars or more of a session with the same `names`."""
    session = "PARTITION BY symbol, session ORDER BY timestamp"
    return f"""(
        WITH numbered AS (
            SELECT *, row_number() OVER w AS n, lag(timestamp) OVER w AS earlier,
                   coalesce(({names}) = lag(({names})) OVER w {condition}, false) AS is_repeat
            FROM placed WINDOW w AS ({session})),
        repeats AS (
            SELECT *, n - row_number() OVER (PARTITION BY symbol, session ORDER BY n) AS run
            FROM numbered WHERE is_repeat),
        runs AS (
            SELECT symbol, session, min(n) - 1 AS first, 1 + count(*) AS bars,
                   max(timestamp) AS until
            FROM repeats GROUP BY symbol, session, run HAVING count(*) >= {least} - 1
                AND max(timestamp) - min(earlier) >= INTERVAL {least - 1} MINUTES)
        SELECT symbol, f.timestamp, 'frozen_price' AS kind, format(
            'the same {names} in {{}} bars, until {{}} UTC', bars, until) AS detail
        FROM runs JOIN numbered f USING (symbol, session) WHERE f.n = runs.first)"""


def note_outside() -> str:
    """Bars outside their session, once a stretch: before the open, in the break, after the close.

    Those of a day without a session are before or after the session that is nearest.
    """
    return """
        SELECT symbol, min(timestamp), 'outside_session', format('{} {} the session {} of {}',
            CASE WHEN count(*) = 1 THEN '1 bar' ELSE format('{} bars', count(*)) END,
            part, session, any_value(exchange))
        FROM (SELECT *, CASE WHEN is_break THEN 'in the break of'
                  WHEN timestamp < open_at THEN 'before' ELSE 'after' END AS part
              FROM placed WHERE NOT is_regular)
        GROUP BY symbol, session, part"""


def note_unfinished() -> str:
    """A session whose bars were all fetched before its close: they are not final."""
    return """
        SELECT symbol, min(timestamp), 'provisional', format(
            'fetched at {} UTC, before the close of the session {} at {}',
            max(seen_at), session, any_value(close_at))
        FROM placed WHERE close_at IS NOT NULL
        GROUP BY symbol, session HAVING max(seen_at) < any_value(close_at)"""


def note_days() -> str:
    """A finished session whose bars do not make its daily bar, as far as they should."""

    def tell(name: str, condition: str, mine: str, shown: str) -> str:
        return f"""CASE WHEN {condition}
            THEN format('{name} {{{shown}}}, daily {{{shown}}}', {mine}, day_{name}) END"""

    def differs(name: str, share: float) -> str:
        return f"abs(m_{name} - day_{name}) > {share} * abs(day_{name})"

    told = ", ".join(
        (
            tell("high", differs("high", HIGH_LOW), "m_high", ":.6g"),
            tell("low", differs("low", HIGH_LOW), "m_low", ":.6g"),
            tell("close", differs("close", CLOSE), "m_close", ":.6g"),
            tell(
                "volume",
                f"m_volume NOT BETWEEN {LEAST_VOLUME} * day_volume AND {MOST_VOLUME} * day_volume",
                "m_volume",
                ":.15g",
            ),
        )
    )
    return f"""
        SELECT symbol, first, 'differs_from_daily', detail
        FROM (SELECT symbol, first, concat_ws('; ', {told}) AS detail FROM (
            SELECT symbol, session, min(timestamp) AS first, max(high) AS m_high,
                   min(low) AS m_low, arg_max(close, timestamp) AS m_close,
                   sum(volume) AS m_volume,
                   any_value(day_high) AS day_high, any_value(day_low) AS day_low,
                   any_value(day_close) AS day_close, any_value(day_volume) AS day_volume
            FROM placed WHERE is_regular AND is_comparable
            GROUP BY symbol, session HAVING max(seen_at) >= any_value(close_at)))
        WHERE detail <> ''"""
