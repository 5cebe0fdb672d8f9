"""What a store knows and since when, as a load sees it: what comes is compared with what is known.

A load computes in DuckDB whatever keeps the store. What it knows of the store are the relations
`known_…` (KNOWN) that `read_known` makes; what it decided are the relations of a Delta, which
`apply` takes. No SQL here names a table of the store: that stands in the folder of the engine that
keeps it. Every implementation runs tests/test_writable_store.py.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import duckdb

from etl.base.run_records import Run

# Relation → the table of etl.contracts.tables whose rows it has.
KNOWN = {
    "known_bars": "ohlcv_data",
    "known_since": "ohlcv_known",
    "known_revisions": "ohlcv_revisions",
    "known_instruments": "instruments",
    "known_actions": "corporate_actions",
    "known_action_revisions": "corporate_action_revisions",
    "known_lists": "action_lists",
    "known_notes": "bar_notes",
    "known_note_revisions": "bar_note_revisions",
    "known_gaps": "gaps",
    "known_calendars": "calendars",
    "known_sessions": "sessions",
    "known_answers": "answers",
    "known_runs": "etl_runs",
    "known_run_symbols": "etl_run_symbols",
    "known_generation": "generation",
}


@dataclass(frozen=True)
class Known:
    """What a store held before a run.

    is_fresh: nothing, so that there is nothing to compare with. is_touched: another program wrote
    into it, so that what it says of its bars must be found anew.
    """

    is_fresh: bool
    is_touched: bool = False


@dataclass(frozen=True)
class Delta:
    """What a load decided, as relations of the store's connection.

    pending: the bars that count, or are of a vendor behind (etl.rules.newer_bars).
    incoming_actions, incoming_lists, incoming_answers, rejected: what came beside them
    (etl.store.clean_files). symbol_exchanges, sessions: the calendars (etl.store.calendars).
    delivered, volume_units, rounded_volumes: the units (etl.store.volumes).

    inserted: how many bars the store has more with it. exchange: the calendar of symbols without a
    suffix.
    """

    inserted: int
    exchange: str


class WritableStore(Protocol):
    """A store as one run writes it. What readers see changes with `publish`, at once; a run that
    ends before it leaves what was there, and so does a kill at any moment."""

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """Where rules compute."""
        ...

    def read_known(self) -> Known:
        """Make the relations of KNOWN. StoreError where the store cannot be read."""
        ...

    def begin_anew(self) -> Known:
        """Leave out what is stored: it goes with the next publication."""
        ...

    def preparing(self) -> AbstractContextManager[None]:
        """Get ready for `apply` while the block goes on to look at what comes."""
        ...

    def apply(self, delta: Delta, run: Run) -> None:
        """Make the next version of what is known and the delta. The same delta twice is once."""
        ...

    def restore(self, run: Run) -> str:
        """Make the next version of the one before the present one; returns its generation."""
        ...

    def publish(self) -> str:
        """Put the next version in the place of the present one; returns its generation."""
        ...

    def check(self) -> Iterator[tuple[str, str]]:
        """(what must hold, the first things that contradict it; "" for none) of the present one."""
        ...
