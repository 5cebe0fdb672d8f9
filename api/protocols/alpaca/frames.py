"""Messages of Alpaca's stream, and the frames that carry them. Pure.

Source: https://docs.alpaca.markets/docs/streaming-market-data. A frame is a list of messages, in
JSON, or in MessagePack where the client asks for it by its Content-Type.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from api.bars.volumes import divide_volume

Message = dict[str, Any]

BARS, UPDATED, DAILY = "bars", "updatedBars", "dailyBars"
TYPES = {BARS: "b", UPDATED: "u", DAILY: "d"}
OTHERS = ("trades", "quotes", "statuses", "lulds", "corrections", "cancelErrors", "orderbooks")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
MSGPACK = b"application/msgpack"
MOST_SYMBOLS = 30_000


def tell_error(code: int) -> Message:
    return {"T": "error", "code": code, "msg": ERRORS[code]}


def tell_success(said: str) -> Message:
    return {"T": "success", "msg": said}


@dataclass
class Coder:
    """is_packed: frames are MessagePack, in which an instant has a type of its own."""

    is_packed: bool

    def encode(self, messages: Sequence[Message]) -> bytes | str:
        if self.is_packed:
            import msgpack  # type: ignore[import-untyped]

            packed: bytes = msgpack.packb(messages, datetime=True)
            return packed
        return orjson.dumps(messages, option=orjson.OPT_UTC_Z).decode()

    def decode(self, frame: bytes | str) -> Message | None:
        """What a client said; None where it cannot be read."""
        try:
            if self.is_packed and isinstance(frame, bytes):
                import msgpack

                said = msgpack.unpackb(frame)
            else:
                said = orjson.loads(frame)
        except Exception:  # msgpack raises errors of many kinds
            return None
        return said if isinstance(said, dict) else None


@dataclass
class Subscription:
    """channel → its symbols; * is all."""

    channels: dict[str, set[str]] = field(
        default_factory=lambda: {name: set() for name in (BARS, UPDATED, DAILY)}
    )

    def change(self, said: Message) -> int | None:
        """Add or take away what a client said; the code of an error where it cannot be."""
        named = {name: said.get(name) or [] for name in (BARS, UPDATED, DAILY)}
        if not all(is_symbols(symbols) for symbols in named.values()):
            return 400
        if any(said.get(name) for name in OTHERS) and not any(named.values()):
            return 410  # only bars are kept here
        for name, symbols in named.items():
            found = {symbol.upper() for symbol in symbols}
            if said["action"] == "subscribe":
                self.channels[name] |= found
            else:
                self.channels[name] -= found
        return 405 if sum(map(len, self.channels.values())) > MOST_SYMBOLS else None

    def tell(self) -> Message:
        named = {name: sorted(symbols) for name, symbols in self.channels.items()}
        return {"T": "subscription", **{name: [] for name in OTHERS}, **named}

    def wants(self, channel: str, symbol: str) -> bool:
        symbols = self.channels[channel]
        return symbol in symbols or "*" in symbols

    @property
    def symbols(self) -> frozenset[str]:
        """Of all channels; empty: all, or none."""
        found = set[str]().union(*self.channels.values())
        return frozenset() if "*" in found else frozenset(found)


def is_symbols(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def show_bar(channel: str, row: Message) -> Message:
    """row: a change, or a stored bar: values and timestamp (naive UTC)."""
    volume = divide_volume(row["volume"], row["volume_decimals"])
    stamp: datetime = row["timestamp"]
    return {
        "T": TYPES[channel],
        "S": row["symbol"],
        **{name[0]: row[name] for name in ("open", "high", "low", "close")},
        "v": volume or 0,
        "n": None,
        "vw": None,
        "t": stamp.replace(tzinfo=UTC),
    }
