"""Numbers as people write them: 1,234.5 and 1.234,5, $104.93, 69.17M, (37.63), 12,34,567.

The whole column decides what a comma and a point mean, then each cell is read. A cell that still
has two readings is marked, so that transform refuses it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNDECIDED = " (two readings)"
SIGNS = r"[$€£₹¥₽₩]|\b(?i:USD|EUR|GBP|INR|CHF|PLN)\b|\b(?i:Rs)\b\.?"
BLANKS = r"[\s\x{00a0}\x{202f}\x{2009}\x{0027}\x{2019}]"  # and apostrophes
# Groups parted by blanks or apostrophes have three digits; 12 5 is no number.
GROUPED = rf"[-+(]?\d{{1,3}}({BLANKS}\d{{3}})+([.,]\d+)?\D*"
MULTIPLES = {
    "k": 10**3,
    "tsd": 10**3,
    "m": 10**6,
    "mio": 10**6,
    "mln": 10**6,
    "b": 10**9,
    "bn": 10**9,
    "mrd": 10**9,
    "mld": 10**9,
    "t": 10**12,
    "lakh": 10**5,
    "cr": 10**7,
}
SUFFIX = r"\s*(?i:(" + "|".join(sorted(MULTIPLES, key=len, reverse=True)) + r")\.?)$"
# What only one reading explains.
IS_POINT = r"\d{1,3}(,\d{2,3})*,\d{3}\.\d*|\d{1,3}(,\d{2,3})+,\d{3}|\d+\.(\d{1,2}|\d{4,})|0\.\d{3}"
IS_COMMA = r"\d{1,3}(\.\d{3})+,\d*|\d{1,3}(\.\d{3}){2,}|\d+,(\d{1,2}|\d{4,})|0,\d{3}|\d{4,},\d{3}"
IN_POINT = r"[-+]?(\d{1,3}(,\d{3})+|\d{1,2}(,\d{2})*,\d{3}|\d*)(\.\d*)?([eE][-+]?\d+)?"
IN_COMMA = r"[-+]?(\d{1,3}(\.\d{3})+|\d*)(,\d*)?([eE][-+]?\d+)?"
ONE_GROUP = r"[-+]?[1-9]\d{0,2}\.\d{3}"


@dataclass(frozen=True)
class Signs:
    """What a column's cells show: how many need reading, and what they prove."""

    odd: int = 0
    points: int = 0
    commas: int = 0


def is_plain(column: str) -> str:
    """SQL: needs no reading. Blank cells and dashes are for transform to know as missing."""
    return f"(try_cast({column} AS DOUBLE) IS NOT NULL OR coalesce(length(trim({column})), 0) < 2)"


def count_odd(columns: Sequence[str]) -> list[str]:
    """SQL: for each column, how many cells DuckDB does not read as numbers by itself."""
    return [f"count(*) FILTER (NOT {is_plain(column)})" for column in columns]


def add_bodies(source: str, columns: Sequence[str]) -> str:
    """SQL: `source` with <column>_body and <column>_unit: the bare number, and its K, M or B.

    Without signs of money, quotes, blanks between groups and brackets around a loss. Each step is
    a select of its own: written into each other, they would take seconds to parse.
    """

    def each(form: str) -> str:
        return ", ".join(form.replace("$x", name) for name in columns)

    money = f"""regexp_replace(regexp_replace(replace(trim($x), '−', '-'), '^="?|"$', '', 'g'),
        '{SIGNS}', '', 'g')"""
    bare = f"CASE WHEN {is_plain('$x')} THEN $x ELSE trim({money}) END AS $x_bare"
    folded = f"""CASE WHEN {is_plain("$x")} THEN $x
        WHEN regexp_full_match($x_bare, '{GROUPED}')
            OR NOT regexp_matches($x_bare, '\\d{BLANKS}+[\\d.,]')
        THEN regexp_replace(regexp_replace($x_bare, '{BLANKS}', '', 'g'), '^\\((.*)\\)$', '-\\1')
        ELSE $x_bare END AS $x_folded"""
    body = f"""CASE WHEN {is_plain("$x")} THEN $x
        ELSE regexp_replace($x_folded, '{SUFFIX}', '') END AS $x_body"""
    unit = f"""CASE WHEN {is_plain("$x")} THEN ''
        ELSE lower(regexp_extract($x_folded, '{SUFFIX}', 1)) END AS $x_unit"""
    left_out = each("$x_bare, $x_folded")
    return (
        f"SELECT * EXCLUDE ({left_out}), {each(body)}, {each(unit)} FROM ("
        f"SELECT *, {each(folded)} FROM (SELECT *, {each(bare)} FROM ({source})))"
    )


def count_signs(columns: Sequence[str]) -> list[str]:
    """SQL over add_bodies: for each column the cells that prove a decimal point, and a comma."""
    return [
        f"count(*) FILTER (regexp_full_match(ltrim({column}_body, '+-'), '{form}'))"
        for column in columns
        for form in (IS_POINT, IS_COMMA)
    ]


def decide_commas(signs: Mapping[str, Signs], delimiter: str) -> dict[str, str]:
    """Column → 'plain', 'point', 'comma' or 'mixed'; what a column does not prove, the file does."""
    if not any(s.odd for s in signs.values()):
        return dict.fromkeys(signs, "plain")
    points = any(s.points for s in signs.values())
    commas = any(s.commas for s in signs.values())
    of_file = "comma" if commas and not points else "point" if points and not commas else ""
    of_file = of_file or ("comma" if delimiter == ";" else "point")
    return {name: decide_one(s, of_file) for name, s in signs.items()}


def decide_one(signs: Signs, of_file: str) -> str:
    if signs.points and signs.commas:
        return "mixed"
    if signs.points or signs.commas:
        return "point" if signs.points else "comma"
    if not signs.odd and of_file == "point":
        return "plain"
    return of_file


def read_number(column: str, manner: str) -> str:
    """SQL over add_bodies: the cell as a number's text; as it came where it cannot be read."""
    if manner == "plain":
        return column
    body = f"{column}_body"
    point = f"replace({body}, ',', '')"
    comma = f"replace(replace({body}, '.', ''), ',', '.')"
    readings = {
        "point": f"WHEN regexp_full_match({body}, '{IN_POINT}') THEN {multiply(point, column)}",
        "comma": f"WHEN regexp_full_match({body}, '{IN_COMMA}') THEN {multiply(comma, column)}",
        "mixed": f"""WHEN regexp_full_match({body}, '[-+]?({IS_POINT}|\\d+)')
            THEN {multiply(point, column)}
            WHEN regexp_full_match({body}, '[-+]?({IS_COMMA})') THEN {multiply(comma, column)}""",
    }
    undecided = f"{column} || '{UNDECIDED}'"
    is_group = f"regexp_full_match(trim({column}), '{ONE_GROUP}')"
    # 12.345 beside decimal commas: thousands of shares, but of a price nobody can say
    thousands = f"replace(trim({column}), '.', '')"
    is_count = column == "volume" and manner == "comma"
    groups = f"WHEN {is_group} THEN {thousands if is_count else undecided}"
    return f"""CASE {groups if manner != "point" else ""}
        WHEN {is_plain(column)} THEN {column} {readings[manner]}
        ELSE {undecided if manner == "mixed" else column} END"""


def multiply(number: str, column: str) -> str:
    """SQL: the number times its K, M or B, exactly and without zeros at the end."""
    cases = " ".join(f"WHEN '{name}' THEN {value}" for name, value in MULTIPLES.items())
    times = (
        f"CAST(try_cast({number} AS DECIMAL(24, 8)) * CASE {column}_unit {cases} END AS VARCHAR)"
    )
    short = f"coalesce(regexp_replace({times}, '\\.?0+$', ''), {column})"
    return f"CASE WHEN {column}_unit = '' THEN coalesce(nullif({number}, ''), {column}) ELSE {short} END"
