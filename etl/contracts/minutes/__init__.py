"""The minute store: bars shorter than a day, whatever engine keeps them.

    transform ─Batch→ upsert … upsert ─→ publish ══> snapshot ─Arrow→ api

The ETL writes it and the API reads it, so its form stands between them. An engine keeps rows and
gives them back in order; what comes is compared with what is known in DuckDB (changes.py), whatever
the engine, and figures are reckoned by whoever reads: only first, max, min, last and sums of
integers are the same in all of them. Every engine runs tests/test_minute_store.py.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, Protocol

import pyarrow as pa

PRICES = ("open", "high", "low", "close")
INSTANT = pa.timestamp("us")  # naive, UTC, in all tables here

# Base interval → its seconds: what is stored. All others are made of these by whoever reads.
BASE_INTERVALS = {"1s": 1, "1m": 60}

# A bar as it comes. timestamp: its start. volume: NULL where the vendor gives none, else in units
# of 10^-volume_decimals. source: the vendor; SYNTHETIC where nobody traded it. fetched_at: since
# when it is known.
BATCH_BARS = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", INSTANT),
        *((name, pa.float64()) for name in PRICES),
        ("volume", pa.int64()),
        ("volume_decimals", pa.int8()),
        ("source", pa.string()),
        ("fetched_at", INSTANT),
    ]
)
# A bar as it is stored: known_at: since when with these values; seen_at: the newest answer that
# said so. An answer older than seen_at never replaces it.
STORED_BARS = pa.schema(
    [*list(BATCH_BARS)[:-1], ("known_at", INSTANT), ("seen_at", INSTANT)],
)
# A bar as it is read, of one symbol, sorted by timestamp, no timestamp twice.
BARS = pa.schema([BATCH_BARS.field(name) for name in ("timestamp", *PRICES, "volume")])
# Values that held once: known from known_at until known_until.
REVISIONS = pa.schema([*list(BATCH_BARS)[:-1], ("known_at", INSTANT), ("known_until", INSTANT)])
# Of a bar, what is suspicious: the kinds are those of etl.rules.
NOTES = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", INSTANT),
        ("kind", pa.string()),
        ("detail", pa.string()),
    ]
)
# Sessions, as the table of the daily store has them, of the days that have bars.
SESSIONS = pa.schema(
    [
        ("exchange", pa.string()),
        ("session", pa.date32()),
        *((name, INSTANT) for name in ("open", "close", "break_start", "break_end")),
    ]
)
# What was asked for whole: between start and end (exclusive) a minute without a bar had no trade,
# as far as the source can tell; outside all spans it may not have been delivered.
SPANS = pa.schema(
    [
        ("symbol", pa.string()),
        ("start", INSTANT),
        ("end", INSTANT),
        ("source", pa.string()),
        ("fetched_at", INSTANT),
    ]
)

# What live batches changed, in the order in which it was published: counter of the generation, and
# number within it from 0. kind: new, revised or repeated.
CHANGES = pa.schema(
    [
        ("counter", pa.int64()),
        ("number", pa.int32()),
        ("kind", pa.string()),
        ("interval", pa.string()),
        *list(BATCH_BARS)[:-1],
        ("known_at", INSTANT),
    ]
)
KEPT_CHANGES = 500_000  # so many of them are kept at least; older ones may be gone

SYNTHETIC = "synthetic"  # the source of bars that were made out of daily ones


class MinuteStoreError(Exception):
    """The store cannot be read or written; the message names it, without a password, and the
    remedy."""


class StoreDown(MinuteStoreError):
    """The engine does not answer (now): what is stored is whole, another try may succeed."""


class Outdated(StoreDown):
    """A newer generation took the place of what was asked for: a new snapshot has the answer."""


class MixedSources(MinuteStoreError):
    """Synthetic bars would be beside real ones of one symbol: nothing was stored."""


class BadBars(MinuteStoreError):
    """Rows of a batch that can be no bars: nothing of it was taken."""


@dataclass(frozen=True)
class Batch:
    """What one load brings at once, of one base interval. Empty tables may be left out.

    bars: BATCH_BARS, a key once or several times (the newest answer wins). exchanges: symbol →
    calendar, "" where none is known. notes: all notes of the symbols between the first and last of
    their bars here: older ones in between are gone with it. spans: SPANS; sessions: SESSIONS.
    is_live: it is a small one of many, so that its publication has to be cheap whatever is stored;
    what it changes is told to those who follow (`MinuteSnapshot.changes`), and it leaves all notes
    as they are. tells_again: what it only confirms is told too, as repeated: of a replay.
    """

    interval: str
    bars: pa.Table
    exchanges: Mapping[str, str] = field(default_factory=dict)
    notes: pa.Table = field(default_factory=NOTES.empty_table)
    sessions: pa.Table = field(default_factory=SESSIONS.empty_table)
    spans: pa.Table = field(default_factory=SPANS.empty_table)
    is_live: bool = False
    tells_again: bool = False


class Counts(NamedTuple):
    """What became of the bars of a batch: each is one of these.

    confirmed: as they were, said again; stale: another value of an older answer; repeated: a key
    that a newer row of the same batch has.
    """

    inserted: int = 0
    changed: int = 0
    confirmed: int = 0
    stale: int = 0
    repeated: int = 0


class MinuteInstrument(NamedTuple):
    """What has to be known of a symbol before its bars are read.

    exchange: its calendar, "" where none is known. first, last: starts of its bars (naive UTC).
    volume_decimals: the most that any of its bars has: the unit in which its volumes are read.
    digest: moves with each bar, the same in every engine (hex). version: moves with all that
    answers about it depend on: bars, notes, spans, revisions. sources: sorted.
    """

    symbol: str
    interval: str
    exchange: str
    bars: int
    first: datetime
    last: datetime
    volume_decimals: int
    digest: str
    version: str
    sources: tuple[str, ...]

    @property
    def is_synthetic(self) -> bool:
        return self.sources == (SYNTHETIC,)


class MinuteSnapshot(Protocol):
    """One published generation: what it gives never changes, or MinuteStoreError says that the
    engine keeps it no more.

    From `start` on, before `end` (naive UTC); None leaves that side open. A symbol that is not
    stored has no rows: who must tell that apart looks it up in `instruments`. May be read by
    several threads at once.
    """

    @property
    def generation(self) -> str:
        """Like that of the daily store; "" where nothing was ever published."""
        ...

    @property
    def published_at(self) -> datetime: ...

    @property
    def instruments(self) -> Mapping[tuple[str, str], MinuteInstrument]:
        """(symbol, base interval) → what is known of it; held in memory."""
        ...

    def bars(
        self,
        symbol: str,
        interval: str,
        start: datetime | None = None,
        end: datetime | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        """BARS: as they are, or as known at `as_of`. Volumes in units of the instrument."""
        ...

    def stored(
        self, symbols: Sequence[str], interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table:
        """STORED_BARS of several symbols, sorted by (symbol, timestamp)."""
        ...

    def last(self, symbols: Sequence[str], interval: str) -> pa.Table:
        """symbol and BARS: the last bar of each, sorted by symbol."""
        ...

    def sessions(self, exchange: str, first: date | None, last: date | None) -> pa.Table:
        """SESSIONS from `first` to `last` (inclusive), sorted."""
        ...

    def notes(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table: ...

    def revisions(
        self, symbol: str, interval: str, start: datetime | None, end: datetime | None
    ) -> pa.Table: ...

    def spans(self, symbol: str, interval: str) -> pa.Table: ...

    def changes(self, after: tuple[int, int], most: int) -> pa.Table:
        """CHANGES behind (counter, number), the first `most` of them, up to this generation."""
        ...

    @property
    def changes_kept_from(self) -> int:
        """The counter behind which no change is missing in `changes`; 0: none was ever dropped."""
        ...

    def close(self) -> None: ...


class MinuteStore(Protocol):
    """Where minutes are kept. `snapshot` and `newest` may be called beside a writer in another
    process; of writers there is one at a time (the lock of the stages, or the engine's own)."""

    def newest(self) -> str:
        """The generation that is published, cheap enough to be asked by each request; "": none.
        StoreDown where the engine does not answer."""
        ...

    def snapshot(self) -> MinuteSnapshot: ...

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        """Take a batch into the next generation. MixedSources, MinuteStoreError: nothing of it.
        The same batch twice is once."""
        ...

    def publish(self) -> str:
        """Make what was upserted visible at once; returns the generation: the present one where
        nothing changed. A kill at any moment before it leaves what was there."""
        ...

    def remove(self, symbols: Collection[str]) -> None:
        """Take all that is known of these symbols, of every interval, out of the next generation:
        bars, revisions, notes, spans. Bars of them that are upserted after it come as new ones."""
        ...

    def fold(self, before: datetime) -> None:
        """Put what live batches brought of sessions before this instant where history is kept; it
        is seen from the next publication on, and changes no answer. Nothing to do in an engine that
        keeps both in one place."""
        ...

    def discard(self) -> None:
        """Forget what was upserted and not published."""
        ...

    def verify(self) -> Sequence[tuple[str, str]]:
        """(what must hold, the first things that contradict it; "" for none)."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the one place of a writer while the block runs."""
        ...

    def close(self) -> None: ...


def find_mixed(
    instruments: Mapping[tuple[str, str], MinuteInstrument], sources: Mapping[str, Collection[str]]
) -> list[str]:
    """The symbols of which synthetic and real bars would be beside each other, of any interval."""
    every = {symbol: set(coming) for symbol, coming in sources.items()}
    for (symbol, _), each in instruments.items():
        if symbol in every:
            every[symbol].update(each.sources)
    return sorted(
        symbol
        for symbol, found in every.items()
        if len({source == SYNTHETIC for source in found}) > 1
    )
