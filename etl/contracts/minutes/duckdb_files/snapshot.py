"""One generation of the files, as readers see it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes import (
    BARS,
    CHANGES,
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    MinuteInstrument,
)
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles
from etl.contracts.minutes.duckdb_files.index import Instruments
from etl.contracts.minutes.duckdb_files.layout import list_columns, month_of
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile
from etl.contracts.minutes.duckdb_files.reading import (
    NOT_TAKEN,
    OF_INTERVAL,
    Values,
    ask,
    bound,
    put_in_order,
    select_values,
)
from etl.contracts.minutes.volumes import shape_bars

ORDER = ("symbol", "timestamp", "known_at", "kind", "detail")
OF_BARS = ", ".join(f"t.{name}" for name in BARS.names)
CHANGES_AFTER = f"""
SELECT {list_columns(CHANGES)} FROM {{file}}.changes
WHERE (counter, number) > ($counter, $number) ORDER BY counter, number LIMIT $most"""
Key = tuple[str, str]
LAST = pa.schema([STORED_BARS.field("symbol"), *BARS])


class FileSnapshot:
    """What a manifest names; each question is read on a cursor of its own."""

    def __init__(self, files: AttachedFiles, manifest: Manifest, instruments: Instruments) -> None:
        self.files = files
        self.manifest = manifest
        self.found = instruments
        # of what live batches brought: symbol and interval → first and last bar
        self.live: dict[Key, tuple[datetime, datetime]] = read_live(files, manifest)

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
        where, values = bound([symbol], start, end)
        if as_of is not None:
            values["as_of"] = as_of
        within = max_of(start, instrument.first), min_of(end, instrument.last)
        tables = self.ask(
            lambda more: select_values(where + more, as_of),
            values,
            *([symbol], interval, *within),
        )
        if not tables:
            return BARS.empty_table()
        return shape_bars(put_in_order(pa.concat_tables(tables)), instrument.volume_decimals)

    def ask(
        self,
        select: Callable[[str], str],
        values: Values,
        symbols: Sequence[str],
        interval: str,
        start: datetime | None,
        end: datetime | None,
    ) -> list[pa.Table]:
        """The rows of these symbols in the months, and in the file of live batches where it has
        some of them. select: SQL, of what further has to be true of the rows."""
        months = self.list_months(interval, start, end)
        taken = self.find_live(symbols, interval, start, end)
        if taken is None:
            return list(ask(self.files, months, select(""), values))
        live = self.manifest.live
        assert live
        told = {**values, "interval": interval}
        beside = self.list_months(interval, *taken)
        plain = [file for file in months if file not in beside]
        both = [file for file in months if file in beside]
        return [
            *ask(self.files, plain, select(""), values),
            *ask(self.files, both, select(NOT_TAKEN), told, live),
            *ask(self.files, [live], select(OF_INTERVAL), told),
        ]

    def find_live(
        self,
        symbols: Sequence[str],
        interval: str,
        start: datetime | None,
        end: datetime | None,
    ) -> tuple[datetime, datetime] | None:
        """From when to when live batches brought bars of these symbols, if between these two."""
        spans = [self.live[key] for s in symbols if (key := (s, interval)) in self.live]
        if not spans:
            return None
        first, last = min(each[0] for each in spans), max(each[1] for each in spans)
        if (start is not None and last < start) or (end is not None and first > end):
            return None
        return first, last

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
        wanted = """(SELECT unnest($symbols) AS symbol, unnest($instants) AS timestamp,
                            unnest($units) AS unit) w"""
        tables = self.ask(
            lambda more: (
                f"""SELECT t.symbol, {OF_BARS}, volume_decimals, unit
            FROM {{file}}.bars t JOIN {wanted} ON w.symbol = t.symbol
            AND w.timestamp = t.timestamp WHERE true{more}"""
            ),
            values,
            values["symbols"],
            found[0].interval,
            min(values["instants"]),
            max(values["instants"]),
        )
        table = pa.concat_tables(tables)
        bars = shape_bars(table, table["unit"].to_numpy())
        return bars.add_column(0, LAST.field("symbol"), table["symbol"])

    def sessions(self, exchange: str, first: date | None, last: date | None) -> pa.Table:
        where, values = "exchange = $exchange", {"exchange": exchange, "first": first, "last": last}
        days = "session BETWEEN coalesce($first, session) AND coalesce($last, session)"
        found = [
            self.read_beside(file, f"FROM {{file}}.sessions WHERE {where} AND {days}", values)
            for file in (self.manifest.index, self.manifest.live)
        ]
        live = found[1]["session"]
        rest = found[0].filter(pc.invert(pc.is_in(found[0]["session"], live.combine_chunks())))
        return pa.concat_tables([SESSIONS.empty_table(), rest, found[1]]).sort_by("session")

    def spans(self, symbol: str, interval: str) -> pa.Table:
        rows = f"""SELECT {list_columns(SPANS)} FROM {{file}}.spans
            WHERE symbol = $symbol AND interval = $interval"""
        values = {"symbol": symbol, "interval": interval}
        both = (self.manifest.index, self.manifest.live)
        found = [self.read_beside(file, rows, values, SPANS) for file in both]
        order = ("start", "end", "source", "fetched_at")
        return pa.concat_tables(found).sort_by([(name, "ascending") for name in order])

    def changes(self, after: tuple[int, int], most: int) -> pa.Table:
        live = [self.manifest.live] if self.manifest.live else []
        asked = [file for file in self.manifest.changes if file.counter >= after[0]]
        tables = [CHANGES.empty_table()]
        for file in (*asked, *live):
            rest = most - sum(table.num_rows for table in tables)
            values = {"counter": after[0], "number": after[1], "most": rest}
            tables.append(self.read_beside(file, CHANGES_AFTER, values, CHANGES))
        return pa.concat_tables(tables)

    @property
    def changes_kept_from(self) -> int:
        return self.manifest.changes_from

    def read_beside(
        self,
        file: PublishedFile | None,
        rows: str,
        values: Values,
        schema: pa.Schema = SESSIONS,
    ) -> pa.Table:
        """Rows of one file, if there is one."""
        tables = ask(self.files, [file] if file else [], rows, values)
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
        rows = f"SELECT {list_columns(schema)} FROM {{file}}.{table} t WHERE {where}"
        if table == "notes":
            tables = list(ask(self.files, self.list_months(interval, start, end), rows, values))
        else:
            told = (symbols, interval, start, end)
            tables = self.ask(lambda more: rows + more, values, *told)
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


def read_live(files: AttachedFiles, manifest: Manifest) -> dict[Key, tuple[datetime, datetime]]:
    rows = """SELECT symbol, interval, min(timestamp) AS first, max(timestamp) AS last
        FROM {file}.bars GROUP BY ALL"""
    tables = ask(files, [manifest.live] if manifest.live else [], rows, {})
    return {
        (row["symbol"], row["interval"]): (row["first"], row["last"])
        for table in tables
        for row in table.to_pylist()
    }


def max_of(start: datetime | None, first: datetime) -> datetime:
    return first if start is None else max(start, first)


def min_of(end: datetime | None, last: datetime) -> datetime:
    return last if end is None else min(end, last)
