"""A load of minutes that is killed, at whatever step of the engine's own code: before or after."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ
from tests.minute_stores import at, bar, batch, load, told
from tests.postgres_server import shared_server

# Forks a load for each line it reads: where to, its number, and the step before which it kills
# itself (0: none). A step is a call that the engine's code makes, or a return from it.
FORKER = """
import json, os, sys
from pathlib import Path
import etl.contracts.minutes, tests.test_minute_kills as tested
from etl.contracts.minutes.engines import Place, open_place

code = str(Path(etl.contracts.minutes.__file__).parent)
steps = 0

def watch(dies_at):
    def step(frame, event, arg):
        global steps
        caller = frame if event.startswith("c_") else frame.f_back
        if caller is not None and caller.f_code.co_filename.startswith(code):
            steps += 1
            if steps == dies_at:
                os.kill(os.getpid(), 9)
    sys.setprofile(step)

for line in sys.stdin:
    folder, url, number, dies_at = json.loads(line)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        store = open_place(Place(Path(folder), url))
        watch(dies_at)
        tested.load_batches(store, number)
        sys.setprofile(None)
        os.write(writing, str(steps).encode())
        os._exit(0)
    os.close(writing)
    status = os.waitpid(child, 0)[1]
    print(json.dumps([status, os.read(reading, 20).decode()]), flush=True)
    os.close(reading)
"""


def load_batches(store: MinuteStore, number: int) -> str:
    """What load `number` brings: a month that is new, corrections, notes, spans, live bars."""
    month, when = at(days=31 * number), told(number)
    new = [bar(s, month, float(number), when) for s in ("A", "B")]
    notes, spans = [("A", month, "spike", "why")], [("A", month, at(9, 31 * number), "x", when)]
    corrected = [bar("A", at(0), 100.0 + number, when), bar("C", at(number), 1.0, when)]
    return load(store, batch(*new, notes=notes, spans=spans), batch(*corrected))


class Engine:
    """A store that loads are made into by processes of their own, which may die."""

    def __init__(self, folder: Path, url: str, forker: "subprocess.Popen[str]") -> None:
        self.folder, self.url, self.forker = folder, url, forker

    def open(self) -> MinuteStore:
        return open_place(Place(self.folder, self.url))

    def run(self, number: int, dies_at: int = 0) -> int:
        """The steps that the load took; -9 where it died."""
        assert self.forker.stdin
        assert self.forker.stdout
        self.forker.stdin.write(json.dumps([str(self.folder), self.url, number, dies_at]) + "\n")
        self.forker.stdin.flush()
        status, steps = json.loads(self.forker.stdout.readline())
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL)
        return code or int(steps)

    def read(self) -> tuple[object, ...]:
        """All that is stored, as a process sees it that opens the store."""
        store = self.open()
        try:
            snapshot = store.snapshot()
            symbols = [symbol for symbol, _ in snapshot.instruments]
            assert [fault for _, fault in store.verify() if fault] == []
            return (
                dict(snapshot.instruments),
                snapshot.stored(symbols, "1m", None, None).to_pylist(),
                [snapshot.revisions(s, "1m", None, None).to_pylist() for s in symbols],
                [snapshot.notes(s, "1m", None, None).to_pylist() for s in symbols],
            )
        finally:
            store.close()


@contextmanager
def fork_loads() -> Iterator["subprocess.Popen[str]"]:
    environ = clean_environ(Path("nowhere"))
    with subprocess.Popen(
        [sys.executable, "-c", FORKER],
        cwd=PROJECT_ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forker:
        try:
            yield forker
        finally:
            assert forker.stdin
            forker.stdin.close()


@pytest.fixture(params=["DuckDB files", "PostgreSQL"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = shared_server().create() if request.param == "PostgreSQL" else ""
    with fork_loads() as forker:
        yield Engine(tmp_path, url, forker)


def die_often(engine: Engine, deaths: int) -> set[tuple[bool, bool]]:
    """Loads, each of which dies at a step, is looked at, and made once more. Returns what became of
    them: whether it died, and whether it was stored by then."""
    steps, after = 3000, engine.read()  # the first one begins with nothing
    outcomes: set[tuple[bool, bool]] = set()
    for death in range(deaths):
        before = after
        # every second one close to its end, for there it is published
        place = steps - 1 - death if death % 2 else steps * (death + 1) // (deaths + 1)
        is_dead = engine.run(death, place) == -signal.SIGKILL
        found = engine.read()
        steps = engine.run(death)
        after = engine.read()
        assert after != before
        assert found in (before, after), (death, place)
        outcomes.add((is_dead, found == after))
    return outcomes


def test_a_load_that_is_killed_leaves_what_was_there_or_all_of_it(engine: Engine) -> None:
    assert die_often(engine, 1) == {(True, False)}


@pytest.mark.minutes
def test_a_load_that_is_killed_at_twenty_moments_leaves_one_or_the_other(engine: Engine) -> None:
    assert (True, False) in die_often(engine, 20)
