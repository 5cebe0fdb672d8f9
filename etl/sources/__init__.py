"""Where bars come from. One vendor, one module: `fetch` does the I/O, `parse` is pure.

A source renames columns and says where each row comes from; it never validates a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from etl.base.clock import Clock
from etl.contracts.deliveries import Delivery
from etl.contracts.files import DAILY, RAW_ACTIONS, RAW_BARS


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


def build_bars(
    rows: list[dict[str, str | None]], source: str, basis: str, fetched_at: datetime
) -> pa.Table:
    """Rows of text as a table of RAW_BARS (run_id is added by extract)."""
    stamps = {"source": source, "basis": basis, "fetched_at": fetched_at, "interval": DAILY}
    return pa.Table.from_pylist([{**row, **stamps} for row in rows], schema=RAW_BARS)


def build_actions(rows: list[dict[str, str | None]], source: str, fetched_at: datetime) -> pa.Table:
    """Rows (symbol, ex_date, kind, value) of text as a table of RAW_ACTIONS."""
    stamps = {"source": source, "fetched_at": fetched_at}
    return pa.Table.from_pylist([{**row, **stamps} for row in rows], schema=RAW_ACTIONS)
