"""What the API reads from: a store gives snapshots, and answers questions about one.

A question is a function of a Reader, which has one method for each thing that can be asked; so it
runs on whatever engine keeps the store. How one is kept in one kind of engine stands in a folder of
its own. Where a store has no answer it raises one of `api.faults`, and never speaks of HTTP.
Every implementation runs tests/test_store_contract.py.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from api.bars.series import Days, Dividend, Series, Split

T = TypeVar("T")
Rows = list[dict[str, Any]]
Actions = tuple[list[Split], list[Dividend]]


class Entry(NamedTuple):
    """What has to be known of a symbol before its bars are read."""

    basis: str
    has_actions: bool
    bars: int
    exchange: str | None
    splits_known_at: datetime | None = None
    dividends_known_at: datetime | None = None
    volume_decimals: int = 0


Catalog = dict[str, Entry]
RunPlace = tuple[str, int, str]  # second, start in microseconds, run_id: the order of runs


class Reader(Protocol):
    """One snapshot, as one question reads it. Symbols in upper case, days and instants in UTC."""

    def read_catalog(self) -> Catalog: ...
    def read_many_series(
        self,
        symbols: Sequence[str],
        bases: Sequence[str],
        interval: str,
        as_of: datetime | None = None,
    ) -> list[Series]:
        """All bars of stored symbols, in one question: as they are, or as known at `as_of`.

        Refused for an interval that is not stored.
        """
        ...

    def read_adjusting(
        self, symbols: Sequence[str], as_of: datetime | None = None
    ) -> list[Actions]: ...
    def read_noted_days(
        self, symbols: Sequence[str], as_of: datetime | None = None
    ) -> list[Days]: ...
    def find_nearest(self, symbol: str) -> list[str]: ...

    def read_instruments(self, q: str, after: str, limit: int) -> Rows: ...
    def read_instrument(self, symbol: str) -> dict[str, Any]: ...
    def read_totals(self) -> dict[str, Any]: ...
    def read_exchanges(self) -> list[str]: ...
    def read_listing(self, symbol: str) -> dict[str, Any]: ...
    def search_listings(self, q: str, kind: str, exchange: str, limit: int) -> Rows: ...

    def read_notes(
        self, symbol: str, start: date | None, end: date | None, after: int, limit: int
    ) -> Rows: ...
    def read_revisions(
        self, symbol: str, start: date | None, end: date | None, after: int, limit: int
    ) -> Rows: ...
    def read_actions(
        self, symbol: str, as_of: datetime | None, history: bool, after: int, limit: int
    ) -> Rows: ...
    def read_coverage(self, symbol: str) -> dict[str, Any]: ...
    def read_coverages(self, q: str, after: str, limit: int) -> Rows: ...
    def count_gaps(
        self, symbol: str, start: date | None, end: date | None, as_of: datetime | None = None
    ) -> int: ...
    def count_quality(self) -> dict[str, dict[str, Any]]: ...

    def screen(self, wanted: dict[str, Any], limit: int) -> Rows: ...
    def has_known(self, as_of: datetime) -> bool: ...

    def read_run_ids(self) -> set[str]: ...
    def find_run_start(self, run_id: str) -> int | None: ...
    def read_stored_runs(
        self, without: list[str], place: RunPlace, limit: int
    ) -> list[tuple[RunPlace, dict[str, Any]]]: ...
    def read_stored_run(self, run_id: str) -> dict[str, Any]: ...
    def read_stored_symbols(self, run_id: str, after: int, limit: int) -> Rows: ...


Question = Callable[[Reader], T]


class Snapshot(Protocol):
    """One published generation: what it gives never changes.

    versions: symbol → what moves with each answer about it; bars: symbol → how many it has.
    """

    @property
    def generation(self) -> str: ...
    @property
    def published_at(self) -> datetime: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    @property
    def bars(self) -> Mapping[str, int]: ...
    def find_version(self, symbol: str) -> str: ...


SnapshotT = TypeVar("SnapshotT", bound=Snapshot)


class Store(Protocol[SnapshotT]):
    """Gives each request the newest snapshot, and answers questions about it.

    fault: why an older snapshot stands in for what is published; None where none does.
    """

    fault: str | None

    def newest(self) -> SnapshotT:
        """Cheap enough to be asked by every request. NoDatabase where there is nothing to read."""
        ...

    async def ask(
        self, snapshot: SnapshotT | None, question: Question[T], is_wide: bool = False
    ) -> T:
        """The answer to a question, run beside the event loop. is_wide: it reads very much.

        Raises QueryTimeout, Busy, OutOfMemory, Damaged, and Unknown for a symbol that is not
        stored.
        """
        ...
