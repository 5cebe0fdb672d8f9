"""Dates as people write them, read as the day of a session.

The whole column decides which of 1/3 is the month; then each row is read. Times of day are read
too: midnight of an exchange written in UTC, or one time for all rows (16:00, 23:59:59), names the
day; other times stay, and make the rows intraday.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ORDERS = ("DMY", "MDY", "YMD")
UNSURE = "?"  # 23/01/03 where the last part runs: what the year is, nobody can say
# The first letters of a month's name, without accents → its number; in the languages of headers.
MONTHS = (
    ("jan", "ene", "gen", "sty", "oca"),
    ("feb", "fev", "lut", "sub"),
    ("mar", "mrz", "mae", "mrt", "maa"),
    ("apr", "avr", "abr", "kwi", "nis"),
    ("may", "mai", "maj", "mei", "mag"),
    ("jun", "giu", "cze", "haz"),
    ("jul", "lug", "lip", "tem"),
    ("aug", "aou", "ago", "sie"),
    ("sep", "set", "wrz", "eyl"),
    ("oct", "okt", "out", "ott", "paz", "eki"),
    ("nov", "lis", "kas"),
    ("dec", "dez", "dic", "des", "gru", "ara"),
)
ACCENTS = ("äáàâąéèêëęíîóôöúûüñćçłńśźżşığ", "aaaaaeeeeeiiooouuuncclnszzsig")
TIME = r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?\s*([AaPp])?"
IN_UTC = r".*\d\s*(?i:Z|UTC|GMT|[+-]00:?(00)?)\s*([\[(].*)?"
NUMERIC_PARTS = r"^(\d{1,2})\s?[/.\-]\s?(\d{1,2})\s?[/.\-]\s?(\d{4}|\d{2})()()()()()()(\D.*)?$"
NAMED_PARTS = (
    r"^(?:(\d{1,2})[. \-/]*([a-z]{3,})[. \-/,]*(\d{4}|\d{2})"
    r"|([a-z]{3,})[. \-/]*(\d{1,2})[ ,\-/.]+(\d{4}|\d{2})"
    r"|(\d{4})[. \-/]*([a-z]{3,})[. \-/]*(\d{1,2}))\b(.*)$"
)
NUMERIC = r"(\d{1,2})\s?[/.\-]\s?(\d{1,2})\s?[/.\-]\s?(\d{4}|\d{2})(?:\D.*)?"
NAMED = r".*\pL{3,}.*"
WEEKDAY = (
    r"^((mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(day)?|mo|di|mi|do|fr|sa|so"
    r"|[a-z]+tag|mittwoch)\.?,? +([a-z0-9])"
)


@dataclass(frozen=True)
class Order:
    """What a column of dates shows of itself.

    days_first, months_first: rows that only one order explains. open: rows that both explain.
    short: rows with years of two digits. is_year_last: whether these end with the year.
    has_times: whether any row has a time of day beside midnight, or is an instant.
    """

    rows: int = 0
    days_first: int = 0
    months_first: int = 0
    open: int = 0
    short: int = 0
    is_year_last: bool = True
    has_times: bool = False
    plain: int = 0


# 2024年2月26日, 2024년 2월 26일
EAST = r"^\s*(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일]"
# How many dates there are, and how many of them are plain ISO.
COUNT_PLAIN = ("count(date)", "count(*) FILTER (date LIKE '____-__-__')")


def as_text(column: str) -> str:
    return f"""CASE WHEN starts_with({column}, '=') THEN regexp_replace(trim({column}), '^="?|"$', '', 'g')
        WHEN {column} > '1' AND regexp_matches({column}, '{EAST}')
        THEN regexp_replace(trim({column}), '{EAST}', '\\1-\\2-\\3')
        ELSE trim({column}) END"""


def count_shapes(t: str) -> list[str]:
    """SQL: the counts that become an Order."""
    part = [f"regexp_extract({t}, '^{NUMERIC}$', {i})" for i in range(4)]
    is_numeric = f"NOT {is_iso(t)} AND regexp_full_match({t}, '{NUMERIC}')"
    first, second, third = (f"try_cast({each} AS INTEGER)" for each in part[1:])
    short = f"length({part[3]}) = 2"

    def count(condition: str) -> str:
        return f"count(*) FILTER (CASE WHEN {is_numeric} THEN {condition} END)"

    both = f"{first} <= 12 AND {second} <= 12 AND {first} <> {second}"
    return [
        f"count({t})",
        count(f"{first} > 12 AND {second} <= 12 AND {first} <= 31"),
        count(f"{second} > 12 AND {first} <= 12"),
        count(both),
        count(short),
        f"count(DISTINCT CASE WHEN {is_numeric} AND {short} THEN {third} END) <="
        f" count(DISTINCT CASE WHEN {is_numeric} AND {short} THEN {first} END)"
        f" AND coalesce(max(CASE WHEN {is_numeric} AND {short} THEN {first} END), 0) <= 31",
        f"coalesce(bool_or(CASE WHEN length({t}) > 10 AND NOT regexp_matches({t},"
        f" '^[\\d/.\\-]{{8,10}}[ T]0{{1,2}}:?00(:?00(\\.0+)?)?(Z|[+-][\\d:]+)?$')"
        f" THEN regexp_matches({t}, ':|^-?[\\d.eE+]+$|^\\d{{8}}[ T]?\\d{{4,6}}$')"
        f" ELSE regexp_full_match({t}, '-?\\d{{9,10}}') END), false)",
        COUNT_PLAIN[1],
    ]


def decide_order(order: Order, declared: str, is_day_first: bool) -> str:
    """'DMY', 'MDY', 'YMD', or '' where nothing says it: the rows that need it are then refused."""
    if order.short and not order.is_year_last:
        return declared or UNSURE
    if order.days_first and not order.months_first:
        return "DMY"
    if order.months_first and not order.days_first:
        return "MDY"
    if order.days_first or not is_day_first:
        return declared
    return "DMY"


def add_stamps(source: str, order: str) -> str:
    """SQL: `source`, which has `date`, with `stamp` and `is_utc`.

    stamp: the TIMESTAMP as written, an offset dropped; NULL where it cannot be read. is_utc: an
    instant, whose wall clock at the exchange is another. Each step is a select of its own: written
    into each other, they would take seconds to parse.
    """
    clock = "['hour', 'minute', 'second', 'fraction', 'half']"
    steps = (
        f"SELECT *, {FIND_SHAPE} AS shape FROM ({source})",
        f"SELECT *, {FIND_PARTS} AS parts FROM (@)",
        f"SELECT *, {find_year(order)} AS year, {find_month(order)} AS month,"
        f" {find_day(order)} AS day, {FIND_REST} AS rest FROM (@)",
        f"SELECT *, {READ_MIDNIGHT} AS midnight, regexp_extract(rest, '{TIME}', {clock}) AS clock"
        " FROM (@)",
        f"SELECT * EXCLUDE (shape, parts, year, month, day, rest, midnight, clock),"
        f" coalesce({READ_WHOLE}, midnight + {READ_TIME}) AS stamp, {IS_IN_UTC} AS is_utc FROM (@)",
    )
    select = steps[0]
    for step in steps[1:]:
        select = step.replace("(@)", f"({select})")
    return select


def pivot(year: str) -> str:
    """A year of two digits: 69 to 99 are of the last century, as POSIX has it."""
    number = f"try_cast({year} AS INTEGER)"
    century = f"CASE WHEN {number} >= 69 THEN 1900 ELSE 2000 END"
    return f"{number} + CASE WHEN length({year}) > 2 THEN 0 ELSE {century} END"


def find_year(order: str) -> str:
    numeric = {"YMD": pivot("parts.a"), UNSURE: "NULL"}.get(order, pivot("parts.c"))
    return f"""CASE shape WHEN 'named' THEN {pivot("(parts.c || parts.f || parts.g)")}
        WHEN 'numeric' THEN {numeric} END"""


def has_day_first(order: str) -> str:
    """SQL: whether a date of three numbers begins with the day; NULL where nothing says it."""
    otherwise = {"DMY": "true", "MDY": "false"}.get(order, "NULL")
    return (
        "CASE WHEN try_cast(parts.a AS INTEGER) > 12 THEN true"
        " WHEN try_cast(parts.a AS INTEGER) = try_cast(parts.b AS INTEGER) THEN true"
        f" WHEN try_cast(parts.b AS INTEGER) > 12 THEN false ELSE {otherwise} END"
    )


def find_month(order: str) -> str:
    both = f"CASE {has_day_first(order)} WHEN true THEN parts.b WHEN false THEN parts.a END"
    numeric = "parts.b" if order == "YMD" else both
    cases = " ".join(
        f"WHEN substr(parts.b || parts.d || parts.h, 1, 3) IN ({', '.join(map(repr, names))})"
        f" THEN {number}"
        for number, names in enumerate(MONTHS, start=1)
    )
    # juin and juillet need their fourth letter
    french = "WHEN substr(parts.b || parts.d || parts.h, 1, 4) = 'juil' THEN 7"
    named = (
        f"CASE {french} WHEN substr(parts.b || parts.d || parts.h, 1, 3) = 'jui' THEN 6 {cases} END"
    )
    return f"CASE shape WHEN 'named' THEN {named} WHEN 'numeric' THEN try_cast({numeric} AS INTEGER) END"


def find_day(order: str) -> str:
    both = f"CASE {has_day_first(order)} WHEN true THEN parts.a WHEN false THEN parts.b END"
    numeric = "parts.c" if order == "YMD" else both
    return f"""try_cast(CASE shape WHEN 'named' THEN parts.a || parts.e || parts.i
        WHEN 'numeric' THEN {numeric} END AS INTEGER)"""


def is_iso(text: str) -> str:
    """SQL: begins with a year of four digits and a sign."""
    return (
        f"(substr({text}, 5, 1) IN ('-', '/', '.') AND substr({text}, 6, 1) BETWEEN '0' AND '9'"
        f" AND try_cast(substr({text}, 1, 4) AS USMALLINT) IS NOT NULL)"
    )


EPOCH = r"\d{9,13}(\.\d+)?|\d{15,19}(\.\d+)?|-\d{1,19}(\.0*)?|\d(\.\d+)?[eE]\+?\d+|(?:2[1-9]|[013-9]\d|1[0-8])\d{12}"
PACKED_TIME = r"(19|20)\d{12}|\d{8}[ T]\d{1,2}:?\d{2}.*"
FIND_SHAPE = f"""CASE WHEN date IS NULL THEN '' WHEN {is_iso("date")} THEN 'iso'
    WHEN regexp_full_match(date, '\\d{{8}}') THEN 'packed'
    WHEN regexp_full_match(date, '{PACKED_TIME}') THEN 'packed'
    WHEN regexp_full_match(date, '{EPOCH}') THEN 'epoch'
    WHEN regexp_full_match(date, '{NUMERIC}') THEN 'numeric'
    WHEN regexp_full_match(date, '{NAMED}') THEN 'named' ELSE '' END"""
PLAIN_LETTERS = f"translate(lower(date), '{ACCENTS[0]}', '{ACCENTS[1]}')"
# a weekday's name before it, `de` between, th and st behind the day
NAMED_TEXT = (
    f"regexp_replace(regexp_replace({PLAIN_LETTERS}, '{WEEKDAY}', '\\4'),"
    " '\\bde\\b|(\\d)(st|nd|rd|th)\\b', '\\1', 'g')"
)
PART_NAMES = "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'rest']"
FIND_PARTS = f"""CASE shape
    WHEN 'named' THEN regexp_extract({NAMED_TEXT}, '{NAMED_PARTS}', {PART_NAMES})
    WHEN 'numeric' THEN regexp_extract(date, '{NUMERIC_PARTS}', {PART_NAMES}) END"""
FIND_REST = """CASE shape WHEN 'iso' THEN substr(date, 11) WHEN 'packed' THEN ltrim(substr(date, 9), ' T')
    ELSE coalesce(parts.rest, '') END"""
READ_MIDNIGHT = """CASE shape WHEN 'iso' THEN try_cast(replace(substr(date, 1, 10), '.', '-') AS TIMESTAMP)
    WHEN 'packed' THEN try_strptime(substr(date, 1, 8), '%Y%m%d')
    ELSE try_cast(printf('%04d-%02d-%02d', year, month, day) AS TIMESTAMP) END"""
AS_NUMBER = "coalesce(try_cast(date AS DECIMAL(28, 6)), try_cast(try_cast(date AS DOUBLE) AS DECIMAL(28, 6)))"
# Seconds, milli-, micro- or nanoseconds, by their size.
READ_EPOCH = f"""CASE WHEN abs({AS_NUMBER}) < 1e11::DECIMAL(28, 6)
    THEN make_timestamp(({AS_NUMBER} * 1000000)::BIGINT)
    WHEN abs({AS_NUMBER}) < 1e14::DECIMAL(28, 6) THEN make_timestamp(({AS_NUMBER} * 1000)::BIGINT)
    WHEN abs({AS_NUMBER}) < 1e17::DECIMAL(28, 6) THEN make_timestamp({AS_NUMBER}::BIGINT)
    ELSE make_timestamp(({AS_NUMBER} / 1000)::BIGINT) END"""
READ_WHOLE = f"""CASE WHEN shape = 'epoch' THEN {READ_EPOCH}
    WHEN shape = 'iso' AND length(date) > 10
    THEN try_cast(replace(substr(date, 1, 10), '.', '-') || substr(date, 11) AS TIMESTAMP) END"""
# The time of day as an INTERVAL; none is midnight, HHMMSS and 4:00 PM are read.
READ_TIME = """CASE WHEN clock.hour <> '' THEN to_seconds(
        ((try_cast(clock.hour AS INTEGER) % CASE WHEN clock.half = '' THEN 100 ELSE 12 END)
            + CASE WHEN lower(clock.half) = 'p' THEN 12 ELSE 0 END) * 3600
        + try_cast(clock.minute AS INTEGER) * 60
        + coalesce(try_cast(clock.second || clock.fraction AS DOUBLE), 0))
    WHEN regexp_full_match(rest, '\\d{4}(\\d{2})?Z?') THEN to_seconds(
        try_cast(substr(rest, 1, 2) AS INTEGER) * 3600 + try_cast(substr(rest, 3, 2) AS INTEGER) * 60
        + coalesce(try_cast(substr(rest, 5, 2) AS INTEGER), 0))
    ELSE to_seconds(0) END"""
IS_IN_UTC = f"(shape = 'epoch' OR regexp_full_match(date, '{IN_UTC}'))"


def join_time(date: str, time: Sequence[str]) -> str:
    """SQL: a day and a time of day out of two columns."""
    if not time:
        return date
    clock = f"trim({time[0]})"
    # 93000 has lost the zero before it
    short = f"'0' || {clock}"
    return f"""CASE WHEN coalesce(trim({clock}, '0:.'), '') = '' THEN {date}
        WHEN regexp_full_match({clock}, '\\d{{3}}|\\d{{5}}') THEN concat_ws(' ', {date}, {short})
        ELSE concat_ws(' ', {date}, {clock}) END"""
