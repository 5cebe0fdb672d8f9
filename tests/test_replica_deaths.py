"""kill -9 of who uploads and of who follows, at any step: a look later all is well.

A step is a write to the other side or a read of it, and the moment before or after a rename, link,
removal, fsync, or write into the next file.
"""

import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environ, run_stage
from tests.replicas import Hosts, hash_file
from tests.s3 import BUCKET, CREDENTIALS, run_s3
from tests.stores import make_answer, store_of

DYING = """
import os, sys
from etl.store.replicas.folder import Folder

steps, dies_at = 0, int(sys.argv[1])

def step():
    global steps
    steps += 1
    if steps == dies_at:
        os.kill(os.getpid(), 9)

def surround(owner, name):
    call = getattr(owner, name)
    def called(*args, **options):
        step()
        answer = call(*args, **options)
        step()
        return answer
    setattr(owner, name, called)

for name in ("replace", "rename", "link", "unlink", "fsync", "pwrite", "ftruncate"):
    surround(os, name)
for name in ("read", "write", "list_sizes", "remove"):
    surround(Folder, name)
if sys.argv[2] == "follow":
    from etl.follow import main
else:
    from etl.load import main
code = main(sys.argv[3:])
print(steps)
sys.stdout.flush()
os._exit(code)
"""


class Deaths:
    """One host that loads a second generation, one that follows it; each may die at a step."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        hosts.load()
        hosts.follow()
        self.old = hash_file(store_of(hosts.source))
        self.input = make_answer(
            folder / "second.parquet", ("2024-03-01T00:00:00", [("AAPL", "2024-02-29", 7.0)])
        )
        self.keep(hosts.source)

    def keep(self, path: Path) -> None:
        shutil.copytree(path, self.folder / "kept" / path.name, dirs_exist_ok=True)

    def put_back(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "kept" / path.name, path)

    def run(self, who: str, step: int) -> int:
        """The steps of a whole run, with 0; the process must die of another."""
        mine = {"PUBLISH_URL": self.hosts.url} if who == "load" else {"FOLLOW_URL": self.hosts.url}
        data = self.hosts.source if who == "load" else self.hosts.replica
        env = clean_environ(data, LOG_LEVEL="ERROR", **mine, **self.hosts.settings)
        args = ["--input", str(self.input)] if who == "load" else ["--once"]
        done = run_stage("-c", DYING, str(step), who, *args, env=env)
        assert done.returncode == (-signal.SIGKILL if step else 0), (step, done.stderr)
        return 0 if step else int(done.stdout.split()[-1])

    def check_follower(self) -> None:
        """What it left is the old file or the new; the next look makes it the new one."""
        path, new = store_of(self.hosts.replica), hash_file(store_of(self.hosts.source))
        assert hash_file(path) in (self.old, new)
        assert self.hosts.follow().state.fault == ""
        assert hash_file(path) == new

    def check_uploader(self) -> None:
        """A replica has one of both, without a fault; the next run, with nothing new, uploads."""
        assert self.hosts.follow().state.fault == ""
        published = hash_file(store_of(self.hosts.source))
        assert hash_file(store_of(self.hosts.replica)) in (self.old, published)
        self.run("load", 0)
        assert self.hosts.follow().state.fault == ""
        assert self.hosts.are_equal()


def sweep_follower(deaths: Deaths, count: int) -> None:
    deaths.keep(deaths.hosts.replica)
    deaths.run("load", 0)
    steps = deaths.run("follow", 0)
    assert deaths.hosts.are_equal()
    for step in choose(steps, count):
        deaths.put_back(deaths.hosts.replica)
        deaths.run("follow", step)
        deaths.check_follower()


def sweep_uploader(deaths: Deaths, count: int) -> None:
    steps = deaths.run("load", 0)
    for number, step in enumerate(choose(steps, count)):
        deaths.put_back(deaths.hosts.source)
        deaths.hosts.replica = deaths.folder / f"replica{number}"
        deaths.hosts.url += "x"  # a folder in which nothing is newer yet
        deaths.hosts.loads = 0
        deaths.hosts.load()  # has nothing new: it uploads the first generation
        deaths.run("load", step)
        deaths.check_uploader()


def choose(steps: int, count: int) -> list[int]:
    """Some, the last among them: what is near the end is what publishes."""
    assert steps > 10
    chosen = [*random.sample(range(1, steps - 3), count - 1), random.randint(steps - 3, steps)]
    print(steps, chosen, file=sys.stderr)
    return chosen


@pytest.fixture
def local(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path / "source", tmp_path / "replica", f"file://{tmp_path}/remote")


def test_a_follower_that_is_killed_leaves_a_whole_generation_and_the_next_look_the_newest(
    local: Hosts, tmp_path: Path
) -> None:
    sweep_follower(Deaths(local, tmp_path), 2)


@pytest.mark.long
def test_a_follower_killed_at_many_moments(local: Hosts, tmp_path: Path) -> None:
    sweep_follower(Deaths(local, tmp_path), 10)


@pytest.mark.long
def test_an_uploader_killed_at_many_moments(local: Hosts, tmp_path: Path) -> None:
    sweep_uploader(Deaths(local, tmp_path), 10)


@pytest.mark.long
def test_both_killed_at_some_moments_over_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with run_s3(tmp_path) as address:
        told = {"AWS_ENDPOINT_URL": address}
        for who, sweep in {"follower": sweep_follower, "uploader": sweep_uploader}.items():
            folder = tmp_path / who
            folder.mkdir()
            url = f"s3://{BUCKET}/{who}"
            sweep(Deaths(Hosts(folder / "source", folder / "replica", url, told), folder), 4)
