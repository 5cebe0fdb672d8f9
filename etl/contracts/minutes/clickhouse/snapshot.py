"""One generation of a minute store in ClickHouse, as a reader sees it.

Nothing is copied for it, and rows that were replaced since are gone. So every answer has with each
row whether it is newer than the generation: one that has none is of this generation, whatever was
published meanwhile; where there is one, the answer can be had no more, and Outdated says so: a new
snapshot has it. What a load added behind the last bar is not asked for.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts import minutes
from etl.contracts.minutes import MinuteInstrument, Outdated
from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.published import (
    NEWER,
    Published,
    Question,
    ask,
    read_published,
)
from etl.contracts.minutes.clickhouse.rows import (
    INSTANT_OF,
    TICK,
    Where,
    bound,
    read_several,
    split_names,
    to_ticks,
)
from etl.contracts.minutes.clickhouse.tables import (
    ASKED,
    BARS,
    CHANGED,
    NOTED,
    REVISED,
    TIMED,
    Table,
)
from etl.contracts.minutes.volumes import shape_bars

READ = (*minutes.BARS.names, "volume_decimals")
LAST = pa.schema([pa.field("symbol", pa.string()), *minutes.BARS])
# Both columns by themselves: the server finds these by its index, and pairs of them by reading all.
LASTS = (
    "symbol IN {symbols:Array(String)} AND timestamp IN (SELECT fromUnixTimestamp64Micro("
    "arrayJoin({lasts:Array(Int64)}), 'UTC'))"
)


class ClickHouseSnapshot:
    """keys: (symbol, interval) of all of which anything is stored."""

    def __init__(
        self,
        link: Link,
        published: Published,
        instruments: Mapping[tuple[str, str], MinuteInstrument],
        keys: Collection[tuple[str, str]],
    ) -> None:
        self.link, self.published, self.keys = link, published, keys
        self.instruments = instruments

    @property
    def generation(self) -> str:
        return self.published.generation

    @property
    def published_at(self) -> datetime:
        return self.published.published_at

    def bars(
        self,
        symbol: str,
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        known = self.instruments.get((symbol, interval))
        if known is None:
            return minutes.BARS.empty_table()
        behind = known.last + TICK
        where, values = bound(
            "symbol = {symbol:String}", start, behind if end is None else min(end, behind)
        )
        place = where, {**values, "symbol": symbol}
        if as_of is None:
            rows = self.take(Question(BARS, READ, interval, where), place[1])
        else:
            rows = self.take_known(interval, place, as_of)
        return shape_bars(rows, known.volume_decimals)

    def take_known(self, interval: str, place: Where, as_of: datetime) -> pa.Table:
        """Bars as known then: those of now that were so already, and the revisions of that time.
        What is newer is asked for too, for it may have taken the place of one of these."""
        moment = INSTANT_OF.format(name="as_of")
        since = f"known_at <= {moment}"
        times = ((BARS, since), (REVISED, f"{since} AND known_until > {moment}"))
        values = {**place[1], "as_of": to_ticks(as_of)}
        parts = [
            self.take(Question(table, READ, interval, place[0], f"({time} OR {NEWER})"), values)
            for table, time in times
        ]
        return pa.concat_tables(parts).sort_by("timestamp")

    def stored(
        self, symbols: Sequence[str], interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.take_several(BARS, minutes.STORED_BARS, symbols, interval, start, end)

    def take_several(
        self,
        table: Table,
        schema: pa.Schema,
        symbols: Sequence[str],
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        known = [symbol for symbol in symbols if (symbol, interval) in self.keys]
        return read_several(self.take, table, schema, known, interval, start, end)

    def last(self, symbols: Sequence[str], interval: str) -> pa.Table:
        known = {
            s: self.instruments[s, interval] for s in symbols if (s, interval) in self.instruments
        }
        parts = [LAST.empty_table()]
        for some in split_names(known):
            parts.append(self.take_last([known[symbol] for symbol in some], interval))
        return pa.concat_tables(parts)

    def take_last(self, known: Sequence[MinuteInstrument], interval: str) -> pa.Table:
        """The last bar of each of these, which are sorted."""
        lasts = sorted({each.last for each in known})
        # the range too, for by it the server passes over what is older
        keys, values = bound(LASTS, lasts[0], lasts[-1] + TICK)
        values |= {"symbols": [each.symbol for each in known], "lasts": [*map(to_ticks, lasts)]}
        rows = self.take(Question(BARS, ("symbol", *READ), interval, keys), values)
        stamps = zip(rows["symbol"].to_pylist(), rows["timestamp"].to_pylist(), strict=True)
        places = {pair: place for place, pair in enumerate(stamps)}
        found = rows.take([places[each.symbol, each.last] for each in known])
        bars = shape_bars(found, np.array([each.volume_decimals for each in known], np.int64))
        return bars.add_column(0, LAST.field("symbol"), found["symbol"]).cast(LAST)

    def sessions(self, exchange: str, first: date | None, last: date | None) -> pa.Table:
        if not self.generation:
            return minutes.SESSIONS.empty_table()
        where, values = "exchange = {exchange:String}", {"exchange": exchange}
        for name, sign, day in (("first", ">=", first), ("last", "<=", last)):
            if day is not None:
                where += f" AND session {sign} toDate32({{{name}:String}})"
                values[name] = day.isoformat()
        question = Question(TIMED, tuple(minutes.SESSIONS.names), "", where)
        return self.take(question, values).cast(minutes.SESSIONS)

    def notes(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.take_several(NOTED, minutes.NOTES, [symbol], interval, start, end)

    def revisions(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        return self.take_several(REVISED, minutes.REVISIONS, [symbol], interval, start, end)

    def spans(self, symbol: str, interval: str) -> pa.Table:
        return self.take_several(ASKED, minutes.SPANS, [symbol], interval)

    def changes(self, after: tuple[int, int], most: int) -> pa.Table:
        """Outdated where some of them were dropped since this generation."""
        if not self.generation:
            return minutes.CHANGES.empty_table()
        keys = (
            "(counter, number) > ({counter:Int64}, {number:Int32}) AND counter <= {newest:UInt64}"
        )
        question = Question(CHANGED, tuple(minutes.CHANGES.names), keys=keys, most=most)
        rows = self.take(question, {"counter": after[0], "number": after[1]})
        if self.changes_kept_from <= after[0] < read_published(self.link).kept_from:
            raise tell_newer(self.link)
        return rows.cast(minutes.CHANGES)

    @property
    def changes_kept_from(self) -> int:
        return self.published.kept_from

    def take(self, question: Question, values: Mapping[str, object]) -> pa.Table:
        """The rows as they are in this generation; Outdated where they can be had no more."""
        return check_old(self.link, ask(self.link, question, self.published, values))

    def close(self) -> None:
        """Nothing is held for it."""


def check_old(link: Link, rows: pa.Table) -> pa.Table:
    """The rows without `is_newer`; Outdated where one is."""
    if pc.any(rows["is_newer"]).as_py():
        raise tell_newer(link)
    return rows.drop_columns(["is_newer"])


def tell_newer(link: Link) -> Outdated:
    return Outdated(
        f"the minute store {link.address.shown} has another generation by now: ask once more"
    )
