"""Minutes for tests of the API: a store of DuckDB files beside the sample, with known prices.

The bar of minute n of a symbol closes at 100 + n/100, so that each is told from each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etl.contracts.minutes import BATCH_BARS, NOTES, SESSIONS, SPANS, SYNTHETIC, Batch, MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.market.sessions import list_sessions
from tests.minute_stores import load, make_table

FETCHED = datetime(2026, 1, 2, 3)  # noqa: DTZ001


@dataclass(frozen=True)
class Minutes:
    """Bars of a symbol in the sessions from `first` to `last`, from `before` minutes before each
    open to `after` minutes after each close; without those that begin at `missing`."""

    symbol: str = "AAPL"
    exchange: str = "XNYS"
    first: date = date(2013, 2, 25)
    last: date = date(2013, 3, 15)
    before: int = 30
    after: int = 30
    source: str = SYNTHETIC
    interval: str = "1m"
    missing: Sequence[datetime] = ()
    fetched_at: datetime = FETCHED
    decimals: int = 0
    shift: float = 0.0


def fill(
    data_dir: Path,
    *given: Minutes,
    notes: Sequence[tuple[Any, ...]] = (),
    spans: Sequence[tuple[Any, ...]] = (),
) -> str:
    """Load minutes into the files of a data folder; the generation."""
    store = open_store(data_dir)
    generation = load(store, *(build_batch(each, notes, spans) for each in given))
    store.close()
    return generation


def open_store(data_dir: Path) -> MinuteStore:
    return open_place(Place(data_dir))


def build_batch(
    given: Minutes,
    notes: Sequence[tuple[Any, ...]] = (),
    spans: Sequence[tuple[Any, ...]] = (),
) -> Batch:
    sessions = list_known(given)
    return Batch(
        given.interval,
        build_bars(given, sessions),
        {given.symbol: given.exchange},
        make_table([note for note in notes if note[0] == given.symbol], NOTES),
        sessions,
        make_table([span for span in spans if span[0] == given.symbol], SPANS),
    )


def list_known(given: Minutes) -> pa.Table:
    """The sessions of the exchange around the bars; none where it has no calendar."""
    if not given.exchange:
        return SESSIONS.empty_table()
    table = list_sessions(given.exchange, given.first)
    return table.select(SESSIONS.names).cast(SESSIONS).slice(0, 400)


def build_bars(given: Minutes, sessions: pa.Table) -> pa.Table:
    stamps = list_stamps(given, sessions)
    numbers = np.arange(len(stamps))
    close = np.round(100 + given.shift + numbers / 100, 2)
    columns = {
        "symbol": [given.symbol] * len(stamps),
        "timestamp": stamps,
        **{"open": close - 0.25, "high": close + 0.5, "low": close - 0.5, "close": close},
        "volume": 100 + numbers,
        "volume_decimals": np.full(len(stamps), given.decimals, np.int8),
        "source": [given.source] * len(stamps),
        "fetched_at": np.full(len(stamps), given.fetched_at, "datetime64[us]"),
    }
    return pa.table(columns, schema=BATCH_BARS)


def list_stamps(given: Minutes, sessions: pa.Table) -> Any:
    step = np.timedelta64(1 if given.interval == "1s" else 60, "s")
    margins = {
        "open": -np.timedelta64(given.before, "m"),
        "close": np.timedelta64(given.after, "m"),
    }
    spans = [
        tuple(np.datetime64(row[name], "s") + margin for name, margin in margins.items())
        for row in sessions.to_pylist()
        if given.first <= row["session"] <= given.last
    ]
    if not given.exchange:
        spans = [(np.datetime64(given.first, "s"), np.datetime64(given.last, "s"))]
    stamps = np.unique(np.concatenate([np.arange(*span, step) for span in spans]))
    kept = ~np.isin(stamps, np.array(list(given.missing), "datetime64[s]"))
    return stamps[kept].astype("datetime64[us]")
