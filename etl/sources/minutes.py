"""The sources of minute bars, by the name that SOURCE has for them.

Deliveries are those of daily bars, with other columns: bars as RAW_MINUTES, spans as RAW_SPANS.
"""

from collections.abc import Callable

from etl.settings import Settings, SettingsError
from etl.sources import Order, Source


def open_sample(settings: Settings, order: Order) -> Source:
    from etl.sources.synthetic import Synthetic

    return Synthetic(settings, settings.symbols or (), settings.minutes_since)


SOURCES: dict[str, Callable[[Settings, Order], Source]] = {"sample": open_sample}


def get_minute_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. SettingsError where it has no minutes."""
    name = settings.sources[0]
    if name not in SOURCES:
        raise SettingsError(f"SOURCE={name} has no minute bars; {', '.join(SOURCES)} has")
    return SOURCES[name](settings, order)
