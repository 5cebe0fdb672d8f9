"""By which clock a stamp is written: Z, +05:30 or a zone's name behind it, or in its header.

Offsets say the instant exactly; names of zones say whose wall clock is meant; an abbreviation is
taken where it means one thing alone (EST is five hours behind all year; CST is Chicago or Shanghai,
and is not guessed).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?|^\d{8}[ T]?\d{4}(?:\d{2})?"
HALF = r"(?:\s*[AaPp]\.?[Mm](?:\.|\b))?"
# A time of day, then the mark, perhaps with its name in brackets: +01:00[Europe/London].
MARKED = rf"^(.*?(?:{CLOCK}){HALF})\s*[\[(]?([A-Za-z][A-Za-z0-9_+:\-/]*|[+\-−]\d[\d:]*)[\])]?\s*(?:[\[(].*)?$"
HALVES = ("AM", "PM", "A.M.", "P.M.")
OFFSET = re.compile(r"(?:UTC|GMT)?([+\-−])(\d{1,2}):?(\d{2})?(?::?00)?")
FIXED = {
    **dict.fromkeys(("Z", "UTC", "GMT", "UT", "ZULU", "ETC/UTC", "ETC/GMT"), "Z"),
    **{"EST": "-05:00", "EDT": "-04:00", "PST": "-08:00", "PDT": "-07:00", "CDT": "-05:00"},
    **{"CET": "+01:00", "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00", "JST": "+09:00"},
    **{"HKT": "+08:00", "SGT": "+08:00", "MSK": "+03:00", "AEST": "+10:00", "AEDT": "+11:00"},
}
NAMED = {
    "ET": "America/New_York",
    "EASTERN": "America/New_York",
    "CT": "America/Chicago",
    "CENTRAL": "America/Chicago",
    "PT": "America/Los_Angeles",
    "PACIFIC": "America/Los_Angeles",
    "NY": "America/New_York",
    "NEWYORK": "America/New_York",
    "LONDON": "Europe/London",
    "TOKYO": "Asia/Tokyo",
}
IN_HEADER = re.compile(r"[A-Za-z]+/[A-Za-z_]+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
HISTDATA = re.compile(r"^DAT_[A-Z]+_[A-Z0-9]+_[MT]", re.IGNORECASE)


class Zone(NamedTuple):
    """offset: as in ISO 8601 ("Z", "-05:00"), or else name: of the tz database."""

    offset: str = ""
    name: str = ""


def read_zone(mark: str) -> Zone | None:
    """What a mark means; None: nothing that is known."""
    word = mark.strip().upper()
    if word in FIXED:
        return Zone(offset=FIXED[word])
    if word in NAMED:
        return Zone(name=NAMED[word])
    if found := OFFSET.fullmatch(word):
        sign = "-" if found[1] in "-−" else "+"
        return read_offset(sign, int(found[2]), int(found[3] or 0))
    try:
        return Zone(name=ZoneInfo(mark.strip()).key) if "/" in word or word[-1:].isdigit() else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def read_offset(sign: str, hours: int, minutes: int) -> Zone | None:
    return Zone(offset=f"{sign}{hours:02d}:{minutes:02d}") if hours < 15 and minutes < 60 else None


def find_header_zone(headers: Iterable[str]) -> Zone | None:
    """The zone that the header of a stamp names: Gmt time, datetime_utc, Time (America/New_York)."""
    for header in headers:
        for word in IN_HEADER.findall(header.replace("New York", "NewYork")):
            # `Date et heure` is French
            is_meant = len(word) > 2 or (
                len(word) == 2 and (word.isupper() or f"_{word}" in header)
            )
            is_short = word.upper() in FIXED or word.upper() in NAMED
            if is_meant and (is_short or "/" in word) and (zone := read_zone(word)):
                return zone
    return None


def strip_zone(header: str) -> str:
    """The header without the zone that it names; the same where it names none."""
    if not find_header_zone([header]):
        return header
    words = IN_HEADER.findall(header)
    return " ".join(w for w in words if w.upper() not in (*FIXED, *NAMED) and not is_of_region(w))


def is_of_region(word: str) -> bool:
    return "/" in word and read_zone(word) is not None


def find_file_zone(name: str) -> Zone | None:
    """The clock of files whose maker is known by their name: HistData writes EST all year."""
    return Zone(offset=FIXED["EST"]) if HISTDATA.match(name) else None


def part_marks(source: str) -> str:
    """SQL: `source`, which has `date`, with `mark` taken off it, and `written` as it was."""
    halves = ", ".join(f"'{half}'" for half in HALVES)
    return (
        "SELECT * EXCLUDE (date, parts), date AS written,"
        f" CASE WHEN parts.mark IS NULL OR upper(parts.mark) IN ({halves}, '') THEN ''"
        " ELSE parts.mark END AS mark,"
        " CASE WHEN mark = '' THEN date ELSE parts.bare END AS date"
        f" FROM (SELECT *, CASE WHEN regexp_matches(date, '[A-Za-z\\]\\)]$|[+\\-−]\\d[\\d:]*$')"
        f" THEN regexp_extract(date, '{MARKED}', ['bare', 'mark']) END AS parts FROM ({source}))"
    )


def part_digits(time: str) -> str:
    """SQL: 931, 0931, 93100 and 093100 as 09:31 and 09:31:00; all else as it is."""
    text = f"trim({time})"
    padded = f"lpad({text}, CASE WHEN length({text}) < 5 THEN 4 ELSE 6 END, '0')"
    parted = f"rtrim(regexp_replace({padded}, '^(\\d\\d)(\\d\\d)(\\d\\d)?$', '\\1:\\2:\\3'), ':')"
    return f"CASE WHEN regexp_full_match({text}, '\\d{{3,6}}') THEN {parted} ELSE {text} END"


def add_offsets(source: str, marks: Iterable[str], usual: Zone) -> str:
    """SQL: `source` with `offset` ('' = by a wall clock; NULL = nobody knows) and `zone` (NULL =
    the exchange's). usual: the zone of stamps without a mark."""
    read = {mark: read_zone(mark) for mark in marks if mark}

    def choose(part: str) -> str:
        cases = " ".join(
            f"WHEN {quote_text(mark)} THEN {quote_text(getattr(zone, part)) if zone else 'NULL'}"
            for mark, zone in read.items()
        )
        otherwise = quote_text(getattr(usual, part))
        return f"CASE mark {cases} ELSE {otherwise} END" if cases else otherwise

    return (
        f"SELECT *, {choose('offset')} AS \"offset\", nullif({choose('name')}, '') AS zone"
        f" FROM ({source})"
    )


def quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
