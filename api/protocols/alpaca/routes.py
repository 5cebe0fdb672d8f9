"""Alpaca's stream protocol at /v2/{feed}: its clients receive bars of this store.

`/v2/replay?start=2013-02-28&speed=60` tells stored bars in place of new ones: 1 as it was, 60 a
minute a second, 0 (the default) as fast as the client takes them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.callers import Caller
from api.edge.gate import check_head, is_for_others, read_head
from api.live.events import tell_made
from api.live.hub import Changed, Hub, Listener, Row
from api.problems import Problem
from api.protocols.alpaca.frames import (
    BARS,
    DAILY,
    MSGPACK,
    UPDATED,
    Coder,
    Message,
    Subscription,
    show_bar,
    tell_error,
    tell_success,
)
from etl.contracts.zones import ZONES

router = APIRouter()

FEEDS = ("sip", "iex", "otc", "delayed_sip", "test", "replay")
AUTH_SECONDS = 10.0
HEARTBEAT = 15.0
AT_ONCE = 1_000  # messages of a frame
CHANNELS = {"new": BARS, "repeated": BARS, "revised": UPDATED}


@router.websocket("/v2/{feed}")
async def stream(socket: WebSocket, feed: str) -> None:
    """Greet, let in, then tell what the client subscribes to until either ends."""
    if feed not in FEEDS or not is_admitted(socket):
        await socket.close(1008)  # before it was accepted: an answer of 403
        return
    await socket.accept()
    client = Client(socket, Coder(socket.headers.get("content-type", "").encode() == MSGPACK))
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it is gone
        await client.send([tell_success("connected")])
        if await client.let_in():
            await client.serve(feed)
        await socket.close()


def is_admitted(socket: WebSocket) -> bool:
    """As the gate does for requests: Host, and no page of another site."""
    gate = socket.app.layers.gate
    head, size = read_head(socket.scope["headers"])
    origin = socket.headers.get("origin")
    allowed = socket.app.state.settings.cors_origins
    is_own = origin is None or origin.partition("//")[2] == socket.headers.get("host")
    if gate.is_undecided and is_for_others(socket.scope.get("server")):
        return False
    return check_head(head, size, gate.hosts) is None and (
        is_own or origin in allowed or "*" in allowed
    )


@dataclass
class Client:
    """listener: what the hub has for it; it takes what is subscribed to. joined: it is heard."""

    socket: WebSocket
    coder: Coder
    subscription: Subscription = field(default_factory=Subscription)
    listener: Listener = field(default_factory=lambda: Listener(frozenset()))
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    joined: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, messages: list[Message]) -> None:
        frame = self.coder.encode(messages)
        if isinstance(frame, bytes):
            await self.socket.send_bytes(frame)
        else:
            await self.socket.send_text(frame)

    async def receive(self) -> Message | None:
        """What the client says; None where it cannot be read."""
        found = await self.socket.receive()
        if found["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(found.get("code", 1000))
        frame = found.get("bytes")
        return self.coder.decode(found.get("text") or "" if frame is None else frame)

    async def let_in(self) -> bool:
        """Once the client says who it is; False: it was told why not."""
        try:
            said = await asyncio.wait_for(self.receive(), AUTH_SECONDS)
        except TimeoutError:
            await self.send([tell_error(404)])
            return False
        if said is None or said.get("action") != "auth":
            await self.send([tell_error(401 if said else 400)])
            return False
        if not await self.identify(said):
            await self.send([tell_error(402)])
            return False
        await self.send([tell_success("authenticated")])
        return True

    async def identify(self, said: Message) -> bool:
        """With AUTH=on an API key of this service, as key or as secret; else whatever is sent."""
        admission = self.socket.app.layers.gate.admission
        identity = admission.identity if admission else None
        if identity is None:
            return True
        for key in (said.get("secret"), said.get("key")):
            head = {b"x-api-key": str(key or "").encode("latin-1", "replace")}
            found = await identity.identify(self.socket.scope, head)
            if not isinstance(found, Response):
                self.socket.scope.setdefault("state", {})["caller"] = found
                return isinstance(found, Caller)
        return False

    async def serve(self, feed: str) -> None:
        """Listen to the client and tell it bars, until one of both ends."""
        streams = self.socket.app.state.streams
        try:
            caller = streams.enter(self.socket)
        except Problem:
            await self.send([tell_error(406)])
            return
        telling = self.replay() if feed == "replay" else self.tell()
        tasks = [asyncio.create_task(self.listen()), asyncio.create_task(telling)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            streams.leave(caller)

    async def listen(self) -> None:
        while True:
            said = await self.receive()
            if said is None or said.get("action") not in ("subscribe", "unsubscribe"):
                is_late = said is not None and said.get("action") == "auth"
                await self.send([tell_error(403 if is_late else 400)])
                continue
            if code := self.subscription.change(said):
                await self.send([tell_error(code)])
                continue
            self.listener.symbols = self.subscription.symbols
            await self.joined.wait()  # from the answer on nothing is missed
            await self.send([self.subscription.tell()])
            self.subscribed.set()

    async def tell(self) -> None:
        """New bars as they are published. A client that is too slow is told so, and let go."""
        hub: Hub = self.socket.app.state.hub
        async for told in hub.follow(self.listener, None, HEARTBEAT):
            self.joined.set()
            if isinstance(told, Changed):
                await self.send_all(self.pick(told.rows))
                await self.send_all(await self.make_days(told))
        if self.listener.is_slow:
            await self.send([tell_error(407)])

    def pick(self, rows: list[Row]) -> list[Message]:
        """Of the changes of minutes, those that are subscribed to."""
        pairs = [(CHANNELS[row["kind"]], row) for row in rows if row["interval"] == "1m"]
        wants = self.subscription.wants
        return [show_bar(channel, row) for channel, row in pairs if wants(channel, row["symbol"])]

    async def make_days(self, told: Changed) -> list[Message]:
        """Today's daily bars so far, of the symbols whose daily bars are subscribed to."""
        rows = [row for row in told.rows if self.subscription.wants(DAILY, row["symbol"])]
        if not rows:
            return []
        read = self.socket.app.state.reading.read
        events = await tell_made(Changed(told.view, rows), "1d", read)
        return [show_bar(DAILY, to_row(event.data, told)) for event in events]

    async def send_all(self, messages: list[Message]) -> None:
        for first in range(0, len(messages), AT_ONCE):
            await self.send(messages[first : first + AT_ONCE])

    async def replay(self) -> None:
        """Stored bars from `start` on, once something is subscribed to."""
        self.joined.set()
        await self.subscribed.wait()
        async for messages in self.list_replayed():
            await self.send_all(messages)

    async def list_replayed(self) -> AsyncIterator[list[Message]]:
        from etl.contracts.minutes.replay import list_told, read_start

        state, query = self.socket.app.state, self.socket.query_params
        view = await state.minutes.newest()
        if view is None:
            return
        speed, start = float(query.get("speed", "0")), read_start(query.get("start", ""))
        symbols = sorted(self.subscription.symbols or view.instruments)
        days = iter(list_told(view.snapshot, symbols, "1m", start))
        clock = asyncio.get_running_loop()
        while (day := await asyncio.to_thread(next, days, None)) is not None:
            began = clock.time()
            for first in range(0, len(day), 1 if speed else AT_ONCE):
                some = day[first : first + (1 if speed else AT_ONCE)]
                if speed:
                    passed = (some[0].due - day[0].due).total_seconds() / speed
                    await asyncio.sleep(max(0.0, began + passed - clock.time()))
                yield self.pick(
                    [{**each.row, "kind": each.kind, "interval": "1m"} for each in some]
                )


def to_row(data: dict[str, Any], told: Changed) -> Row:
    """A daily bar as Alpaca stamps it: midnight of the exchange's clock."""
    exchange = next(iter(told.view.instruments[data["symbol"]].values())).exchange
    day = datetime.combine(
        date.fromisoformat(data["timestamp"]), time(), ZoneInfo(ZONES.get(exchange, "UTC"))
    )
    return {**data, "volume_decimals": 0, "timestamp": day.astimezone(UTC)}
