"""Celery, as it carries calls to workers: JSON, at least once, one at a time; no results.

At least once: a task that comes a second time finds its call started, and makes none.
"""

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from etl.base.errors import EtlError
from etl.calls.queues.wire import Job, write_job

TASK = "etl.make_call"
# seconds after which a task that no worker finished is given to another; a call takes less than its
# HTTP_TIMEOUT and the wait for its turn
VISIBILITY = 3600
RETRY = {"max_retries": 60, "interval_start": 0.02, "interval_step": 0.2, "interval_max": 1}


def build_app(url: str, longest: float) -> Celery:
    """`longest`: seconds that a call may take."""
    app = Celery("market_data", broker=url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": max(VISIBILITY, 4 * longest)},
    )
    return app


def name_queue(vendor: str) -> str:
    return f"mds.calls.{vendor}"


def send_job(app: Celery, vendor: str, job: Job) -> None:
    options: dict[str, Any] = {"retry": True, "retry_policy": RETRY, "ignore_result": True}
    try:
        app.send_task(TASK, args=[vendor, write_job(job)], queue=name_queue(vendor), **options)
    except OperationalError:
        raise EtlError(
            "QUEUE_URL: Redis does not take calls: start it, or correct the address; what was"
            " answered is kept"
        ) from None
