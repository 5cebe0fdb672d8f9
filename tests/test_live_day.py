"""A trading day with late, corrected, doubled and malformed bars, beside those who read."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import call_etl
from tests.live_kills import following, open_snapshot
from tests.redis_server import RedisServer, run_redis
from tests.server import connect, serve, wait_until
from tests.stream_vendors import Act, StreamPeer, bar, send, send_text, stream_peer
from tests.test_live import KEYS, end, run

MINUTES = 390
OPEN = datetime(2024, 3, 7, 14, 30)  # noqa: DTZ001
READERS = 8
Key = tuple[str, str]


def spoil(symbol: str, stamp: str, number: int) -> tuple[Act, str]:
    """What is sent in place of a bar, and a word of why it is refused."""
    kinds: list[tuple[Act, str]] = [
        (send(bar(symbol, stamp, 10, h=1.0)), "high"),
        (send(bar(symbol, stamp, 10, o=None)), "price"),
        (send(bar(symbol, stamp, 10, v=-5)), "volume"),
        (send(bar(symbol, "yesterday", 10)), "time"),
        (send_text("{cut off"), "no message"),
        (send({"T": "?", "S": symbol}), "no message"),
    ]
    return kinds[number % len(kinds)]


@dataclass
class Day:
    """What a vendor sends minute by minute, and what has to be stored of it in the end."""

    symbols: int
    seed: int = 15
    acts: dict[int, list[Act]] = field(default_factory=dict)
    wanted: dict[Key, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        for minute in range(MINUTES):
            for number in range(self.symbols):
                self.add(minute, f"S{number:03d}", 10.0 + number + minute / 100)

    def put(self, minute: int, act: Act) -> None:
        self.acts.setdefault(minute, []).append(act)

    def add(self, minute: int, symbol: str, close: float) -> None:
        stamp = f"{OPEN + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"
        if self.chance.random() < 0.001:
            act, reason = spoil(symbol, stamp, len(self.reasons))
            self.put(minute, act)
            self.reasons.append(reason)
            return
        is_late, is_corrected, is_doubled = (self.chance.random() < 0.01 for _ in range(3))
        self.counts += Counter(late=is_late, corrected=is_corrected, doubled=is_doubled)
        minute += self.chance.randint(2, 30) if is_late else 0
        self.put(minute, send(bar(symbol, stamp, close)))
        if is_doubled:  # behind a correction too, which it does not undo
            self.put(minute + self.chance.randint(0, 30), send(bar(symbol, stamp, close)))
        if is_corrected:
            close += 0.25 * self.chance.choice((-1, 1))
            self.put(minute + self.chance.randint(0, 20), send(bar(symbol, stamp, close, "u")))
        self.wanted[symbol, stamp] = close

    def play(self, pause: float, is_over: threading.Event) -> list[Act]:
        async def act(peer: StreamPeer, socket: Any) -> None:
            for minute in sorted(self.acts):
                for each in self.acts[minute]:
                    await each(peer, socket)
                await asyncio.sleep(pause)
            is_over.set()

        return [act]


def read(folder: Path) -> dict[Key, float]:
    found: dict[Key, float] = {}
    with open_snapshot(folder) as snapshot:
        for symbol, _ in snapshot.instruments:
            rows = snapshot.bars(symbol, "1m").to_pylist()
            assert len({row["timestamp"] for row in rows}) == len(rows)
            found |= {(symbol, f"{row['timestamp']:%Y-%m-%dT%H:%M:%SZ}"): row["close"]
                      for row in rows}  # fmt: skip
    return found


@dataclass
class Readers:
    """Each asks one question again and again; what was wrong with an answer is kept."""

    client: httpx.Client
    is_over: threading.Event = field(default_factory=threading.Event)
    faults: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def ask(self, url: str) -> None:
        before = newest = 0
        with connect(self.client.base_url) as own:
            while not self.is_over.is_set():
                answer = own.get(url)
                if answer.status_code == 404 and not before:  # not stored yet
                    continue
                if answer.status_code != 200:
                    self.faults.append(f"{url}: {answer.status_code} {answer.text[:300]}")
                    continue
                count = len(answer.json()["data"])
                if count < before:
                    self.faults.append(f"{url}: {count} bars after {before}")
                counter = int(answer.headers[self.name_counter(url)].partition("-")[0])
                if counter < newest:
                    self.faults.append(f"{url}: generation {counter} after {newest}")
                before, newest = count, counter
                self.answers[url] += 1

    def name_counter(self, url: str) -> str:
        return "X-Minute-Generation" if "m&" in url else "X-Data-Generation"


@contextmanager
def reading(client: httpx.Client) -> Iterator[Readers]:
    readers = Readers(client)
    urls = ["/instruments/IBM/ohlcv?limit=100", "/instruments/AAPL/ohlcv?interval=1w",
            "/instruments/S000/ohlcv?interval=1m&limit=5000",
            "/instruments/S001/ohlcv?interval=5m&limit=5000"]  # fmt: skip
    threads = [
        threading.Thread(target=readers.ask, args=(urls[number % len(urls)],), daemon=True)
        for number in range(READERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        readers.is_over.set()
        for thread in threads:
            thread.join()


def list_dead(server: RedisServer) -> list[str]:
    return [fields[b"reason"].decode() for _, fields in server.client.xrange("mds:bus:dead")]


def is_as_wanted(day: Day, folder: Path, server: RedisServer) -> Callable[[], bool]:
    return lambda: read(folder) == day.wanted and len(list_dead(server)) == len(day.reasons)


@pytest.mark.parametrize(
    ("symbols", "pause"),
    [
        pytest.param(8, 0.0, marks=pytest.mark.long, id="as fast as it goes"),
        pytest.param(50, 1.0, marks=pytest.mark.live, id="a minute a second"),
    ],
)
def test_a_day_with_faults_ends_as_a_plain_count_of_it_says(
    tmp_path: Path, symbols: int, pause: float
) -> None:
    data, folder, is_sent = tmp_path / "data", tmp_path / "redis", threading.Event()
    folder.mkdir()
    call_etl(data)
    day = Day(symbols)
    assert day.reasons
    assert min(day.counts.values()) > 5
    with ExitStack() as stack:
        server = stack.enter_context(run_redis(folder, is_durable=True))
        client = stack.enter_context(serve(data))
        follower = stack.enter_context(following(client.base_url.port or 0))
        readers = stack.enter_context(reading(client))
        peer = stack.enter_context(stream_peer(acts=[day.play(pause, is_sent)]))
        names = ",".join(f"S{number:03d}" for number in range(symbols))
        settings = {**KEYS, "BUS_URL": server.url, "STREAM_SYMBOLS": names}
        settings |= {"STREAM_SILENCE": "3600", "ALPACA_STREAM_URL": peer.alpaca_url}
        parts = [stack.enter_context(run(name, data, **settings)) for name in ("consume", "stream")]
        assert is_sent.wait(900)
        wait_until(is_as_wanted(day, data, server))
        for part in reversed(parts):
            code, said = end(part)
            assert code == 0, said
        assert is_as_wanted(day, data, server)()
        dead = sorted(list_dead(server))
        assert all(any(word in each for each in dead) for word in day.reasons)
        with open_snapshot(data) as snapshot:
            changes = snapshot.changes((0, 0), 1_000_000).num_rows
        wait_until(lambda: len(follower.heard) >= changes)
    assert readers.faults == []
    assert len(readers.answers) == 4
    told = [tuple(map(int, position.split("-"))) for _, position in follower.heard]
    assert told == sorted(set(told))
    assert len(told) == changes
