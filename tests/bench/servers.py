"""Servers that a bench drives, each a process on a free port of loopback; and `wrk`, which does."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
CONNECTIONS = 8
TURN = 1  # seconds
OTHER_PORTS = ("--addr-postgres", "127.0.0.1:0", "--addr-flight-sql", "127.0.0.1:0")


@dataclass(frozen=True)
class Server:
    base: str
    process: subprocess.Popen[bytes]
    key: str = ""  # what callers of it send

    def read_cpu(self) -> float:
        """Seconds of processor time that it took so far; NaN where the system does not tell."""
        try:
            said = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return float("nan")
        user, system = said.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Turn:
    """What wrk saw in one turn of driving a server; cpu: the server's, in seconds."""

    seconds: float
    requests: int
    cpu: float
    p50: str
    p99: str
    errors: int


def drive(server: Server, lines: Path, seed: int, method: str = "GET") -> Turn:
    """One second; who is driven with the same seed is asked for the same lines."""
    before = server.read_cpu()
    wrk = start_wrk(server.base, lines, TURN, CONNECTIONS, method, seed, server.key)
    said = wrk.communicate()[0]
    took = server.read_cpu() - before
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    requests, length = re.findall(r"(\d+) requests in ([\d.]+)s,", said)[0]
    return Turn(
        float(length),
        int(requests),
        took,
        find(r"^\s+50%\s+(\S+)", said),
        find(r"^\s+99%\s+(\S+)", said),
        int(errors.group(1)) if errors else 0,
    )


def start_wrk(
    base: str,
    lines: Path,
    seconds: float,
    connections: int,
    method: str = "GET",
    seed: int = 7,
    key: str = "",
) -> subprocess.Popen[str]:
    """wrk asking for random lines of a file, under way; its report comes on stdout."""
    script = str(Path(__file__).with_name("random_urls.lua"))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", script, base]
    asked = {"LINES_OF": str(lines), "METHOD": method, "SEED": str(seed), "KEY": key}
    environ = {**os.environ, **asked}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


def find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return found.group(1)


@contextmanager
def serve_service(
    data: Path, settings: Mapping[str, str] | None = None, key: str = ""
) -> Iterator[Server]:
    """The service with one worker over a data folder; `key` is what wrk will send to it."""
    port = find_port()
    own = {"DATA_DIR": str(data), "API_PORT": str(port), "LOG_LEVEL": "ERROR", **(settings or {})}
    with serve([sys.executable, "-m", "api.main"], {**os.environ, **own}, port) as served:
        yield replace(served, key=key)


@contextmanager
def serve_peer(name: str, database: Path, body: Path) -> Iterator[Server]:
    port = find_port()
    environ = {**os.environ, "DATABASE": str(database), "BODY": str(body)}
    command = [sys.executable, "-m", "uvicorn", f"tests.bench.peers:{name}", "--port", str(port)]
    with serve([*command, "--log-level", "error", "--no-access-log"], environ, port) as served:
        yield served


def find_roapi() -> str | None:
    """The program of the PyPI package roapi, which lies beside this Python."""
    beside = Path(sys.executable).with_name("roapi")
    return str(beside) if beside.exists() else shutil.which("roapi")


@contextmanager
def serve_roapi(program: str, bars: Path) -> Iterator[Server]:
    """ROAPI over a Parquet file, as its table `bars`, in memory, which is its default."""
    port = find_port()
    command = [program, "--addr-http", f"127.0.0.1:{port}", *OTHER_PORTS, "--table", f"bars={bars}"]
    environ = {**os.environ, "RUST_LOG": "error", "HOME": str(bars.parent)}
    with serve(command, environ, port) as served:
        yield served


@contextmanager
def serve(command: list[str], environ: dict[str, str], port: int) -> Iterator[Server]:
    """A server, once it answers."""
    base = f"http://127.0.0.1:{port}"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=environ, cwd=ROOT, stdout=quiet) as process:
        try:
            wait_for(base)
            yield Server(base, process)
        finally:
            process.terminate()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(base: str) -> None:
    for _ in range(300):
        try:
            fetch(base, "/openapi.json")
            return
        except HTTPError:
            return  # it answers
        except URLError:
            time.sleep(0.1)
    raise SystemExit(f"{base} does not answer")


def fetch(base: str, path: str) -> bytes:
    with urlopen(base + path, timeout=10) as answer:
        content: bytes = answer.read()
        return content
