"""Alpaca: bars as traded since 2016, splits and dividends."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import MappingProxyType

from etl.calls.minute_plan import find_bounds
from etl.calls.vendor import (
    DAILY,
    DIVIDENDS,
    MINUTES,
    SPLITS,
    Call,
    Limits,
    Reply,
    Request,
    name_kind,
)
from etl.settings import Settings, SettingsError
from etl.sources.alpaca.answers import GET_A_KEY, TYPES, find_data, read_answer
from etl.sources.answers import NEW_YORK, redact_body

BARS_PATH, ACTIONS_PATH = "/v2/stocks/bars", "/v1/corporate-actions"
FIRST_DAY = "1970-01-01"  # the vendor gives what it has since then
MOST_BARS, MOST_ACTIONS = 10_000, 1000  # of one page
# A free key may not ask all exchanges for what is younger than a quarter of an hour.
FREE_AFTER = timedelta(minutes=16)
INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Alpaca:
    """The Vendor. The key has two parts; both go in headers. now: tells the time."""

    settings: Settings
    now: Callable[[], datetime] = partial(datetime.now, UTC)
    name = "alpaca"
    ledger = "calls.alpaca.jsonl"
    basis = "raw"
    url_setting = "ALPACA_BASE_URL"
    datasets = MappingProxyType(
        {DAILY: "BARS", SPLITS: "SPLITS", DIVIDENDS: "DIVIDENDS", MINUTES: "BARS_1M"}
    )

    @property
    def key(self) -> str:
        """The key as it is now: it may be replaced during a long run."""
        self.settings.alpaca_secret_key.refresh()
        return self.settings.alpaca_secret_key.value

    @property
    def key_id(self) -> str:
        self.settings.alpaca_key_id.refresh()
        return self.settings.alpaca_key_id.value

    @property
    def limits(self) -> Limits:
        settings = self.settings
        return Limits(
            settings.alpaca_calls_per_day,
            NEW_YORK,
            settings.alpaca_calls_per_second,
            settings.alpaca_calls_per_minute,
        )

    def check_key(self) -> None:
        parts = {"ALPACA_KEY_ID": self.key_id, "ALPACA_SECRET_KEY": self.key}
        if missing := [name for name, value in parts.items() if not value]:
            raise SettingsError(f"SOURCE=alpaca wants {' and '.join(missing)}: {GET_A_KEY}")

    def name_plan(self, dataset: str) -> str:
        kind = name_kind(dataset)
        return f"{kind} {self.settings.alpaca_feed}" if kind in (DAILY, MINUTES) else kind

    def build_request(self, call: Call) -> Request:
        base = self.settings.alpaca_base_url
        headers = {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.key}
        page = {"page_token": call.page} if call.page else {}
        if call.dataset == DAILY or call.month:
            asked = self.ask_month(call.month) if call.month else self.ask_days(call)
            return Request(base + BARS_PATH, {**self.ask_bars(call), **asked, **page}, headers)
        return Request(base + ACTIONS_PATH, {**self.ask_actions(call), **page}, headers)

    def ask_bars(self, call: Call) -> dict[str, str]:
        return {
            "symbols": call.symbol,
            "limit": str(MOST_BARS),
            "adjustment": self.basis,
            "feed": self.settings.alpaca_feed,
            "sort": "asc",
        }

    def ask_days(self, call: Call) -> dict[str, str]:
        start = str(call.since or self.settings.start_date or FIRST_DAY)
        newest = self.find_newest()
        end = {"end": newest.strftime(INSTANT)} if newest else {}
        return {"timeframe": "1Day", "start": start, **end}

    def ask_month(self, month: date) -> dict[str, str]:
        """`end` is the last instant that is asked for, not the first that is not."""
        start, end = (at.astimezone(UTC) for at in find_bounds(month))
        last = min(end - timedelta(seconds=1), self.find_newest() or end)
        return {
            "timeframe": "1Min",
            "start": start.strftime(INSTANT),
            "end": last.strftime(INSTANT),
        }

    def find_newest(self) -> datetime | None:
        """The newest instant that the key may ask for; None: it may ask for all."""
        return self.now() - FREE_AFTER if self.settings.alpaca_feed == "sip" else None

    def ask_actions(self, call: Call) -> dict[str, str]:
        return {
            "symbols": call.symbol,
            "types": TYPES[call.dataset],
            "start": FIRST_DAY,
            "limit": str(MOST_ACTIONS),
            "sort": "asc",
        }

    def read(self, call: Call, status: int, body: bytes) -> Reply:
        return read_answer(call, status, body)

    def redact(self, body: bytes) -> bytes:
        return redact_body(body, find_data, self.key, self.key_id)
