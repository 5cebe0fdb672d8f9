"""Stored minutes as a stream: the same order every time, at any speed.

Between two sessions nobody waits.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from etl.contracts.minutes import MinuteSnapshot
from etl.contracts.minutes.replay import REVISED, Told, list_told
from etl.feed.connection import wait
from etl.feed.messages import BAR, UPDATED, Message, now_us

log = logging.getLogger("etl")

LONGEST_WAIT = 300.0  # seconds of the stream's own time: what is longer lies between two sessions
AT_ONCE = 500  # messages until others on the loop have their turn


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
        for each in self.list_all():
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

    def list_all(self) -> Iterator[Told]:
        for day in list_told(self.snapshot, self.symbols, self.interval, self.start):
            yield from day

    async def tell(self, each: Told, is_over: asyncio.Event) -> None:
        self.take(to_message(each, self.interval))
        self.told += 1
        if self.told % AT_ONCE == 0:
            await asyncio.sleep(0)
            while self.is_full() and not is_over.is_set():
                await asyncio.sleep(0.01)


def to_message(told: Told, interval: str) -> Message:
    row = told.row
    return Message(
        UPDATED if told.kind == REVISED else BAR,
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
