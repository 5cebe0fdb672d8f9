"""Stored minutes in the order in which they came, or would have come: the same every time.

What is told is each bar when it was over, by symbol within an instant, and each correction at the
instant at which it was known, if that lies in what is replayed.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from etl.contracts.minutes import BASE_INTERVALS, MinuteSnapshot

NEW, REVISED = "new", "revised"


class Told(NamedTuple):
    """due: when it is told, of the time that is replayed (naive UTC)."""

    due: datetime
    symbol: str
    kind: str
    row: dict[str, Any]


def read_start(text: str) -> datetime | None:
    """A day, or an instant (UTC where it has no offset), as naive UTC. ValueError."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def list_told(
    snapshot: MinuteSnapshot, symbols: Sequence[str], interval: str, start: datetime | None
) -> Iterator[list[Told]]:
    """All that is told from an instant on (naive UTC; None: the last day that is stored), a day of
    UTC at a time, each in its order."""
    found = [snapshot.instruments.get((symbol, interval)) for symbol in symbols]
    known = [each for each in found if each is not None]
    if not known:
        return
    last = max(each.last for each in known)
    start = start or datetime.combine(last.date(), time())
    start = max(start, min(each.first for each in known))
    step = timedelta(seconds=BASE_INTERVALS[interval])
    names = [each.symbol for each in known]
    while start <= last:
        end = datetime.combine(start.date() + timedelta(days=1), time())
        stored = snapshot.stored(names, interval, start, end)
        revised = [snapshot.revisions(name, interval, start, end) for name in names]
        told = list_bars(stored, pa.concat_tables(revised), step, last + step)
        yield sorted(told, key=lambda each: each[:3])
        start = end


def list_bars(
    stored: pa.Table, revised: pa.Table, step: timedelta, over: datetime
) -> Iterator[Told]:
    """Each bar as it was first known, at its end; its corrections when they were known."""
    histories: dict[tuple[str, datetime], list[dict[str, Any]]] = {}
    for row in revised.to_pylist():
        histories.setdefault((row["symbol"], row["timestamp"]), []).append(row)
    for row in stored.to_pylist():
        values = [*histories.get((row["symbol"], row["timestamp"]), []), row]
        values.sort(key=lambda each: str(each["known_at"]))
        ends = row["timestamp"] + step
        live = [value for value in values[1:] if ends < value["known_at"] <= over]
        first = values[0] if live else row
        yield Told(ends, row["symbol"], NEW, first)
        for value in live:
            yield Told(value["known_at"], row["symbol"], REVISED, value)
