"""Breaks in a price series: bars in another unit, splits that do not fit, spikes.

The rules on prices of etl.notes, as a chain of small tables over `near`, the few bars around
those that stir. Prices are logarithms; on the basis `raw` recorded splits are divided out, so
that only what the splits do not explain is left.

A *break* is a step near a power of ten or near a split's ratio. Between breaks lie blocks; which
block is wrong is decided by the weight of the bars on each level within REACH bars (a bar without
trade weighs little). A big step that is no break, like a crash, is nothing to note.
"""

import math
from dataclasses import dataclass

REACH = 20  # bars: the longest block whose every bar is noted
USUAL = 15  # bars: what is usual for a symbol (volume, daily range) is measured over so many
# A break within REACH of a bar, its partner within REACH of that, and what made that a break.
CONTEXT = 2 * REACH + USUAL + 5

BIG = 0.25  # ln: a step below this is never looked at (a third of what a break needs is noise)
WIDE = math.log(2.5)
CLEAR = 10  # a split is a step of so many usual moves; in a turmoil it cannot be told
SPIKE = 0.31  # ln: the whole bar is 36 % above or 27 % below both sides …
WICK = 1.11  # … or its high or low is at 3 times or a third of both
SIDES = 3  # bars on each side that a break or a spike needs

RATIOS = (1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
STEPS = [sign * math.log(ratio) for ratio in RATIOS for sign in (-1, 1)]
TEN = math.log(10)


@dataclass(frozen=True)
class Rule:
    """A bar is noted for `reason` where `condition` holds; `detail` says what was seen."""

    reason: str
    condition: str
    detail: str


def times(step: str) -> str:
    """SQL: `100 times` or `1/100 of`, of a step in logarithms."""
    return (
        f"CASE WHEN {step} > 0 THEN format('{{:.3g}} times', exp({step}))"
        f" ELSE format('1/{{:.3g}} of', exp(-({step}))) END"
    )


# The first that holds is the note: a bar has one of them at most.
RULES = (
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
        "format('a split recorded on {} is not in the prices before {}', late_split, late_day)",
    ),
    Rule(
        "unrecorded split",
        "kind = 'split' AND NOT was_off",
        f"'prices are ' || {times('step')} || ' those before, and stay so: '"
        " || CASE WHEN split = 0 THEN 'no split is recorded' ELSE 'the split recorded here does"
        " not fit' END",
    ),
    Rule(
        "unit change",
        "kind = 'unit' AND NOT was_off",
        f"'prices are ' || {times('step')} || ' those before, and stay so'",
    ),
    Rule(
        "price spike",
        "spike IS NOT NULL",
        f"'prices are ' || {times('spike')} || ' those on both sides'",
    ),
    # what the rules above cannot tell before there are bars on both sides
    Rule(
        "large move, unconfirmed",
        "leap IS NOT NULL",
        f"'prices are ' || {times('leap')} || ' those before: the next bars will tell'",
    ),
)


def near_decade(step: str) -> str:
    """SQL: whether a step in logarithms is 10, 100, 1000 … times, or one of those parts.

    Ten times is read narrowly, for a crash may come near a tenth; nothing real is near 100.
    """
    decades = f"({step} / {TEN})"
    slack = f"CASE WHEN abs({decades}) < 1.5 THEN 0.1 ELSE 0.35 END"
    return f"(abs({decades}) > 0.5 AND abs({decades} - round({decades})) <= {slack})"


def within(start: int, end: int) -> str:
    """SQL: only of the bars from `start` to `end`, counted from the bar itself."""
    return f"FILTER (place BETWEEN {start} AND {end})"


# The bars whose prices are of one unit, and the step to each from the last such bar.
MOVES = f"""
    WITH wide AS (
        SELECT *, greatest(o, h, l, c) - least(o, h, l, c) AS width FROM near),
    mixed AS (
        SELECT *, coalesce({near_decade("width")}, false) AS is_mixed FROM wide),
    level AS (
        SELECT *, CASE WHEN NOT is_mixed THEN c END AS level FROM mixed)
    SELECT *, level - before AS move, CASE WHEN NOT is_mixed THEN o - before END AS gap
    FROM (SELECT *, last_value(level IGNORE NULLS) OVER (PARTITION BY island ORDER BY n
              ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS before FROM level)"""

# What is usual around the few bars at a big step: the only ones that can be a break or a spike.
SURROUNDINGS = f"""
    WITH key AS (
        SELECT DISTINCT island, n + unnest(range(-3, 3)) AS n FROM moves
        WHERE abs(move) > {BIG} OR abs(gap) > {BIG} OR width > {WIDE} OR split <> 0),
    place AS (
        SELECT island, n, unnest(range({-REACH}, {REACH + 1})) AS place FROM key)
    SELECT place.island, place.n,
        median(abs(move)) {within(-10, 10)} AS usual,
        avg(abs(move)) {within(-10, 10)} AS mean,
        max(abs(move)) {within(-2, 0)} AS came,
        max(abs(move)) {within(1, 3)} AS went,
        median(level) {within(-5, -1)} AS level_before,
        median(level) {within(0, 4)} AS level_since,
        median(level) {within(1, 5)} AS level_after,
        least(count(level) {within(-5, -1)}, count(level) {within(1, 5)}) AS sides,
        count(level) {within(-5, -1)} AS held_before,
        count(level) {within(1, 5)} AS held_after,
        median(abs(move)) {within(-10, -1)} AS usual_before,
        avg(abs(move)) {within(-10, -1)} AS mean_before,
        median(h - l) {within(-USUAL, -1)} AS range_before,
        median(v) FILTER (v > 0 AND place BETWEEN {-USUAL} AND -1) AS v_before,
        median(v) FILTER (v > 0 AND place BETWEEN 1 AND {USUAL}) AS v_after,
        arg_max(split, place) FILTER (split <> 0 AND place BETWEEN -1 AND 0) AS on_this,
        arg_max(split, place) FILTER (split <> 0 AND place = 1) AS on_next,
        arg_max(split, place) FILTER (split <> 0 AND place <= 0) AS on_earlier,
        arg_min(split, place) FILTER (split <> 0 AND place > 0) AS on_later
    FROM place JOIN moves ON moves.island = place.island AND moves.n = place.n + place
    GROUP BY ALL"""

# The recorded splits that explain a step: any on this bar or beside it; on adjusted prices also a
# big one within REACH. Prices move on such days too, so that a third of the ratio may be missing.
RECORDED = f"""list_filter([on_this, on_next,
        CASE WHEN basis = 'split' AND abs(on_earlier) > {math.log(4.9)} THEN on_earlier END,
        CASE WHEN basis = 'split' AND abs(on_later) > {math.log(4.9)} THEN on_later END],
    lambda r: abs(r) > {math.log(1.45)} AND abs(abs(gap) - abs(r)) <= 0.33 * abs(r)
        AND abs(abs(move) - abs(r)) <= 0.33 * abs(r))"""

# Volume after a split is the volume before times its ratio; on the day of a crash it is far more
# than that, and far more than on the days after.
CALM = """(CASE WHEN v > 0 AND coalesce(v_before, v_after) IS NOT NULL
    THEN v <= 3 * coalesce(v_before * {scale}, v) AND v <= 3 * coalesce(v_after, v)
    ELSE {unknown} END)"""

# The bars where a block may begin; kind 'split' where a split explains the step better.
CANDIDATES = f"""
    WITH big AS (
        SELECT *, sign(move) * abs({RECORDED}[1]) AS recorded,
            list_sort(list_transform({STEPS}, lambda x: {{far: abs(gap - x), step: x}}))[1].step
                AS nearest,
            greatest(0.04, least(0.1, 2 * usual)) AS slack
        FROM moves JOIN surroundings USING (island, n)
        WHERE abs(move) > {BIG} AND abs(gap) > {BIG}),
    read AS (
        SELECT *, abs(nearest) >= {CLEAR} * usual AND abs(nearest) >= {CLEAR / 2} * mean
                AND abs(gap - nearest) <= slack AND abs(move - nearest) <= 2 * slack
                AND sides >= {SIDES}
                AND abs(level_since - level_before - nearest) <= 0.3 * abs(nearest)
                AND h - l <= greatest(3 * range_before, 0.06)
                AND {CALM.format(scale="exp(-nearest)", unknown="slack < 0.06")} AS is_split,
            {near_decade("move")} AND {near_decade("gap")} AS is_unit,
            coalesce(abs(ln(v_after / v_before) + nearest) < abs(ln(v_after / v_before)), false)
                AS is_scaled
        FROM big)
    SELECT island, n, v, v_before, v_after, recorded IS NOT NULL AS is_recorded,
        CASE WHEN recorded IS NOT NULL OR is_split AND (is_scaled OR NOT is_unit) THEN 'split'
            ELSE 'unit' END AS kind,
        CASE WHEN recorded IS NOT NULL THEN recorded WHEN kind = 'split' THEN nearest
            ELSE round(move / {TEN}) * {TEN} END AS step
    FROM read WHERE recorded IS NOT NULL OR is_split OR is_unit"""

# A tenth that does not come back within REACH may be a crash: its volume tells.
BREAKS = f"""
    SELECT * FROM (
        SELECT one.*, EXISTS (
            SELECT 1 FROM candidates AS other WHERE other.island = one.island
            AND other.n <> one.n AND other.n BETWEEN one.n - {REACH} AND one.n + {REACH}
            AND abs(other.step + one.step) < 0.2 * abs(one.step)) AS is_paired
        FROM candidates AS one)
    WHERE kind = 'split' OR is_paired OR abs(step) > {math.log(50)}
        OR {CALM.format(scale="1", unknown="false")}"""

# The block in which each bar lies, and its level as a sum of steps. A split that does not come
# back makes a new block but no new level: both of its sides may well be right.
BLOCKS = """
    SELECT island, n, moves.v, basis, split, timestamp,
        sum(CASE WHEN kind = 'unit' OR is_paired THEN step ELSE 0 END) OVER w AS height,
        count(kind) OVER w AS block
    FROM moves LEFT JOIN breaks USING (island, n)
    WHERE island IN (SELECT island FROM breaks)
    WINDOW w AS (PARTITION BY island ORDER BY n ROWS UNBOUNDED PRECEDING)"""

# A bar is off where more of the bars within REACH lie on another level than on its own.
OFF = f"""
    WITH affected AS (
        SELECT bar.island, bar.n, bar.height, bool_or(kind = 'split') AS is_off_by_split
        FROM blocks AS bar JOIN breaks ON breaks.island = bar.island
            AND bar.n BETWEEN breaks.n - {REACH} AND breaks.n + {REACH}
        WHERE kind = 'unit' OR is_paired
        GROUP BY ALL),
    weighed AS (
        SELECT bar.island, bar.n, is_off_by_split,
            round((other.height - bar.height) / 0.4) AS apart,
            avg(other.height - bar.height) AS height,
            sum(CASE WHEN other.v = 0 THEN 1 ELSE 100 END) AS weight
        FROM (SELECT *, n + unnest(range({-REACH}, {REACH + 1})) AS near_n FROM affected) AS bar
        JOIN blocks AS other ON other.island = bar.island AND other.n = bar.near_n
        GROUP BY ALL)
    SELECT island, n, is_off_by_split,
        -arg_max(height, (weight, apart = 0, apart)) AS off_level
    FROM weighed GROUP BY ALL HAVING abs(off_level) > 0.2"""

# A recorded split whose step comes elsewhere: the bars before that step are not adjusted.
LATE = f"""
    WITH step AS (
        SELECT breaks.island, breaks.n, breaks.step, here.block,
            strftime(here.timestamp, '%Y-%m-%d') AS day,
            (SELECT strftime(arg_min(b.timestamp, (abs(b.n - breaks.n), b.n)), '%Y-%m-%d')
             FROM blocks AS b WHERE b.island = breaks.island AND b.split <> 0
             AND b.n BETWEEN breaks.n - {REACH} AND breaks.n + {REACH}) AS split_day
        FROM breaks JOIN blocks AS here USING (island, n)
        WHERE is_recorded AND NOT is_paired AND here.basis = 'split')
    SELECT bar.island, bar.n, any_value(step) AS late_step, any_value(day) AS late_day,
        any_value(split_day) AS late_split
    FROM blocks AS bar JOIN step ON step.island = bar.island AND step.block = bar.block + 1
        AND bar.n BETWEEN step.n - {REACH} AND step.n - 1
    GROUP BY ALL"""

# Far from the bars before and from those after, which agree with one another.
SPIKES = f"""
    SELECT island, n, CASE
        WHEN least(came, went) > {BIG} AND l - upper > far THEN l - upper
        WHEN least(came, went) > {BIG} AND lower - h > far THEN h - lower
        WHEN h - l > {WIDE} AND h - upper > greatest({WICK}, far) THEN h - upper
        WHEN h - l > {WIDE} AND lower - l > greatest({WICK}, far) THEN l - lower END AS spike
    FROM (SELECT *, greatest(level_before, level_after) AS upper,
              least(level_before, level_after) AS lower,
              greatest({SPIKE}, 8 * usual, 4 * mean) AS far
          FROM moves JOIN surroundings USING (island, n)
          WHERE sides >= {SIDES} AND usual IS NOT NULL)
    WHERE upper - lower <= 0.5 * far AND spike IS NOT NULL"""

# Among the newest bars, far from the bars before. It goes with the bars that follow: they make it a
# spike or a break, or show that the price moved.
LEAPS = f"""
    SELECT island, n, CASE
        WHEN abs(move) > {BIG} AND abs(level - level_before) > far THEN level - level_before
        WHEN h - l > {WIDE} AND h - level_before > greatest({WICK}, far) THEN h - level_before
        WHEN h - l > {WIDE} AND level_before - l > greatest({WICK}, far) THEN l - level_before
        END AS leap
    FROM (SELECT *, greatest({SPIKE}, 8 * usual_before, 4 * mean_before) AS far
          FROM moves JOIN surroundings USING (island, n)
          WHERE held_before >= {SIDES} AND held_after < {SIDES} AND usual_before IS NOT NULL)
    WHERE leap IS NOT NULL"""

TABLES = {
    "moves": MOVES,
    "surroundings": SURROUNDINGS,
    "candidates": CANDIDATES,
    "breaks": BREAKS,
    "blocks": BLOCKS,
    "off": OFF,
    "late": LATE,
    "spikes": SPIKES,
    "leaps": LEAPS,
}

REASON = " ".join(f"WHEN {rule.condition} THEN '{rule.reason}'" for rule in RULES)
DETAIL = " ".join(f"WHEN {rule.condition} THEN {rule.detail}" for rule in RULES)
NOTES = f"""
    WITH wrong AS (
        SELECT island, n FROM off UNION SELECT island, n FROM late
        UNION SELECT island, n FROM moves WHERE is_mixed),
    suspect AS (
        SELECT island, n FROM wrong UNION SELECT island, n FROM breaks
        UNION SELECT island, n FROM spikes UNION SELECT island, n FROM leaps),
    judged AS (
        SELECT * REPLACE (coalesce(is_off_by_split, false) AS is_off_by_split),
            (island, n - 1) IN (SELECT (island, n) FROM wrong) AS was_off
        FROM suspect JOIN moves USING (island, n) LEFT JOIN breaks USING (island, n)
        LEFT JOIN off USING (island, n) LEFT JOIN late USING (island, n)
        LEFT JOIN spikes USING (island, n) LEFT JOIN leaps USING (island, n))
    SELECT symbol, timestamp, CASE {REASON} END AS reason, CASE {DETAIL} END AS detail
    FROM judged WHERE reason IS NOT NULL"""
