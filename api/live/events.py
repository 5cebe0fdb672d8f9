"""Changes as events: bars of the interval that a listener asked for, as JSON. Pure but for reading.

An event of stored bars has the position of its change; of longer bars, and of today's daily bar, it
is that of the last change that made it.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import orjson

from api.bars.series import FIELDS, Series, Timestamps
from api.bars.view import show_instant
from api.bars.volumes import divide_volume
from api.live.hub import Changed, Missed, Published, Row
from api.live.notes import Noted
from api.store.minutes.views import MinuteView


class Made(NamedTuple):
    """Bars of a symbol around changed ones, and the session of an instant among theirs."""

    series: Series
    is_synthetic: bool
    find_sessions: Callable[[Timestamps], Timestamps]


Read = Callable[[MinuteView, str, str, date, date], Awaitable[Made]]  # symbol, interval, days
NEW, REVISED = "bar", "revised"
KINDS = {"new": NEW, "repeated": NEW, "revised": REVISED}


class Event(NamedTuple):
    """kind: bar, revised, provisional, generation, resync. id: "" where it has no position."""

    kind: str
    id: str
    data: dict[str, Any]

    def encode(self) -> bytes:
        """As server-sent events write it."""
        lines = [b"id: " + self.id.encode()] if self.id else []
        lines += [b"event: " + self.kind.encode(), b"data: " + orjson.dumps(self.data), b"", b""]
        return b"\n".join(lines)


def name_position(row: Row) -> str:
    return f"{row['counter']}-{row['number']}"


def tell_published(told: Published) -> Event:
    return Event("generation", "", {"kind": "generation", "store": told.store,
                                    "generation": told.generation})  # fmt: skip


def tell_noted(told: Noted) -> Iterator[Event]:
    """Notes one by one, and how many more there are."""
    for interval, timestamp, reason, detail in told.notes:
        note = {"interval": interval, "timestamp": show_instant(timestamp), "reason": reason}
        yield Event("note", "", {"kind": "note", "symbol": told.symbol, **note, "detail": detail})
    if told.more:
        detail = f"{told.more} more notes are new: ask /instruments/{told.symbol}/notes"
        yield Event("note", "", {"kind": "note", "symbol": told.symbol,
                                 "more": told.more, "detail": detail})  # fmt: skip


def tell_missed(told: Missed) -> Event:
    detail = "changes before this are kept no more: read the bars anew"
    position = "{}-{}".format(*told.kept_from)
    return Event("resync", position, {"kind": "resync", "detail": detail})


def tell_stored(told: Changed, interval: str) -> Iterator[Event]:
    """The changed bars themselves."""
    for row in told.rows:
        if row["interval"] == interval:
            kind = KINDS[row["kind"]]
            yield Event(kind, name_position(row), show_row(kind, row))


def show_row(kind: str, row: Row) -> dict[str, Any]:
    return {
        "kind": kind,
        "symbol": row["symbol"],
        "interval": row["interval"],
        "timestamp": show_instant(row["timestamp"]),
        **{name: row[name] for name in FIELDS[:-1]},
        "volume": divide_volume(row["volume"], row["volume_decimals"]),
        "synthetic": row["source"] == "synthetic",
    }


def find_base(told: Changed, symbol: str, interval: str) -> str | None:
    """Of which stored bars those of an interval are made."""
    if interval == "1d":
        found = told.view.find_daily_base(symbol)
    else:
        found = told.view.find_base(symbol, interval)
    return found.interval if found else None


async def tell_made(told: Changed, interval: str, read: Read) -> Sequence[Event]:
    """The longer bars that the changed ones are part of, as they are now, each once."""
    by_symbol: dict[str, list[Row]] = {}
    for row in told.rows:
        if row["interval"] == find_base(told, row["symbol"], interval):
            by_symbol.setdefault(row["symbol"], []).append(row)
    events: list[Event] = []
    for symbol, rows in by_symbol.items():
        stamps = [row["timestamp"] for row in rows]
        around = min(stamps).date() - timedelta(days=1), max(stamps).date() + timedelta(days=1)
        events += list_made(await read(told.view, symbol, interval, *around), rows, interval)
    return sorted(events, key=lambda event: tuple(map(int, event.id.split("-"))))


def list_made(made: Made, rows: list[Row], interval: str) -> Iterator[Event]:
    """The bars of a series that hold the changed ones."""
    series, is_synthetic, find_sessions = made
    stamps = np.array([row["timestamp"] for row in rows], "datetime64[s]")
    keys = find_sessions(stamps) if interval == "1d" else stamps
    places = series.timestamps.searchsorted(keys, "right") - 1
    last: dict[int, Row] = {int(at): row for at, row in zip(places, rows, strict=True) if at >= 0}
    for at, row in sorted(last.items()):
        is_revised = row["kind"] == "revised"
        kind = "provisional" if interval == "1d" else REVISED if is_revised else NEW
        yield Event(kind, name_position(row), show_bar(kind, series, at, interval, is_synthetic))


def show_bar(
    kind: str, series: Series, at: int, interval: str, is_synthetic: bool
) -> dict[str, Any]:
    volume = series.volume[at]
    told = {
        "kind": kind,
        "symbol": series.symbol,
        "interval": interval,
        "timestamp": show_stamp(series, at),
        **{name: float(getattr(series, name)[at]) for name in FIELDS[:-1]},
        "volume": None if volume is np.ma.masked else volume.item(),
    }
    if series.complete is not None and interval != "1d":
        told["complete"] = bool(series.complete[at])
    return {**told, "synthetic": is_synthetic}


def show_stamp(series: Series, at: int) -> str:
    if series.axis.kind == "session":
        return str(series.timestamps[at].astype("datetime64[D]"))
    return show_instant(series.timestamps[at].astype("datetime64[s]").item())
