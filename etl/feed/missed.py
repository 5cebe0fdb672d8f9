"""What a vendor sent while nobody listened: asked for by REST, within the day's calls, and marked.

A call a symbol, of the span alone. Its bars go the way of all that is streamed: the consumer stores
them, and what is there already changes nothing. `make minutes` asks for whole months; this fills
the hole of a broken connection before that.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from time import sleep
from typing import Any
from urllib.parse import quote

from etl.base.clock import Clock
from etl.base.errors import SourceError
from etl.calls.fetch import Fetcher
from etl.calls.ledger import Ledger, open_ledger
from etl.calls.vendor import Call, Limits, Row, Vendor, build_call, name_month
from etl.feed.messages import BAR, Message, now_us
from etl.settings import Settings
from etl.sources.alpaca.source import INSTANT, Alpaca
from etl.sources.massive.source import Massive

log = logging.getLogger("etl")

LEAST = timedelta(minutes=1)  # a shorter hole has no whole bar
LONGEST = timedelta(days=5)  # what is older is of make minutes
MOST_PAGES = 20


@dataclass(frozen=True)
class AlpacaSpan(Alpaca):
    """Alpaca, asked for a part of a month."""

    since: datetime = datetime.max.replace(tzinfo=UTC)

    def ask_month(self, month: date) -> dict[str, str]:
        return {**super().ask_month(month), "start": self.since.strftime(INSTANT)}


@dataclass(frozen=True)
class MassiveSpan(Massive):
    """Massive, asked for a part of a month."""

    since: datetime = datetime.max.replace(tzinfo=UTC)

    def name_range(self, call: Call) -> str:
        first, last = (int(at.timestamp() * 1000) for at in (self.since, self.now()))
        ticker = quote(call.symbol, safe=":")
        return f"/v2/aggs/ticker/{ticker}/range/1/minute/{first}/{last}"

    def now(self) -> datetime:
        return datetime.now(UTC)


SPANS: dict[str, Callable[..., Any]] = {"alpaca": AlpacaSpan, "massive": MassiveSpan}


def ask_missed(
    settings: Settings,
    name: str,
    symbols: Sequence[str],
    since: datetime,
    take: Callable[[Message], None],
) -> int:
    """Take the bars since an instant (aware); how many came. What fails is told, and costs no
    other symbol; a vendor that gives no more calls today ends it."""
    now = datetime.now(UTC)
    since = max(since, now - LONGEST)
    if now - since < LEAST:
        return 0
    vendor: Vendor = SPANS[name](settings, since=since)
    ledger = open_ledger(settings.data_dir, vendor)
    ledger.use_key(vendor.key)
    fetcher, count = Fetcher(settings, vendor, Clock()), 0
    pause = find_pause(vendor.limits)
    for number, symbol in enumerate(symbols):
        sleep(pause if number else 0)
        try:
            for row in fetch_rows(vendor, ledger, fetcher, symbol, now.date()):
                take(to_message(row, name))
                count += 1
        except SourceError as error:
            log.warning("stream: what was missed of %s cannot be had: %s", symbol, error)
            if not error.is_failure and ledger.left(now) == 0:
                break
    log.info("stream: %s bars of the time since %s, by REST", f"{count:,}", f"{since:%H:%M:%SZ}")
    return count


def find_pause(limits: Limits) -> float:
    """Seconds between two calls, so that the vendor's limits are kept."""
    by_second = 1 / limits.per_second if limits.per_second else 0.0
    return max(by_second, 60 / limits.per_minute if limits.per_minute else 0.0)


def fetch_rows(
    vendor: Vendor, ledger: Ledger, fetcher: Fetcher, symbol: str, today: date
) -> Iterator[Row]:
    """The rows of all pages. SourceError."""
    call = build_call(vendor, symbol, name_month(today))
    for number in range(1, MOST_PAGES + 1):
        ledger.spend(call, datetime.now(UTC))
        fetched = fetcher.fetch(call)
        if fetched.error:
            raise fetched.error
        reply = vendor.read(call, fetched.status, fetched.body)
        yield from reply.rows
        if not reply.next_page:
            return
        call = replace(call, page=reply.next_page, number=number + 1)
    log.warning("stream: %s has more bars of that time: make minutes brings the rest", symbol)


def to_message(row: Row, name: str) -> Message:
    values = (row.get(each) for each in ("symbol", "timestamp", "open", "high", "low", "close"))
    one, two, three, four, five, six = values
    return Message(
        BAR, now_us(), name, one, two, three, four, five, six, row.get("volume"), is_missed=True
    )
