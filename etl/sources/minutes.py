"""The sources of minute bars, by the name that SOURCE has for them.

Deliveries are those of daily bars, with other columns: bars as RAW_MINUTES, spans as RAW_SPANS.
"""

import logging
from collections.abc import Callable

from etl.settings import Settings
from etl.sources import Order, Source
from etl.sources.registry import VENDORS

log = logging.getLogger("etl")


def open_sample(settings: Settings, order: Order) -> Source:
    from etl.sources.synthetic import Synthetic

    return Synthetic(settings, settings.symbols or (), settings.minutes_since)


def open_files(settings: Settings, order: Order) -> Source:
    from etl.sources.files.minutes import open_minutes

    return open_minutes(settings, order.symbol)


def open_vendor(settings: Settings, order: Order) -> Source:
    """The first vendor that SOURCE names: bars of a minute of two vendors are never mixed."""
    from etl.sources.paid_minutes import MinuteReplay, PaidMinutes

    first, *rest = settings.sources
    if rest:
        log.info("minutes come of %s alone, the first that SOURCE names", first)
    vendor = VENDORS[first](settings)
    if order.is_replay:
        return MinuteReplay(settings, order, vendor)
    return PaidMinutes(settings, order, vendor)


SOURCES: dict[str, Callable[[Settings, Order], Source]] = {
    "sample": open_sample,
    "files": open_files,
}


def get_minute_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. SettingsError where they do not suffice."""
    return SOURCES.get(settings.sources[0], open_vendor)(settings, order)
