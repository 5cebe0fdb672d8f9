"""The vendors' streams: what comes of their frames, and what a connection lives through."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from etl.bus.memory import MemoryBus
from etl.feed.connection import Stream
from etl.feed.messages import (
    BAR,
    DAILY,
    NOTHING,
    UPDATED,
    Message,
    pack,
    read_number,
    unpack,
)
from etl.feed.outbox import Outbox
from etl.feed.running import build_stream, choose_source
from etl.feed.vendors import AlpacaFeed, MassiveFeed, Refusal, Refused
from etl.settings import Settings, SettingsError, read_settings
from tests import stream_vendors
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET
from tests.stream_vendors import StreamPeer, aggregate, bar, send, send_text, stream_peer

T1, T2 = "2026-11-24T14:30:00Z", "2026-11-24T14:31:00Z"
MS1 = 1_795_530_600_000
KEYS = {"ALPACA_KEY_ID": KEY_ID, "ALPACA_SECRET_KEY": SECRET, "MASSIVE_API_KEY": MASSIVE_KEY}


def settings_of(peer: StreamPeer | None = None, **more: str) -> Settings:
    urls = (
        {"ALPACA_STREAM_URL": peer.alpaca_url, "MASSIVE_STREAM_URL": peer.massive_url}
        if peer
        else {}
    )
    environ = {**KEYS, **urls, "STREAM_SYMBOLS": "AAPL,IBM", **more}
    return read_settings(Settings, environ=environ, env_file=Path("/nowhere/.env"))


def collect(peer: StreamPeer, count: int, source: str = "alpaca", **more: str) -> list[Message]:
    """The first messages that come of a stream, whatever happens to it."""
    found: list[Message] = []
    return found if count == 0 else asyncio.run(collect_here(peer, count, source, found, more))


async def collect_here(
    peer: StreamPeer, count: int, source: str, found: list[Message], more: dict[str, str]
) -> list[Message]:
    settings, is_over = settings_of(peer, **more), asyncio.Event()
    stream = build_stream(settings, source, Outbox(MemoryBus(1 << 20), 1 << 20))

    def take(message: Message) -> None:
        found.append(message)
        if len(found) >= count:
            is_over.set()

    stream.take, stream.pauses, stream.is_expected = take, (0.01, 0.02), lambda: True
    await asyncio.wait_for(stream.run(is_over), 60)
    return found


def show(message: Message) -> tuple[Any, ...]:
    return message.kind, message.symbol, message.timestamp, message.close, message.volume


@pytest.mark.parametrize("source", ["alpaca", "massive"])
def test_bars_come_as_they_were_sent(source: str) -> None:
    acts = {
        "alpaca": send(bar("AAPL", T1, 101.25), bar("IBM", T2, 1e-7), bar("AAPL", T1, 102, "u"),
                       bar("AAPL", "2026-11-24T05:00:00Z", 103, "d")),
        "massive": send(aggregate("AAPL", MS1, 101.25), aggregate("IBM", MS1 + 60_000, 1e-7)),
    }  # fmt: skip
    wanted = {
        "alpaca": [
            (BAR, "AAPL", T1, "101.25", "100"),
            (BAR, "IBM", T2, "1e-07", "100"),
            (UPDATED, "AAPL", T1, "102", "100"),
            (DAILY, "AAPL", "2026-11-24T05:00:00Z", "103", "100"),
        ],
        "massive": [(BAR, "AAPL", T1, "101.25", "100"), (BAR, "IBM", T2, "1e-07", "100")],
    }
    with stream_peer(acts=[[acts[source]]]) as peer:
        found = collect(peer, len(wanted[source]), source)
    assert [show(each) for each in found] == wanted[source]
    assert {each.source for each in found} == {source}
    dates = [each.received_at for each in found]
    assert dates == sorted(set(dates))  # no two at once, so that a correction is newer
    channels = {name: ["AAPL", "IBM"] for name in ("bars", "updatedBars", "dailyBars")}
    subscribed = {
        "alpaca": {"action": "subscribe", **channels},
        "massive": {"action": "subscribe", "params": "AM.AAPL,AM.IBM"},
    }
    assert peer.subscribed == [subscribed[source]]


def test_an_uncorrected_bar_that_comes_late_is_older_than_its_correction() -> None:
    late = [send(bar("AAPL", T1, 2, "u")), send(bar("AAPL", T1, 1), bar("AAPL", T2, 1))]
    with stream_peer(acts=[late]) as peer:
        corrected, old, other = collect(peer, 3)
    assert old.received_at < corrected.received_at < other.received_at


@pytest.mark.parametrize("end", ["close", "break_off", "be_silent"])
def test_a_stream_that_ends_or_goes_silent_is_made_again(end: str) -> None:
    first = [send(bar("AAPL", T1, 1)), getattr(stream_vendors, end)]
    with stream_peer(acts=[first, [send(bar("AAPL", T2, 2))]]) as peer:
        found = collect(peer, 2, STREAM_SILENCE="0.2")
    assert [each.timestamp for each in found] == [T1, T2]
    assert peer.opened == 2


def test_only_bars_count_as_life() -> None:
    heartbeat = [send({"T": "subscription", "bars": ["AAPL"]})] * 3
    with stream_peer(
        acts=[[*heartbeat, stream_vendors.be_silent], [send(bar("AAPL", T2, 2))]]
    ) as it:
        found = collect(it, 1, STREAM_SILENCE="0.2")
    assert (len(found), it.opened) == (1, 2)


@pytest.mark.parametrize("source", ["alpaca", "massive"])
def test_a_refused_key_ends_the_stream_and_names_the_setting(source: str) -> None:
    with (
        stream_peer(refuses=True) as peer,
        pytest.raises(Refused, match=f"{source.upper()}_"),
    ):
        collect(peer, 1, source)
    assert peer.opened == 1


def test_what_is_no_message_is_handed_on_and_hides_nothing() -> None:
    frames = [
        send_text("{not json"),
        send_text(b"\xff\xfe"),
        send_text('"a text"'),
        send(17, {"T": "x", "S": "AAPL"}, bar("AAPL", T1, 1)),
        send({"T": "b", "S": ["AAPL"], "t": 5, "o": "one", "c": None}),
    ]
    with stream_peer(acts=[frames]) as peer:
        found = collect(peer, 7)
    assert [each.kind for each in found] == [NOTHING] * 5 + [BAR, BAR]
    assert [each.text for each in found[:4]] == ["{not json", "\\xff\\xfe", "a text", "17"]
    assert found[-1][3:10] == ('["AAPL"]', "5", "one", None, None, None, None)


def test_a_refused_symbol_does_not_stop_the_others() -> None:
    refusal = {"T": "error", "code": 405, "msg": "symbol limit exceeded"}
    with stream_peer(acts=[[send(refusal, bar("AAPL", T1, 1))]]) as peer:
        (found,) = collect(peer, 1)
    assert found.symbol == "AAPL"
    assert peer.opened == 1
    assert list(AlpacaFeed(settings_of()).read(json.dumps([refusal]), 0)) == [
        Refusal("405 symbol limit exceeded")
    ]


def test_pauses_grow_while_a_connection_brings_nothing() -> None:
    async def run() -> list[float]:
        pauses: list[float] = []
        is_over = asyncio.Event()
        stream = Stream(AlpacaFeed(settings_of()), ("AAPL",), print, 1, pauses=(1, 8))

        async def fail(is_over_: asyncio.Event) -> str:
            return "no"

        async def note(is_over_: asyncio.Event, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 6:
                is_over.set()

        stream.connect_once = fail  # type: ignore[method-assign]
        import etl.feed.connection as module

        original, module.wait = module.wait, note
        try:
            await stream.run(is_over)
        finally:
            module.wait = original
        return pauses

    pauses = asyncio.run(run())
    assert all(a / 2 <= p <= a for a, p in zip((2, 4, 8, 8, 8, 8), pauses, strict=True))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("wss://stream.data.alpaca.markets/v2", "wss://stream.data.alpaca.markets/v2/sip"),
        ("ws://127.0.0.1:9/v2/iex", "ws://127.0.0.1:9/v2/iex"),
        ("ws://127.0.0.1:9/v2/", "ws://127.0.0.1:9/v2/sip"),
    ],
)
def test_the_feed_is_put_behind_the_address(url: str, wanted: str) -> None:
    assert AlpacaFeed(settings_of(ALPACA_STREAM_URL=url)).url == wanted


@pytest.mark.parametrize("url", ["ws://stream.example.com/v2", "http://127.0.0.1/v2", "wss://"])
def test_an_address_that_would_send_the_key_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="ALPACA_STREAM_URL"):
        settings_of(ALPACA_STREAM_URL=url)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, "alpaca"),
        ({"ALPACA_SECRET_KEY": ""}, "massive"),
        ({"ALPACA_SECRET_KEY": "", "MASSIVE_API_KEY": ""}, "replay"),
        ({"STREAM_SOURCE": "massive"}, "massive"),
        ({"STREAM_SOURCE": "replay"}, "replay"),
    ],
)
def test_the_source_is_the_one_whose_key_there_is(environ: dict[str, str], wanted: str) -> None:
    assert choose_source(settings_of(None, **environ)) == wanted


def test_a_source_without_its_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="wants ALPACA_KEY_ID and ALPACA_SECRET_KEY"):
        choose_source(
            settings_of(None, STREAM_SOURCE="alpaca", ALPACA_KEY_ID="", ALPACA_SECRET_KEY="")
        )


# Messages on the bus


def test_messages_come_out_of_an_entry_as_they_went_in() -> None:
    messages = [
        Message(BAR, 5, "alpaca", "AAPL", T1, "1", "2", "0.5", "1.5", None, is_missed=True),
        Message(NOTHING, 6, "massive", text='a\n"line"'),
    ]
    (body,) = pack(messages)
    assert list(unpack(body)) == messages


def test_many_messages_are_split_into_entries_that_a_bus_takes() -> None:
    messages = [
        Message(BAR, n, "alpaca", "AAPL", T1, "1", "2", "3", "4", "5") for n in range(9_000)
    ]
    bodies = list(pack(messages))
    assert len(bodies) > 1
    assert [each for body in bodies for each in unpack(body)] == messages


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'["bar"]', b'["odd",1,"x"]', b"7"])
def test_a_foreign_entry_is_nothing_that_is_known(body: bytes) -> None:
    (found,) = unpack(body)
    assert found.kind == NOTHING


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(1, "1"), (1.10, "1.1"), (2**70, str(2**70)), ("1.10", "1.10"), (None, None), (True, "true"),
     ([1], "[1]")],
)  # fmt: skip
def test_numbers_are_told_as_text(value: object, wanted: str | None) -> None:
    assert read_number(value) == wanted


@pytest.mark.parametrize("stamp", [MS1, -1, 2**60, "soon", None, 1.5])
def test_a_stamp_of_massive_that_is_none_is_left_to_the_rules(stamp: object) -> None:
    frame = json.dumps([aggregate("AAPL", 0, 1) | {"s": stamp}])
    (found,) = MassiveFeed(settings_of()).read(frame, 0)
    assert isinstance(found, Message)
    assert (found.timestamp == T1) is (stamp == MS1)


# The outbox


def test_what_came_while_the_bus_was_down_is_published_when_it_is_back() -> None:
    from etl.bus import BusDown

    class Broken(MemoryBus):
        is_down = True

        def publish(self, body: bytes) -> None:
            if self.is_down:
                raise BusDown("down")
            super().publish(body)

    bus = Broken(1 << 20)
    outbox = Outbox(bus, 1 << 20)
    for number in range(3):
        outbox.add(Message(BAR, number, "alpaca", "AAPL"))
        outbox.flush()
    assert (outbox.published, outbox.is_down) == (0, True)
    bus.is_down = False
    outbox.flush()
    found = [each for entry in bus.read(9, 0) for each in unpack(entry.body)]
    assert [each.received_at for each in found] == [0, 1, 2]
    assert (outbox.published, outbox.dropped, outbox.is_down) == (3, 0, False)


def test_what_has_no_room_while_the_bus_is_down_is_counted() -> None:
    from etl.bus import BusDown

    class Down(MemoryBus):
        def publish(self, body: bytes) -> None:
            raise BusDown("down")

    message = Message(BAR, 1, "alpaca", "AAPL")
    room = 2 * len(next(pack([message])))
    outbox = Outbox(Down(1), room)
    for _ in range(4):
        outbox.add(message)
        outbox.flush()
    assert (outbox.dropped, outbox.bytes) == (2, room)
