"""This host as a replica: keeps `python -m etl.follow` running beside the service, and tells how it
stands to its source.

A process of its own, for it hashes and opens the very file that is served: whoever closes a file
ends the locks of its process on it.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.settings import ApiSettings
from etl.contracts.following import Following, read_following
from etl.settings import PROJECT_ROOT

log = logging.getLogger("api")

COMMAND = (sys.executable, "-m", "etl.follow", "--beside")
PAUSE = 1.0  # seconds before a follower that died is started again
CANNOT = 2  # its exit code for settings that it cannot use: another try changes nothing
PATIENCE = 60.0  # seconds without a look after which nobody seems to follow
WAITING = "There is no database yet: this host takes it from FOLLOW_URL, and waits for the first."
SILENT = "nobody looks at the source (FOLLOW_URL): the follower died, or is stuck; the log says why"


@contextmanager
def run_follower(settings: ApiSettings) -> Iterator[None]:
    """Follow while the block runs, if FOLLOW_URL is set. One for all workers of a service; of
    several services over one folder one follows, and another takes its place when it ends."""
    if not settings.follow_url:
        yield
        return
    is_over = threading.Event()
    threading.Thread(target=keep_running, args=(is_over,), name="follower", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def keep_running(is_over: threading.Event) -> None:
    """Start it, and start it again when it dies. It ends by itself with this process."""
    while not is_over.is_set():
        with subprocess.Popen(  # noqa: S603 (a constant)
            COMMAND, stdin=subprocess.PIPE, cwd=PROJECT_ROOT, start_new_session=True
        ) as process:
            while process.poll() is None and not is_over.wait(0.2):
                pass
            process.terminate()
        if process.returncode == CANNOT:
            return
        is_over.wait(PAUSE)


@dataclass(frozen=True)
class LastGeneration:
    """A Fallback: the last good generation, while the source gives no newer one."""

    settings: ApiSettings
    began: float = field(default_factory=time.time)

    def read(self) -> Following:
        return read_following(self.settings.data_dir)

    @property
    def fault(self) -> str | None:
        """What is wrong, and since when what is served is not known to be the newest."""
        state = self.read()
        quiet = time.time() - max(self.began, state.looked_at)
        is_silent = quiet > PATIENCE + 6 * self.settings.follow_seconds
        why = SILENT if is_silent else state.fault
        if not why:
            return None
        return f"{why}; {show_age(state)}" if state.generation else why

    @property
    def count(self) -> int:
        return self.read().faults

    def tell_waiting(self) -> str:
        """Why there is no database."""
        fault = self.fault
        return f"{WAITING} Now: {fault}." if fault else WAITING


def show_age(state: Following) -> str:
    """Of what goes on meanwhile."""
    if not state.reached_at:
        return f"{state.generation} goes on, which no source has confirmed yet"
    since = datetime.fromtimestamp(state.reached_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{state.generation} goes on, the newest as of {since}"
