"""A Redis that may be gone at any time: asked with short timeouts, and left alone for a second
after each fault, so that no request waits for it twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from api.fallbacks import Standby
from api.settings import ApiSettings
from etl.credentials.errors import SettingsError
from etl.credentials.redaction import remember

TIMEOUT = 0.25  # seconds for an answer of Redis, whatever it waits for
GRACE = 0.05  # and more, if the answer came while this process had no turn to read it
CONNECT_TIMEOUT = 0.1  # of each of two tries
PAUSE = 1.0  # seconds until one that failed is tried again
MOST_CONNECTIONS = 32


class RedisLink:
    """The connections to one Redis, opened with the first question.

    setting: its name, for messages; instead: what happens while Redis is gone; probe: a question
    that tells whether it is of use again. It should write: one without memory left still answers.
    """

    def __init__(
        self,
        url: str,
        standby: Standby,
        setting: str,
        instead: str,
        probe: Callable[[], Awaitable[object]],
    ) -> None:
        self.url = url
        self.standby = standby
        self.setting, self.instead = setting, instead
        self.probe = probe
        self.retry_at = 0.0
        self.trial: asyncio.Task[None] | None = None
        self.opened: Any = None
        remember(list_passwords(url))

    @property
    def client(self) -> Any:
        if self.opened is None:
            self.opened = open_client(self.url, self.setting)
        return self.opened

    def is_up(self) -> bool:
        """Whether it may be asked; one that failed is tried in the background, again and again."""
        if self.standby.fault is None:
            return True
        if self.trial is None and time.monotonic() >= self.retry_at:
            self.trial = asyncio.get_running_loop().create_task(self.try_again())
        return False

    async def ask(self, question: Coroutine[Any, Any, Any]) -> Any:
        """The answer to one question; any error where there is none in time."""
        task = asyncio.get_running_loop().create_task(question)
        try:
            for seconds in (TIMEOUT, GRACE):
                if (await asyncio.wait((task,), timeout=seconds))[0]:
                    return task.result()
            raise TimeoutError
        finally:
            task.cancel()

    async def try_again(self) -> None:
        try:
            if self.opened is not None:  # connections to one that was started anew are dead
                await self.opened.connection_pool.disconnect(inuse_connections=False)
            await self.probe()
            self.standby.end()
        except Exception as error:
            self.note_failure(error)
        finally:
            self.trial = None

    def note_failure(self, error: Exception) -> None:
        """By its class alone: what it says may hold the address."""
        self.retry_at = time.monotonic() + PAUSE
        self.standby.begin(
            f"{self.setting}: Redis cannot be asked ({type(error).__name__}): {self.instead} until"
            " it can; start it, or correct the address"
        )

    async def close(self) -> None:
        if self.trial is not None:
            self.trial.cancel()
        if self.opened is not None:
            opened, self.opened = self.opened, None
            await opened.aclose()
            await opened.connection_pool.disconnect()


def open_client(url: str, setting: str) -> Any:
    redis = import_redis(setting)
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=MOST_CONNECTIONS,
        timeout=None,  # RedisLink.ask has one for the whole
        socket_timeout=None,
        socket_connect_timeout=CONNECT_TIMEOUT,
        # once, for a connection that was closed meanwhile: its question may be asked twice
        retry=Retry(NoBackoff(), 1, (redis.ConnectionError, redis.TimeoutError)),
    )
    return redis.Redis(connection_pool=pool)


def import_redis(setting: str) -> Any:
    """The package, which only a setting asks for. SettingsError where it is not installed."""
    try:
        import redis.asyncio
    except ImportError:
        remedy = f"install it by `pip install -r requirements-redis.txt`, or unset {setting}"
        raise SettingsError(f"{setting} wants the package redis: {remedy}") from None
    return redis.asyncio


def check_redis(settings: ApiSettings) -> None:
    """SettingsError where a setting names a Redis, and the package for it is not installed."""
    for name, url in (
        ("CACHE_URL", settings.cache_url),
        ("RATE_LIMIT_URL", settings.rate_limit_url),
    ):
        if url:
            import_redis(name)


def list_passwords(url: str) -> list[str]:
    """The passwords in an address of Redis, as they are and as they are written."""
    parts = urlsplit(url)
    written = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    return [text for each in written for text in (each, unquote(each)) if text]
