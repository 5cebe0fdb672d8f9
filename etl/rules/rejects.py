"""The rules by which a raw row becomes a bar, or is rejected with a reason.

Everything here is SQL text over one file: TYPED says how each text is read, RULES which readings
are refused. The first rule that holds names the reason. transform rejects such rows of a raw file,
load refuses a clean file that holds any (REREAD). Suspicious but possible rows (a price spike, an
open outside low to high) are no reason to reject and stay as they are.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from etl.base.parquet_sql import quote
from etl.contracts.files import PRICES
from etl.contracts.tables import MOST_DECIMALS, MOST_VOLUME, raise_ten
from etl.market.exchanges import SIGNED_FORMS
from etl.settings import Settings

# What vendors and spreadsheets write where there is no value.
NO_VALUE = "('', 'null', 'none', 'nan', 'na', 'n/a', '-')"
UNREADABLE_SYMBOL = r"[\s/\\?#%[:cntrl:]]"
DAY_OR_MONTH_FIRST = r"\d{1,2}[/.\-]\d{1,2}[/.\-](\d{2}|\d{4})\b.*"


@dataclass(frozen=True)
class Rule:
    """A row is rejected for `reason` where `condition` (SQL over the typed row) holds."""

    reason: str
    condition: str


def read_date(text: str) -> str:
    """SQL: the TIMESTAMP in `text`, NULL if it cannot be read.

    ISO (an offset is dropped: wall clock counts), YYYYMMDD, a month by its name, and epochs:
    9 or 10 digits are seconds, 11 to 13 milliseconds. 3/4/2012 has two readings, so it has none.
    A month by its name wants a year behind it: try_strptime takes 'infinity' for 1900-01-01.
    """
    t = f"trim({text})"
    digits = f"try_cast(regexp_extract({t}, '^(-?\\d+)(\\.0*)?$', 1) AS BIGINT)"
    return f"""CASE
        WHEN substr({t}, 5, 1) IN ('-', '/') AND {t} >= '0' AND {t} < ':'
            THEN try_cast({t} AS TIMESTAMP)
        WHEN regexp_full_match({t}, '\\d{{8}}') THEN try_strptime({t}, '%Y%m%d')
        WHEN regexp_full_match({t}, '(\\d{{9,10}}|-\\d{{1,10}})(\\.0*)?')
            THEN make_timestamp({digits} * 1000000)
        WHEN regexp_full_match({t}, '-?\\d{{11,13}}(\\.0*)?')
            THEN make_timestamp({digits} * 1000)
        WHEN regexp_full_match({t}, '\\d{{8}}T\\d{{6}}') THEN try_strptime({t}, '%Y%m%dT%H%M%S')
        WHEN regexp_full_match({t}, '.*[A-Za-z]{{3}}.*\\d{{4}}')
            THEN try_strptime({t}, ['%d-%b-%Y', '%d %b %Y', '%b %d, %Y', '%d-%B-%Y', '%d %B %Y',
                '%B %d, %Y'])
        END"""


def read_number(text: str) -> str:
    return f"try_cast({text} AS DOUBLE)"


def is_absent(text: str) -> str:
    return f"({text} IS NULL OR lower(trim({text})) IN {NO_VALUE})"


def first_if(condition: str, other: str) -> str:
    """SQL: `other` where the condition holds, else NULL; AND could look at it first."""
    return f"CASE WHEN {condition} THEN {other} END"


# A text of up to 15 characters is a whole number where the DOUBLE nearest to it is one.
IS_PLAIN = (
    f"(volume_number >= 0 AND volume_number < {2**32} AND volume_number = trunc(volume_number)"
    " AND length(raw_volume) <= 15)"
)
# Decimals that a text has beyond those that are kept: those after the point less the exponent.
HAS_MORE_DECIMALS = (
    "length(regexp_extract(raw_volume, '\\.([0-9]*[1-9])', 1))"
    " - coalesce(try_cast(regexp_extract(raw_volume, '[eE]([+-]?[0-9]+)', 1) AS INTEGER), 0)"
    f" > {MOST_DECIMALS}"
)
# Column of the typed row → SQL over the raw row, whose text is raw_<column> and stays beside it.
TYPED = {
    "symbol": "upper(trim(raw_symbol))",
    "timestamp": read_date("raw_timestamp"),
    **{name: read_number(f"raw_{name}") for name in PRICES},
    "volume_number": read_number("raw_volume"),
    # DECIMAL keeps every digit of a volume, which DOUBLE does not, but it is slow: NULL where
    # DOUBLE says all
    "exact_volume": f"CASE WHEN {IS_PLAIN} THEN NULL"
    f" ELSE try_cast(raw_volume AS DECIMAL(38, {MOST_DECIMALS})) END",
}
IS_EXACT = "exact_volume IS NOT NULL"
# The same over the typed row: the volume as a whole number of units of 10^-volume_decimals.
VOLUMES = {
    "volume_units": f"CASE WHEN exact_volume BETWEEN 0 AND {MOST_VOLUME}"
    " THEN replace(exact_volume::VARCHAR, '.', '')::HUGEINT END",
    "decimals_given": first_if(
        IS_EXACT, "length(rtrim(split_part(exact_volume::VARCHAR, '.', 2), '0'))"
    ),
    # digits that have to go: so many are over 19, and one more where 19 still are too many
    "digits_over": first_if(IS_EXACT, "greatest(length(volume_units::VARCHAR) - 19, 0)"),
    "volume_decimals": f"""CASE WHEN volume_units IS NULL THEN 0
        ELSE least(decimals_given, {MOST_DECIMALS} - digits_over - CASE WHEN volume_units
            > {MOST_VOLUME}::HUGEINT * {raise_ten("digits_over")} THEN 1 ELSE 0 END) END""",
    "volume_unit": first_if(IS_EXACT, raise_ten(f"{MOST_DECIMALS} - volume_decimals")),
    "volume": f"CASE WHEN {IS_PLAIN} THEN volume_number::BIGINT WHEN {IS_EXACT}"
    " THEN ((volume_units + volume_unit // 2) // volume_unit)::BIGINT END",
    # as it came, where it is rounded
    "volume_given": f"""CASE WHEN volume_decimals < decimals_given OR {IS_EXACT}
        AND {HAS_MORE_DECIMALS} THEN trim(raw_volume) END""",
}


def bind(condition: str, settings: Settings) -> str:
    """The SQL of rules, with today's date and the symbols whose prices may be zero or below."""
    patterns = "|".join((SIGNED_FORMS, *map(translate_pattern, settings.signed_symbols or ())))
    return condition.replace("$today", f"DATE '{datetime.now(UTC):%Y-%m-%d}'").replace(
        "$signed", f"regexp_full_match(symbol, {quote(patterns)})"
    )


def translate_pattern(pattern: str) -> str:
    """The regular expression of a symbol in which * stands for anything."""
    return ".*".join(re.escape(part) for part in pattern.split("*"))


def over_prices(condition: str) -> str:
    return " OR ".join(f"({condition.format(p=name)})" for name in PRICES)


RULES = (
    Rule(
        "unreadable symbol",
        "coalesce(symbol, '') = '' OR length(symbol) > 32"
        f" OR regexp_matches(symbol, '{UNREADABLE_SYMBOL}')",
    ),
    Rule(
        "ambiguous date",
        f"timestamp IS NULL AND regexp_full_match(trim(raw_timestamp), '{DAY_OR_MONTH_FIRST}')",
    ),
    Rule(
        "unreadable date",  # before the first exchange: '(BC)', or a year of two digits
        "timestamp IS NULL OR NOT isfinite(timestamp) OR timestamp < TIMESTAMP '1600-01-01'",
    ),
    Rule("time of day", "timestamp <> date_trunc('day', timestamp)"),
    # a day ahead: it is tomorrow already in the east
    Rule("future date", "timestamp > $today + 1"),
    Rule("missing price", over_prices(first_if("{p} IS NULL", is_absent("raw_{p}")))),
    Rule("unreadable number", over_prices("{p} IS NULL")),
    Rule("not finite", over_prices("NOT isfinite({p})")),
    Rule("not positive", first_if(over_prices("{p} <= 0"), "NOT $signed")),
    Rule("high below low", "high < low"),
    Rule(
        "unreadable number",
        first_if(
            "volume_number IS NULL OR NOT isfinite(volume_number)",
            "NOT " + is_absent("raw_volume"),
        ),
    ),
    Rule("negative volume", "volume_number < 0"),
    # NaN stands for a missing volume; to DuckDB it is above every number
    Rule(
        "volume over 64 bits",
        f"isfinite(volume_number) AND volume_number > 1e19 OR exact_volume > {MOST_VOLUME}",
    ),
)
DUPLICATE = "duplicate"
TWO_BARS = "two different bars of one day"

# Column of the typed row → SQL over a clean row, which has no text: absent where a value is NULL.
REREAD = {
    "volume_number": "volume::DOUBLE",
    "exact_volume": f"NULL::DECIMAL(38, {MOST_DECIMALS})",
    **{f"raw_{name}": "NULL::VARCHAR" for name in ("symbol", "timestamp", *PRICES, "volume")},
}

REASON = "CASE " + " ".join(f"WHEN {r.condition} THEN '{r.reason}'" for r in RULES) + " END"
IS_UNREADABLE_SYMBOL = RULES[0].condition
IS_REJECTED = " OR ".join(f"({rule.condition})" for rule in RULES[1:])
