"""The cells of a table of minutes: what all of them say of how stamps and numbers are read."""

from dataclasses import dataclass

import duckdb

from etl.settings import Settings
from etl.sources.files import amounts, dates, zones
from etl.sources.files.headers import find_zoned, normalize
from etl.sources.files.reading import (
    NUMBERS,
    Reading,
    decide_date_order,
    decide_numbers,
    mark_shifted,
    name_fields,
    select_cells,
)
from etl.sources.files.tables import Table

ZONE_HEADERS = ("timezone", "tz", "zone", "utcoffset", "tzname", "offset")
MOST_MARKS = 100
# Stamps that need no looking at one by one, where all are such.
PLAIN = {
    "iso": r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?",
    "epoch": r"\d{10}(\d{3}){0,3}",
}


@dataclass(frozen=True)
class Look:
    """What all cells show. form: of all stamps, one of PLAIN; "" where they have to be looked at
    one by one. order: of day and month. marks: what stands behind times of day."""

    form: str
    order: str
    marks: list[str]

    def select(self, cells: str) -> str:
        """SQL: cells with stamp and is_utc, as dates.add_stamps has them."""
        if not self.form:
            return dates.add_stamps(cells, self.order)
        stamp = dates.READ_EPOCH if self.form == "epoch" else "try_cast(date AS TIMESTAMP)"
        is_utc = str(self.form == "epoch").lower()
        return f"SELECT *, {stamp} AS stamp, {is_utc} AS is_utc FROM ({cells})"


def look_at_cells(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: Settings,
    cells: str,
    reading: Reading,
) -> Look:
    """How stamps and numbers are to be read; of numbers it goes into the reading."""
    forms = ", ".join(f"bool_and(regexp_full_match(date, '{form}'))" for form in PLAIN.values())
    odd = ", ".join(amounts.count_odd(NUMBERS))
    found, *row = connection.execute(
        f"SELECT list(DISTINCT mark) FILTER (mark <> ''), {forms}, {odd} FROM ({cells})"
    ).fetchall()[0]
    form = next((name for name, is_all in zip(PLAIN, row, strict=False) if is_all), "")
    decide_numbers(
        connection, cells, table, reading, dict(zip(NUMBERS, row[len(PLAIN) :], strict=True))
    )
    if not form:
        shapes = ", ".join(dates.count_shapes("date"))
        counted = connection.execute(f"SELECT {shapes} FROM ({cells})").fetchall()[0]
        decide_date_order(table, settings, reading, dates.Order(*counted))
    marks = sorted(found or [])[:MOST_MARKS]
    warn_of_marks(marks, reading)
    return Look(form, reading.order, marks)


def open_cells(
    connection: duckdb.DuckDBPyConnection, table: Table, override: str | None, reading: Reading
) -> str:
    """SQL of the cells, with what stands behind their times of day taken off."""
    fields = name_fields(connection, table, override, reading)
    add_clock(table, fields)
    if marked := mark_shifted(table):
        fields["open"] = marked
    return zones.part_marks(select_cells(table, fields))


def add_clock(table: Table, fields: dict[str, str]) -> None:
    """Join a time of day, also one under a header like Time (UTC), and a column of zones, to the
    day; 931 and 093100 are times of day here."""
    heads, names = table.heads, table.heads.names
    day = heads.columns["timestamp"]
    place = heads.columns.get("time", find_zoned(names, "time"))
    if place is not None and place != day:
        clock = zones.part_digits(f"c{place}")
        fields["date"] = dates.join_time(dates.as_text(f"c{day}"), [clock])
    words = [normalize(name) for name in names]
    if place := next((words.index(word) for word in ZONE_HEADERS if word in words), None):
        fields["date"] = f"concat_ws(' ', {fields['date']}, nullif(trim(c{place}), ''))"


def warn_of_marks(marks: list[str], reading: Reading) -> None:
    if unknown := [mark for mark in marks if not zones.read_zone(mark)]:
        reading.warnings.append(
            f"clock {', '.join(unknown[:3])} is not known: its rows are refused; write the offset"
            " (-06:00) or a name like America/Chicago"
        )
