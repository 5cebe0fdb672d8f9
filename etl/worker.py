"""Make the calls that a run of the ETL hands over through Redis (QUEUE_URL): on any host.

A worker needs the vendor's key and Redis, and no data folder. It says so and does not start where
it has no key for a vendor that SOURCE names.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from etl.base import command
from etl.base.secret_log import log_to_terminal
from etl.calls.queues.choose import check_packages
from etl.calls.vendor import Vendor
from etl.credentials.watch import watch_secrets
from etl.settings import Settings, SettingsError, read_settings
from etl.sources.registry import find_vendors

if TYPE_CHECKING:
    from celery import Celery

    from etl.calls.queues.making import Maker

log = logging.getLogger("etl")

BEAT_SECONDS = 5.0


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.worker", __doc__)
    parser.parse_args(argv)
    try:
        settings = read_settings(Settings)
        vendors = check_settings(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    log_to_terminal(settings, "celery", "kombu")
    return run_worker(settings, vendors)


def check_settings(settings: Settings) -> list[Vendor]:
    """The vendors whose calls this worker makes. SettingsError where it cannot."""
    if not settings.queue_url:
        raise SettingsError(
            "a worker wants QUEUE_URL: the Redis of the ETL, as redis://127.0.0.1:6379/0"
        )
    check_packages()
    vendors = find_vendors(settings)
    if not vendors:
        raise SettingsError(
            f"SOURCE={settings.source} has no calls to make: name the vendors of the ETL, and give"
            " this worker their keys"
        )
    for vendor in vendors:
        vendor.check_key()
    return vendors


def run_worker(settings: Settings, vendors: list[Vendor]) -> int:
    """Until it is told to stop: what is under way is finished, what is not is left to others."""
    from celery.signals import setup_logging, worker_shutting_down

    from etl.calls.queues.making import Maker
    from etl.calls.queues.shared import connect

    setup_logging.connect(keep_logging, weak=False)
    client = connect(settings.queue_url)
    makers = {vendor.name: Maker(settings, vendor, client) for vendor in vendors}

    def stop(**_: Any) -> None:
        for maker in makers.values():
            maker.stopping.set()

    worker_shutting_down.connect(stop, weak=False)
    app = build_tasks(settings, makers)
    with watch_secrets(settings), beating(makers):
        log.info("worker of %s: %s calls at once", ", ".join(makers), settings.worker_calls)
        worker = app.Worker(
            hostname=f"mds{os.getpid()}@%h", pool="threads", concurrency=settings.worker_calls,
            queues=list_queues(makers), without_gossip=True, without_mingle=True,
            without_heartbeat=True, loglevel="WARNING", quiet=True,
        )  # fmt: skip
        worker.start()
    return int(worker.exitcode or 0)


def keep_logging(**_: Any) -> None:
    """Celery's own set-up of logging is not wanted."""


def list_queues(makers: dict[str, "Maker"]) -> list[str]:
    from etl.calls.queues.tasks import name_queue

    return [name_queue(name) for name in makers]


def build_tasks(settings: Settings, makers: dict[str, "Maker"]) -> "Celery":
    from celery.exceptions import Reject

    from etl.calls.queues.making import Stopping
    from etl.calls.queues.tasks import TASK, build_app

    app = build_app(settings.queue_url, settings.http_timeout)

    def make_call(vendor: Any, task: Any) -> None:
        maker = makers.get(str(vendor))
        if maker is None:
            log.warning("a task was refused: SOURCE names no vendor %r", str(vendor)[:40])
            return
        try:
            maker.make(task)
        except Stopping:
            raise Reject("stopping", requeue=True) from None

    app.task(make_call, name=TASK)
    return app


@contextmanager
def beating(makers: dict[str, "Maker"]) -> Iterator[None]:
    """Tell that there is a worker, while the block runs."""
    is_over = threading.Event()
    name = f"{socket.gethostname()} {os.getpid()}"

    def beat_on() -> None:
        import redis

        while True:
            for maker in makers.values():
                with suppress(redis.RedisError):
                    maker.shared.beat(name)
            if is_over.wait(BEAT_SECONDS):
                return

    thread = threading.Thread(target=beat_on, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
