"""What the tests of vendors of minutes share: one run of the source, and what it handed over."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from etl.contracts.minute_files import RAW_MINUTES, RAW_SPANS
from etl.settings import Settings
from etl.sources import Order
from etl.sources.minutes import get_minute_source
from tests.extraction import settings_for
from tests.test_rest_vendors import settings_for as rest_settings
from tests.vendor import FakeClock, Vendor

NOVEMBER, OCTOBER = date(2026, 11, 1), date(2026, 10, 1)


def naive(*parts: int) -> datetime:
    """Naive UTC, as the files between the stages have it."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc, arg-type]


class Got:
    """What one run of a source of minutes handed over."""

    def __init__(self, settings: Settings, clock: FakeClock, **order: Any) -> None:
        source = get_minute_source(settings, Order(clock=clock, **order))
        deliveries = list(source.fetch())
        self.notes = source.notes
        self.errors = {d.label: d.error for d in deliveries if d.error}
        self.bars = [row for d in deliveries if d.bars for row in d.bars.to_pylist()]
        self.spans = [row for d in deliveries if d.spans for row in d.spans.to_pylist()]
        assert all(d.bars.schema == RAW_MINUTES for d in deliveries if d.bars)
        assert all(d.spans.schema == RAW_SPANS for d in deliveries if d.spans)


def months_asked(vendor: Vendor) -> list[tuple[str, str]]:
    return [(r.symbol, r.query["month"]) for r in vendor.requests if "month" in r.query]


def sort_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["symbol"], row["timestamp"]))


def open_case(name: str, folder: Path, url: str, **given: Any) -> Settings:
    given = {"SYMBOLS": "IBM", **given}
    if name == "alpha_vantage":
        return settings_for(folder, Vendor(url=url), **given)
    return rest_settings(folder, url, name, **given)
