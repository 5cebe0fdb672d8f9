"""Sessions of an exchange: which of its trading days is the last that has closed."""

import warnings
from datetime import date, datetime
from functools import lru_cache

import exchange_calendars

from etl.settings import SettingsError


@lru_cache(maxsize=4)
def open_calendar(exchange: str) -> exchange_calendars.ExchangeCalendar:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas', of what the calendar does with it
            calendar = exchange_calendars.get_calendar(exchange)
            calendar.closes.searchsorted(calendar.closes.iloc[0])
            return calendar
    except exchange_calendars.errors.InvalidCalendarName:
        raise SettingsError(
            f"EXCHANGE={exchange!r}: wanted the MIC of an exchange, as XNYS or XLON"
        ) from None


def last_closed_session(exchange: str, now: datetime) -> date:
    """The last session of the exchange that has closed by `now` (aware, UTC)."""
    closes = open_calendar(exchange).closes
    place = int(closes.searchsorted(now, side="right")) - 1
    session: date = closes.index[max(place, 0)].date()
    return session
