"""What a stream missed is asked for by REST: the span alone, within the budget, and marked."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl.bus.memory import MemoryBus
from etl.calls.vendor import Limits
from etl.feed.messages import BAR, Message
from etl.feed.missed import ask_missed, find_pause
from etl.feed.outbox import Outbox
from etl.feed.running import build_stream
from etl.settings import Settings, read_settings
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET, RestVendors, open_vendors
from tests.stream_vendors import StreamPeer, bar, break_off, send, stream_peer

KEYS = {"ALPACA_KEY_ID": KEY_ID, "ALPACA_SECRET_KEY": SECRET, "MASSIVE_API_KEY": MASSIVE_KEY}


def settings_of(folder: Path, vendors: RestVendors, **more: str) -> Settings:
    urls = {"ALPACA_BASE_URL": vendors.url, "MASSIVE_BASE_URL": vendors.url}
    paces = {"ALPACA_CALLS_PER_MINUTE": "0", "MASSIVE_CALLS_PER_MINUTE": "0"}
    environ = {"DATA_DIR": str(folder), "ALPACA_FEED": "iex", **KEYS, **urls, **paces, **more}
    return read_settings(Settings, environ=environ, env_file=Path("/nowhere/.env"))


SPAN = 7_000  # minutes: on whatever day and hour this runs, the vendors have a session in it


def ask(settings: Settings, name: str, *symbols: str, minutes: int = SPAN) -> list[Message]:
    found: list[Message] = []
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    assert ask_missed(settings, name, symbols, since, found.append) == len(found)
    return found


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_bars_of_the_span_come_marked_as_missed(tmp_path: Path, name: str) -> None:
    with open_vendors(minutes={"AAPL", "IBM"}, page_size=2, newest=datetime.now(UTC)) as vendors:
        found = ask(settings_of(tmp_path, vendors), name, "AAPL", "IBM")
        assert len(vendors.requests) > 2  # in pages
    assert {(each.kind, each.source, each.is_missed) for each in found} == {(BAR, name, True)}
    assert {each.symbol for each in found} == {"AAPL", "IBM"}
    since = datetime.now(UTC) - timedelta(minutes=SPAN + 2)
    assert all(datetime.fromisoformat(each.timestamp or "") >= since for each in found)
    ledger = (tmp_path / f"calls.{name}.jsonl").read_text()
    assert ledger.count('"what": "call"') + ledger.count('"what":"call"') == len(vendors.requests)
    assert not {KEY_ID, SECRET, MASSIVE_KEY} & set(ledger.split('"'))


def test_the_days_calls_are_kept(tmp_path: Path) -> None:
    with open_vendors(minutes={"AAPL", "IBM"}) as vendors:
        settings = settings_of(tmp_path, vendors, ALPACA_CALLS_PER_DAY="1")
        found = ask(settings, "alpaca", "AAPL", "IBM")
        assert len(vendors.requests) == 1
    assert {each.symbol for each in found} == {"AAPL"}


def test_a_symbol_that_fails_costs_no_other(tmp_path: Path) -> None:
    with open_vendors(minutes={"IBM"}) as vendors:
        found = ask(settings_of(tmp_path, vendors), "alpaca", "NOSUCH", "IBM")
    assert {each.symbol for each in found} == {"IBM"}


def test_a_hole_of_seconds_asks_nothing(tmp_path: Path) -> None:
    with open_vendors(minutes={"AAPL"}) as vendors:
        assert ask(settings_of(tmp_path, vendors), "alpaca", "AAPL", minutes=0) == []
        assert vendors.requests == []


@pytest.mark.parametrize(
    ("limits", "pause"), [((0, 0), 0), ((4, 0), 0.25), ((0, 30), 2), ((10, 30), 2)]
)
def test_calls_are_spaced_as_the_vendor_wants(limits: tuple[int, int], pause: float) -> None:
    assert find_pause(Limits(0, UTC, *limits)) == pause  # type: ignore[arg-type]


def test_a_connection_that_broke_asks_for_what_it_missed(tmp_path: Path) -> None:
    stamp = f"{datetime.now(UTC) - timedelta(minutes=3):%Y-%m-%dT%H:%M:00Z}"

    async def run(peer: StreamPeer, vendors: RestVendors) -> list[tuple[int, tuple[str, ...]]]:
        settings = settings_of(
            tmp_path, vendors, ALPACA_STREAM_URL=peer.alpaca_url, STREAM_SYMBOLS="AAPL"
        )
        stream = build_stream(settings, "alpaca", Outbox(MemoryBus(1 << 20), 1 << 20))
        asked: list[tuple[int, tuple[str, ...]]] = []
        is_over = asyncio.Event()

        def catch_up(last: int) -> None:
            asked.append((last, tuple(stream.symbols)))
            if len(asked) == 2:
                is_over.set()

        stream.catch_up, stream.pauses = catch_up, (0.01, 0.02)
        await asyncio.wait_for(stream.run(is_over), 60)
        return asked

    with (
        open_vendors(minutes={"AAPL"}) as vendors,
        stream_peer(acts=[[send(bar("AAPL", stamp, 1)), break_off]]) as peer,
    ):
        first, second = asyncio.run(run(peer, vendors))
    assert first == (0, ("AAPL",))
    assert second[0] > 0
