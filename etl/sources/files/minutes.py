"""Bars of a minute, or of a second, out of the files that people already have.

Read as daily ones are, but for their stamps: the smallest step between them tells the interval; an
offset, Z or an epoch is an instant, any other stamp what the clock of a zone showed, which transform
looks up. Files of days are passed over with a line.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from etl.base.errors import Malformed
from etl.base.parquet_sql import quote
from etl.contracts.deliveries import Delivery
from etl.contracts.minute_files import RAW_MINUTES
from etl.settings import Settings
from etl.sources.files import BATCH_ROWS, Files, amounts, open_found, zones
from etl.sources.files.headers import find_zoned, normalize
from etl.sources.files.intervals import DAILY, GRIDS, Interval, find_interval, find_said
from etl.sources.files.minute_cells import look_at_cells, open_cells
from etl.sources.files.reading import (
    NUMBERS,
    Reading,
    find_known,
    open_reading,
    pick_symbols,
    read_symbol,
)
from etl.sources.files.summary import FULL_LINES
from etl.sources.files.tables import Table

log = logging.getLogger("etl")

ENDS = ("closetime", "timeclose", "endtime", "windowend", "candleendtime", "barend")
ADJUSTED = re.compile(r"(?<!un)adj(usted|split|$|[-_. ])", re.IGNORECASE)
MIXED = "{}: bars of {} in one file: save each interval as a file of its own"
DAYS = "{} passed over: `make etl` loads them"


class MinuteFiles(Files):
    """The Source of files with minutes."""

    days: list[str]

    def fetch(self) -> Iterator[Delivery]:
        self.days, has_minutes = [], False
        for delivery in super().fetch():
            has_minutes = has_minutes or delivery.bars is not None
            yield delivery
        self.tell_read()
        for told in () if has_minutes else self.days:
            yield Delivery(told.partition(":")[0], error=Malformed(told))

    def tell_read(self) -> None:
        """One line a file, of the first ones; what was refused is told at the end."""
        read = [entry for entry in self.summary.entries if not entry.refused]
        for entry in read[:FULL_LINES]:
            log.info("read %s", entry.describe())
        if len(read) > FULL_LINES:
            log.info("read %s files in all", len(read))

    def read(
        self, connection: duckdb.DuckDBPyConnection, table: Table, path: Path
    ) -> Iterator[Delivery]:
        override = self.symbol or self.names.get(path)
        reading = read_minutes(connection, table, self.settings, path, override)
        if not reading.rows:
            told = DAYS.format("daily bars," if reading.has_bars else "no bars,")
            self.days.append(f"{reading.label}: {told}")
            log.info("%s", self.days[-1])
            return
        entry = self.summary.add(reading)
        for batch in connection.sql(reading.rows).to_arrow_reader(BATCH_ROWS):
            rows = pa.Table.from_batches([batch])
            entry.count(rows)
            self.symbols.update(entry.symbols)
            yield Delivery(reading.label, rows.select(RAW_MINUTES.names).cast(RAW_MINUTES))


def open_minutes(settings: Settings, symbol: str | None = None) -> MinuteFiles:
    return MinuteFiles(settings, open_found(settings), symbol)


def read_minutes(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: Settings,
    path: Path,
    override: str | None,
) -> Reading:
    """How a table of minutes is read; one of days, or of actions, has no rows."""
    reading = open_reading(table)
    if not reading.has_bars:
        return reading
    table = replace(table, scan=table.exact or table.scan)
    cells = open_cells(connection, table, override, reading)
    look = look_at_cells(connection, table, settings, cells, reading)
    interval = decide_interval(connection, table, look.select(cells), reading)
    if interval.name == DAILY:
        return reading
    usual = find_usual(table, settings)
    stamp_is = find_stamp(table, settings, interval)
    tell_stamps(table, reading, interval, stamp_is, usual, look.marks)
    numbered = number_cells(cells, reading)
    stamped = zones.add_offsets(look.select(numbered), look.marks, usual)
    reading.rows = select_minutes(stamped, settings, path, reading, interval, stamp_is)
    return reading


def decide_interval(
    connection: duckdb.DuckDBPyConnection, table: Table, stamped: str, reading: Reading
) -> Interval:
    """Malformed where it is none that is stored, or there are two."""
    if len(said := find_said(connection, table)) > 1:
        raise Malformed(MIXED.format(reading.label, " and ".join(said[:3])))
    interval = find_interval(connection, stamped)
    if interval.name != DAILY:
        check_interval(reading, interval)
    return interval


def find_usual(table: Table, settings: Settings) -> zones.Zone:
    """The clock of stamps that name none; an empty one: that of the symbol's exchange."""
    heads = table.heads
    places = [heads.columns[name] for name in ("timestamp", "time") if name in heads.columns]
    places += [place] if (place := find_zoned(heads.names, "time")) is not None else []
    named = zones.find_header_zone(heads.names[p] for p in places if p < len(heads.names))
    said = zones.read_zone(table.zone) if table.zone else None
    of_file = zones.find_file_zone(Path(table.label).name)
    of_setting = zones.Zone(name=settings.minutes_zone.key) if settings.minutes_zone else None
    return said or named or of_setting or of_file or zones.Zone()


def find_stamp(table: Table, settings: Settings, interval: Interval) -> str:
    """Whether stamps are starts or ends; the last second of a bar is cut down to its start."""
    places, names = table.heads.columns, table.heads.names
    place = places["timestamp"]
    is_end = place < len(names) and normalize(zones.strip_zone(names[place])) in ENDS
    if interval.ends_late:
        return "start"
    return table.stamp_is or ("end" if is_end else settings.minutes_stamp)


def check_interval(reading: Reading, interval: Interval) -> None:
    label = reading.label
    if not interval.name:
        why = "; ".join(reading.warnings) or "write times as 2012-01-31 09:30, or as an epoch"
        raise Malformed(f"{label}: no date with a time of day can be read in it: {why}")
    if interval.mixed:
        raise Malformed(MIXED.format(label, f"{interval.name} and {interval.mixed}"))
    if not interval.is_base:
        base = "1m" if interval.is_longer_than_a_minute else "1s"
        made = interval.name if interval.name in GRIDS else " ".join(GRIDS)
        raise Malformed(
            f"{label}: {interval.name} bars cannot be stored as {base}: export bars of 1m or 1s,"
            f" of which {made} are made when they are asked for"
        )


def tell_stamps(
    table: Table,
    reading: Reading,
    interval: Interval,
    stamp_is: str,
    usual: zones.Zone,
    marks: list[str],
) -> None:
    clock = usual.name or usual.offset.replace("Z", "UTC") or "its exchange"
    by = "with their zone" if marks or interval.is_exact else f"by the clock of {clock}"
    late = " (their last second)" if interval.ends_late else ""
    reading.told.append(f"bars of {interval.name} by their {stamp_is}{late}, {by}")
    if ADJUSTED.search(Path(table.label).stem):
        reading.warnings.append(
            "its name says that prices are adjusted: minutes are kept as traded, load the others"
        )


def number_cells(cells: str, reading: Reading) -> str:
    odd = [name for name in NUMBERS if reading.manners[name] != "plain"]
    return amounts.add_bodies(cells, odd) if odd else cells


def select_minutes(
    stamped: str,
    settings: Settings,
    path: Path,
    reading: Reading,
    interval: Interval,
    stamp_is: str,
) -> str:
    """SQL: rows of RAW_MINUTES; a stamp that cannot be read stays as it is written."""
    names = [name for name in NUMBERS if name in RAW_MINUTES.names]
    picked = ", ".join(f"{amounts.read_number(n, reading.manners[n])} AS {n}" for n in names)
    unit = "minute" if interval.name == "1m" else "second"
    stamp = f"date_trunc('{unit}', stamp)" if interval.ends_late else "stamp"
    symbol = "symbol" if reading.symbol else read_symbol("symbol")
    offset = "CASE WHEN is_utc THEN 'Z' ELSE \"offset\" END"
    rows = (
        f"SELECT {symbol} AS symbol,"
        f" coalesce(replace(CAST({stamp} AS VARCHAR), ' ', 'T') || {offset}, written) AS timestamp,"
        f" {picked}, CASE WHEN {offset} = '' THEN zone END AS zone, {quote(stamp_is)} AS stamp_is,"
        f" {quote(settings.source_adjustment)} AS basis, 'files' AS source,"
        f" NULL::VARCHAR AS run_id, TIMESTAMP {quote(str(find_known(path, reading)))} AS fetched_at,"
        f" {quote(reading.label)} AS file, line, {quote(interval.name)} AS interval FROM ({stamped})"
    )
    return pick_symbols(rows, settings)
