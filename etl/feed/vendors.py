"""What Alpaca and Massive send over a WebSocket, and what they want to hear first.

A vendor is its greeting and its frames; connecting again and again is the same for all of them
(connection.py). Sources: https://docs.alpaca.markets/docs/real-time-stock-pricing-data and
https://massive.com/docs/websocket/stocks/aggregates-per-minute.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection

from etl.feed.messages import BAR, DAILY, UPDATED, Message, read_number, tell_nothing
from etl.settings import Settings, SettingsError

GREETING_SECONDS = 10.0
MOST_OF_A_FRAME = 500  # symbols in one message that subscribes


class Refused(Exception):
    """The vendor does not let us in, and another try changes nothing; the message says why."""


class Hangup(Exception):
    """The connection is of no use any more: another one is made."""


class Refusal(NamedTuple):
    """Some of what was asked for is not given; the rest goes on."""

    said: str


class Feed(Protocol):
    """One vendor's stream."""

    name: str

    @property
    def url(self) -> str: ...
    async def greet(self, socket: ClientConnection, symbols: Sequence[str]) -> None:
        """Log in and subscribe. Refused, Hangup."""
        ...

    def read(self, frame: str | bytes, at: int) -> Iterator[Message | Refusal]:
        """The bars of a frame; whatever is no message is NOTHING. Refused, Hangup."""
        ...


@dataclass(frozen=True)
class AlpacaFeed:
    settings: Settings
    name = "alpaca"
    kinds = {"b": BAR, "u": UPDATED, "d": DAILY}  # noqa: RUF012 (a constant)

    @property
    def url(self) -> str:
        url = self.settings.alpaca_stream_url
        has_feed = len(urlsplit(url).path.strip("/").split("/")) > 1  # /v2/iex, as SDKs write it
        return url if has_feed else f"{url}/{self.settings.alpaca_feed}"

    async def greet(self, socket: ClientConnection, symbols: Sequence[str]) -> None:
        await expect(socket, lambda each: each.get("msg") == "connected")
        parts = self.settings.alpaca_key_id, self.settings.alpaca_secret_key
        for part in parts:
            part.refresh()
        key, secret = (part.value for part in parts)
        await send(socket, {"action": "auth", "key": key, "secret": secret})
        await expect(socket, lambda each: each.get("msg") == "authenticated")
        for some in cut(symbols):
            channels = dict.fromkeys(("bars", "updatedBars", "dailyBars"), some)
            await send(socket, {"action": "subscribe", **channels})

    def read(self, frame: str | bytes, at: int) -> Iterator[Message | Refusal]:
        for each in read_frame(frame, self.name, at):
            if isinstance(each, Message):
                yield each
            elif kind := self.kinds.get(each.get("T", "")):
                yield Message(kind, at, self.name, *read_values(each, ("S", "t", *"ohlcv")))
            elif each.get("T") == "error":
                yield check_error(each.get("code"), str(each.get("msg", "")))
            elif each.get("T") not in ("success", "subscription"):
                yield tell_nothing(each, self.name, at)


# Alpaca's codes: 402 auth failed, 404 auth timeout, 406 connection limit, 409 insufficient
# subscription; 405 symbol limit and 400 invalid syntax concern what was asked, not the connection.
FATAL = {
    402: "the key is refused: check ALPACA_KEY_ID and ALPACA_SECRET_KEY",
    409: "the key's plan has no such stream: set ALPACA_FEED=iex",
}
PASSING = {404, 406, 407, 500}


def check_error(code: object, message: str) -> Refusal:
    """Refused, Hangup where it ends the connection."""
    if code in FATAL:
        raise Refused(FATAL[int(str(code))])
    if code in PASSING:
        raise Hangup(f"{code} {message}")
    return Refusal(f"{code} {message}")


@dataclass(frozen=True)
class MassiveFeed:
    settings: Settings
    name = "massive"

    @property
    def url(self) -> str:
        return self.settings.massive_stream_url

    async def greet(self, socket: ClientConnection, symbols: Sequence[str]) -> None:
        await expect(socket, lambda each: each.get("status") == "connected")
        self.settings.massive_api_key.refresh()
        await send(socket, {"action": "auth", "params": self.settings.massive_api_key.value})
        await expect(socket, lambda each: each.get("status") == "auth_success")
        for part in cut(symbols):
            params = ",".join(f"AM.{symbol}" for symbol in part)
            await send(socket, {"action": "subscribe", "params": params})

    def read(self, frame: str | bytes, at: int) -> Iterator[Message | Refusal]:
        for each in read_frame(frame, self.name, at):
            if isinstance(each, Message):
                yield each
            elif each.get("ev") == "AM":
                stamped = {**each, "s": read_stamp(each.get("s"))}
                values = read_values(stamped, ("sym", "s", *"ohlcv"))
                yield Message(BAR, at, self.name, *values)
            elif each.get("ev") == "status":
                if said := check_status(*(str(each.get(n, "")) for n in ("status", "message"))):
                    yield said
            else:
                yield tell_nothing(each, self.name, at)


def check_status(status: str, message: str) -> Refusal | None:
    """Refused, Hangup where it ends the connection; None where all is well."""
    if status == "auth_failed":
        raise Refused("the key is refused: check MASSIVE_API_KEY")
    if status in ("max_connections", "auth_timeout", "force_disconnect"):
        raise Hangup(f"{status} {message}")
    if status in ("error", "not_authorized"):
        return Refusal(f"{status} {message}")
    return None


Values = tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None]


def read_values(each: dict[str, Any], names: Sequence[str]) -> Values:
    """Symbol, timestamp, open, high, low, close, volume, under the vendor's names for them."""
    one, two, three, four, five, six, seven = (read_number(each.get(name)) for name in names)
    return one, two, three, four, five, six, seven


def read_stamp(value: object) -> str | None:
    """Milliseconds since 1970 as an instant; anything else as it is."""
    if isinstance(value, int) and abs(value) < 1 << 52:
        try:
            return datetime.fromtimestamp(value / 1000, UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError, OSError):
            pass
    return read_number(value)


# Frames, the same for both: a list of objects, as JSON.


def read_frame(frame: str | bytes, name: str, at: int) -> Iterator[dict[str, Any] | Message]:
    try:
        parts = orjson.loads(frame)
    except ValueError:
        yield tell_nothing(frame, name, at)
        return
    for each in parts if isinstance(parts, list) else [parts]:
        yield each if isinstance(each, dict) else tell_nothing(each, name, at)


async def send(socket: ClientConnection, what: dict[str, Any]) -> None:
    await socket.send(orjson.dumps(what).decode())


async def expect(socket: ClientConnection, is_it: Callable[[dict[str, Any]], bool]) -> None:
    """Wait for the message that must come now. Refused, Hangup."""
    try:
        frame = await asyncio.wait_for(socket.recv(), GREETING_SECONDS)
    except TimeoutError:
        raise Hangup("no greeting came") from None
    for each in read_frame(frame, "", 0):
        if isinstance(each, dict) and is_it(each):
            return
        if isinstance(each, dict) and each.get("T") == "error":
            check_error(each.get("code"), str(each.get("msg", "")))
        if isinstance(each, dict) and each.get("ev") == "status":
            check_status(str(each.get("status", "")), str(each.get("message", "")))
    raise Hangup(f"an unexpected greeting: {frame[:80]!r}")


def cut(symbols: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(symbols), MOST_OF_A_FRAME):
        yield list(symbols[first : first + MOST_OF_A_FRAME])


def check_keys(settings: Settings, source: str) -> None:
    """SettingsError where a key is missing."""
    needed = {
        "alpaca": ("ALPACA_KEY_ID", "ALPACA_SECRET_KEY"),
        "massive": ("MASSIVE_API_KEY",),
    }.get(source, ())
    values = {name: getattr(settings, name.lower()) for name in needed}
    if missing := [name for name, secret in values.items() if not secret.value]:
        raise SettingsError(f"STREAM_SOURCE={source} wants {' and '.join(missing)}: put it in .env")
