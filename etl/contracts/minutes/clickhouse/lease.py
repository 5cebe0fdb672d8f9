"""The one place of a writer, over all machines that load into one database.

Who wants to write says so in `writers`, then looks whether anybody else does. Of two that come at
once at least one sees the other, so never do both write; both may be refused, and try again. The
place is held by saying so again every few seconds, by the server's clock. Who was not heard of for
a minute has lost it; at once, who ran on this machine and is gone.

A writer that was stopped for so long and goes on can publish no more: the row that publishes is
written by the server only while the place is held and the generation is the one that the load began
with. Both are looked at by one statement; that is no transaction, but what is between is the time
of a statement, not a minute.
"""

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from etl.contracts.minutes import MinuteStoreError, StoreDown
from etl.contracts.minutes.clickhouse.link import Link, MissingTable
from etl.contracts.minutes.clickhouse.tables import WRITERS, write_ddl

LOST_AFTER = 60  # seconds
RENEWED_EVERY = 10.0
# Who holds it, by id: the newest word of each.
HOLDERS = (
    "SELECT id, holder FROM (SELECT id, argMax(holder, seen_at) AS holder, argMax(is_over, seen_at)"
    f" AS is_gone, max(seen_at) AS heard FROM {WRITERS.name} GROUP BY id) WHERE NOT is_gone AND"
    f" heard > now64(6) - INTERVAL {LOST_AFTER} SECOND"
)
SAY = (
    f"INSERT INTO {WRITERS.name} (id, holder, is_over, seen_at) SELECT {{id:String}},"
    " {holder:String}, {is_over:UInt8} = 1, now64(6)"
)
RENEW = f"{SAY} WHERE {{id:String}} IN (SELECT id FROM ({HOLDERS}))"


def find_machine() -> str:
    """This machine, and what of it this process sees: a process number of another means nothing."""
    seen = [socket.gethostname()]
    with suppress(OSError):
        seen.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(seen)


def is_gone(holder: str) -> bool:
    """Whether it ran here, and runs no more."""
    machine, _, number = holder.rpartition(" process ")
    if machine != find_machine() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class Lease:
    def __init__(self, link: Link) -> None:
        self.link = link
        self.id = uuid4().hex
        self.holder = f"{find_machine()} process {os.getpid()}"
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.renew_on, name="minutes lease", daemon=True)

    def take(self) -> None:
        """StoreDown, with who holds it, where another writes."""
        try:
            self.say(is_over=False)
        except MissingTable:
            self.link.command(write_ddl(WRITERS))
            self.say(is_over=False)
        others = self.find_others()
        if others:
            self.say(is_over=True)
            raise StoreDown(
                f"{others[0]} writes into the minute store {self.link.address.shown} now: wait till"
                f" it ends; one that died keeps its place for {LOST_AFTER} seconds"
            )
        self.thread.start()

    def find_others(self) -> list[str]:
        """Who else has the place. One that is known to be gone is told to be over."""
        rows = self.link.read(f"SELECT id, holder FROM ({HOLDERS}) ORDER BY id").to_pylist()
        others = [row for row in rows if row["id"] != self.id]
        for row in [row for row in others if is_gone(row["holder"])]:
            others.remove(row)
            self.link.command(SAY, {**row, "is_over": 1})
        return [row["holder"] for row in others]

    def renew_on(self) -> None:
        """In a thread. What goes wrong is tried again; in the end the place is lost."""
        while not self.is_over.wait(RENEWED_EVERY):
            with suppress(MinuteStoreError):
                self.link.command(RENEW, {**self.names, "is_over": 0})

    def end(self) -> None:
        if not self.is_over.is_set():
            self.is_over.set()
            self.thread.join()
            with suppress(MinuteStoreError):
                self.say(is_over=True)

    def say(self, is_over: bool) -> None:
        self.link.command(SAY, {**self.names, "is_over": int(is_over)})

    @property
    def names(self) -> dict[str, str]:
        return {"id": self.id, "holder": self.holder}
