"""One call as it is made, by whom ever: the request, the answer, and the answer without the key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from etl.base.clock import Clock
from etl.base.errors import SourceError
from etl.calls.download import Downloader
from etl.calls.vendor import Call, Vendor
from etl.settings import Settings


@dataclass(frozen=True)
class Fetched:
    """What came of one call. `body`: as the vendor's `redact` left it. `error`: why none came."""

    fetched_at: datetime
    status: int = 0
    body: bytes = b""
    retry_after: float | None = None
    error: SourceError | None = None


class Fetcher:
    """Makes the calls of one vendor; safe to call from several threads."""

    def __init__(self, settings: Settings, vendor: Vendor, clock: Clock) -> None:
        self.vendor, self.clock = vendor, clock
        self.downloader = Downloader(
            settings.http_timeout, settings.max_payload_mb * 2**20, vendor.url_setting
        )

    def fetch(self, call: Call, note_sent: Callable[[], object] = bool) -> Fetched:
        """`note_sent` is called once the question has left."""
        try:
            answer = self.downloader.get(self.vendor.build_request(call), note_sent)
        except SourceError as error:
            return Fetched(self.clock.now(), error=error)
        now = self.clock.now()
        return Fetched(now, answer.status, self.vendor.redact(answer.body), answer.retry_after)
