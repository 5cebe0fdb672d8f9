"""etl.sources.registry"""

from collections.abc import Callable

from etl.settings import Settings
from etl.sources import Order, Source


def get_source(settings: Settings, order: Order) -> Source:
    """The source that the settings choose. Raises SettingsError where they do not suffice."""
    from etl.sources import files, sample
    from etl.sources.alpha_vantage import source

    openers: dict[str, Callable[[], Source]] = {
        "sample": lambda: sample.open_sample(settings),
        "alpha_vantage": lambda: source.open_alpha_vantage(settings, order),
        "files": lambda: files.open_files(settings, order.symbol),
    }
    return openers[settings.source]()
