"""One generation of the files, as readers see it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa

from etl.contracts.minutes import (
    BARS,
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    MinuteInstrument,
)
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles
from etl.contracts.minutes.duckdb_files.index import read_instruments
from etl.contracts.minutes.duckdb_files.layout import list_columns, month_of
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile
from etl.contracts.minutes.duckdb_files.reading import (
    VALUES,
    Values,
    ask,
    bound,
    put_in_order,
    select_values,
)
from etl.contracts.minutes.volumes import to_unit

ORDER = ("symbol", "timestamp", "known_at", "kind", "detail")
LAST = pa.schema([STORED_BARS.field("symbol"), *BARS])


class FileSnapshot:
    """What a manifest names; each question is read on a cursor of its own."""

    def __init__(self, files: AttachedFiles, manifest: Manifest) -> None:
        self.files = files
        self.manifest = manifest
        self.found = read_instruments(files, manifest)

    @property
    def generation(self) -> str:
        return self.manifest.generation

    @property
    def published_at(self) -> datetime:
        return self.manifest.published_at

    @property
    def instruments(self) -> Mapping[tuple[str, str], MinuteInstrument]:
        return self.found

    def bars(
        self,
        symbol: str,
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        instrument = self.found.get((symbol, interval))
        if instrument is None:
            return BARS.empty_table()
        decimals = instrument.volume_decimals
        where, values = bound([symbol], start, end)
        if as_of is not None:
            values["as_of"] = as_of
        months = self.list_months(
            interval, max_of(start, instrument.first), min_of(end, instrument.last)
        )
        tables = list(ask(self.files, months, select_values(where, decimals, as_of), values))
        return shape(tables, decimals) if tables else BARS.empty_table()

    def stored(
        self, symbols: Sequence[str], interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.read_rows("bars", STORED_BARS, symbols, interval, start, end)

    def last(self, symbols: Sequence[str], interval: str) -> pa.Table:
        wanted: dict[str, list[MinuteInstrument]] = {}
        for symbol in set(symbols):
            if found := self.found.get((symbol, interval)):
                wanted.setdefault(month_of(found.last), []).append(found)
        tables = [self.read_last(month, found) for month, found in wanted.items()]
        return pa.concat_tables([LAST.empty_table(), *tables]).sort_by("symbol")

    def read_last(self, month: str, found: list[MinuteInstrument]) -> pa.Table:
        values: Values = {
            "symbols": [each.symbol for each in found],
            "instants": [each.last for each in found],
            "units": [each.volume_decimals for each in found],
        }
        rows = f"""SELECT symbol, {VALUES}, volume_decimals, unit FROM {{file}}.bars
            JOIN (SELECT unnest($symbols) AS symbol, unnest($instants) AS timestamp,
                         unnest($units) AS unit) USING (symbol, timestamp)"""
        file = self.manifest.of_interval(found[0].interval)[month]
        table = pa.concat_tables(ask(self.files, [file], rows, values))
        volumes = to_unit(table["volume"], table["volume_decimals"], table["unit"].to_numpy())
        at = table.column_names.index("volume")
        return table.set_column(at, "volume", volumes).select(LAST.names).cast(LAST)

    def sessions(self, exchange: str, first: date | None, last: date | None) -> pa.Table:
        where, values = "exchange = $exchange", {"exchange": exchange, "first": first, "last": last}
        days = "session BETWEEN coalesce($first, session) AND coalesce($last, session)"
        rows = f"FROM {{file}}.sessions WHERE {where} AND {days} ORDER BY session"
        return self.read_index(rows, values, SESSIONS)

    def spans(self, symbol: str, interval: str) -> pa.Table:
        rows = f"""SELECT {list_columns(SPANS)} FROM {{file}}.spans
            WHERE symbol = $symbol AND interval = $interval ORDER BY start, "end", source"""
        return self.read_index(rows, {"symbol": symbol, "interval": interval}, SPANS)

    def read_index(self, rows: str, values: Values, schema: pa.Schema) -> pa.Table:
        index = self.manifest.index
        tables = ask(self.files, [index] if index else [], rows, values)
        return pa.concat_tables([schema.empty_table(), *(each.cast(schema) for each in tables)])

    def notes(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.read_rows("notes", NOTES, [symbol], interval, start, end)

    def revisions(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.read_rows("revisions", REVISIONS, [symbol], interval, start, end)

    def read_rows(
        self,
        table: str,
        schema: pa.Schema,
        symbols: Sequence[str],
        interval: str,
        start: datetime | None,
        end: datetime | None,
    ) -> pa.Table:
        """Rows of a table of the months, as they are stored, in ORDER."""
        where, values = bound(symbols, start, end)
        rows = f"SELECT {list_columns(schema)} FROM {{file}}.{table} WHERE {where}"
        tables = ask(self.files, self.list_months(interval, start, end), rows, values)
        whole = pa.concat_tables([schema.empty_table(), *(each.cast(schema) for each in tables)])
        return whole.sort_by([(name, "ascending") for name in ORDER if name in schema.names])

    def list_months(
        self, interval: str, start: datetime | None, end: datetime | None
    ) -> list[PublishedFile]:
        """The files that may have a bar from `start` to `end`, in time."""
        months = self.manifest.of_interval(interval)
        first, last = month_of(start) if start else "", month_of(end) if end else "~"
        return [months[month] for month in sorted(months) if first <= month <= last]

    def close(self) -> None:
        """Nothing is held: files that nobody reads are let go by those that are read."""


def shape(tables: list[pa.Table], decimals: int) -> pa.Table:
    """BARS of what several files gave of one symbol."""
    rows = put_in_order(pa.concat_tables(tables))
    if decimals:
        volumes = to_unit(rows["volume"], rows["volume_decimals"], decimals)
        at = rows.column_names.index("volume")
        rows = rows.set_column(at, "volume", volumes).select(BARS.names)
    return rows.cast(BARS)


def max_of(start: datetime | None, first: datetime) -> datetime:
    return first if start is None else max(start, first)


def min_of(end: datetime | None, last: datetime) -> datetime:
    return last if end is None else min(end, last)
