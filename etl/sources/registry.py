"""The sources by the name that SOURCE has for them. A vendor is one line here."""

from collections.abc import Callable

from etl.calls.vendor import Vendor
from etl.settings import Settings
from etl.sources import Order, Source


def open_alpha_vantage(settings: Settings) -> Vendor:
    from etl.sources.alpha_vantage.source import AlphaVantage

    return AlphaVantage(settings)


def open_alpaca(settings: Settings) -> Vendor:
    from etl.sources.alpaca.source import Alpaca

    return Alpaca(settings)


def open_massive(settings: Settings) -> Vendor:
    from etl.sources.massive.source import Massive

    return Massive(settings)


# Vendors whose answers are archived; the first one is replayed where SOURCE names none of them.
VENDORS: dict[str, Callable[[Settings], Vendor]] = {
    "alpha_vantage": open_alpha_vantage,
    "alpaca": open_alpaca,
    "massive": open_massive,
}


def find_vendor(settings: Settings) -> Vendor | None:
    """The vendor that SOURCE names; None: a source that is not asked, but read."""
    build = VENDORS.get(settings.source)
    return build(settings) if build else None


def choose_archive(settings: Settings) -> str:
    """The vendor whose archive is replayed."""
    return settings.source if settings.source in VENDORS else next(iter(VENDORS))


def get_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. Raises SettingsError where they do not suffice."""
    from etl.sources import files, paid, sample

    if vendor := find_vendor(settings):
        return paid.open_source(settings, order, vendor)
    openers: dict[str, Callable[[], Source]] = {
        "sample": lambda: sample.open_sample(settings),
        "files": lambda: files.open_files(settings, order.symbol),
    }
    return openers[settings.source]()
