"""One generation of minutes, with what a request looks up in it, and its rows as columns."""

import weakref
from collections.abc import Mapping
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from api.bars.intraday import INTERVAL_SECONDS, find_places
from api.bars.series import PRICES, Axis, Series, Timestamps
from api.bars.sessions import Sessions, find_begin, read_sessions
from api.bars.volumes import divide_units
from etl.contracts.zones import ZONES

if TYPE_CHECKING:
    import pyarrow as pa

    from etl.contracts.minutes import MinuteInstrument, MinuteSnapshot

Instant = np.datetime64  # of seconds, UTC


class MinuteView:
    """instruments: symbol → base interval → what is known of its bars."""

    def __init__(self, snapshot: "MinuteSnapshot") -> None:
        self.snapshot = snapshot
        self.generation = snapshot.generation
        self.published_at: datetime = snapshot.published_at
        self.instruments: dict[str, dict[str, MinuteInstrument]] = {}
        for (symbol, interval), each in sorted(snapshot.instruments.items()):
            self.instruments.setdefault(symbol, {})[interval] = each
        self.calendars: dict[str, Calendar] = {}
        weakref.finalize(self, snapshot.close)

    def find_version(self, symbol: str) -> str:
        """What moves with each answer about a symbol (upper case); "" where it has no bars."""
        found: Mapping[str, MinuteInstrument] = self.instruments.get(symbol, {})
        return "".join(each.version for each in found.values())

    def find_base(self, symbol: str, interval: str) -> "MinuteInstrument | None":
        """The coarsest stored bars that make up an interval; None: there are none."""
        wanted = INTERVAL_SECONDS[interval]
        bases = self.instruments.get(symbol, {})
        fitting = [name for name in bases if not wanted % INTERVAL_SECONDS[name]]
        coarsest = max(fitting, key=INTERVAL_SECONDS.__getitem__, default=None)
        return bases[coarsest] if coarsest else None

    def find_daily_base(self, symbol: str) -> "MinuteInstrument | None":
        """The stored bars that today's daily bar is made of: those that reach furthest, of several
        the shortest."""
        bases = self.instruments.get(symbol, {}).values()
        order = lambda each: (each.last, -INTERVAL_SECONDS[each.interval])  # noqa: E731
        return max(bases, key=order, default=None)

    def list_intervals(self, symbol: str) -> list[str]:
        """What can be made of the stored bars of a symbol."""
        return [name for name in INTERVAL_SECONDS if self.find_base(symbol, name)]

    @cached_property
    def stored(self) -> list[str]:
        """The intervals that can be made of the stored bars of some symbol."""
        bases = {INTERVAL_SECONDS[base] for each in self.instruments.values() for base in each}
        return [
            name
            for name, seconds in INTERVAL_SECONDS.items()
            if any(not seconds % base for base in bases)
        ]

    def read_calendar(self, exchange: str) -> "Calendar":
        """The sessions of an exchange, all of them; read once."""
        found = self.calendars.get(exchange)
        if found is None:
            table = self.snapshot.sessions(exchange, None, None)
            found = self.calendars[exchange] = Calendar(read_sessions(exchange, table))
        return found

    def read_series(
        self,
        instrument: "MinuteInstrument",
        start: Instant,
        before: Instant,
        as_of: datetime | None = None,
    ) -> Series:
        """The stored bars of a span, as they are, or as known at `as_of`."""
        bounds = start.astype(datetime), before.astype(datetime)
        table = self.snapshot.bars(instrument.symbol, instrument.interval, *bounds, as_of)
        return build_series(instrument, table)

    def build_empty(self, instrument: "MinuteInstrument") -> Series:
        from etl.contracts.minutes import BARS

        return build_series(instrument, BARS.empty_table())


class Calendar:
    """The sessions of an exchange, and where its months begin: bars are kept by session months,
    in each of which all buckets are whole."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.begins: dict[int, Instant] = {}
        self.ends: dict[tuple[datetime, datetime], tuple[int, int]] = {}

    def find_month_begin(self, month: int) -> Instant:
        """Where the first session of a month (since 1970) begins."""
        found = self.begins.get(month)
        if found is None:
            day = np.datetime64(month, "M").astype("datetime64[D]").item()
            found = self.begins[month] = find_begin(self.sessions, day)
        return found

    def find_ends(self, instrument: "MinuteInstrument") -> tuple[int, int]:
        """The months of the first and of the last bar of an instrument; looked up once."""
        ends = instrument.first, instrument.last
        found = self.ends.get(ends)
        if found is None:
            first, last = (self.find_month(np.datetime64(each, "s")) for each in ends)
            found = self.ends[ends] = first, last
        return found

    def find_days(self, instants: Timestamps) -> list[date]:
        """The session of each instant."""
        found: list[date] = find_places(instants, self.sessions).days.tolist()
        return found

    def find_month(self, instant: Instant) -> int:
        """The month of the session that an instant belongs to."""
        month = int(instant.astype("datetime64[M]").astype(np.int64))
        if instant < self.find_month_begin(month):
            return month - 1
        return month + int(instant >= self.find_month_begin(month + 1))


def build_series(instrument: "MinuteInstrument", table: "pa.Table") -> Series:
    timestamps: Timestamps = table.column("timestamp").to_numpy().astype("datetime64[s]")
    prices: dict[str, Any] = {
        name: np.ascontiguousarray(table.column(name).to_numpy()) for name in PRICES
    }
    volume = table.column("volume").combine_chunks()
    mask = volume.is_null().to_numpy(zero_copy_only=False) if volume.null_count else np.ma.nomask
    units = volume.fill_null(0).to_numpy()
    series = Series(
        *(instrument.symbol, "raw", timestamps),
        **prices,
        volume=np.ma.masked_array(units, mask),
        interval=instrument.interval,
        calendar=instrument.exchange,
        axis=Axis("instant", ZONES.get(instrument.exchange, "UTC")),
    )
    return divide_units(series, instrument.volume_decimals)
