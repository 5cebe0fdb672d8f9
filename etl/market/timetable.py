"""When the ETL is to run: so long after each close of the exchanges of its symbols. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from etl.calendar_names import check_exchange
from etl.market.exchanges import find_exchange
from etl.market.sessions import read_calendar
from etl.settings import Settings


class Due(NamedTuple):
    """A run at `at` (aware, UTC), for the session of an exchange; None: of no calendar."""

    at: datetime
    session: date
    exchange: str | None

    def __str__(self) -> str:
        what = f"the session of {self.session} in {self.exchange}" if self.exchange else "the day"
        return f"{self.at:%Y-%m-%d %H:%M} UTC, for {what}"


def find_exchanges(settings: Settings) -> set[str | None]:
    """Those of the symbols; None: of some symbols no calendar is known. UnknownExchange: EXCHANGE
    names none."""
    check_exchange(settings.exchange)
    names = {find_exchange(symbol, settings.exchange) for symbol in settings.symbols or ()}
    return {name and check_exchange(name) for name in names or {settings.exchange}}


def list_due(
    exchanges: Iterable[str | None], after: datetime, delay: timedelta, count: int
) -> list[Due]:
    """The next runs after an instant. Holidays have none; an early close has an early one."""
    found = [due for name in exchanges for due in list_of_one(name, after - delay, count)]
    return [due._replace(at=due.at + delay) for due in sorted(found, key=lambda due: due.at)][
        :count
    ]


def list_of_one(exchange: str | None, after: datetime, count: int) -> Iterator[Due]:
    """The closes after an instant; days end at midnight UTC where no calendar says more."""
    after = after.astimezone(UTC)
    known = 0
    if exchange:
        calendar = read_calendar(exchange)
        first = bisect_right(calendar.closes, after.replace(tzinfo=None))
        span = slice(first, first + count)
        for session, close in zip(calendar.sessions[span], calendar.closes[span], strict=True):
            yield Due(close.replace(tzinfo=UTC), session, exchange)
            known += 1
    if not known:
        for day in range(count):
            session = after.date() + timedelta(days=day)
            ends = datetime.combine(session + timedelta(days=1), time(), UTC)
            yield Due(ends, session, None)
