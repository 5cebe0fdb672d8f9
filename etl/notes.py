"""Notes on kept bars, and gaps: what is suspicious but possible. A note never changes a value.

A rule is a reason, a condition and a detail, all SQL. Three groups, by what a rule looks at:

    ROW_RULES    one bar alone
    stale        the bars just before
    PRICE_RULES  the bars around, on both sides

The rule it keeps: what is said of a bar depends on no bar further away than CONTEXT bars of its
symbol, so a load may judge only the neighbourhood of what it changed. A bar that changed can
change the notes of the CONTEXT bars on either side; to judge those, hand in twice as many.

Price rules work on logarithms of prices, and on the basis `raw` after dividing recorded splits
out, so that only what the splits do not explain is left. They look for *breaks*: steps near a
power of ten or near a split's ratio. Between breaks lie blocks; which block is wrong is decided
by the weight of the bars on each level within REACH bars (a bar without trade weighs little).
A big step that is no break, like a crash, is nothing to note.
"""

import math
from dataclasses import dataclass

import duckdb

REACH = 20  # bars: the longest block whose every bar is noted
BEFORE = 15  # bars: what is usual for a symbol (volume, daily range) is measured over so many
CONTEXT = 60  # bars: a break within REACH, its partner within REACH, and what made that a break
AROUND = CONTEXT + REACH  # bars looked at on each side of a bar that stirs

NOISE = 1e-6  # relative: prices that were once 32-bit floats
STIR = 1.35  # a step or a bar's range that makes its neighbourhood worth a look
WIDE = 2.5
SAME = 4  # equal bars with a range that are stale; without a range (no trade) ten
SAME_FLAT = 10
CLEAR = 10  # a split is a step of so many usual moves; in a turmoil it cannot be told
SPIKE = 0.31  # ln: the whole bar is 36 % above or 27 % below both sides …
WICK = 1.11  # … or its high or low is at 3 times or a third of both

RATIOS = (1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
STEPS = [sign * math.log(ratio) for ratio in RATIOS for sign in (-1, 1)]


@dataclass(frozen=True)
class Rule:
    """A bar is noted for `reason` where `condition` holds; `detail` says what was seen."""

    reason: str
    condition: str
    detail: str


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
    Rule("zero volume", "volume = 0", "'no share was traded'"),
)

STALE = Rule(
    "stale repeat",
    f"place >= CASE WHEN high > low THEN {SAME} ELSE {SAME_FLAT} END",
    "format('open, high, low and close as on the {} bars before or more',"
    f" CASE WHEN high > low THEN {SAME - 1} ELSE {SAME_FLAT - 1} END)",
)


def times(step: str) -> str:
    """SQL: `100 times` or `1/100 of`, of a step in logarithms."""
    return (
        f"CASE WHEN {step} > 0 THEN format('{{:.3g}} times', exp({step}))"
        f" ELSE format('1/{{:.3g}} of', exp(-({step}))) END"
    )


# The first that holds is the note: a bar has one of them at most.
PRICE_RULES = (
    Rule(
        "unit change",
        "is_mixed",
        "format('its highest price is {:.3g} times its lowest: some are in another unit',"
        " exp(width))",
    ),
    Rule(
        "unrecorded split",
        "off_level IS NOT NULL AND is_off_by_split",
        f"'prices are ' || {times('off_level')} || ' those around: a split on the wrong bars'",
    ),
    Rule(
        "unit change",
        "off_level IS NOT NULL",
        f"'prices are ' || {times('off_level')} || ' those around'",
    ),
    Rule(
        "unrecorded split",
        "late_step IS NOT NULL",
        "format('a split recorded on {} is not in the prices before {}', late_split, late_at)",
    ),
    Rule(
        "unrecorded split",
        "break_kind = 'split' AND NOT was_off",
        f"'prices are ' || {times('step')} || ' those before, and stay so: '"
        " || CASE WHEN split = 0 THEN 'no split is recorded' ELSE 'the split recorded here does"
        " not fit' END",
    ),
    Rule(
        "unit change",
        "break_kind = 'unit' AND NOT was_off",
        f"'prices are ' || {times('step')} || ' those before, and stay so'",
    ),
    Rule(
        "price spike",
        "is_spike",
        f"'prices are ' || {times('spike')} || ' those on both sides'",
    ),
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
    given for an exchange is not judged.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE notes"
        " (symbol VARCHAR, timestamp TIMESTAMP, reason VARCHAR, detail VARCHAR)"
    )
    connection.execute(note_rows(bars))
    connection.execute(note_outside_sessions(bars, sessions))
    connection.execute(mark_bars(bars, splits))
    connection.execute(note_stale())
    connection.execute(view_near(bars, splits))
    for name, select in PRICE_STEPS.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")
    connection.execute(note_prices())
    for name in ("marked", "near", *PRICE_STEPS):
        connection.execute(f"DROP TABLE {name}")


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
            SELECT symbol, ex_date, any_value(ratio) AS ratio, min(timestamp) AS timestamp
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


def view_near(bars: str, splits: str) -> str:
    """`near`: the bars around those that stir, in islands; logarithms of prices, splits out."""

    def read_log(price: str) -> str:
        return f"CASE WHEN low > 0 AND {price} > 0 THEN ln({price}) + shift END"

    return f"""
        CREATE OR REPLACE TEMP TABLE near AS
        WITH spans AS (
            SELECT symbol, coalesce(from_at, '0001-01-01'::TIMESTAMP) AS from_at,
                   coalesce(to_at, '9999-12-31'::TIMESTAMP) AS to_at
            FROM marked WHERE is_stirred),
        starts AS (
            SELECT *, coalesce(from_at > max(to_at) OVER (PARTITION BY symbol
                ORDER BY from_at, to_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true)
                AS is_start FROM spans),
        islands AS (
            SELECT symbol, min(from_at) AS from_at, max(to_at) AS to_at,
                   row_number() OVER () AS island
            FROM (SELECT *, count(*) FILTER (is_start) OVER (PARTITION BY symbol
                ORDER BY from_at, to_at ROWS UNBOUNDED PRECEDING) AS part FROM starts)
            GROUP BY symbol, part),
        ex AS ({find_split_bars(bars, splits)}),
        around AS (
            SELECT island, bar.*, coalesce(ln(ex.ratio), 0) AS split
            FROM {bars} AS bar
            JOIN islands ON islands.symbol = bar.symbol
                AND bar.timestamp BETWEEN islands.from_at AND islands.to_at
            LEFT JOIN ex ON ex.symbol = bar.symbol AND ex.timestamp = bar.timestamp),
        shifted AS (
            SELECT *, row_number() OVER w AS n,
                sum(CASE WHEN basis = 'raw' THEN split ELSE 0 END) OVER w AS shift
            FROM around WINDOW w AS (PARTITION BY island ORDER BY timestamp))
        SELECT island, n, symbol, timestamp, basis, split,
               {read_log("open")} AS o, {read_log("high")} AS h,
               {read_log("low")} AS l, {read_log("close")} AS c,
               volume / exp(shift) AS v FROM shifted"""


def near_decade(step: str) -> str:
    """SQL: whether a step in logarithms is 10, 100, 1000 … times, or one of those parts.

    Ten times is read narrowly, for a crash may come near a tenth; nothing real is near 100.
    """
    decades = f"({step} / {math.log(10)})"
    slack = f"CASE WHEN abs({decades}) < 1.5 THEN 0.1 ELSE 0.35 END"
    return f"(abs({decades}) > 0.5 AND abs({decades} - round({decades})) <= {slack})"


def frame(start: int, end: int) -> str:
    """SQL: a window over the bars from `start` to `end`, counted from the bar itself."""

    def bound(place: int) -> str:
        return f"{abs(place)} {'PRECEDING' if place < 0 else 'FOLLOWING'}"

    return f"(PARTITION BY island ORDER BY n ROWS BETWEEN {bound(start)} AND {bound(end)})"


# The recorded splits that explain a step: any on this bar or beside it; on adjusted prices also a
# big one within REACH. Prices move on such days too, so that a third of the ratio may be missing.
RECORDED = f"""list_filter([on_1, on_2,
        CASE WHEN basis = 'split' AND abs(on_3) > {math.log(4.9)} THEN on_3 END,
        CASE WHEN basis = 'split' AND abs(on_4) > {math.log(4.9)} THEN on_4 END],
    lambda r: abs(r) > {math.log(1.45)} AND abs(abs(gap) - abs(r)) <= 0.33 * abs(r)
        AND abs(abs(move) - abs(r)) <= 0.33 * abs(r))"""

# Volume after a split is the volume before times its ratio; on the day of a crash it is far more
# than that, and far more than on the days after.
CALM = """(CASE WHEN v > 0 AND coalesce(v_before, v_after) IS NOT NULL
    THEN v <= 3 * coalesce(v_before * {scale}, v) AND v <= 3 * coalesce(v_after, v)
    ELSE {unknown} END)"""

PRICE_STEPS = {
    # each bar's level, the step to it, and what is usual around it
    "levels": f"""
        WITH mixed AS (
            SELECT *, greatest(o, h, l, c) - least(o, h, l, c) AS width,
                coalesce({near_decade("width")}, false) AS is_mixed FROM near),
        stepped AS (
            SELECT *, CASE WHEN NOT is_mixed THEN c END AS level,
                last_value(CASE WHEN NOT is_mixed THEN c END IGNORE NULLS)
                    OVER {frame(-3, -1)} AS before
            FROM mixed),
        moved AS (
            SELECT *, CASE WHEN NOT is_mixed THEN o - before END AS gap, level - before AS move
            FROM stepped)
        SELECT *, median(abs(move)) OVER {frame(-10, 10)} AS usual,
            median(level) OVER {frame(-5, -1)} AS level_before,
            median(level) OVER {frame(0, 4)} AS level_since,
            median(level) OVER {frame(1, 5)} AS level_after,
            count(level) OVER {frame(-5, -1)} AS bars_before,
            count(level) OVER {frame(1, 5)} AS bars_after,
            median(h - l) OVER {frame(-BEFORE, -1)} AS range_before,
            median(CASE WHEN v > 0 THEN v END) OVER {frame(-BEFORE, -1)} AS v_before,
            median(CASE WHEN v > 0 THEN v END) OVER {frame(1, BEFORE)} AS v_after,
            last_value(nullif(split, 0) IGNORE NULLS) OVER {frame(-1, 0)} AS on_1,
            first_value(nullif(split, 0) IGNORE NULLS) OVER {frame(1, 1)} AS on_2,
            last_value(nullif(split, 0) IGNORE NULLS) OVER {frame(-REACH, 0)} AS on_3,
            first_value(nullif(split, 0) IGNORE NULLS) OVER {frame(1, REACH)} AS on_4
        FROM moved""",
    # the bars where a block may begin, few; kind 'split' if a split explains the step better
    "candidates": f"""
        WITH big AS (
            SELECT *, sign(move) * abs({RECORDED}[1]) AS recorded,
                list_sort(list_transform({STEPS}, lambda x: {{far: abs(gap - x), step: x}}))[1].step
                    AS nearest,
                greatest(0.04, least(0.1, 2 * usual)) AS slack
            FROM levels WHERE abs(move) > 0.25 AND abs(gap) > 0.25),
        read AS (
            SELECT *, abs(nearest) >= {CLEAR} * usual
                    AND abs(gap - nearest) <= slack AND abs(move - nearest) <= 2 * slack
                    AND bars_before >= 3 AND bars_after >= 3
                    AND abs(level_since - level_before - nearest) <= 0.3 * abs(nearest)
                    AND h - l <= greatest(3 * range_before, 0.06)
                    AND {CALM.format(scale="exp(-nearest)", unknown="slack < 0.06")} AS is_split,
                {near_decade("move")} AND {near_decade("gap")} AS is_unit,
                abs(ln(v_after / v_before) + nearest) < abs(ln(v_after / v_before)) AS is_scaled
            FROM big)
        SELECT island, n, move, v, v_before, v_after, recorded IS NOT NULL AS is_recorded,
            CASE WHEN recorded IS NOT NULL THEN recorded
                 WHEN is_split AND (NOT is_unit OR coalesce(is_scaled, false)) THEN nearest
                 WHEN is_unit THEN round(move / {math.log(10)}) * {math.log(10)}
                 WHEN is_split THEN nearest END AS step,
            CASE WHEN recorded IS NOT NULL OR is_split
                    AND (NOT is_unit OR coalesce(is_scaled, false)) THEN 'split'
                 WHEN is_unit THEN 'unit' END AS break_kind
        FROM read WHERE recorded IS NOT NULL OR is_split OR is_unit""",
    # a tenth that does not come back within REACH may be a crash: its volume tells
    "breaks": f"""
        SELECT * FROM (
            SELECT one.*, EXISTS (
                SELECT 1 FROM candidates AS other WHERE other.island = one.island
                AND other.n <> one.n AND other.n BETWEEN one.n - {REACH} AND one.n + {REACH}
                AND abs(other.step + one.step) < 0.2 * abs(one.step)) AS is_paired
            FROM candidates AS one)
        WHERE break_kind = 'split' OR is_paired OR abs(step) > {math.log(50)}
            OR {CALM.format(scale="1", unknown="false")}""",
    # the level of each bar: which block it lies in, as a sum of steps
    "blocks": """
        SELECT levels.*, step, break_kind, is_recorded, is_paired,
            sum(CASE WHEN break_kind = 'unit' OR is_paired THEN step ELSE 0 END)
                OVER w AS height,
            count(break_kind) OVER w AS block
        FROM levels LEFT JOIN breaks USING (island, n)
        WINDOW w AS (PARTITION BY island ORDER BY n ROWS UNBOUNDED PRECEDING)""",
    # a bar is off where more of the bars within REACH lie on another level than on its own
    "off": f"""
        WITH close_by AS (
            SELECT DISTINCT bar.island, bar.n, bar.height
            FROM blocks AS bar JOIN breaks ON breaks.island = bar.island
                AND bar.n BETWEEN breaks.n - {REACH} AND breaks.n + {REACH}
            WHERE breaks.break_kind = 'unit' OR breaks.is_paired),
        weighed AS (
            SELECT bar.island, bar.n, round((other.height - bar.height) / 0.4) AS apart,
                avg(other.height - bar.height) AS height,
                sum(CASE WHEN other.v = 0 THEN 0.01 ELSE 1 END) AS weight
            FROM close_by AS bar JOIN blocks AS other ON other.island = bar.island
                AND other.n BETWEEN bar.n - {REACH} AND bar.n + {REACH}
            GROUP BY ALL),
        heaviest AS (
            SELECT island, n, arg_max(height, (weight, apart = 0)) AS height FROM weighed
            GROUP BY ALL)
        SELECT island, n, -height AS off_level FROM heaviest WHERE abs(height) > 0.2""",
    # a recorded split whose step comes elsewhere: the bars before that step are not adjusted
    "late": f"""
        SELECT island, n, arg_min(step, later) AS late_step, arg_min(day, later) AS late_at,
            arg_min(split_at, later) AS late_split
        FROM (
            SELECT bar.island, bar.n, breaks.n AS later, breaks.step,
                strftime(here.timestamp, '%Y-%m-%d') AS day,
                (SELECT strftime(arg_min(s.timestamp, (abs(s.n - breaks.n), s.n)), '%Y-%m-%d')
                 FROM levels AS s WHERE s.island = bar.island AND s.split <> 0
                 AND s.n BETWEEN breaks.n - {REACH} AND breaks.n + {REACH}) AS split_at
            FROM blocks AS bar
            JOIN breaks ON breaks.island = bar.island
                AND bar.n BETWEEN breaks.n - {REACH} AND breaks.n - 1
            JOIN blocks AS here ON here.island = breaks.island AND here.n = breaks.n
            WHERE breaks.is_recorded AND NOT breaks.is_paired AND bar.basis = 'split'
                AND bar.block = here.block - 1)
        GROUP BY island, n""",
}


def note_prices() -> str:
    """The first of PRICE_RULES that holds for a bar, as its note."""
    reason = " ".join(f"WHEN {rule.condition} THEN '{rule.reason}'" for rule in PRICE_RULES)
    detail = " ".join(f"WHEN {rule.condition} THEN {rule.detail}" for rule in PRICE_RULES)
    return f"""
        INSERT INTO notes
        WITH joined AS (
            SELECT blocks.*, off_level, late_step, late_at, late_split,
                coalesce(lag(off_level IS NOT NULL OR late_step IS NOT NULL OR is_mixed) OVER w,
                    false) AS was_off,
                greatest(level_before, level_after) AS upper,
                least(level_before, level_after) AS lower,
                greatest({SPIKE}, 8 * usual) AS far,
                bars_before >= 3 AND bars_after >= 3 AND usual IS NOT NULL AS has_sides,
                coalesce(max(abs(move)) OVER {frame(-2, 0)}, 0) AS came,
                coalesce(max(abs(move)) OVER {frame(1, 3)}, 0) AS went,
                coalesce(bool_or(break_kind = 'split') OVER {frame(-REACH, REACH)}, false)
                    AS is_off_by_split
            FROM blocks LEFT JOIN off USING (island, n) LEFT JOIN late USING (island, n)
            WINDOW w AS (PARTITION BY island ORDER BY n)),
        spiked AS (
            SELECT *, CASE WHEN NOT has_sides OR upper - lower > 0.5 * far THEN NULL
                WHEN least(came, went) > {math.log(STIR)} AND l - upper > far THEN l - upper
                WHEN least(came, went) > {math.log(STIR)} AND lower - h > far THEN h - lower
                WHEN h - l > {math.log(WIDE)} AND h - upper > greatest({WICK}, far) THEN h - upper
                WHEN h - l > {math.log(WIDE)} AND lower - l > greatest({WICK}, far) THEN l - lower
                END AS spike FROM joined),
        judged AS (SELECT *, spike IS NOT NULL AS is_spike FROM spiked)
        SELECT symbol, timestamp, CASE {reason} END, CASE {detail} END FROM judged
        WHERE CASE {reason} END IS NOT NULL"""


def find_gaps(
    connection: duckdb.DuckDBPyConnection,
    bars: str = "bars",
    sessions: str = "sessions",
    rejected: str = "rejected",
) -> None:
    """Temp table `gaps` (symbol, session DATE, cause): sessions between two bars without a bar.

    cause is 'rejected' where `rejected` (symbol, session DATE) has it, else 'not delivered'.
    Only symbols with fewer bars on sessions than there are sessions are looked at day by day.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE gaps AS
        WITH spans AS (
            SELECT symbol, bar.exchange, min(timestamp)::DATE AS first,
                   max(timestamp)::DATE AS last, count(s.session) AS bars
            FROM {bars} AS bar LEFT JOIN {sessions} AS s
                ON s.exchange = bar.exchange AND s.session = bar.timestamp::DATE
            GROUP BY symbol, bar.exchange),
        short AS (
            SELECT symbol, any_value(exchange) AS exchange, any_value(first) AS first,
                   any_value(last) AS last
            FROM spans JOIN {sessions} AS s USING (exchange)
            WHERE s.session BETWEEN first AND last
            GROUP BY symbol HAVING count(*) > any_value(bars)),
        expected AS (
            SELECT symbol, session FROM short JOIN {sessions} AS s USING (exchange)
            WHERE session BETWEEN first AND last),
        present AS (
            SELECT symbol, timestamp::DATE AS session FROM {bars}
            WHERE symbol IN (SELECT symbol FROM short))
        SELECT symbol, session, CASE WHEN (symbol, session) IN (
                SELECT (symbol, session) FROM {rejected}) THEN 'rejected'
            ELSE 'not delivered' END AS cause
        FROM expected ANTI JOIN present USING (symbol, session)""")
