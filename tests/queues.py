"""What the tests of queues share: a decider's queue of either kind, and workers for it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from etl.base.clock import Clock
from etl.calls.fetch import Fetched, Fetcher
from etl.calls.ledger import open_ledger
from etl.calls.queues import Queue
from etl.calls.queues.choose import open_queue
from etl.calls.vendor import DAILY, Call, build_call
from etl.settings import Settings
from etl.sources.registry import find_vendors
from tests.conftest import clean_environ
from tests.extraction import KEY, ROOT
from tests.server import PATIENCE
from tests.vendor import Vendor

Line = Queue[str]


def keep_text(call: Call, fetched: Fetched) -> str | Call:
    """An answer as text; what is kept of it is told by `kept`."""
    if fetched.error:
        raise fetched.error
    return f"{call.symbol}: {len(fetched.body)} bytes"


def open_line(
    settings: Settings, keep: Callable[[Call, Fetched], str | Call] = keep_text
) -> tuple[Line, Callable[[str], Call]]:
    """A queue as an ETL opens it, and what makes calls for it."""
    [vendor] = find_vendors(settings)
    ledger = open_ledger(settings.data_dir, vendor)
    line = open_queue(settings, Fetcher(settings, vendor, Clock()), ledger, keep)
    return line, lambda symbol: build_call(vendor, symbol, DAILY)


def collect_all(line: Line, count: int) -> dict[int, Any]:
    """So many results by their numbers; each comes once."""
    found: dict[int, Any] = {}
    while len(found) < count:
        line.wait()
        for number, result in line.collect():
            assert number not in found
            found[number] = result
    return found


def describe_environ(folder: Path, vendor: Vendor, url: str, **settings: str) -> dict[str, str]:
    given = {
        "QUEUE_URL": url,
        "AV_API_KEY": KEY,
        "AV_BASE_URL": vendor.url,
        "SOURCE": "alpha_vantage",
        "CORPORATE_ACTIONS_DAYS": "0",
        "AV_CALLS_PER_DAY": "0",
        "AV_CALLS_PER_SECOND": "0",
        "PYTHONWARNINGS": "ignore",
        **settings,
    }
    return clean_environ(folder, **given)


def start(module: str, env: dict[str, str], log: Path, *args: str) -> "subprocess.Popen[bytes]":
    """A command as a process of its own, which says what it says in a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *args],
            cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextmanager
def start_workers(
    count: int, env: dict[str, str], folder: Path
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    with ExitStack() as stack:
        workers = []
        for number in range(count):
            worker = start("etl.worker", env, folder / f"worker{number}.log")
            stack.callback(end, worker)
            workers.append(worker)
        yield workers


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE)


def read_memory_mb(process: "subprocess.Popen[bytes]") -> int:
    """The most that it ever had."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def list_all_of_redis(client: Any) -> bytes:
    """Every name and every value in it."""
    found = []
    for name in client.scan_iter():
        readers: dict[bytes, Callable[[], Any]] = {
            b"string": lambda name=name: client.get(name),
            b"list": lambda name=name: client.lrange(name, 0, -1),
            b"hash": lambda name=name: client.hgetall(name),
            b"zset": lambda name=name: client.zrange(name, 0, -1),
            b"set": lambda name=name: client.smembers(name),
            b"stream": lambda name=name: client.xrange(name),
        }
        found.append(repr((name, readers[client.type(name)]())).encode())
    return b"\n".join(found)
