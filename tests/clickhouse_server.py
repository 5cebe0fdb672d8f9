"""ClickHouse on a free port of the loopback: its engine in a process of its own, behind HTTP.

Skipped where the engine or the client is not installed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from atexit import register
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.settings import PROJECT_ROOT
from tests.daemons import find_port, is_open
from tests.server import HOST, PATIENCE, wait_until

# name → password, may it write
USERS = {"default": ("", True), "loader": ("l0ader-pa55:word", True), "reader": ("r3ad/er", False)}


class ClickHouseServer:
    """It can be killed and started again with what it had."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
        pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")
        self.folder, self.port = folder, find_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.clickhouse_engine", str(self.folder / "data")]
        with (self.folder / "clickhouse.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*command, str(self.port), json.dumps(USERS)],
                cwd=PROJECT_ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "clickhouse.log").read_text()
        return is_open(self.port)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def run(self, sql: str, database: str = "default") -> str:
        """What the server says to a statement of its administrator."""
        import clickhouse_connect

        with clickhouse_connect.get_client(host=HOST, port=self.port, database=database) as client:
            answer = client.command(sql)
            return str(answer) if isinstance(answer, str | int) else ""

    def name_url(self, database: str, user: str = "default") -> str:
        return f"clickhouse://{user}@{HOST}:{self.port}/{database}"

    def open_store(self, folder: Path) -> MinuteStore:
        """The store of this folder: a database of its own."""
        name = f"minutes_{sha256(str(folder).encode()).hexdigest()[:12]}"
        self.run(f"CREATE DATABASE IF NOT EXISTS {name}")
        return open_place(Place(folder / "data", self.name_url(name)))


@contextmanager
def run_clickhouse(folder: Path) -> Iterator[ClickHouseServer]:
    server = ClickHouseServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@cache
def share_clickhouse() -> ClickHouseServer:
    """One for all tests of this process: it takes a second to start. Each uses its own database."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    register(folder.cleanup)
    server = ClickHouseServer(Path(folder.name))
    register(server.kill)  # before the folder goes
    server.start()
    return server


def open_clickhouse(folder: Path) -> MinuteStore:
    return share_clickhouse().open_store(folder)
