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

from api.bars.adjust import adjust
from api.bars.resample import resample
from api.bars.series import FIELDS, Dividend, Series, Split, select_fields, slice_days
from api.models import FigureQuery, HistoryQuery
from api.models.terms import DayOfInstant, find_session_day
from api.problems import Problem

NOTHING_KNOWN = (
    "Nothing of this was known at {}Z: its first bars were loaded later. Take a later as_of, or"
    " none for what is known now."
)


class View(NamedTuple):
    """Which bars, and how they are told. A value: two requests of one View have the same answer.

    symbols: as they were asked for, in order; start, end: inclusive, None leaves that side open;
    adjusted_as_of: adjusted only for actions up to this day; as_of: as known at this instant (naive
    UTC), None: now; quality: all, or strict without the bars that have a note; fields: columns
    after the timestamp; limit: None asks for as many as there may be.
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

    @property
    def is_strict(self) -> bool:
        return self.quality == "strict"

    @property
    def is_plain(self) -> bool:
        """Whether its bars are those of a symbol's prepared text: all columns, as traded, now."""
        asked = self.interval, self.adjustment, self.as_of, self.quality, self.fields
        return asked == ("1d", "raw", None, "all", FIELDS)


def build_bars_view(symbols: Iterable[str], query: HistoryQuery) -> View:
    """The view of a page of bars. Problem where it has no meaning, before anything is read."""
    check_range(query.start, query.end)
    if query.quality == "strict" and query.interval != "1d":
        raise Problem(422, "quality=strict leaves out days: it goes with interval=1d only")
    return View(
        tuple(symbols),
        *(query.start, query.end, query.interval, query.adjustment, query.adjusted_as_of),
        *(query.as_of, query.quality, read_fields(query.fields, query.interval)),
        *(query.order, query.limit),
    )


def build_figures_view(symbols: Iterable[str], query: FigureQuery) -> View:
    """The view that figures are reckoned of. Problem where it has no meaning."""
    check_range(query.start, query.end)
    asked = query.start, query.end, query.interval, query.adjustment, query.adjusted_as_of
    return View(tuple(symbols), *asked, query.as_of)


def check_range(start: date | None, end: date | None) -> None:
    if isinstance(start, DayOfInstant) and isinstance(end, DayOfInstant):
        is_reversed = start.instant > end.instant
    else:
        is_reversed = bool(start and end and start > end)
    if is_reversed:
        raise Problem(422, f"start {start} is after end {end}: swap them")


def read_fields(fields: str | None, interval: str) -> tuple[str, ...]:
    try:
        return select_fields(fields, interval)
    except ValueError as error:
        raise Problem(422, str(error)) from None


# What is stored, and the view of it.


@dataclass
class StoredSeries:
    """A symbol's bars as stored, its splits and dividends.

    known_at: kind of action (splits, dividends) → the last answer about it; None: never asked. It
    is empty where the bars are those of an earlier instant: what was asked since does not concern
    them.
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
    known_at = list_needed(stored, view.adjustment)
    never = tuple(name for name, at in known_at.items() if at is None)
    instants = [at for at in known_at.values() if at]
    since = show_instant(min(instants)) if instants and not never else ""
    adjusted = replace(adjusted, actions_known_at=since, never_asked=never)
    return resample(adjusted, view.interval)


def derive_range(view: View, stored: StoredSeries) -> Series:
    """The bars of the view's range."""
    return slice_days(derive_whole(view, stored), view.start, view.end)


def derive_ranges(view: View, found: Iterable[StoredSeries]) -> list[Series]:
    """Of each symbol the bars of the view's range."""
    return [derive_range(view, stored) for stored in found]


def list_needed(stored: StoredSeries, adjustment: str) -> dict[str, datetime | None]:
    """The kinds of actions that the adjustment needs, and since when each is known.

    Prices that are stored split-adjusted need no splits. Of bars as known at an earlier instant
    nothing is said: what was asked for since does not concern them.
    """
    if adjustment == "raw" or not stored.known_at:
        return {}
    needed = ["splits"] if stored.series.adjustment != "split" else []
    needed += ["dividends"] if adjustment == "all" else []
    return {name: stored.known_at[name] for name in needed}


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
