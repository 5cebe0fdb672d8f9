"""A worker's half: wait for the turn of a call, make it, and leave its answer for the decider.

The rules it keeps: no call is made that is not written down as submitted, by who holds the lease
now; it is noted as started before it is made, so none is made twice. Only the address that this
worker's own settings name is spoken to, with its own key, whatever a task says.
"""

import logging
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import redis

from etl.base.clock import Clock
from etl.base.errors import Unavailable
from etl.calls.fetch import Fetched, Fetcher
from etl.calls.ledger import fingerprint
from etl.calls.queues.shared import Shared, name_prefix
from etl.calls.queues.wire import Job, read_job, write_answer
from etl.calls.vendor import Call, Request, Vendor
from etl.settings import Settings, list_settings

log = logging.getLogger("etl")

LONGEST_NAP = 0.5  # seconds: a pause may be over, or this worker be told to stop


class Stopping(Exception):
    """The worker is told to stop: the call was not started, and another may make it."""


class Maker:
    """Makes the calls of one vendor; safe to call from several threads."""

    def __init__(self, settings: Settings, vendor: Vendor, client: "redis.Redis") -> None:
        self.vendor, self.client = vendor, client
        self.fetcher = Fetcher(settings, vendor, Clock())
        self.base = find_base(settings, vendor)
        self.by = uuid4().hex
        self.turn = threading.Lock()  # one thread asks for the next turn, the others wait for it
        self.stopping = threading.Event()

    @property
    def shared(self) -> Shared:
        """By the key as it is now."""
        return Shared(self.client, name_prefix(self.vendor.name, fingerprint(self.vendor.key)))

    def make(self, task: Any) -> None:
        """Make the call that a task asks for, unless nobody waits for it any more."""
        try:
            job = read_job(task, self.vendor)
        except ValueError as error:
            log.warning("a task was refused: %s", error)
            return
        shared = Shared(self.client, name_prefix(self.vendor.name, job.key))
        slot = self.await_turn(shared, job)
        if slot is None:
            log.debug("%s: made already, or given up", job.call.label)
            return
        answer = write_answer(job.call, self.fetch(job, shared, slot))
        shared.end(job.id, slot, answer)

    def await_turn(self, shared: Shared, job: Job) -> int | None:
        """Its slot, once it may leave and is noted as started; None: it is not to be made."""
        by = f"{self.by} {threading.get_ident()}"
        with self.turn:
            while not self.stopping.is_set():
                started = shared.start(job.id, job.holder, by)
                if not started.wait:
                    return None if started.wait is None else started.slot
                time.sleep(min(started.wait, LONGEST_NAP))
        raise Stopping

    def fetch(self, job: Job, shared: Shared, slot: int) -> Fetched:
        if fingerprint(self.vendor.key) != job.key:
            return self.refuse("this worker has another key than the ETL that decides")
        if not self.is_own(job.call):
            return self.refuse("the call leads to another address than the vendor's")

        def note_sent() -> None:
            with suppress(redis.RedisError):  # then its end is what counts
                shared.note_sent(slot)

        return self.fetcher.fetch(job.call, note_sent)

    def refuse(self, why: str) -> Fetched:
        log.warning("%s: a call was not made: %s", self.vendor.name, why)
        return Fetched(self.fetcher.clock.now(), error=Unavailable(why))

    def is_own(self, call: Call) -> bool:
        return is_below(self.vendor.build_request(call), self.base)


def find_base(settings: Settings, vendor: Vendor) -> str:
    """The address that the settings have for the vendor."""
    names = {
        item["name"]: field
        for field, item in zip(vars(settings), list_settings(Settings), strict=True)
    }
    return str(getattr(settings, names[vendor.url_setting]))


def is_below(request: Request, base: str) -> bool:
    """Whether a request goes to the host of an address, and not above its path."""
    asked, own = urlsplit(request.url), urlsplit(base)
    is_same = (asked.scheme, asked.netloc) == (own.scheme, own.netloc)
    return is_same and asked.path.startswith(own.path) and ".." not in asked.path.split("/")
