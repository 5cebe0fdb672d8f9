"""Stored minutes as a stream: the same order every time, at any speed.

What is told is each bar when it was over, by symbol within an instant, and each correction at the
instant at which it was known, if that lies in what is replayed. Between two sessions nobody waits.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from etl.contracts.minutes import BASE_INTERVALS, MinuteSnapshot
from etl.feed.connection import wait
from etl.feed.messages import BAR, UPDATED, Message, now_us

log = logging.getLogger("etl")

LONGEST_WAIT = 300.0  # seconds of the stream's own time: what is longer lies between two sessions
AT_ONCE = 500  # messages until others on the loop have their turn


class Told(NamedTuple):
    """due: when it is told, of the time that is replayed (naive UTC)."""

    due: datetime
    symbol: str
    kind: str
    row: dict[str, Any]


@dataclass
class Replay:
    """speed: 1 as it was, 60 a minute a second, 0 as fast as it goes. start: of the first bars;
    None: of the last day that is stored."""

    snapshot: MinuteSnapshot
    symbols: tuple[str, ...]
    interval: str
    take: Callable[[Message], None]
    is_full: Callable[[], bool]
    speed: float
    start: datetime | None = None
    told: int = field(default=0, init=False)

    async def run(self, is_over: asyncio.Event) -> None:
        clock = asyncio.get_running_loop()
        shift: float | None = None  # between the loop's clock and the replayed one, in its seconds
        before: datetime | None = None
        for each in self.list_told():
            if is_over.is_set():
                return
            if self.speed:
                at = each.due.timestamp() / self.speed
                gap = (each.due - before).total_seconds() if before else 0.0
                if shift is None or gap > LONGEST_WAIT:
                    shift = clock.time() - at
                await wait_until(is_over, at + shift)
            before = each.due
            await self.tell(each, is_over)
        log.info("replay: all of it was told, %s bars", f"{self.told:,}")

    async def tell(self, each: Told, is_over: asyncio.Event) -> None:
        self.take(to_message(each, self.interval))
        self.told += 1
        if self.told % AT_ONCE == 0:
            await asyncio.sleep(0)
            while self.is_full() and not is_over.is_set():
                await asyncio.sleep(0.01)

    def list_told(self) -> Iterator[Told]:
        """All that is told, a day of UTC in memory at a time."""
        found = [self.snapshot.instruments.get((s, self.interval)) for s in self.symbols]
        known = [each for each in found if each is not None]
        if not known:
            return
        last = max(each.last for each in known)
        start = self.start or datetime.combine(last.date(), datetime.min.time())
        start = max(start, min(each.first for each in known))
        step = timedelta(seconds=BASE_INTERVALS[self.interval])
        names = [each.symbol for each in known]
        while start <= last:
            end = datetime.combine(start.date() + timedelta(days=1), datetime.min.time())
            yield from self.list_day(names, start, end, step, last + step)
            start = end

    def list_day(
        self, names: list[str], start: datetime, end: datetime, step: timedelta, over: datetime
    ) -> Iterator[Told]:
        stored = self.snapshot.stored(names, self.interval, start, end)
        revised = [self.snapshot.revisions(name, self.interval, start, end) for name in names]
        told = list(list_bars(stored, pa.concat_tables(revised), step, over))
        yield from sorted(told, key=lambda each: each[:3])


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
        yield Told(ends, row["symbol"], BAR, first)
        for value in live:
            yield Told(value["known_at"], row["symbol"], UPDATED, value)


def to_message(told: Told, interval: str) -> Message:
    row = told.row
    return Message(
        told.kind,
        now_us(),
        row["source"],
        told.symbol,
        f"{row['timestamp']:%Y-%m-%dT%H:%M:%SZ}",
        *(repr(row["open"]), repr(row["high"]), repr(row["low"]), repr(row["close"])),
        show_volume(row["volume"], row["volume_decimals"]),
        interval,
    )


def show_volume(volume: int | None, decimals: int) -> str | None:
    if volume is None or not decimals:
        return None if volume is None else str(volume)
    digits = f"{volume:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


async def wait_until(is_over: asyncio.Event, at: float) -> None:
    seconds = at - asyncio.get_running_loop().time()
    if seconds > 0:
        await wait(is_over, seconds)


def read_start(text: str) -> datetime | None:
    """A day, or an instant (UTC where it has no offset), as naive UTC. ValueError."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
