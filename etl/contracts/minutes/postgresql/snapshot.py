"""One generation, read question by question.

No transaction stays open between questions, for it would keep the server from clearing away what
was replaced. A symbol that no later generation has changed is as the snapshot knows it, whatever
became of others since.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa

from etl.contracts.minutes import (
    BARS,
    CHANGES,
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    MinuteInstrument,
    Outdated,
)
from etl.contracts.minutes.postgresql.connections import Connection, Pool
from etl.contracts.minutes.postgresql.following import read_changes
from etl.contracts.minutes.postgresql.generation import Generation, select
from etl.contracts.minutes.postgresql.reading import (
    CHANGED,
    SYMBOL,
    Span,
    read_bars,
    read_rows,
    read_several,
)
from etl.contracts.minutes.volumes import shape_bars

DECIMALS = STORED_BARS.field("volume_decimals")
ONE_INSTANT = timedelta(microseconds=1)
Spans = Mapping[str, Span]
EARLIEST, LATEST = datetime(1, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 (UTC, as all here)


class PostgresSnapshot:
    """Outdated where what is asked for was changed since: a new snapshot has it."""

    def __init__(self, pool: Pool, generation: Generation) -> None:
        self.pool = pool
        self.of = generation

    @property
    def generation(self) -> str:
        return self.of.head.name

    @property
    def published_at(self) -> datetime:
        return self.of.head.published_at

    @property
    def instruments(self) -> Mapping[tuple[str, str], MinuteInstrument]:
        return self.of.instruments

    def bars(
        self,
        symbol: str,
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        found = self.instruments.get((symbol, interval))
        if found is None:
            return BARS.empty_table()
        key = (symbol, interval)
        # also where the unit is 1: of volumes with decimals beside one that has no room for them
        fields = [*BARS, DECIMALS]
        span = bound(found, start, end)
        changed_in, rows = self.pool.ask(lambda c: read_bars(c, fields, key, span, as_of))
        self.check(key, changed_in)
        return shape_bars(rows, found.volume_decimals)

    def stored(
        self, symbols: Sequence[str], interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        spans = {each.symbol: bound(each, start, end) for each in self.list(symbols, interval)}
        return self.read("bars", STORED_BARS, interval, spans)

    def last(self, symbols: Sequence[str], interval: str) -> pa.Table:
        found = self.list(symbols, interval)
        schema = pa.schema([SYMBOL, *BARS, DECIMALS])
        rows = self.read("bars", schema, interval, {e.symbol: (e.last, e.last) for e in found})
        bars = shape_bars(rows, np.array([each.volume_decimals for each in found], np.int64))
        return bars.add_column(0, SYMBOL, rows[SYMBOL.name])

    def revisions(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        spans = {each.symbol: bound(each, start, end) for each in self.list([symbol], interval)}
        return self.read("revisions", REVISIONS, interval, spans)

    def notes(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        last = end - ONE_INSTANT if end else LATEST
        statement = f"""{select(f"notes_{interval}", NOTES)} WHERE symbol = %(symbol)s
            AND timestamp BETWEEN %(first)s AND %(last)s"""
        values = {"first": start or EARLIEST, "last": last}
        return self.read_small(statement, NOTES, (symbol, interval), values)

    def spans(self, symbol: str, interval: str) -> pa.Table:
        statement = f"{select(f'spans_{interval}', SPANS)} WHERE symbol = %(symbol)s"
        return self.read_small(statement, SPANS, (symbol, interval), {})

    def sessions(self, exchange: str, first: date | None, last: date | None) -> pa.Table:
        changed = "SELECT changed_in FROM minutes.calendars WHERE exchange = %(exchange)s"
        statement = f"""{select("sessions", SESSIONS)} WHERE exchange = %(exchange)s
            AND session BETWEEN %(first)s AND %(last)s"""
        bounds = {"first": first or EARLIEST.date(), "last": last or LATEST.date()}
        values = {"exchange": exchange, **bounds}
        known = self.of.calendars.get(exchange)
        return self.ask_small(statement, SESSIONS, changed, values, known, exchange)

    def changes(self, after: tuple[int, int], most: int) -> pa.Table:
        if not self.generation:
            return CHANGES.empty_table()
        return self.pool.ask(lambda c: read_changes(c, self.of.head, after, most))

    @property
    def changes_kept_from(self) -> int:
        return self.of.head.changes_kept_from

    def close(self) -> None:
        """Nothing is held: connections are the store's."""

    def list(self, symbols: Iterable[str], interval: str) -> list[MinuteInstrument]:
        """Those of them that are stored, in order."""
        keys = [(symbol, interval) for symbol in sorted(set(symbols))]
        return [self.instruments[key] for key in keys if key in self.instruments]

    def read(self, table: str, schema: pa.Schema, interval: str, spans: Spans) -> pa.Table:
        sources = list_sources(self.instruments[symbol, interval] for symbol in spans)
        changed, rows = self.pool.ask(
            lambda c: read_several(c, table, schema, interval, spans, sources)
        )
        for symbol, changed_in in changed.items():
            self.check((symbol, interval), changed_in)
        return rows

    def check(self, key: tuple[str, str], changed_in: str | None) -> None:
        refuse_changed(self.of.changed.get(key), changed_in, key[0])

    def read_small(
        self, statement: str, schema: pa.Schema, key: tuple[str, str], values: Mapping[str, object]
    ) -> pa.Table:
        changed = f"SELECT {CHANGED.format(symbol='%(symbol)s')}"
        whole = {**values, "symbol": key[0], "interval": key[1]}
        return self.ask_small(statement, schema, changed, whole, self.of.changed.get(key), key[0])

    def ask_small(
        self,
        statement: str,
        schema: pa.Schema,
        changed: str,
        values: Mapping[str, object],
        known: str | None,
        what: str,
    ) -> pa.Table:
        """Rows, and then whether what they are about is still as it is known: a generation that
        was there is never there again, so it was when they were read too."""
        if not self.generation:
            return schema.empty_table()

        def ask(connection: Connection) -> tuple[pa.Table, str | None]:
            table = read_rows(connection, statement, schema, values)
            row = connection.execute(changed.encode(), values).fetchone()
            return table, row[0] if row else None

        table, changed_in = self.pool.ask(ask)
        refuse_changed(known, changed_in, what)
        return table.sort_by([(name, "ascending") for name in schema.names])


def refuse_changed(known: str | None, changed_in: str | None, what: str) -> None:
    if changed_in != known:
        raise Outdated(
            f"{what} was changed by generation {changed_in} just now; what it was before is kept no"
            " more: ask once more"
        )


def bound(found: MinuteInstrument, start: datetime | None, end: datetime | None) -> Span:
    """From `start` on, before `end`, as far as there are bars: so no month is looked into that has
    none."""
    first = max(start, found.first) if start else found.first
    last = min(end - ONE_INSTANT, found.last) if end else found.last
    return first, last


def list_sources(found: Iterable[MinuteInstrument]) -> list[str]:
    return sorted({source for each in found for source in each.sources})
