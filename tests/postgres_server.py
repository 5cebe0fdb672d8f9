"""A private PostgreSQL on a free port of the loopback; skipped where it is not installed."""

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest

from etl.contracts.minutes.engines import Place, open_place
from tests.daemons import find_port, find_program
from tests.server import HOST, PATIENCE, wait_until

if TYPE_CHECKING:
    from etl.contracts.minutes.postgresql.store import PostgresStore

ADMIN = "postgres"  # who initdb makes the superuser
GUARDED, READER = "guarded", "reader"  # who has to give a password; who owns nothing
# Tests kill clients; only where the server itself is killed has it to write for good.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
OPTIONS = ("max_connections=60", "shared_buffers=64MB", f"listen_addresses={HOST}")


class PostgresServer:
    """It can be stopped, killed and started again on its port, with all that it had.

    Its folder is its own, for another user than root has to enter it: PostgreSQL does not run as
    root.
    """

    def __init__(self, is_durable: bool = False) -> None:
        pytest.importorskip("psycopg", reason="psycopg is not installed: make engines")
        found = find_program("pg_ctl")
        if found is None:
            pytest.skip("postgresql is not installed (Debian: apt install postgresql)")
        self.pg_ctl = found
        self.as_owner = ("runuser", "-u", ADMIN, "--") if os.getuid() == 0 else ()
        self.options = OPTIONS if is_durable else OPTIONS + FAST
        self.port = find_port()
        self.folder = Path(mkdtemp(prefix="postgres-"))
        if self.as_owner:
            shutil.chown(self.folder, ADMIN)
        self.databases = 0
        self.of_folders: dict[Path, str] = {}
        options = f"--username={ADMIN} --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8"
        self.call("initdb", f"--options={options}")
        access = self.folder / "data" / "pg_hba.conf"
        access.write_text(f"host all {GUARDED} all scram-sha-256\n{access.read_text()}")

    def call(self, command: str, *options: str) -> None:
        words = [self.pg_ctl, command, "-D", self.folder / "data", "-s", "-w", *options]
        with (self.folder / "calls.log").open("ab") as output:
            done = subprocess.run(
                [*self.as_owner, *map(str, words)],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        assert done.returncode == 0, self.read_logs()

    def read_logs(self) -> str:
        return "\n".join(log.read_text() for log in self.folder.glob("*.log"))

    def start(self) -> None:
        settings = (*self.options, f"port={self.port}", f"unix_socket_directories={self.folder}")
        options = " ".join(f"-c {setting}" for setting in settings)
        self.call("start", f"--log={self.folder / 'server.log'}", f"--options={options}")
        if not self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{READER}'"):
            self.execute(f"CREATE ROLE {GUARDED} LOGIN", f"CREATE ROLE {READER} LOGIN")

    def stop(self, mode: str = "fast") -> None:
        """mode: "immediate" ends it as a kill -9 of all its processes does."""
        self.call("stop", f"--mode={mode}")

    def kill(self) -> None:
        """All of its processes at once, so that nothing is written any more."""
        found = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{found}/task/{found}/children").read_text().split()
        for process in (found, *map(int, children)):
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in children))

    def restart(self) -> None:
        self.stop()
        self.start()

    def address(self, database: str, user: str = ADMIN) -> str:
        return f"postgresql://{user}@{HOST}:{self.port}/{database}"

    def execute(self, *statements: str, database: str = ADMIN) -> list[tuple[object, ...]]:
        """Run them as the superuser; the rows of the last one."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def create(self, statements: Sequence[str] = ()) -> str:
        """The address of a new database."""
        self.databases += 1
        name = f"store_{self.databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        if statements:
            self.execute(*statements, database=name)
        return self.address(name)

    def address_of(self, folder: Path) -> str:
        """The same address each time: a database of its own for each folder."""
        if folder not in self.of_folders:
            self.of_folders[folder] = self.create()
        return self.of_folders[folder]


running = ExitStack()  # what tests share; closed at the end of the session (tests/conftest.py)


@functools.cache
def shared_server() -> PostgresServer:
    """One for all tests of this process; none that a test may stop."""
    return running.enter_context(run_postgres())


@contextmanager
def run_postgres(is_durable: bool = False) -> Iterator[PostgresServer]:
    server = PostgresServer(is_durable)
    try:
        server.start()
        yield server
    finally:
        if (server.folder / "data" / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(server.folder)


def name_database(address: str) -> str:
    return address.rpartition("/")[2]


def open_store(address: str, password: str = "", timeout: float | None = None) -> "PostgresStore":
    from etl.contracts.minutes.postgresql.store import PostgresStore

    store = open_place(Place(Path("nowhere"), address, password))
    assert isinstance(store, PostgresStore)
    if timeout:
        store.pool.settings["statement_timeout"] = str(int(timeout * 1000))
    return store
