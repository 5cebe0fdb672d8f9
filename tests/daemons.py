"""Programs that a test starts for itself: on a free port of the loopback, in a temporary folder."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.server import HOST, PATIENCE, wait_until
from tests.server import find_port as find_port


def find_program(name: str) -> str | None:
    """Where it is; Debian keeps some where a user's PATH does not lead, PostgreSQL's by version."""
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=find_version, reverse=True)
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, postgres)]
    return shutil.which(name, path=":".join(folders))


def find_version(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def run_daemon(
    command: Sequence[str | Path], folder: Path, is_ready: Callable[[], bool] = lambda: True
) -> Iterator[subprocess.Popen[bytes]]:
    """A program while the block runs, once it is ready; what it says is in the folder."""
    program = find_program(str(command[0])) or str(command[0])
    log = folder / f"{Path(program).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [program, *map(str, command[1:])], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready())
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
