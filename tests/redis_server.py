"""A private Redis on a free port of the loopback; skipped where redis-server is not installed."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemons import find_port, find_program
from tests.server import HOST, PATIENCE, wait_until


class RedisServer:
    """It can be stopped, paused and started again on its port, each time empty.

    is_durable: with all that it had, by its log.
    """

    def __init__(self, folder: Path, is_durable: bool = False) -> None:
        self.is_durable = is_durable
        pytest.importorskip("redis", reason="redis is not installed: make engines")
        found = find_program("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed (Debian: apt install redis-server)")
        self.program, self.folder, self.port = found, folder, find_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import redis

        options = {
            "bind": HOST,
            "port": self.port,
            "save": "",
            "appendonly": "yes" if self.is_durable else "no",
            "dir": ".",
        }
        command = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with (self.folder / "redis.log").open("ab") as output:
            self.process = subprocess.Popen(
                [self.program, *command], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        self.client = redis.Redis(host=HOST, port=self.port, retry=None, socket_timeout=PATIENCE)
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        import redis

        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.client.close()
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def fill(self) -> None:
        """No memory is left for what is new, and nothing old makes room."""
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", 1)

    def empty(self) -> None:
        self.client.config_set("maxmemory", 0)


@contextmanager
def run_redis(folder: Path, is_durable: bool = False) -> Iterator[RedisServer]:
    server = RedisServer(folder, is_durable)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def restart(server: RedisServer) -> None:
    server.kill()
    server.start()


# What may become of it: how that is done to it, and undone.
BREAKS: dict[str, tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]] = {
    "killed": (RedisServer.kill, RedisServer.start),
    "paused": (RedisServer.pause, RedisServer.resume),
    "filled": (RedisServer.fill, RedisServer.empty),
    "started anew unnoticed": (restart, lambda server: None),
    "without its scripts": (lambda server: server.client.script_flush(), lambda server: None),
}
BREAK_CASES = [
    pytest.param(*pair, id=name, marks=() if name in ("killed", "filled") else pytest.mark.long)
    for name, pair in BREAKS.items()
]
