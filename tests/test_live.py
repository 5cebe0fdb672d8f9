"""make live, stream and consume as a user runs them: processes, a Redis, a vendor's peer."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteSnapshot
from etl.contracts.minutes.engines import Place, open_place
from tests.conftest import clean_environ
from tests.redis_server import RedisServer, run_redis
from tests.rest_vendors import KEY_ID, SECRET
from tests.server import PATIENCE, wait_until
from tests.stream_vendors import bar, send, stream_peer

KEYS = {"ALPACA_KEY_ID": KEY_ID, "ALPACA_SECRET_KEY": SECRET, "STREAM_SYMBOLS": "AAPL,IBM"}
STAMPS = [f"2026-11-23T14:{minute}:00Z" for minute in range(30, 40)]


@contextmanager
def run(command: str, folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`command`: a module of etl, and its options."""
    name, *options = command.split()
    process = subprocess.Popen(
        [sys.executable, "-m", f"etl.{name}", *options],
        env=clean_environ(folder, **settings),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@contextmanager
def read(folder: Path) -> Iterator[MinuteSnapshot]:
    store = open_place(Place(folder))
    try:
        yield store.snapshot()
    finally:
        store.close()


def count(folder: Path, symbol: str = "AAPL") -> int:
    with read(folder) as snapshot:
        found = snapshot.instruments.get((symbol, "1m"))
    return found.bars if found else 0


def bars(symbol: str = "AAPL") -> list[dict[str, object]]:
    return [bar(symbol, stamp, 100 + n) for n, stamp in enumerate(STAMPS)]


def test_live_stores_what_a_vendor_streams_and_ends_when_told(tmp_path: Path) -> None:
    acts = [send(each) for each in bars()]
    with (
        stream_peer(acts=[acts]) as peer,
        run("live", tmp_path, **KEYS, ALPACA_STREAM_URL=peer.alpaca_url) as process,
    ):
        wait_until(lambda: count(tmp_path) == len(STAMPS))
        code, said = end(process)
    assert code == 0, said
    assert "10 inserted" in said
    with read(tmp_path) as snapshot:
        assert snapshot.bars("AAPL", "1m")["close"].to_pylist() == [100 + n for n in range(10)]
        assert snapshot.instruments["AAPL", "1m"].sources == ("alpaca",)


def test_a_replay_needs_no_key_and_changes_nothing_of_what_is_stored(tmp_path: Path) -> None:
    with run("minutes", tmp_path) as process:
        assert process.wait(PATIENCE) == 0
    with read(tmp_path) as snapshot:
        before = {key: each.digest for key, each in snapshot.instruments.items()}
    with run("live", tmp_path, STREAM_SPEED="0") as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "1,950 confirmed" in said
    with read(tmp_path) as snapshot:
        assert {key: each.digest for key, each in snapshot.instruments.items()} == before


def test_without_a_key_and_without_minutes_live_says_what_to_do(tmp_path: Path) -> None:
    with run("live", tmp_path) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("error: there are no minutes to replay: make minutes")


@pytest.mark.parametrize("command", ["stream", "consume", "dead"])
def test_what_needs_a_bus_says_so(command: str, tmp_path: Path) -> None:
    with run(command, tmp_path) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "BUS_URL" in said


def test_a_refused_key_is_one_line_and_ends_it(tmp_path: Path) -> None:
    with (
        stream_peer(refuses=True) as peer,
        run("live", tmp_path, **KEYS, ALPACA_STREAM_URL=peer.alpaca_url) as process,
    ):
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "error: the key is refused: check ALPACA_KEY_ID" in said
    assert SECRET not in said


def count_published(server: RedisServer) -> int:
    return sum(fields[b"body"].count(b"\n") + 1 for _, fields in server.client.xrange("mds:bus"))


def count_given(server: RedisServer) -> int:
    groups = server.client.xinfo_groups("mds:bus")
    return sum(group["pending"] for group in groups)


@pytest.mark.long
def test_nothing_is_lost_by_kills_of_consumer_and_redis(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "redis"
    folder.mkdir()
    symbols = [f"S{number}" for number in range(20)]
    acts = [
        send(*(each for symbol in symbols for each in bars(symbol)[n : n + 1])) for n in range(10)
    ]
    with run_redis(folder, is_durable=True) as server, ExitStack() as stack:
        settings = {**KEYS, "BUS_URL": server.url, "STREAM_SYMBOLS": ",".join(symbols)}
        peer = stack.enter_context(stream_peer(acts=[acts]))
        stream = stack.enter_context(
            run("stream", data, **settings, ALPACA_STREAM_URL=peer.alpaca_url)
        )
        wait_until(lambda: count_published(server) == 200)
        first = stack.enter_context(run("consume", data, **settings))
        wait_until(lambda: count_given(server) > 0)
        os.kill(first.pid, signal.SIGKILL)
        server.kill()
        server.start()
        code, said = end(stream)
        assert code == 0, said
        assert "200 bars published" in said
        second = stack.enter_context(run("consume", data, **settings))
        wait_until(lambda: server.client.xlen("mds:bus") == 0 or second.poll() is not None)
        assert second.poll() is None, second.communicate()
        assert [count(data, symbol) for symbol in symbols] == [10] * 20
        assert end(second)[0] == 0


@pytest.mark.long
def test_what_was_kept_apart_is_listed_and_sent_again(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "redis"
    folder.mkdir()
    with run_redis(folder, is_durable=True) as server:
        server.client.xadd("mds:bus:dead", {"body": b"{no", "reason": "no message of a vendor"})
        for options, left in (("", 1), (" --resend", 0)):
            with run(f"dead{options}", data, BUS_URL=server.url) as process:
                said, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
            assert "no message of a vendor  '{no'" in said
            assert server.client.xlen("mds:bus:dead") == left
        assert server.client.xlen("mds:bus") == 1
