"""What paid calls know of a vendor: its datasets and limits, how it is asked, what it answers.

A vendor is one folder below etl/sources: a class with these members, and its name in the registry
there. All else is done for it: planned, counted, paced, fetched, archived, replayed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

# Datasets: what can be asked of a symbol.
DAILY = "bars 1d"
SPLITS = "splits"
DIVIDENDS = "dividends"
ACTIONS = (SPLITS, DIVIDENDS)
# Bars of a minute are asked for by the month: each is a dataset of its own, "bars 1m 2026-11".
MINUTES = "bars 1m"
MONTH = re.compile(rf"{MINUTES} ([12]\d{{3}})-(0[1-9]|1[0-2])")

# One bar (symbol, timestamp, open, high, low, close, volume) or one corporate action (symbol,
# ex_date, kind, value), as text: timestamps and dates in ISO form, numbers as they came. A bar of a
# minute may have zone and stamp_is beside, as RAW_MINUTES has them.
Row = dict[str, str | None]


@dataclass(frozen=True)
class Limits:
    """Calls that the vendor allows; 0: no limit. `zone`: where its day ends."""

    per_day: int
    zone: ZoneInfo
    per_second: float = 0
    per_minute: int = 0


@dataclass(frozen=True)
class Call:
    """One question to the vendor. `plan` is what a key has to be worth for it.

    page: where the vendor said that the next page of its answer begins; "": the first one.
    number: which page of the answer it asks for. since: of bars, the first day to ask for where the
    vendor lets one choose; None: all there are.
    """

    symbol: str
    dataset: str
    plan: str
    page: str = ""
    number: int = 1
    since: date | None = None

    @property
    def subject(self) -> tuple[str, str]:
        return self.symbol, self.dataset

    @property
    def month(self) -> date | None:
        """Of bars of a minute: the first day of the month that is asked for."""
        return find_month(self.dataset)

    @property
    def label(self) -> str:
        """How a person is told of it: IBM, IBM SPLITS or IBM minutes of 2026-11."""
        if self.month:
            return f"{self.symbol} minutes of {self.month:%Y-%m}"
        return self.symbol if self.dataset == DAILY else f"{self.symbol} {self.dataset.upper()}"


@dataclass(frozen=True)
class Request:
    """One GET. The key may be in any part of it."""

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What a good answer holds; `last_bar`: the day of its newest bar, None for actions.

    next_page: what the vendor says of where its answer goes on; "": this page is the last.
    """

    rows: list[Row]
    last_bar: date | None = None
    next_page: str = ""


class Vendor(Protocol):
    """name: in the store and of its folder in the archive. ledger: the file that counts its calls.

    key: never written anywhere. basis: of its prices, "raw" or "split" (adjusted for splits).
    datasets: each with the name that it bears in the names of archived files, which never changes;
    a vendor of minutes has MINUTES among them.
    url_setting: the setting that holds its address, for those who read of a failure.
    """

    @property
    def name(self) -> str: ...
    @property
    def url_setting(self) -> str: ...
    @property
    def ledger(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def basis(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def datasets(self) -> Mapping[str, str]: ...

    def check_key(self) -> None:
        """SettingsError, with the remedy, where it cannot be asked without a key."""

    def name_plan(self, dataset: str) -> str:
        """What a key has to be worth for a dataset: an answer "premium only" is about this."""

    def build_request(self, call: Call) -> Request: ...

    def read(self, call: Call, status: int, body: bytes) -> Reply:
        """Pure. `body`: as `redact` left it. SourceError: what no data in it stands for."""

    def redact(self, body: bytes) -> bytes:
        """The answer without the key, where the vendor repeats it; the data stay as they are."""


def name_month(month: date) -> str:
    """The dataset of the minutes of a month."""
    return f"{MINUTES} {month:%Y-%m}"


def find_month(dataset: str) -> date | None:
    """The first day of the month of which a dataset holds the minutes; None: it holds others."""
    found = MONTH.fullmatch(dataset)
    return date(int(found[1]), int(found[2]), 1) if found else None


def name_kind(dataset: str) -> str:
    """The dataset as Vendor.datasets has it: minutes without their month."""
    return MINUTES if find_month(dataset) else dataset


def list_actions(vendor: Vendor) -> list[str]:
    """The datasets beside the bars."""
    return [dataset for dataset in ACTIONS if dataset in vendor.datasets]


def build_call(vendor: Vendor, symbol: str, dataset: str) -> Call:
    return Call(symbol, dataset, vendor.name_plan(dataset))
