"""View: what a request means, as one value, and what it makes of the bars that are stored.

    StoredSeries ── View ──> Series        one symbol: derive_whole, derive_range
    [StoredSeries, …] ─────> [Series, …]   several: derive_ranges

Routes, the shortcut and the protocols of others build a View each in their own way; from there on
all of them are the same. Pure: who holds the bars brings them along.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from api.bars.adjust import adjust
from api.bars.intraday import find_places, resample_minutes
from api.bars.resample import resample
from api.bars.series import (
    FIELDS,
    Dividend,
    Series,
    Split,
    join_series,
    list_fields,
    select_fields,
    slice_days,
)
from api.bars.sessions import Sessions
from api.models import FigureQuery, HistoryQuery
from api.models.terms import INTRADAY, WHOLE, DayOfInstant, find_session_day
from api.problems import Problem

NOTHING_KNOWN = (
    "Nothing of this was known at {}Z: its first bars were loaded later. Take a later as_of, or"
    " none for what is known now."
)


class View(NamedTuple):
    """Which bars, and how they are told. A value: two requests of one View have the same answer.

    symbols: as they were asked for, in order; start, end: inclusive, None leaves that side open,
    of intraday intervals a DayOfInstant is that instant; hours: of intraday intervals;
    adjusted_as_of: adjusted only for actions up to this day; as_of: as known at this instant (naive
    UTC), None: now; quality: all, or strict without the bars that have a note; fields: columns
    after the timestamp; limit: None asks for as many as there may be; provisional: with daily bars
    made of the minutes of later sessions.
    """

    symbols: tuple[str, ...]
    start: date | None = None
    end: date | None = None
    interval: str = "1d"
    adjustment: str = "raw"
    adjusted_as_of: date | None = None
    as_of: datetime | None = None
    quality: str = "all"
    fields: tuple[str, ...] = FIELDS
    order: str = "asc"
    limit: int | None = None
    hours: str = "regular"
    provisional: bool = False

    @property
    def is_intraday(self) -> bool:
        return self.interval in INTRADAY

    @property
    def is_strict(self) -> bool:
        return self.quality == "strict"

    @property
    def is_plain_intraday(self) -> bool:
        """Whether its bars are those of prepared texts of session months, of whole days."""
        asked = self.adjustment, self.as_of, self.quality, self.fields, self.order
        usual = "raw", None, "all", tuple(list_fields(self.interval)), "asc"
        has_times = any(isinstance(bound, DayOfInstant) for bound in (self.start, self.end))
        return self.is_intraday and asked == usual and not has_times

    @property
    def is_plain(self) -> bool:
        """Whether its bars are those of a symbol's prepared text: all columns, as traded, now."""
        asked = self.interval, self.adjustment, self.as_of, self.quality, self.fields
        return asked == ("1d", "raw", None, "all", FIELDS) and not self.provisional


def build_bars_view(symbols: Iterable[str], query: HistoryQuery) -> View:
    """The view of a page of bars. Problem where it has no meaning, before anything is read."""
    check_range(query.start, query.end)
    check_hours(query.interval, query.hours)
    if query.quality == "strict" and query.interval not in WHOLE:
        raise Problem(
            422,
            "quality=strict leaves out stored bars: it goes with interval=1d only, and with 1m and"
            " 1s of minutes",
        )
    if query.quality == "strict" and query.as_of and query.interval in INTRADAY:
        raise Problem(422, "notes on minutes have no history: leave out quality=strict, or as_of")
    check_provisional(query)
    return View(
        tuple(symbols),
        *(query.start, query.end, query.interval, query.adjustment, query.adjusted_as_of),
        *(query.as_of, query.quality, read_fields(query.fields, query.interval)),
        *(query.order, query.limit, query.hours),
        provisional=query.provisional,
    )


def build_figures_view(symbols: Iterable[str], query: FigureQuery) -> View:
    """The view that figures are reckoned of. Problem where it has no meaning."""
    check_range(query.start, query.end)
    check_hours(query.interval, query.hours)
    asked = query.start, query.end, query.interval, query.adjustment, query.adjusted_as_of
    return View(tuple(symbols), *asked, query.as_of, hours=query.hours)


def check_provisional(query: "HistoryQuery | View") -> None:
    if query.provisional and query.interval != "1d":
        raise Problem(
            422,
            "provisional=true adds daily bars made of minutes: it goes with interval=1d only; leave"
            f" it out for interval={query.interval}",
        )
    if query.provisional and query.quality == "strict":
        raise Problem(
            422,
            "provisional=true adds bars that nobody has checked yet: leave it out, or"
            " quality=strict",
        )


def check_range(start: date | None, end: date | None) -> None:
    """A clock time and an exact instant are compared when the exchange's clock is known."""
    if isinstance(start, DayOfInstant) and isinstance(end, DayOfInstant):
        is_exact = [bound.instant.tzinfo is not None for bound in (start, end)]
        is_reversed = is_exact[0] == is_exact[1] and start.instant > end.instant
    else:
        is_reversed = bool(start and end and start > end)
    if is_reversed:
        raise Problem(422, f"start {show_bound(start)} is after end {show_bound(end)}: swap them")


def show_bound(bound: date | None) -> str:
    return bound.instant.isoformat() if isinstance(bound, DayOfInstant) else str(bound)


def check_hours(interval: str, hours: str) -> None:
    if hours != "regular" and interval not in INTRADAY:
        raise Problem(
            422,
            f"hours={hours} is of intraday intervals ({', '.join(INTRADAY)}): interval={interval}"
            " has none",
        )


def read_fields(fields: str | None, interval: str) -> tuple[str, ...]:
    try:
        return select_fields(fields, interval)
    except ValueError as error:
        raise Problem(422, str(error)) from None


# What is stored, and the view of it.


@dataclass
class StoredSeries:
    """A symbol's bars as stored, its splits and dividends.

    known_at: kind of action (splits, dividends) → the last answer about it; None: never asked;
    without a kind of which that is not known. It is empty where the bars are those of an earlier
    instant: what was asked since does not concern them.
    """

    series: Series
    splits: list[Split]
    dividends: list[Dividend]
    known_at: dict[str, datetime | None] = field(default_factory=dict)


def derive_whole(view: View, stored: StoredSeries) -> Series:
    """All bars of a symbol, adjusted and of the interval that the view names. Ranges are cut out
    of it, and never the other way round."""
    adjusted = adjust(
        stored.series,
        stored.splits,
        view.adjustment,
        dividends=stored.dividends,
        adjusted_as_of=find_session_day(view.adjusted_as_of, stored.series.calendar),
    )
    return resample(name_known(adjusted, stored, view.adjustment), view.interval)


def append_days(stored: StoredSeries, later: Series) -> StoredSeries:
    """With bars as traded behind the stored ones, on their basis."""
    held, actions = stored.series, (stored.splits, stored.dividends, stored.known_at)
    if not len(later):
        return stored
    joined = join_series([held, adjust(later, stored.splits, held.adjustment)])
    decimals = max(held.volume_decimals, later.volume_decimals)
    return StoredSeries(replace(joined, volume_decimals=decimals), *actions)


def name_known(
    series: Series, stored: StoredSeries, adjustment: str, basis: str | None = None
) -> Series:
    """The series with since when the actions are known that its prices stand on; basis: of the
    bars that were adjusted, where they are not those of `stored`."""
    known_at = list_needed(stored, adjustment, basis)
    never = tuple(name for name, at in known_at.items() if at is None)
    instants = [at for at in known_at.values() if at]
    since = show_instant(min(instants)) if instants and not never else ""
    return replace(series, actions_known_at=since, never_asked=never)


def derive_minutes(
    view: View,
    stored: Series,
    sessions: Sessions,
    base_seconds: int,
    known_until: np.datetime64 | None,
    daily: StoredSeries | None,
) -> Series:
    """Bars shorter than a day, of whole sessions, adjusted and of the interval and hours that the
    view names; known_until: till when stored bars tell; daily: what is stored of the days."""
    if view.adjustment != "raw":
        stored = adjust_minutes(view, stored, sessions, daily)
    return resample_minutes(stored, sessions, view.interval, view.hours, base_seconds, known_until)


def adjust_minutes(
    view: View, stored: Series, sessions: Sessions, daily: StoredSeries | None
) -> Series:
    """By the splits and dividends of the daily series, from session to session. Minutes are as
    traded, whatever the daily prices are."""
    placed = replace(stored, sessions=find_places(stored.timestamps, sessions).days)
    if daily is None:
        unknown = ("splits", "dividends") if view.adjustment == "all" else ("splits",)
        return replace(placed, adjustment=view.adjustment, never_asked=unknown)
    adjusted = adjust(
        *(placed, daily.splits, view.adjustment),
        dividends=daily.dividends,
        adjusted_as_of=find_session_day(view.adjusted_as_of, stored.calendar),
        daily=daily.series,
    )
    return name_known(adjusted, daily, view.adjustment, basis="raw")


def derive_range(view: View, stored: StoredSeries) -> Series:
    """The bars of the view's range."""
    return slice_days(derive_whole(view, stored), view.start, view.end)


def derive_ranges(view: View, found: Iterable[StoredSeries]) -> list[Series]:
    """Of each symbol the bars of the view's range."""
    return [derive_range(view, stored) for stored in found]


def list_needed(
    stored: StoredSeries, adjustment: str, basis: str | None = None
) -> dict[str, datetime | None]:
    """The kinds of actions that the adjustment needs, and since when each is known.

    Prices that are stored split-adjusted need no splits. Of bars as known at an earlier instant
    nothing is said: what was asked for since does not concern them.
    """
    if adjustment == "raw" or not stored.known_at:
        return {}
    needed = ["splits"] if (basis or stored.series.adjustment) != "split" else []
    needed += ["dividends"] if adjustment == "all" else []
    return {name: stored.known_at[name] for name in needed if name in stored.known_at}


# What an answer says of its view.


def show_instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def tell_instant(as_of: datetime | None) -> dict[str, object]:
    """The instant as of which is told, where one was asked for."""
    return {"as_of": f"{as_of.isoformat()}Z"} if as_of else {}


def tell_view(view: View, left_out: int) -> dict[str, object]:
    """What an answer says of the view that was asked for, where one was."""
    told = tell_instant(view.as_of)
    return {**told, "left_out": left_out} if view.is_strict else told


def tell_nothing_known(as_of: datetime | None, found: Sequence[StoredSeries]) -> dict[str, object]:
    """Why an answer is empty that an instant leaves nothing of."""
    if as_of is None or any(len(stored.series) for stored in found):
        return {}
    return explain_nothing(as_of)


def explain_nothing(as_of: datetime) -> dict[str, object]:
    return {"detail": NOTHING_KNOWN.format(as_of.isoformat())}
