"""A stream that is kept open: made again when it breaks or goes silent, with longer and longer
pauses while it brings nothing.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException

from etl.feed.messages import BAR, UPDATED, Message, Text, now_us
from etl.feed.vendors import Feed, Hangup, Refusal

log = logging.getLogger("etl")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries
# seconds, bytes; a vendor that does not answer any more is not waited for long
OF_CONNECTION: dict[str, Any] = {"open_timeout": 10, "close_timeout": 2, "max_size": 16 << 20}
MOST_CORRECTED = 50_000  # bars of which it is known that they were


@dataclass
class State:
    """How the stream stands. bars: messages with a bar since it began; last: when the newest came
    (microseconds since 1970), 0 before the first; opened: how often a connection was made."""

    bars: int = 0
    last: int = 0
    opened: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # what was said → how often


@dataclass
class Stream:
    """take: what to do with each message. is_expected: whether bars should be coming now; only then
    does `silence` seconds without one end a connection, however alive it is. catch_up: called with
    the instant of the last bar each time a connection stands, to ask for what was missed.
    """

    feed: Feed
    symbols: Sequence[str]
    take: Callable[[Message], None]
    silence: float
    is_expected: Callable[[], bool] = lambda: True
    catch_up: Callable[[int], None] = lambda last: None
    pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE)
    state: State = field(default_factory=State)
    at: int = 0  # when the newest message came (microseconds since 1970): no two at once
    corrected: dict[tuple[Text, Text], int] = field(default_factory=dict)  # bar → when it was

    async def run(self, is_over: asyncio.Event) -> None:
        """Until it is over. Refused where the vendor lets nobody in with this key."""
        pause = self.pauses[0]
        while not is_over.is_set():
            before = self.state.bars
            why = await self.connect_once(is_over)
            if is_over.is_set():
                return
            pause = self.pauses[0] if self.state.bars > before else min(pause * 2, self.pauses[1])
            seconds = pause * random.uniform(0.5, 1)  # noqa: S311 (so that many do not come at once)
            log.warning(
                "stream: %s (%s); again in %.1f s", self.feed.name, why or "it ended", seconds
            )
            await wait(is_over, seconds)

    async def connect_once(self, is_over: asyncio.Event) -> str:
        """Why the connection ended."""
        try:
            async with connect(self.feed.url, **OF_CONNECTION) as it:
                await self.feed.greet(it, self.symbols)
                self.state.opened += 1
                log.info("stream: %s is open, %s symbols", self.feed.name, f"{len(self.symbols):,}")
                self.catch_up(self.state.last)
                await self.receive(it, is_over)
        except InvalidURI:
            raise
        except (OSError, TimeoutError, WebSocketException, Hangup) as error:
            return f"{type(error).__name__}: {str(error)[:100]}"
        return ""

    async def receive(self, socket: ClientConnection, is_over: asyncio.Event) -> None:
        """Hand on what comes. Hangup after too long a silence of market data."""
        clock = asyncio.get_running_loop()
        last = clock.time()
        ended = asyncio.ensure_future(is_over.wait())
        try:
            while not is_over.is_set():
                coming = asyncio.ensure_future(socket.recv())
                await asyncio.wait(
                    (coming, ended), timeout=self.silence / 4, return_when=asyncio.FIRST_COMPLETED
                )
                if coming.done():
                    if self.read(coming.result()):
                        last = clock.time()
                else:
                    coming.cancel()
                if not self.is_expected():
                    last = clock.time()
                if clock.time() - last > self.silence:
                    raise Hangup(f"no bar for {self.silence:g} s")
        finally:
            ended.cancel()

    def read(self, frame: str | bytes) -> bool:
        """Take the messages of a frame; whether a bar was among them."""
        at, before = now_us(), self.state.bars
        for message in self.feed.read(frame, at):
            if isinstance(message, Refusal):
                self.note_refusal(message.said)
                continue
            if message.kind in (BAR, UPDATED):
                self.state.bars += 1
                self.state.last = at
            self.take(message._replace(received_at=self.date(message, at)))
        return self.state.bars > before

    def date(self, message: Message, at: int) -> int:
        """Of two values of a bar the one that came last is newer, but for an uncorrected one."""
        self.at = max(at, self.at + 1)
        key = message.symbol, message.timestamp
        if message.kind == UPDATED:
            self.corrected[key] = self.at
            if len(self.corrected) > MOST_CORRECTED:
                self.corrected.pop(next(iter(self.corrected)))
        elif message.kind == BAR and key in self.corrected:
            return self.corrected[key] - 1
        return self.at

    def note_refusal(self, said: str) -> None:
        self.state.refused[said] = self.state.refused.get(said, 0) + 1
        log.error("stream: %s refuses a part of the symbols (%s): the rest goes on",
                  self.feed.name, said[:200])  # fmt: skip


async def wait(is_over: asyncio.Event, seconds: float) -> None:
    """So long, or until it is over."""
    try:
        await asyncio.wait_for(is_over.wait(), seconds)
    except TimeoutError:
        return
