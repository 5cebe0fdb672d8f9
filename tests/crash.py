"""Kill -9 sweeps: whenever a run dies, the next one gives the table of an undisturbed run.

The long form, for `make test-crash`; tests/test_crash.py is the short one. A process that has
imported the ETL forks a run for each death, an API serves the same folder throughout, and after
each death a normal run heals it.
"""

import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ, query_store
from tests.server import connect, serve, serve_process
from tests.stores import hash_bars, store_of

# Arguments of the run that the store is of; what then changes; arguments of the runs that die.
Made = tuple[list[str], Callable[[], None], list[str]]
Make = Callable[[Path], Made]

URL = "/instruments/IBM/ohlcv?limit=5000"

# Forks a run for each line it reads: arguments, and the step before which the run kills itself.
# A step is a file opened for writing, or the moment before or after a rename, link, remove, fsync.
FORKER = """
import json, os, sys
from etl.market import sessions
from etl.__main__ import main as run_all
from etl.verify import main as verify

sessions.read_calendar("XNYS")
folder = os.environ["DATA_DIR"]
steps = []

def step(name, dies_at):
    steps.append(name)
    if len(steps) == dies_at:
        with open(os.environ["DEATHS"], "w") as file:
            file.write(name)
        os.kill(os.getpid(), 9)

def watch(dies_at):
    for name in ("replace", "rename", "link", "unlink", "fsync"):
        setattr(os, name, surround(getattr(os, name), name, dies_at))
    def see(event, args):
        if event == "open" and str(args[0]).startswith(folder) and args[1] not in (None, "r", "rb"):
            step("open", dies_at)
    sys.addaudithook(see)

def surround(call, name, dies_at):
    def called(*args, **options):
        step(f"before {name}", dies_at)
        answer = call(*args, **options)
        step(f"after {name}", dies_at)
        return answer
    return called

for line in sys.stdin:
    args, dies_at = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if dies_at is not None:
            watch(dies_at)
        code = verify([]) if args == ["verify"] else run_all(args)
        with open(os.environ["STEPS"], "w") as file:
            json.dump(steps, file)
        os._exit(code)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Asker(threading.Thread):
    """A client that asks the API on and on, and keeps what it was told."""

    def __init__(self, base_url: httpx.URL) -> None:
        super().__init__()
        self.base_url = base_url
        self.stopping = threading.Event()
        self.statuses: Counter[int | str] = Counter()
        self.answers: set[str] = set()

    def run(self) -> None:
        with connect(self.base_url) as client:
            while not self.stopping.wait(0.02):  # leaves the runs some of the processor
                self.ask(client)

    def ask(self, client: httpx.Client) -> None:
        try:
            for url in ("/health", URL):
                answer = client.get(url)
                self.statuses[answer.status_code] += 1
            self.answers.add(hash_answer(answer))
        except httpx.HTTPError as error:
            self.statuses[repr(error)] += 1


def hash_answer(answer: httpx.Response) -> str:
    return hashlib.sha256(json.dumps(answer.json()["data"]).encode()).hexdigest()


class Sweep:
    """A data folder with a store, and a run over it that dies again and again."""

    def __init__(
        self, folder: Path, forker: "subprocess.Popen[str]", args: Sequence[str], is_thorough: bool
    ) -> None:
        self.folder = folder
        self.forker = forker
        self.args = list(args)
        self.is_thorough = is_thorough
        self.base = folder.with_name("base")
        self.deaths: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()

    def learn(self) -> int:
        """Keep the folder as it is, run once undisturbed; how many steps there are."""
        shutil.copytree(self.folder, self.base)
        self.before = read_content(self.folder)
        began = time.monotonic()
        self.start(dies_at=0)
        assert self.wait() == 0
        self.duration = time.monotonic() - began
        self.after = read_content(self.folder)
        assert self.after != self.before
        self.steps: list[str] = json.loads(self.folder.with_name("steps").read_text())
        self.put_back()
        return len(self.steps)

    def start(self, args: Sequence[str] | None = None, dies_at: int | None = None) -> int:
        """Start a run; its process id."""
        assert self.forker.stdin
        self.forker.stdin.write(json.dumps([list(args or self.args), dies_at]) + "\n")
        self.forker.stdin.flush()
        return self.read()

    def read(self) -> int:
        assert self.forker.stdout
        return int(self.forker.stdout.readline())

    def wait(self) -> int:
        """The exit code of the run, negative if it was killed."""
        return os.waitstatus_to_exitcode(self.read())

    def die_at(self, step: int) -> None:
        """Die at a step, counted from 1, and heal."""
        self.start(dies_at=step)
        assert self.wait() == -signal.SIGKILL, step
        self.check(self.folder.with_name("deaths").read_text())

    def die_after(self, seconds: float) -> None:
        """Die after so long, if the run has not ended before, and heal."""
        child = self.start()
        assert self.forker.stdout
        if not select.select([self.forker.stdout], [], [], seconds)[0]:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(child, signal.SIGKILL)
        if self.wait() == -signal.SIGKILL:
            self.check("at random")
        else:
            self.put_back()

    def check(self, where: str) -> None:
        """The store is the one before or after, and after a normal run the one after."""
        self.deaths[where] += 1
        self.stages[find_stage(self.folder)] += 1
        assert read_content(self.folder) in (self.before, self.after), where
        self.start()
        assert self.wait() == 0, where
        assert read_content(self.folder) == self.after, where
        if self.is_thorough:
            self.start(["verify"])
            assert self.wait() == 0, where
        left = {path.name for path in self.folder.glob("*.next*")}
        assert not left, where
        self.put_back()

    def put_back(self) -> None:
        """The folder as before all runs; the database takes its place in one step."""
        fresh = self.folder / "fresh"
        shutil.copy(store_of(self.base), fresh)
        fresh.replace(store_of(self.folder))
        for path in self.folder.iterdir():
            if path != store_of(self.folder) and path.is_file():
                path.unlink()
        shutil.rmtree(self.folder / "runs")
        ignored = shutil.ignore_patterns("market_data.duckdb")
        shutil.copytree(self.base, self.folder, ignore=ignored, dirs_exist_ok=True)


def find_stage(folder: Path) -> str:
    """The stage in which the last run died, "" if it was none of them."""
    records = sorted((folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    stages: dict[str, Any] = json.loads(records[-1].read_text())["stages"]
    return next((name for name, stage in stages.items() if stage["status"] == "running"), "")


def read_content(folder: Path) -> tuple[Any, ...]:
    """The table by its hash, and the rows of all tables that follow from it, but the versions of
    symbols: notes and revisions name the run that brought them."""
    return hash_bars(store_of(folder)), query_store(
        store_of(folder),
        """SELECT (SELECT list(i ORDER BY symbol)
                   FROM (SELECT * EXCLUDE (version) FROM instruments) i),
                  (SELECT list((symbol, timestamp, known_from, known_at)
                               ORDER BY symbol, timestamp) FROM ohlcv_known),
                  (SELECT list((symbol, timestamp, close, known_from, known_to)
                               ORDER BY symbol, timestamp, known_to) FROM ohlcv_revisions),
                  (SELECT list((symbol, timestamp, reason) ORDER BY symbol, timestamp, reason)
                   FROM bar_notes),
                  (SELECT list(g ORDER BY symbol, session) FROM gaps g),
                  (SELECT list(a ORDER BY symbol, ex_date, kind) FROM corporate_actions a)""",
    )


@contextmanager
def open_sweep(folder: Path, make: Make, is_thorough: bool = True) -> Iterator[Sweep]:
    """A sweep over a folder that has a store, with an API that answers everything throughout."""
    folder.mkdir()
    with fork_runs(folder) as forker, (serve_process if is_thorough else serve)(folder) as client:
        first, more, args = make(folder)
        sweep = Sweep(folder, forker, args, is_thorough)
        sweep.start(first)
        assert sweep.wait() == 0
        more()
        told = {hash_answer(client.get(URL))}
        asker = Asker(client.base_url)
        asker.start()
        try:
            yield sweep
        finally:
            asker.stopping.set()
            asker.join()
        sweep.start()
        assert sweep.wait() == 0
        told.add(hash_answer(client.get(URL)))
        assert set(asker.statuses) == {200}, asker.statuses
        assert asker.answers == told


@contextmanager
def fork_runs(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    files = {"DEATHS": str(folder.with_name("deaths")), "STEPS": str(folder.with_name("steps"))}
    with subprocess.Popen(
        [sys.executable, "-c", FORKER],
        env={**clean_environ(folder, LOG_LEVEL="ERROR"), **files},
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forker:
        yield forker


def write_file(path: Path, symbols: Sequence[str], days: Sequence[str], price: float) -> None:
    """A CSV file, as old as its price says: a higher price is a newer answer."""
    path.parent.mkdir(exist_ok=True)
    rows = [
        f"{symbol},{day},{price},{price + 1},{price - 1},{price + i % 5 / 10},{1000 + i}"
        for symbol in symbols
        for i, day in enumerate(days)
    ]
    path.write_text("\n".join(("Symbol,Date,Open,High,Low,Close,Volume", *rows)) + "\n")
    os.utime(path, (1_700_000_000 + price,) * 2)


def make_files(folder: Path) -> Made:
    """A store of a CSV file, and then files that revise, confirm, fill holes and add symbols."""
    days = [f"2023-{month:02}-{day:02}" for month in range(1, 10) for day in range(2, 28)]
    inbox = folder.with_name("inbox")
    args = ["--source", "files", "--path", str(inbox)]
    write_file(inbox / "old.csv", ["IBM", "MSFT"], days[:150:2], 50.0)

    def more() -> None:
        write_file(inbox / "new.csv", ["IBM", "AAPL"], days[100:], 60.0)
        write_file(inbox / "older.csv", ["MSFT"], days[:150], 40.0)
        os.utime(inbox / "old.csv", (1_700_000_055,) * 2)

    return args, more, args


def make_sample(folder: Path) -> Made:
    """A store of the sample till 2008, and then all of it."""
    args = ["--source", "sample"]
    return [*args, "--end", "2008-10-13"], lambda: None, args


# The long form

RANDOM_DEATHS = 30


@pytest.mark.parametrize("make", [make_files, make_sample])
def test_death_at_random_moments_over_all_stages(tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "data"
    with open_sweep(folder, make) as sweep:
        sweep.learn()
        number = 0
        while sum(sweep.deaths.values()) < RANDOM_DEATHS:
            number += 1
            sweep.die_after((number % RANDOM_DEATHS + random.random()) / 30 * sweep.duration)
        print(dict(sweep.stages))
        assert set(sweep.stages) >= {"extract", "transform", "load"}


@pytest.mark.parametrize("make", [make_files, make_sample])
def test_death_before_and_after_each_rename_link_remove_and_fsync(
    tmp_path: Path, make: Make
) -> None:
    folder = tmp_path / "data"
    with open_sweep(folder, make) as sweep:
        count = sweep.learn()
        for step in range(1, count + 1):
            sweep.die_at(step)
        print(dict(sweep.deaths), dict(sweep.stages))
        assert sum(sweep.deaths.values()) == count > 50
