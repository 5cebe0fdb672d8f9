"""Alpha Vantage: bars as traded, splits and dividends; newest first, numbers as strings."""

from dataclasses import dataclass

from etl.calls.vendor import Call, Limits, Reply, Request
from etl.settings import Settings, SettingsError
from etl.sources.alpha_vantage.answers import (
    GET_A_KEY,
    check_answer,
    find_last_bar,
    parse_actions,
    parse_bars,
    redact_body,
)
from etl.sources.alpha_vantage.minutes import read_minutes
from etl.sources.alpha_vantage.plan import (
    BARS,
    DATASETS,
    build_query,
    name_function,
    name_plan,
    read_limits,
)


@dataclass(frozen=True)
class AlphaVantage:
    """The Vendor. A free key never gives old bars back: see etl/calls/archive.py."""

    settings: Settings
    name = "alpha_vantage"
    ledger = "calls.jsonl"
    basis = "raw"
    url_setting = "AV_BASE_URL"
    datasets = DATASETS

    @property
    def key(self) -> str:
        """The key as it is now: it may be replaced during a long run."""
        self.settings.av_api_key.refresh()
        return self.settings.av_api_key.value

    @property
    def limits(self) -> Limits:
        return read_limits(self.settings)

    def check_key(self) -> None:
        if not self.key:
            raise SettingsError(f"SOURCE=alpha_vantage wants AV_API_KEY: {GET_A_KEY}")

    def name_plan(self, dataset: str) -> str:
        return name_plan(self.settings, dataset)

    def build_request(self, call: Call) -> Request:
        query = build_query(self.settings, call.symbol, call.dataset, self.key)
        return Request(self.settings.av_base_url, query)

    def read(self, call: Call, status: int, body: bytes) -> Reply:
        function = name_function(call.dataset)
        answer = check_answer(status, body, call.symbol, function, self.key)
        if call.month:
            return read_minutes(answer, call)
        if function == BARS:
            return Reply(parse_bars(answer, call.symbol), find_last_bar(answer))
        return Reply(parse_actions(answer, call.symbol, function))

    def redact(self, body: bytes) -> bytes:
        return redact_body(body, self.key)
