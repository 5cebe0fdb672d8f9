"""Which queue makes the calls: QUEUE_URL says so."""

from etl.base.clock import Clock
from etl.calls.fetch import Fetcher
from etl.calls.ledger import Ledger
from etl.calls.pace import Pace
from etl.calls.queues import Keep, Queue, T
from etl.calls.queues.threads import ThreadQueue
from etl.settings import Settings, SettingsError


def open_queue(settings: Settings, fetcher: Fetcher, ledger: Ledger, keep: Keep[T]) -> Queue[T]:
    """Threads of this process; with QUEUE_URL, workers that anybody may have started."""
    if settings.queue_url:
        check_packages()
        from etl.calls.queues.workers import open_workers

        return open_workers(settings, fetcher, ledger, keep)
    return ThreadQueue(fetcher, keep, open_pace(ledger, fetcher.clock), fetcher.clock)


def check_packages() -> None:
    """SettingsError, with the remedy, where what carries the calls is not installed."""
    try:
        import celery  # noqa: F401
        import redis  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"QUEUE_URL wants {error.name}: pip install -r requirements-celery.txt -c"
            " constraints.txt, or leave it empty"
        ) from None


def open_pace(ledger: Ledger, clock: Clock) -> Pace:
    """The pace, with the last minute's calls of earlier runs in it."""
    now, limits = clock.monotonic(), ledger.limits
    recent = (now - age for age in ledger.list_recent(clock.now(), 60))
    return Pace(limits.per_second, limits.per_minute, recent)
