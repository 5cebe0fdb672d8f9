"""Notes on kept bars: what is suspicious but possible. A note never changes a value.

A rule is a reason, a condition and a detail, all SQL. Three groups, by what a rule looks at:

    ROW_RULES      one bar alone
    STALE          the bars just before
    breaks.RULES   the bars around, on both sides

The rule it keeps: what is said of a bar depends on no bar further away than CONTEXT bars of its
symbol, so a load may examine only the neighbourhood of what it changed. A bar that changed can
change the notes of the CONTEXT bars on either side; to examine those, hand in twice as many.
"""

import duckdb

from etl.base.parquet_sql import quote
from etl.market.exchanges import INDEX_FORM
from etl.rules import breaks
from etl.rules.breaks import Rule

CONTEXT = breaks.CONTEXT  # bars on each side that decide what is said of a bar
AROUND = CONTEXT + breaks.REACH  # bars looked at on each side of a bar that stirs
NOISE = 1e-6  # relative: prices that were once 32-bit floats
STIR = 1.28  # a step, or a bar's range, that makes its neighbourhood worth a look
WIDE = 2.5
SAME = 4  # equal bars with a range that are stale; without a range (no trade) ten
SAME_FLAT = 10
BATCH = 500_000  # bars around those that stir that are examined at a time


def is_outside(price: str) -> str:
    return f"{price} > high + {NOISE} * abs(high) OR {price} < low - {NOISE} * abs(low)"


ROW_RULES = (
    *(
        Rule(
            f"{price} outside range",
            is_outside(price),
            f"format('{price} {{:.6g}} is not within low {{:.6g}} to high {{:.6g}}',"
            f" {price}, low, high)",
        )
        for price in ("open", "close")
    ),
    # currencies and indices have no volume of their own: vendors write 0 on every bar
    Rule(
        "zero volume",
        "volume = 0 AND exchange IS DISTINCT FROM '24/5'"
        f" AND NOT regexp_full_match(symbol, {quote(INDEX_FORM.pattern)})",
        "'nothing was traded'",
    ),
    Rule(
        "not positive",
        "low <= 0 OR open <= 0 OR close <= 0 OR high <= 0",
        "format('the lowest price is {:.6g}', least(open, high, low, close))",
    ),
)

STALE = Rule(
    "stale repeat",
    f"place >= CASE WHEN high > low THEN {SAME} ELSE {SAME_FLAT} END",
    "format('open, high, low and close as on the {} bars before or more',"
    f" CASE WHEN high > low THEN {SAME - 1} ELSE {SAME_FLAT - 1} END)",
)


def find_notes(
    connection: duckdb.DuckDBPyConnection,
    bars: str = "bars",
    splits: str = "splits",
    sessions: str = "sessions",
) -> None:
    """Temp table `notes` (symbol, timestamp, reason, detail), one row a bar and reason.

    bars (symbol, timestamp, open, high, low, close, volume, basis, exchange): one row a key,
    timestamps at midnight, volume may be NULL, basis 'raw' or 'split'.
    splits (symbol, ex_date, ratio): new shares for one old.
    sessions (exchange, session, close): see sessions.create_sessions; a day outside the sessions
    given for an exchange is not examined.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE notes"
        " (symbol VARCHAR, timestamp TIMESTAMP, reason VARCHAR, detail VARCHAR)"
    )
    connection.execute(note_rows(bars))
    connection.execute(note_outside_sessions(bars, sessions))
    connection.execute(mark_bars(bars, splits))
    note_marked(connection, bars, splits)
    connection.execute("DROP TABLE marked")


def note_marked(connection: duckdb.DuckDBPyConnection, bars: str, splits: str) -> None:
    """The rules over neighbours, where any bar is marked: most small loads have none, and each
    statement costs a millisecond over no row at all."""
    repeats, stirred = connection.execute(
        "SELECT count(*) FILTER (is_repeat), count(*) FILTER (is_stirred) FROM marked"
    ).fetchall()[0]
    if repeats:
        connection.execute(note_stale())
    if stirred:
        connection.execute(collect_islands(bars, splits))
        note_breaks(connection)
        connection.execute("DROP TABLE islands")


def note_rows(bars: str) -> str:
    """One scan for all rules that need only the bar itself."""
    cases = ", ".join(
        f"CASE WHEN {rule.condition} THEN {{reason: '{rule.reason}', detail: {rule.detail}}} END"
        for rule in ROW_RULES
    )
    some = " OR ".join(f"({rule.condition})" for rule in ROW_RULES)
    return f"""
        INSERT INTO notes SELECT symbol, timestamp, note.reason, note.detail
        FROM (SELECT symbol, timestamp, unnest([{cases}]) AS note FROM {bars} WHERE {some})
        WHERE note IS NOT NULL"""


def note_outside_sessions(bars: str, sessions: str) -> str:
    return f"""
        INSERT INTO notes
        SELECT symbol, timestamp, 'outside sessions', format('{{}} has no session on a {{}} {{}}',
            exchange, strftime(timestamp, '%A'), strftime(timestamp, '%Y-%m-%d'))
        FROM {bars} AS bar
        JOIN (SELECT exchange, min(session) AS first, max(session) AS last FROM {sessions}
              GROUP BY exchange) AS span USING (exchange)
        ANTI JOIN {sessions} AS s
            ON s.exchange = bar.exchange AND s.session = bar.timestamp::DATE
        WHERE timestamp BETWEEN span.first AND span.last"""


def mark_bars(bars: str, splits: str) -> str:
    """`marked`: the few bars that repeat the one before, or that stir: the only pass over all.

    A bar stirs by a big step, a big range or a recorded split; from_at and to_at bound the bars
    around it. Nothing else can be near a break, so nothing else is looked at again.
    """
    return f"""
        CREATE OR REPLACE TEMP TABLE marked AS
        WITH stepped AS (
            SELECT symbol, timestamp, high, low, row_number() OVER w AS n,
                open = lag(open) OVER w AND high = lag(high) OVER w AND low = lag(low) OVER w
                    AND close = lag(close) OVER w AS is_repeat,
                low > 0 AND (greatest(open, high, low, close)
                        > {WIDE} * least(open, high, low, close)
                    OR greatest(open, lag(close) OVER w) > {STIR} * least(open, lag(close) OVER w)
                    OR greatest(close, lag(close) OVER w)
                        > {STIR} * least(close, lag(close) OVER w)) AS is_step,
                lag(timestamp, {AROUND}) OVER w AS from_at,
                lead(timestamp, {AROUND}) OVER w AS to_at
            FROM {bars} WINDOW w AS (PARTITION BY symbol ORDER BY timestamp)),
        ex AS ({find_split_bars(bars, splits)})
        SELECT stepped.*, is_step OR ex.symbol IS NOT NULL AS is_stirred
        FROM stepped LEFT JOIN ex USING (symbol, timestamp)
        WHERE is_repeat OR is_step OR ex.symbol IS NOT NULL"""


def find_split_bars(bars: str, splits: str) -> str:
    """(symbol, timestamp, ratio): the first bar on or within a month after each ex-date."""
    return f"""
        SELECT symbol, timestamp, product(ratio) AS ratio FROM (
            SELECT symbol, ex_date, max(ratio) AS ratio, min(timestamp) AS timestamp
            FROM (SELECT symbol, ex_date, ratio,
                         (ex_date + unnest(range(31))::INTEGER)::TIMESTAMP AS timestamp
                  FROM {splits} WHERE ratio > 0)
            SEMI JOIN {bars} USING (symbol, timestamp)
            GROUP BY symbol, ex_date)
        GROUP BY symbol, timestamp"""


def note_stale() -> str:
    """Bars that repeat form runs; `place` counts within a run, from 2 for the first repeat."""
    return f"""
        INSERT INTO notes
        SELECT symbol, timestamp, '{STALE.reason}', {STALE.detail} FROM (
            SELECT *, 1 + row_number() OVER (PARTITION BY symbol, run ORDER BY n) AS place
            FROM (SELECT *, n - row_number() OVER (PARTITION BY symbol ORDER BY n) AS run
                  FROM marked WHERE is_repeat))
        WHERE {STALE.condition}"""


def collect_islands(bars: str, splits: str) -> str:
    """`islands`: the bars around those that stir; logarithms of prices, splits out."""

    def read_log(price: str) -> str:
        return f"CASE WHEN low > 0 AND {price} > 0 THEN ln({price}) + shift END"

    return f"""
        CREATE OR REPLACE TEMP TABLE islands AS
        WITH spans AS (
            SELECT symbol, timestamp, coalesce(from_at, '0001-01-01'::TIMESTAMP) AS from_at,
                   coalesce(to_at, '9999-12-31'::TIMESTAMP) AS to_at
            FROM marked WHERE is_stirred),
        starts AS (
            SELECT *, coalesce(from_at > max(to_at) OVER (PARTITION BY symbol
                ORDER BY from_at, timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true)
                AS is_start FROM spans),
        areas AS (
            SELECT symbol, min(from_at) AS from_at, max(to_at) AS to_at,
                   row_number() OVER () AS island
            FROM (SELECT *, count(*) FILTER (is_start) OVER (PARTITION BY symbol
                ORDER BY from_at, timestamp ROWS UNBOUNDED PRECEDING) AS part FROM starts)
            GROUP BY symbol, part),
        ex AS ({find_split_bars(bars, splits)}),
        around AS (
            SELECT island, bar.*, coalesce(ln(ex.ratio), 0) AS split
            FROM {bars} AS bar
            JOIN areas ON areas.symbol = bar.symbol
                AND bar.timestamp BETWEEN areas.from_at AND areas.to_at
            LEFT JOIN ex ON ex.symbol = bar.symbol AND ex.timestamp = bar.timestamp),
        shifted AS (
            SELECT *, row_number() OVER w AS n,
                sum(CASE WHEN basis = 'raw' THEN split ELSE 0 END) OVER w AS shift
            FROM around WINDOW w AS (PARTITION BY island ORDER BY timestamp))
        SELECT island, n, symbol, timestamp, basis, split,
               {read_log("open")} AS o, {read_log("high")} AS h,
               {read_log("low")} AS l, {read_log("close")} AS c,
               volume / exp(shift) AS v FROM shifted"""


def note_breaks(connection: duckdb.DuckDBPyConnection) -> None:
    """The rules of breaks, some islands at a time: wild series cost no more memory than calm."""
    rows = connection.execute("SELECT count(*) FROM islands").fetchall()[0][0]
    parts = 1 + rows // BATCH
    for part in range(parts):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE near AS FROM islands WHERE island % {parts} = {part}"
        )
        for name, select in breaks.TABLES.items():
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")
        connection.execute(f"INSERT INTO notes {breaks.NOTES}")
    for name in ("near", *breaks.TABLES):
        connection.execute(f"DROP TABLE {name}")
