"""What is in the making at once is bounded in bytes; what is small does not wait for it."""

import asyncio
from pathlib import Path

import httpx
import pytest

from api import room as rooms
from api.errors import Busy
from api.main import create_app
from api.once import Flight, Once
from api.room import SMALL, Hold, Room
from tests.server import connect_async, make_settings, serve, serve_app, wait_until

MB = 2**20


def test_who_needs_much_waits_till_there_is_room_and_who_needs_little_does_not() -> None:
    async def check() -> list[str]:
        room, order = Room(10 * MB), []

        async def make(name: str, need: int, hold: Hold) -> None:
            await hold.take(need)
            order.append(name)

        first, second, third, little = (Hold(room) for _ in range(4))
        await make("first", 6 * MB, first)
        waiting = [asyncio.create_task(make("second", 6 * MB, second))]
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(make("third", 2 * MB, third)))  # not before the second
        await asyncio.sleep(0)
        await make("little", SMALL - 1, little)
        assert order == ["first", "little"]
        first.release()
        await asyncio.gather(*waiting)
        assert room.taken == 8 * MB
        for hold in (second, third, little, first):
            hold.release()
        assert (room.taken, len(room.queue)) == (0, 0)
        return order

    assert asyncio.run(check()) == ["first", "little", "second", "third"]


def test_more_than_there_is_has_the_room_alone_and_a_second_demand_does_not_wait() -> None:
    async def check() -> None:
        room = Room(4 * MB)
        one, other = Hold(room), Hold(room)
        await one.take(99 * MB)
        assert room.taken == 4 * MB
        waits = asyncio.create_task(other.take(2 * MB))
        await asyncio.sleep(0)
        one.release()
        await waits
        await other.take(3 * MB)
        assert room.taken == 3 * MB

    asyncio.run(check())


def test_who_gives_up_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        room = Room(4 * MB)
        first, gone, last = Hold(room), Hold(room), Hold(room)
        await first.take(3 * MB)
        leaving = asyncio.create_task(gone.take(4 * MB))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        gone.release()
        await last.take(MB)  # nobody is before it any more
        monkeypatch.setattr(rooms, "PATIENCE", 0)
        with pytest.raises(Busy):
            await gone.take(2 * MB)
        first.release()
        last.release()
        assert (room.taken, len(room.queue)) == (0, 0)

    asyncio.run(check())


def test_the_last_to_leave_gives_the_room_back() -> None:
    async def check() -> None:
        once: Once[str] = Once()
        left: list[str] = []

        async def make(flight: Flight[str]) -> str:
            flight.on_left = lambda: left.append("left")
            return "made"

        one, other = once.join("key", make), once.join("key", make)
        assert await one.task == "made"
        one.leave()
        assert left == []
        other.leave()
        assert left == ["left"]

    asyncio.run(check())


def test_wide_answers_are_made_one_after_the_other_where_there_is_room_for_one(
    sample_dir: Path,
) -> None:
    app = create_app(make_settings(sample_dir, WORK_MAX_MB=2, CACHE_MAX_MB=1))
    room: Room = app.front.room  # type: ignore[attr-defined]
    most = 0
    enter = room.enter

    async def watch(need: int) -> None:
        nonlocal most
        await enter(need)
        most = max(most, room.taken)

    room.enter = watch  # type: ignore[method-assign]

    async def ask(base_url: httpx.URL) -> list[httpx.Response]:
        urls = [f"/ohlcv?symbols=AAPL,IBM,MSFT&limit={9_000 + n}" for n in range(8)]
        async with connect_async(base_url) as client:
            return await asyncio.gather(*map(client.get, urls))

    with serve_app(app) as client:
        answers = asyncio.run(ask(client.base_url))
        wait_until(lambda: room.taken == 0)
    assert {answer.status_code for answer in answers} == {200}
    assert most == room.size


def test_a_hundred_symbols_as_they_were_known_come_at_the_default_settings(
    sample_dir: Path,
) -> None:
    with serve(sample_dir, QUERY_TIMEOUT="1") as client:
        names = ",".join(("AAPL", "FB", "GOOG", "IBM", "MSFT"))
        answer = client.get(f"/ohlcv?symbols={names}&as_of=2030-01-01T00:00:00Z&limit=20000")
        assert answer.status_code == 200
        plain = client.get(f"/ohlcv?symbols={names}&limit=20000")
        assert answer.json()["data"] == plain.json()["data"]


@pytest.mark.parametrize(
    "url",
    [
        "/instruments/AAPL/indicators?names=sma:5,ema:6,rsi:7,macd,bbands,atr,vwap,obv,stoch,"
        "sma:10,sma:11",
        "/instruments/AAPL/rolling?window=5",
    ],
)
def test_the_figures_of_one_answer_are_bounded(sample_dir: Path, url: str) -> None:
    with serve(sample_dir, MAX_ROWS=3270) as client:
        answer = client.get(url)
        if "rolling" in url:
            assert answer.status_code == 200
        else:
            assert answer.status_code == 422
            assert "ask for a shorter range, or for fewer figures" in answer.json()["detail"]
            assert client.get(f"{url}&start=2012-01-01").status_code == 200
