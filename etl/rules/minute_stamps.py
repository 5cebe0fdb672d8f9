"""How the stamp of a minute becomes an instant: SQL over raw rows, and what clocks showed.

A stamp with an offset, or an epoch, is exact. Any other is what a clock showed: that of its row, or
of the exchange of its symbol. Once a year a clock passes over an hour, and once it shows one
twice; of the second kind the order of the rows tells which is meant, or nothing does.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

MINUTES_A_DAY = 1440
DAY = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
TIME = r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
OFFSET = r"([zZ]|[+-]\d{2}(:?\d{2})?)"
COMPACT = r"\d{8}[T ]?\d{6}"
DAY_ALONE = rf"{DAY}|\d{{8}}"
# digits of an epoch → how its number becomes microseconds
EPOCHS = {"9,10": "* 1000000", "11,13": "* 1000", "15,16": "", "17,19": "// 1000"}


def is_iso(text: str) -> str:
    return f"substr({text}, 5, 1) IN ('-', '/')"  # cheap, and true of most


def read_exact(text: str) -> str:
    """SQL: the instant (naive UTC) of a stamp that says it exactly, else NULL."""
    t = f"trim({text})"
    epochs = " ".join(
        f"WHEN regexp_full_match({t}, '\\d{{{count}}}(\\.0*)?')"
        f" THEN make_timestamp(try_cast(split_part({t}, '.', 1) AS BIGINT) {as_micros})"
        for count, as_micros in EPOCHS.items()
    )
    return f"""CASE WHEN {is_iso(t)} THEN
            CASE WHEN regexp_full_match({t}, '{DAY}{TIME}{OFFSET}')
            THEN timezone('UTC', try_cast({t} AS TIMESTAMP WITH TIME ZONE)) END
        {epochs} END"""


def read_wall(text: str) -> str:
    """SQL: what a clock showed, of a stamp that says no more; a day alone is its midnight."""
    t = f"trim({text})"
    return f"""CASE WHEN {is_iso(t)} THEN
            CASE WHEN regexp_full_match({t}, '{DAY}({TIME})?') THEN try_cast({t} AS TIMESTAMP) END
        WHEN regexp_full_match({t}, '{COMPACT}')
            THEN try_strptime(regexp_replace({t}, '[T ]', ''), '%Y%m%d%H%M%S')
        WHEN regexp_full_match({t}, '\\d{{8}}') THEN try_strptime({t}, '%Y%m%d') END"""


def view_stamps(connection: duckdb.DuckDBPyConnection) -> None:
    """`stamped`: `raw` with symbol, exchange, exact, wall and the clock that showed it.

    `symbol_exchanges` (raw_symbol, symbol, exchange, clock) has each text of a symbol.
    """
    connection.execute(
        f"""CREATE TEMP VIEW stamped AS
        SELECT *, CASE WHEN exact IS NULL THEN {read_wall("raw_timestamp")} END AS wall,
               coalesce(zone, own_clock) AS clock
        FROM (SELECT *, {read_exact("raw_timestamp")} AS exact
              FROM renamed LEFT JOIN symbol_exchanges USING (raw_symbol))"""
    )


def view_instants(connection: duckdb.DuckDBPyConnection, seconds: int) -> None:
    """`instants`: `stamped` with timestamp (start of the bar, naive UTC), is_skipped, is_unclear.

    seconds: the interval of the bars, by which an end comes after its start.
    """
    find_clock_days(connection)
    find_repeats(connection)
    start = (
        f"CASE WHEN stamp_is = 'end' THEN INTERVAL {seconds} SECONDS ELSE INTERVAL 0 SECONDS END"
    )
    connection.execute(
        f"""CREATE TEMP VIEW instants AS
        SELECT * REPLACE (timestamp - {start} AS timestamp) FROM (
            SELECT s.*, coalesce(exact, CASE
                WHEN m.clock IS NULL THEN wall - to_seconds(d.shift)
                WHEN m.early = m.late THEN wall - to_seconds(m.early)
                WHEN m.early IS NOT NULL THEN wall - to_seconds(
                    CASE r.is_early WHEN true THEN m.early WHEN false THEN m.late END)
                END) AS timestamp,
                m.clock IS NOT NULL AND m.early IS NULL AS is_skipped,
                coalesce(m.early <> m.late, false) AND r.is_early IS NULL AS is_unclear
            FROM stamped s
            LEFT JOIN clock_days d ON d.clock = s.clock AND d.day = s.wall::DATE
            LEFT JOIN clock_minutes m
                ON m.clock = s.clock AND m.minute = date_trunc('minute', s.wall)
            LEFT JOIN repeats r ON r.place = s.place)"""
    )


def find_clock_days(connection: duckdb.DuckDBPyConnection) -> None:
    """`clock_days` (clock, day, shift: seconds east of UTC) of days on which no clock was moved,
    `clock_minutes` (clock, minute, early, late) of the others: NULL where it did not exist."""
    rows = connection.execute(
        """SELECT DISTINCT clock, wall::DATE FROM stamped
        WHERE clock IS NOT NULL AND isfinite(wall) AND wall > TIMESTAMP '1600-01-01'"""
    ).fetchall()
    days, minutes = [], []
    for clock, day in sorted(rows):
        zone = ZoneInfo(clock)
        if (shift := find_shift(day, zone)) is not None:
            days.append((clock, day, shift))
        else:
            minutes += [(clock, *row) for row in list_minutes(day, zone)]
    create(
        connection,
        "clock_days",
        days,
        {"clock": pa.string(), "day": pa.date32(), "shift": pa.int32()},
    )
    kinds = {
        "clock": pa.string(),
        "minute": pa.timestamp("us"),
        "early": pa.int32(),
        "late": pa.int32(),
    }
    create(connection, "clock_minutes", minutes, kinds)


def create(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    rows: Sequence[tuple[object, ...]],
    kinds: dict[str, pa.DataType],
) -> None:
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    arrays = [pa.array(c, kind) for c, kind in zip(columns, kinds.values(), strict=True)]
    connection.register("rows_here", pa.table(arrays, names=list(kinds)))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM rows_here")
    connection.unregister("rows_here")


def find_shift(day: date, zone: ZoneInfo) -> int | None:
    """Seconds by which a clock was ahead of UTC all day; None: it was moved."""
    noon = datetime.combine(day, time(12))
    around = (noon - timedelta(days=1), noon, noon + timedelta(days=1))
    shifts = {read_shift(at, zone) for at in around}
    return shifts.pop() if len(shifts) == 1 else None


def read_shift(wall: datetime, zone: ZoneInfo, fold: int = 0) -> int:
    shift = wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()
    return int(shift.total_seconds())


def list_minutes(day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, int | None, int | None]]:
    """Of each minute that a clock shows: how far it was ahead the first and the last time."""
    for number in range(MINUTES_A_DAY):
        wall = datetime.combine(day, time()) + timedelta(minutes=number)
        early, late = read_shift(wall, zone), read_shift(wall, zone, fold=1)
        # of a wall time that never was, the first reading is the one with the smaller offset
        yield (wall, early, late) if early >= late else (wall, None, None)


def find_repeats(connection: duckdb.DuckDBPyConnection) -> None:
    """`repeats` (place, is_early): which of two is meant, of stamps that a clock showed twice.

    Rows of one answer that go forward in time, but for one step back, show the hour twice; rows
    that go backward, but for one step forward, do so from its end. Anything else tells nothing.
    """
    answer = "PARTITION BY symbol, source, fetched_at, file, clock, wall::DATE"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeats AS
        WITH those_days AS (
            SELECT s.place, symbol, source, fetched_at, file, s.clock, wall,
                   m.early IS NOT NULL AND m.early <> m.late AS is_twice
            FROM stamped s JOIN clock_minutes m
                ON m.clock = s.clock AND m.minute = date_trunc('minute', wall)),
        stepped AS (
            SELECT *, sign(epoch_us(wall) - lag(epoch_us(wall)) OVER ({answer} ORDER BY place))
                AS step FROM those_days),
        directed AS (
            SELECT *, coalesce(sum(step) OVER ({answer}), 0) >= 0 AS is_forward FROM stepped),
        twice AS (
            SELECT *, CASE WHEN lag(place) OVER w IS NULL THEN false
                WHEN is_forward THEN wall <= lag(wall) OVER w ELSE wall >= lag(wall) OVER w
                END AS is_turn
            FROM directed WHERE is_twice WINDOW w AS ({answer} ORDER BY place)),
        counted AS (
            SELECT place, is_forward, count(*) FILTER (is_turn) OVER ({answer}) AS turns,
                   count(*) FILTER (is_turn) OVER ({answer} ORDER BY place) AS before
            FROM twice)
        SELECT place, (before = 0) = is_forward AS is_early FROM counted WHERE turns = 1"""
    )
