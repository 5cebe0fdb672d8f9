"""Looks for rotated secrets in the background, so that nobody who uses one waits for its origin."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from etl.credentials.secret import Secret

PERIOD = 5.0  # seconds between two looks


@contextmanager
def watch_secrets(settings: object, period: float = PERIOD) -> Iterator[None]:
    """Refresh the secrets among the settings while the block runs.

    No thread is started where all of them come from the environment, or none is set.
    """
    moving = [secret for secret in list_secrets(settings) if secret.is_moving]
    if not moving:
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(
        target=refresh_all, args=(moving, period, is_over), name="secrets", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def refresh_all(secrets: Sequence[Secret], period: float, is_over: threading.Event) -> None:
    while not is_over.wait(period):
        for secret in secrets:
            if secret.known is not None:  # else nobody wants it
                secret.refresh()


def list_secrets(settings: object) -> list[Secret]:
    return [value for value in vars(settings).values() if isinstance(value, Secret)]


def count_fallbacks(settings: object) -> int:
    """How often a secret was not to be had again and its last value stayed in use."""
    return sum(secret.fallbacks for secret in list_secrets(settings))
