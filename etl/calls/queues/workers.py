"""The queue over Redis: workers on any host make the calls, this process decides on them.

The rules it keeps: only who holds the lease hands calls over, and each stands in the ledger before.
An answer stays in Redis until it is in the archive, so that none is lost by a death of anybody; a
call whose worker died is told as lost, and asked again within the budget.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Generic
from uuid import uuid4

from celery import Celery

from etl.base.errors import EtlError, Lost, SourceError
from etl.calls.fetch import Fetched, Fetcher
from etl.calls.ledger import Ledger
from etl.calls.queues import Keep, T
from etl.calls.queues.lease import Lease, name_owner
from etl.calls.queues.shared import Shared, connect, name_prefix, named_faults
from etl.calls.queues.tasks import build_app, name_queue, send_job
from etl.calls.queues.wire import Job, read_answer
from etl.calls.vendor import Call, Limits
from etl.settings import Settings

log = logging.getLogger("etl")

MOST_ROOM = 64
ROOM_SECONDS = 3  # so much of the allowed rate is handed over ahead
GRACE = 5.0  # seconds beyond HTTP_TIMEOUT until a call has ended, whatever is known of it
NO_WORKER = 60.0  # seconds to wait for one
PERIOD = 1.0  # seconds between two looks for what was lost


class WorkerQueue(Generic[T]):
    def __init__(
        self, fetcher: Fetcher, keep: Keep[T], ledger: Ledger, shared: Shared, lease: Lease,
        app: Celery, longest: float,
    ) -> None:  # fmt: skip
        self.vendor, self.keep, self.ledger = fetcher.vendor, keep, ledger
        self.clock = fetcher.clock
        self.most_bytes = fetcher.downloader.most_bytes
        self.shared, self.lease, self.app, self.longest = shared, lease, app, longest
        self.room = find_room(ledger.limits)
        self.flying: dict[str, tuple[int, Call]] = {}  # by id
        self.lost: list[int] = []
        self.counts = {"repeated": 0, "most_in_flight": 0, "left_over": 0, "queue_length": 0}
        self.looked_at = self.heard_at = time.monotonic()

    @property
    def notes(self) -> Mapping[str, int]:
        return self.counts

    def open(self) -> None:
        """Become the decider; archive what earlier runs asked and did not fetch."""
        with named_faults():
            self.lease.take()
            self.catch_up()
            for _ in self.collect():
                pass

    def catch_up(self) -> None:
        """Take over what other machines decided, and tell the limits."""
        self.lease.is_behind = False
        after, owner = self.ledger.last_id, self.lease.owner
        self.ledger.take_in(self.shared.list_lines(after, owner))
        ages = self.ledger.list_recent(self.clock.now(), 60)
        self.shared.set_limits(self.ledger.limits, self.longest, ages)

    def find_delay(self) -> float | None:
        with named_faults():
            if self.lease.is_behind:
                self.lease.renew()
                self.catch_up()
            if not self.flying:
                self.await_worker()
        return 0.0

    def await_worker(self) -> None:
        """EtlError where none comes: no call is counted that nobody would make."""
        until, is_told = time.monotonic() + NO_WORKER, False
        while not self.shared.count_workers():
            if time.monotonic() > until:
                raise EtlError(
                    f"no worker with this key for {self.vendor.name} is running at QUEUE_URL: start"
                    " one by make worker"
                )
            if not is_told:
                log.info("waiting for a worker (make worker)")
            is_told = True
            time.sleep(0.2)
        self.heard_at = time.monotonic()

    def submit(self, number: int, call: Call) -> None:
        id = uuid4().hex
        with named_faults():
            while not self.shared.register(id, self.lease.holder):
                self.lease.renew()
                self.catch_up()
            self.flying[id] = number, call
            send_job(self.app, self.vendor.name, Job(id, self.lease.holder, self.ledger.key, call))
        self.counts["most_in_flight"] = max(self.counts["most_in_flight"], len(self.flying))

    def wait(self) -> None:
        with named_faults():
            self.shared.await_answer(PERIOD)

    def collect(self) -> Iterator[tuple[int, T | Call | SourceError]]:
        with named_faults():
            while found := self.shared.read_next():
                id, payload = found
                told = self.take(id, payload)
                self.shared.forget(id)
                if told:
                    yield told
            if time.monotonic() - self.looked_at > PERIOD:
                self.look_for_lost()
        while self.lost:
            yield self.lost.pop(), Lost("the worker that made the call is gone")

    def take(self, id: str, payload: bytes | None) -> tuple[int, T | Call | SourceError] | None:
        """Keep one answer; None: of a call that this run did not make, or gave up."""
        number, asked = self.flying.pop(id, (None, None))
        self.heard_at = time.monotonic()
        try:
            call, fetched = read_answer(payload or b"", self.vendor, self.most_bytes)
        except ValueError as error:
            log.warning("an answer of a worker cannot be read: %s", error)
            return None if number is None else (number, Lost("its answer cannot be read"))
        if number is None or asked is None:
            self.keep_left_over(call, fetched)
            return None
        try:
            return number, self.keep(asked, fetched)
        except SourceError as error:
            return number, error

    def keep_left_over(self, call: Call, fetched: Fetched) -> None:
        """An answer that no run waits for any more. Only a whole one: pages stand in a row."""
        if call.number > 1 or fetched.error:
            return
        try:
            if self.vendor.read(call, fetched.status, fetched.body).next_page:
                return
            self.keep(call, fetched)
        except SourceError as error:
            self.ledger.learn(call, error, fetched.fetched_at, fetched.fetched_at)
            return
        self.counts["left_over"] += 1

    def look_for_lost(self) -> None:
        """Find calls whose worker is gone. What was not made is handed over again."""
        self.looked_at = time.monotonic()
        waiting = self.shared.count_waiting(name_queue(self.vendor.name))
        self.counts["queue_length"] = max(self.counts["queue_length"], waiting)
        if self.shared.count_workers():
            self.heard_at = self.looked_at
        elif self.flying and self.looked_at - self.heard_at > NO_WORKER:
            raise EtlError(
                "no worker is left at QUEUE_URL: start one by make worker, and run again"
            )
        for id, (number, call) in list(self.flying.items()):
            state = self.shared.give_up(id, self.longest)
            if state in ("unmade", "lost"):
                del self.flying[id]
            if state == "unmade":
                self.submit(number, call)
            elif state == "lost":
                self.counts["repeated"] += 1
                self.lost.append(number)

    def hold(self, seconds: float) -> None:
        with named_faults():
            self.shared.hold(seconds)

    def close(self) -> None:
        """What was not made yet is not made: the lease it was handed over by is given back."""
        self.lease.end()
        with suppress(Exception):  # the run may have ended because Redis is gone
            self.app.close()
            self.shared.client.close()


def find_room(limits: Limits) -> int:
    """As many calls as the limits let leave within some seconds: they wait for their turn."""
    rates = [limits.per_second, limits.per_minute / 60]
    rate = min((rate for rate in rates if rate), default=math.inf)
    return max(1, math.ceil(min(MOST_ROOM, ROOM_SECONDS * rate)))


def open_workers(
    settings: Settings, fetcher: Fetcher, ledger: Ledger, keep: Keep[T]
) -> WorkerQueue[T]:
    """LockedError: another machine decides now. EtlError: Redis cannot be used."""
    longest = settings.http_timeout + GRACE
    owner = name_owner(settings.data_dir)
    shared = Shared(connect(settings.queue_url), name_prefix(fetcher.vendor.name, ledger.key))
    lease = Lease(settings.queue_url, shared, owner)
    app = build_app(settings.queue_url, longest)
    line = WorkerQueue(fetcher, keep, ledger, shared, lease, app, longest)
    ledger.share = partial(publish, shared, owner)
    line.open()
    return line


def publish(shared: Shared, owner: str, line: dict[str, object]) -> None:
    with named_faults():
        shared.publish(line, owner)
