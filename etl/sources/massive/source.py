"""Massive (Polygon): bars as traded, splits and dividends."""

from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from etl.calls.minute_plan import find_bounds
from etl.calls.vendor import DAILY, DIVIDENDS, MINUTES, SPLITS, Call, Limits, Reply, Request
from etl.settings import Settings, SettingsError
from etl.sources.answers import NEW_YORK, redact_body
from etl.sources.massive.answers import GET_A_KEY, find_data, read_answer

FIRST_DAY, LAST_DAY = "1970-01-01", "2099-12-31"  # the vendor gives what it has of them
MOST_BARS, MOST_ACTIONS = 50_000, 1000  # of one page


@dataclass(frozen=True)
class Massive:
    """The Vendor. The key goes in a header, never in an address."""

    settings: Settings
    name = "massive"
    ledger = "calls.massive.jsonl"
    basis = "raw"
    url_setting = "MASSIVE_BASE_URL"
    datasets = MappingProxyType(
        {DAILY: "AGGS", SPLITS: "SPLITS", DIVIDENDS: "DIVIDENDS", MINUTES: "AGGS_1M"}
    )

    @property
    def key(self) -> str:
        """The key as it is now: it may be replaced during a long run."""
        self.settings.massive_api_key.refresh()
        return self.settings.massive_api_key.value

    @property
    def limits(self) -> Limits:
        settings = self.settings
        return Limits(
            settings.massive_calls_per_day,
            NEW_YORK,
            settings.massive_calls_per_second,
            settings.massive_calls_per_minute,
        )

    def check_key(self) -> None:
        if not self.key:
            raise SettingsError(f"SOURCE=massive wants MASSIVE_API_KEY: {GET_A_KEY}")

    def name_plan(self, dataset: str) -> str:
        """How far back it goes is what a plan is paid for: a month is a question of its own."""
        start = self.settings.start_date
        return f"{dataset} since {start}" if dataset == DAILY and start else dataset

    def build_request(self, call: Call) -> Request:
        base, headers = self.settings.massive_base_url, {"Authorization": f"Bearer {self.key}"}
        if call.page:
            return Request(base + call.page, headers=headers)
        if call.dataset == DAILY or call.month:
            return Request(base + self.name_range(call), self.ask_bars(), headers)
        query = {"ticker": call.symbol, "limit": str(MOST_ACTIONS)}
        return Request(f"{base}/v3/reference/{call.dataset}", query, headers)

    def name_range(self, call: Call) -> str:
        ticker = f"/v2/aggs/ticker/{quote(call.symbol, safe=':')}"
        if call.month:  # in milliseconds, both ends among what is asked for
            first, after = (int(at.timestamp() * 1000) for at in find_bounds(call.month))
            return f"{ticker}/range/1/minute/{first}/{after - 1}"
        start = call.since or self.settings.start_date or FIRST_DAY
        return f"{ticker}/range/1/day/{start}/{LAST_DAY}"

    def ask_bars(self) -> dict[str, str]:
        return {"adjusted": "false", "sort": "asc", "limit": str(MOST_BARS)}

    def read(self, call: Call, status: int, body: bytes) -> Reply:
        return read_answer(call, status, body)

    def redact(self, body: bytes) -> bytes:
        return redact_body(body, find_data, self.key)
