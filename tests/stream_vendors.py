"""Alpaca's and Massive's streams on loopback, to the letter; and what else a vendor may do.

Shapes are those that the vendors' SDKs read. `acts` is what a connection does once somebody has
subscribed: send a frame, close, break off, or stay silent; each connection takes the next list.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET
from tests.server import HOST, PATIENCE

Act = Callable[["StreamPeer", ServerConnection], Any]


def send(*messages: Any) -> Act:
    async def act(peer: "StreamPeer", socket: ServerConnection) -> None:
        await socket.send(json.dumps(list(messages)))
        peer.sent += len(messages)

    return act


def send_text(frame: str | bytes) -> Act:
    async def act(peer: "StreamPeer", socket: ServerConnection) -> None:
        await socket.send(frame)

    return act


async def close(peer: "StreamPeer", socket: ServerConnection) -> None:
    await socket.close()


async def break_off(peer: "StreamPeer", socket: ServerConnection) -> None:
    """As a cable that is cut: no word of it."""
    socket.transport.abort()


async def be_silent(peer: "StreamPeer", socket: ServerConnection) -> None:
    await socket.wait_closed()


def bar(symbol: str, stamp: str, close: float, kind: str = "b", **more: Any) -> dict[str, Any]:
    values = {"o": close, "h": close + 0.5, "l": close - 0.5, "c": close, "v": 100, "n": 3}
    return {"T": kind, "S": symbol, "t": stamp, **values, "vw": close, **more}


def aggregate(symbol: str, start_ms: int, close: float, **more: Any) -> dict[str, Any]:
    values = {"o": close, "h": close + 0.5, "l": close - 0.5, "c": close, "v": 100, "vw": close}
    return {"ev": "AM", "sym": symbol, **values, "s": start_ms, "e": start_ms + 60_000, **more}


@dataclass
class StreamPeer:
    """acts: of each connection in turn; the last list is that of all later ones. is_kept: whether a
    connection stays open when its acts are done."""

    acts: list[list[Act]] = field(default_factory=lambda: [[]])
    refuses: bool = False
    is_kept: bool = True
    port: int = 0
    opened: int = 0
    sent: int = 0
    subscribed: list[Any] = field(default_factory=list)

    @property
    def alpaca_url(self) -> str:
        return f"ws://{HOST}:{self.port}/v2"

    @property
    def massive_url(self) -> str:
        return f"ws://{HOST}:{self.port}/stocks"

    async def answer(self, socket: ServerConnection) -> None:
        number = self.opened
        self.opened += 1
        path = socket.request.path if socket.request else ""
        greet = self.greet_alpaca if path.startswith("/v2/") else self.greet_massive
        try:
            if await greet(socket):
                for act in self.acts[min(number, len(self.acts) - 1)]:
                    await act(self, socket)
                if self.is_kept:
                    await socket.wait_closed()
        except ConnectionClosed:
            return

    async def greet_alpaca(self, socket: ServerConnection) -> bool:
        await socket.send(json.dumps([{"T": "success", "msg": "connected"}]))
        asked = json.loads(await socket.recv())
        is_known = (asked["action"], asked["key"], asked["secret"]) == ("auth", KEY_ID, SECRET)
        if self.refuses or not is_known:
            await socket.send(json.dumps([{"T": "error", "code": 402, "msg": "auth failed"}]))
            return False
        await socket.send(json.dumps([{"T": "success", "msg": "authenticated"}]))
        asked = json.loads(await socket.recv())
        self.subscribed.append(asked)
        channels = {name: asked.get(name, []) for name in ("bars", "updatedBars", "dailyBars")}
        empty: dict[str, list[str]] = {"trades": [], "quotes": []}
        await socket.send(json.dumps([{"T": "subscription", **channels, **empty}]))
        return True

    async def greet_massive(self, socket: ServerConnection) -> bool:
        await self.tell(socket, "connected", "Connected Successfully")
        asked = json.loads(await socket.recv())
        if self.refuses or asked != {"action": "auth", "params": MASSIVE_KEY}:
            await self.tell(socket, "auth_failed", "authentication failed")
            return False
        await self.tell(socket, "auth_success", "authenticated")
        asked = json.loads(await socket.recv())
        self.subscribed.append(asked)
        for channel in asked["params"].split(","):
            await self.tell(socket, "success", f"subscribed to: {channel}")
        return True

    async def tell(self, socket: ServerConnection, status: str, message: str) -> None:
        await socket.send(json.dumps([{"ev": "status", "status": status, "message": message}]))


@contextmanager
def stream_peer(**fields: Any) -> Iterator[StreamPeer]:
    """It listens in a thread while the block runs."""
    peer = StreamPeer(**fields)
    is_ready, loop = threading.Event(), asyncio.new_event_loop()
    is_over = asyncio.Event()

    async def run() -> None:
        async with serve(peer.answer, HOST, 0) as server:
            peer.port = next(iter(server.sockets)).getsockname()[1]
            is_ready.set()
            await is_over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert is_ready.wait(PATIENCE)
    try:
        yield peer
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(PATIENCE)
        loop.close()
