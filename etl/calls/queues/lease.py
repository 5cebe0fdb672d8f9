"""The right to decide which calls are made: one decider for a vendor's key, on all machines.

The lock of the data folder is one machine's. The lease is that of all who share QUEUE_URL; a thread
renews it, and a decider that died loses it within seconds.
"""

import logging
import socket
import threading
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import redis

from etl.base.errors import LockedError
from etl.calls.queues.shared import LEASE_MS, Shared, connect

log = logging.getLogger("etl")

MACHINE_ID = Path("/etc/machine-id")


def name_owner(data_dir: Path) -> str:
    """This data folder on this machine. Two runs on it exclude each other by its lock."""
    try:
        machine = MACHINE_ID.read_text().strip()[:8]
    except OSError:
        machine = ""
    return f"{socket.gethostname()} {machine} {data_dir.resolve()}"


class Lease:
    """is_behind: it had run out and was taken again: others may have decided meanwhile."""

    def __init__(self, url: str, shared: Shared, owner: str) -> None:
        self.url, self.shared, self.owner = url, shared, owner
        self.holder = f"{uuid4().hex} {owner}"
        self.is_behind = False
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.renew_on, name="lease", daemon=True)

    def take(self) -> None:
        held = self.shared.take_lease(self.owner, self.holder)
        if held != self.holder:
            raise LockedError(
                f"another ETL decides on these calls now ({held[33:]}): wait till it ends, or use"
                " another key or another QUEUE_URL"
            )
        self.thread.start()

    def renew(self) -> None:
        """LockedError where another has it now."""
        state = self.shared.renew_lease(self.holder)
        if state == 0:
            raise LockedError(
                "another ETL decides on these calls now: this one was not heard of for too long;"
                " what was answered is kept"
            )
        self.is_behind = self.is_behind or state == 2

    def renew_on(self) -> None:
        """In a thread, by a connection of its own, which gives up at once: it is tried again."""
        with connect(self.url, tries=1) as client:
            mine = Shared(client, self.shared.prefix)
            while not self.is_over.wait(LEASE_MS / 4000):
                with suppress(redis.RedisError):
                    if mine.renew_lease(self.holder) == 2:
                        self.is_behind = True

    def end(self) -> None:
        if not self.is_over.is_set():
            self.is_over.set()
            self.thread.join()
            with suppress(redis.RedisError):
                self.shared.release_lease(self.holder)
