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


def find_vendors(settings: Settings) -> list[Vendor]:
    """The vendors that SOURCE names, in its order; none: a source that is not asked, but read."""
    return [VENDORS[name](settings) for name in settings.sources if name in VENDORS]


def choose_archives(settings: Settings) -> tuple[str, ...]:
    """The vendors whose archives are replayed."""
    return tuple(name for name in settings.sources if name in VENDORS) or (next(iter(VENDORS)),)


def get_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. Raises SettingsError where they do not suffice."""
    from etl.sources import files, sample, several

    if vendors := find_vendors(settings):
        return several.open_source(settings, order, vendors)
    openers: dict[str, Callable[[], Source]] = {
        "sample": lambda: sample.open_sample(settings),
        "files": lambda: files.open_files(settings, order.symbol),
    }
    return openers[settings.sources[0]]()
