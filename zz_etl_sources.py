"""Where bars come from. One vendor, one module: `fetch` does the I/O, `parse` is pure.

A source renames columns and says where each row comes from; it never judges a value.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from etl.base.clock import Clock
from etl.base.errors import SourceError
from etl.contracts.files import RAW_ACTIONS, RAW_BARS
from etl.settings import Settings


@dataclass(frozen=True)
class Delivery:
    """What came for one symbol (or of one file): raw bars and corporate actions, or an error.

    is_extra: nobody asked for it by name (splits and dividends beside the bars).
    """

    label: str
    bars: pa.Table | None = None
    actions: pa.Table | None = None
    error: SourceError | None = None
    is_extra: bool = False


@dataclass(frozen=True)
class Order:
    """What a run was told beside its settings.

    is_retry: ask again what the vendor refused. is_replay: read the archive, make no call.
    symbols: of a replay, these alone. symbol: whose
    bars the files hold.
    """

    is_retry: bool = False
    is_replay: bool = False
    symbols: tuple[str, ...] | None = None
    symbol: str | None = None
    clock: Clock = field(default_factory=Clock)


class Source(Protocol):
    """An adapter to one vendor.

    `count`: how many deliveries to expect, for the progress bar. `notes`: what the run record is
    to keep of it, complete once all is fetched.
    """

    count: int
    notes: dict[str, Any]

    def fetch(self) -> Iterator[Delivery]: ...


def get_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. Raises SettingsError where they do not suffice."""
    from etl.sources import files, sample
    from etl.sources.alpha_vantage import source

    openers: dict[str, Callable[[], Source]] = {
        "sample": lambda: sample.open_sample(settings),
        "alpha_vantage": lambda: source.open_alpha_vantage(settings, order),
        "files": lambda: files.open_files(settings, order.symbol),
    }
    return openers[settings.source]()


def build_bars(
    rows: list[dict[str, str | None]], source: str, basis: str, fetched_at: datetime
) -> pa.Table:
    """Rows of text as a table of RAW_BARS (run_id is added by extract)."""
    stamps = {"source": source, "basis": basis, "fetched_at": fetched_at}
    return pa.Table.from_pylist([{**row, **stamps} for row in rows], schema=RAW_BARS)


def build_actions(rows: list[dict[str, str | None]], source: str, fetched_at: datetime) -> pa.Table:
    """Rows (symbol, ex_date, kind, value) of text as a table of RAW_ACTIONS."""
    stamps = {"source": source, "fetched_at": fetched_at}
    return pa.Table.from_pylist([{**row, **stamps} for row in rows], schema=RAW_ACTIONS)
