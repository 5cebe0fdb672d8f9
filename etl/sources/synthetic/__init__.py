"""Minutes that nobody traded: made out of the daily sample, so that everything can be tried.

They are marked by their source, `synthetic`, and never stand beside real ones of a symbol.
"""

import logging
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.base.errors import InputError
from etl.contracts.deliveries import Delivery
from etl.contracts.minute_files import RAW_MINUTES, RAW_SPANS
from etl.contracts.minutes import BASE_INTERVALS, SYNTHETIC
from etl.market.exchanges import find_exchange
from etl.market.sessions import list_sessions
from etl.settings import Settings
from etl.sources.sample import FETCHED_AT, SAMPLE_DIR, group_by_symbol, read_csv, refuse
from etl.sources.synthetic.day import DailyBar, Minutes, make_minutes

log = logging.getLogger("etl")

INTERVAL = "1m"
MINUTE = np.timedelta64(BASE_INTERVALS[INTERVAL], "s")
PRICES = ("open", "high", "low", "close")
Row = dict[str, str | None]
Session = dict[str, Any]


class Synthetic:
    """The sample's last days, from `since` on; None: from the month before that of the last."""

    def __init__(self, settings: Settings, symbols: tuple[str, ...], since: date | None) -> None:
        self.settings, self.symbols, self.since = settings, symbols, since
        self.count = len(symbols)
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        bars = group_by_symbol(read_csv(SAMPLE_DIR / "bars.csv.gz"))
        last = max(find_day(rows[-1]) for rows in bars.values())
        since = self.since or begin_month_before(last)
        if since > last:
            raise InputError(
                f"the sample ends on {last}: set MINUTES_SINCE (--since) to a day of it"
            )
        self.notes["since"] = str(since)
        for symbol in self.symbols:
            if symbol not in bars:
                yield Delivery(symbol, error=refuse(symbol, list(bars)))
                continue
            rows = [row for row in bars[symbol] if find_day(row) >= since]
            yield from self.make(symbol, rows)

    def make(self, symbol: str, rows: list[Row]) -> Iterator[Delivery]:
        """One delivery a month: memory holds no more."""
        sessions = find_sessions(find_exchange(symbol, self.settings.exchange), rows)
        for _, month in groupby(rows, lambda row: str(row["timestamp"])[:7]):
            days = [(row, sessions[day]) for row in month if (day := find_day(row)) in sessions]
            if days:
                yield Delivery(symbol, build_minutes(symbol, days), spans=build_span(symbol, days))


def begin_month_before(day: date) -> date:
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def find_day(row: Row) -> date:
    return date.fromisoformat(str(row["timestamp"]))


def find_sessions(exchange: str | None, rows: list[Row]) -> dict[date, Session]:
    """Day → its session; days that the exchange does not trade have no minutes."""
    if not rows or exchange is None:
        return {}
    listed = list_sessions(exchange, find_day(rows[0])).to_pylist()
    return {session["session"]: session for session in listed}


def list_starts(session: Session) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """When the minutes of a session start (naive UTC); those of a break are left out."""
    starts = np.arange(session["open"], session["close"], MINUTE, dtype="datetime64[s]")
    if session["break_start"] is None:
        return starts
    begins, ends = (np.datetime64(session[name], "s") for name in ("break_start", "break_end"))
    return starts[(starts < begins) | (starts >= ends)]


def build_minutes(symbol: str, days: list[tuple[Row, Session]]) -> pa.Table:
    """The minutes of some days of one symbol, as RAW_MINUTES."""
    decimals = max(2, *(count_decimals(str(row[name])) for row, _ in days for name in PRICES))
    starts, made = [], []
    for row, session in days:
        places = list_starts(session)
        minutes = make_minutes(symbol, str(row["timestamp"]), read_bar(row, decimals), len(places))
        made.append(minutes)
        starts.append(places[minutes.place])
    stamps = pa.array(np.concatenate(starts)).cast(pa.timestamp("s"))
    columns = {
        "timestamp": pc.strftime(stamps, "%Y-%m-%dT%H:%M:%SZ"),
        **{name: write_prices(join(made, name), decimals) for name in PRICES},
        "volume": join(made, "volume").cast(pa.string()),
    }
    return add_provenance(symbol, columns, len(stamps))


def add_provenance(symbol: str, columns: dict[str, pa.Array], count: int) -> pa.Table:
    about: dict[str, object] = {"symbol": symbol, "basis": "raw", "source": SYNTHETIC}
    about |= {"interval": INTERVAL, "stamp_is": "start", "fetched_at": FETCHED_AT}
    return pa.table(
        [
            columns[name] if name in columns else repeat(about.get(name), kind, count)
            for name, kind in zip(RAW_MINUTES.names, RAW_MINUTES.types, strict=True)
        ],
        schema=RAW_MINUTES,
    )


def read_bar(row: Row, decimals: int) -> DailyBar:
    """A daily bar of the sample: in all of them open and close lie within low and high."""
    prices = {name: read_units(str(row[name]), decimals) for name in PRICES}
    return DailyBar(**prices, volume=int(str(row["volume"])), decimals=decimals)


def read_units(text: str, decimals: int) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(decimals, "0"))


def count_decimals(text: str) -> int:
    return len(text.partition(".")[2])


def join(made: list[Minutes], name: str) -> pa.Array:
    return pa.array(np.concatenate([getattr(each, name) for each in made]))


def write_prices(units: pa.Array, decimals: int) -> pa.Array:
    """Units of 10^-decimals as text, as 118.5600."""
    whole = pc.divide(units, 10**decimals)
    part = pc.subtract(units, pc.multiply(whole, 10**decimals)).cast(pa.string())
    padded = pc.utf8_lpad(part, decimals, "0")
    return pc.binary_join_element_wise(whole.cast(pa.string()), padded, ".")


def repeat(value: object, kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)


def build_span(symbol: str, days: list[tuple[Row, Session]]) -> pa.Table:
    """From the first open to the last close: what lies between is all there is."""
    first, last = days[0][1], days[-1][1]
    span = {"symbol": symbol, "start": first["open"], "end": last["close"]}
    return pa.Table.from_pylist(
        [{**span, "source": SYNTHETIC, "fetched_at": FETCHED_AT}], schema=RAW_SPANS
    )
