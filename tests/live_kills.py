"""A day in replay through Redis, of which each part is killed again and again.

    a store ─stream→ Redis ─→ consumer ─→ another store ─→ API ─→ a listener

tests/test_live_kills.py says how many deaths there are, and what must hold after them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from etl.contracts.minutes import MinuteSnapshot
from etl.contracts.minutes.engines import Place, open_place
from tests.conftest import clean_environ
from tests.minute_data import Minutes, fill
from tests.redis_server import RedisServer
from tests.server import HOST, PATIENCE, connect, find_port, server_environ, wait_until

DAY = date(2013, 3, 15)
SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
STREAM, CONSUMER, API, REDIS = PARTS = ("stream", "consumer", "API", "Redis")


def fill_day(folder: Path) -> None:
    fill(
        folder, *(Minutes(symbol, first=DAY, last=DAY, shift=n) for n, symbol in enumerate(SYMBOLS))
    )


@contextmanager
def open_snapshot(folder: Path) -> Iterator[MinuteSnapshot]:
    store = open_place(Place(folder))
    try:
        yield store.snapshot()
    finally:
        store.close()


def read_digests(folder: Path) -> dict[tuple[str, str], tuple[int, str]]:
    with open_snapshot(folder) as snapshot:
        return {key: (each.bars, each.digest) for key, each in snapshot.instruments.items()}


def read_changes(folder: Path) -> list[dict[str, Any]]:
    with open_snapshot(folder) as snapshot:
        rows: list[dict[str, Any]] = snapshot.changes((0, 0), 1_000_000).to_pylist()
        return rows


def find_last(folder: Path) -> str:
    """The instant from which a stream that died goes on: that of the last stored bar."""
    with open_snapshot(folder) as snapshot:
        found = [each.last for each in snapshot.instruments.values()]
    return f"{max(found):%Y-%m-%dT%H:%M:%S}" if found else str(DAY)


@dataclass
class Process:
    module: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, environ: dict[str, str]) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        if self.is_running:
            os.kill(self.process.pid, number)
        return self.process.wait(PATIENCE)


@dataclass
class Live:
    """source: the folder whose day is replayed; target: where it is stored."""

    source: Path
    target: Path
    redis: RedisServer
    speed: float
    port: int = field(default_factory=find_port)
    processes: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, module in ((STREAM, "etl.stream"), (CONSUMER, "etl.consume"), (API, "api.main")):
            log = self.source.parent / f"{name}.log"
            self.processes[name] = Process(module, log)

    def start(self, name: str, **more: str) -> None:
        if name == REDIS:
            self.redis.start()
            return
        bus = {"BUS_URL": self.redis.url, "STREAM_SOURCE": "replay"}
        environ = {
            STREAM: {
                **bus,
                "STREAM_SPEED": str(self.speed),
                "STREAM_START": find_last(self.target),
            },
            CONSUMER: bus,
            API: server_environ(self.port),
        }[name]
        folder = self.source if name == STREAM else self.target
        self.processes[name].start(clean_environ(folder, **{**environ, **more}))

    def kill(self, name: str) -> None:
        if name == REDIS:
            self.redis.kill()
        else:
            self.processes[name].end()

    def close(self) -> None:
        for each in self.processes.values():
            if each.is_running:
                each.end()

    def find_generation(self) -> str:
        with open_snapshot(self.target) as snapshot:
            return snapshot.generation

    def wait_for_more(self) -> None:
        """Until more is published than now; a day that is over begins anew."""
        before = self.find_generation()
        while self.find_generation() == before:
            if not self.processes[STREAM].is_running:
                self.start(STREAM, STREAM_START=str(DAY))
            wait_until(
                lambda: self.find_generation() != before or not self.processes[STREAM].is_running
            )

    def finish(self) -> None:
        """The rest of the day at once; the consumer ends when it is told to."""
        self.kill(STREAM)
        self.start(STREAM, STREAM_SPEED="0")
        process = self.processes[STREAM].process
        assert process is not None
        assert process.wait(PATIENCE) == 0, self.read_log(STREAM)
        wait_until(lambda: self.redis.client.xlen("mds:bus") == 0)
        assert self.processes[CONSUMER].end(signal.SIGTERM) == 0, self.read_log(CONSUMER)

    def read_log(self, name: str) -> str:
        return self.processes[name].log.read_text()


@contextmanager
def open_live(folder: Path, redis: RedisServer, speed: float) -> Iterator[Live]:
    live = Live(folder / "source", folder / "target", redis, speed)
    live.target.mkdir()
    fill_day(live.source)
    with ExitStack() as stack:
        stack.callback(live.close)
        for name in (CONSUMER, API, STREAM):
            live.start(name)
        yield live


def kill_parts(live: Live, count: int, seed: int) -> list[str]:
    """Kill a part at a moment of a day in replay, start it again, `count` times; which it was."""
    moments = random.Random(seed)
    turns = [name for _ in range(count) for name in moments.sample(PARTS, len(PARTS))][:count]
    for name in turns:
        live.wait_for_more()
        time.sleep(moments.uniform(0, 0.3))  # the moment
        live.kill(name)
        live.start(name)
    return turns


@dataclass
class Follower:
    """A client of /stream that connects again with the position of what it heard last."""

    port: int
    heard: list[tuple[str, str]] = field(default_factory=list)  # (kind, position)
    opened: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.is_over.is_set():
            with suppress(httpx.TransportError):
                self.listen()
            self.is_over.wait(0.05)

    def listen(self) -> None:
        last = self.heard[-1][1] if self.heard else "0-0"
        url = f"/stream?last_event_id={last}"
        with connect(f"http://{HOST}:{self.port}") as client, client.stream("GET", url) as answer:
            answer.raise_for_status()
            self.opened += 1
            position = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                position = value if name == "id" else position
                if name == "data" and position:
                    self.heard.append((json.loads(value)["kind"], position))
                    position = ""
                if self.is_over.is_set():
                    return


@contextmanager
def following(port: int) -> Iterator[Follower]:
    follower = Follower(port)
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    try:
        yield follower
    finally:
        follower.is_over.set()
