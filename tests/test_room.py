"""What is in the making at once is bounded in bytes; what is small does not wait for it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.cache import series_cache
from api.cache.once import Flight, Once
from api.edge import room as rooms
from api.edge.room import SMALL, Hold, Room
from api.faults import Busy
from api.main import create_app
from api.store.duckdb_file.snapshots import Database
from tests.server import connect_async, make_settings, serve, serve_app, wait_until
from tests.stores import load_answer, store_of, write_store

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


NAMES = [f"S{n:02}" for n in range(100)]
OLDEST = "2024-02-01T00:00:00"
SQL_PAST = (
    """INSERT INTO corporate_actions SELECT symbol, '2024-01-10', 'split', 2, NULL, 'files',
        '2024-02-02', '2024-02-02' FROM instruments WHERE symbol < 'S50'""",
    """INSERT INTO corporate_action_revisions SELECT symbol, '2024-01-11', 'dividend', NULL, 0.5,
        'files', '2024-02-01', '2024-02-03', 'a run' FROM instruments WHERE symbol > 'S40'""",
    """INSERT INTO bar_notes SELECT symbol, '2024-01-09', 'a reason', '', 'a run', '2024-02-02'
        FROM instruments WHERE symbol LIKE '%3'""",
    """INSERT INTO bar_note_revisions SELECT symbol, '2024-01-12', 'a reason', '', '2024-02-01',
        '2024-02-03', 'a run' FROM instruments WHERE symbol LIKE '%4'""",
)


@pytest.fixture(scope="module")
def hundred_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred symbols with a past: later bars, other values, actions and notes since then."""
    data_dir = tmp_path_factory.mktemp("hundred") / "data"
    days = [f"2024-01-{day:02}" for day in (8, 9, 10, 11, 12)]
    first = [(name, day, 20 + n / 7, n or None) for n, name in enumerate(NAMES) for day in days]
    load_answer(data_dir, OLDEST, *first)
    changed = [(name, days[2], 31 + n / 7, 5) for n, name in enumerate(NAMES) if n % 3 == 0]
    added = [(name, "2024-01-16", 21.5, None) for n, name in enumerate(NAMES) if n % 2]
    load_answer(data_dir, "2024-02-03T00:00:00", *changed, *added)
    write_store(store_of(data_dir), *SQL_PAST)
    return data_dir


def ask_questions(client: httpx.Client, app: FastAPI, url: str) -> tuple[int, list[str]]:
    """How often the database was asked for the answer, and its lines."""
    asked: list[object] = []
    database: Database = app.state.database
    ask = database.ask

    async def watch(*args: Any, **options: Any) -> Any:
        asked.append(args)
        return await ask(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "ask", watch)
        answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return len(asked), answer.text.splitlines()


@pytest.mark.parametrize(
    "instant",
    ["", *(f"&as_of={at}Z" for at in (OLDEST, "2024-02-02T12:00:00"))],
)
def test_a_hundred_symbols_are_one_question_and_each_answers_as_it_does_alone(
    hundred_dir: Path, instant: str
) -> None:
    app = create_app(make_settings(hundred_dir))
    shuffled = NAMES[1::2] + NAMES[::2]
    view = f"adjustment=all&quality=strict&format=csv{instant}"
    fields = "fields=symbol,open,high,low,close,volume"
    with serve_app(app) as client:
        assert client.get("/ohlcv?symbols=S01").status_code == 200  # reads what symbols there are
        asked, lines = ask_questions(client, app, f"/ohlcv?symbols={','.join(shuffled)}&{view}")
        assert asked == 2  # bars with their actions, and notes
    by_symbol = {name: [x for x in lines if x.split(",")[1] == name] for name in shuffled}
    assert lines[1:] == [line for some in by_symbol.values() for line in some]
    with serve(hundred_dir) as client:
        for name in shuffled[::5]:
            alone = client.get(f"/instruments/{name}/ohlcv?{view}&{fields}")
            assert alone.text.splitlines()[1:] == by_symbol[name]
    assert all(by_symbol.values())


def test_symbols_of_very_many_bars_are_asked_for_some_at_a_time(
    hundred_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(make_settings(hundred_dir))
    url = f"/ohlcv?symbols={','.join(NAMES)}&as_of={OLDEST}Z&format=csv&limit="
    with serve_app(app) as client:
        assert client.get("/ohlcv?symbols=S01").status_code == 200
        once, lines = ask_questions(client, app, f"{url}1000")
        monkeypatch.setattr(series_cache, "READ_AT_ONCE", 110)  # 5 or 6 bars a symbol, 550 in all
        some, again = ask_questions(client, app, f"{url}1001")
    assert (once, some) == (1, 5)
    assert lines == again


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
