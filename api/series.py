"""Series: one symbol's columns, the unit of reading. Everything here is a pure function of one.

    stored → adjust → resample (api/resample.py) → slice_days → cut_page

In that order: factors and periods need the bars outside the range too, and so a bar is the same
whatever range it is asked in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Flags = npt.NDArray[np.bool_]
Volumes = np.ma.MaskedArray[Any, np.dtype[np.int64]]
Split = tuple[date, float]
Dividend = tuple[date, float]

PRICES = ("open", "high", "low", "close")
FIELDS = (*PRICES, "volume")
ADJUSTMENTS = ("raw", "split", "all")
TOO_BIG = 2.0**63


@dataclass(frozen=True)
class Series:
    """The bars of one symbol, sorted by day, no day twice; all columns have the same length.

    days: datetime64[D], the first session of each bar; open, high, low, close: float64; volume:
    int64, masked where the vendor gave none. `adjustment` says which prices these are: raw (as
    traded), split or all. `complete` is there for intervals longer than a day: False on a last
    bar whose period may still have sessions to come. `calendar` names the days it trades on (XNYS,
    24/7); empty: not known. actions_known_at: of adjusted prices, since when the splits and
    dividends that they stand on are known; never_asked: those that nobody ever asked for.
    """

    symbol: str
    adjustment: str
    days: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Volumes
    interval: str = "1d"
    complete: Flags | None = None
    calendar: str = ""
    actions_known_at: str = ""
    never_asked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.days)


def take_slice(series: Series, part: slice) -> Series:
    columns = {name: getattr(series, name) for name in ("days", *FIELDS, "complete")}
    present = {name: column[part] for name, column in columns.items() if column is not None}
    return replace(series, **present)


def weigh_columns(series: Series) -> int:
    """Bytes of memory that the columns take."""
    names = ("days", *FIELDS)
    mask: int = np.ma.getmask(series.volume).nbytes
    return mask + sum(int(getattr(series, name).nbytes) for name in names)


def reverse_bars(series: Series) -> Series:
    """Newest first."""
    return take_slice(series, np.s_[::-1])


# Ranges and pages.


def find_range(series: Series, start: date | None, end: date | None) -> tuple[int, int]:
    """The bars from `start` to `end`, both inclusive, as series[first:last]."""
    first, last = 0, len(series)
    if start is not None:
        first = int(np.searchsorted(series.days, np.datetime64(start), "left"))
    if end is not None:
        last = int(np.searchsorted(series.days, np.datetime64(end), "right"))
    return first, max(first, last)


def cut_range(first: int, last: int, limit: int, order: str) -> tuple[int, int, int | None]:
    """The first `limit` of the bars [first:last] in that order (asc or desc), as a range of the
    sorted series, and the index of the bar that comes after them."""
    if order == "desc":
        cut = max(first, last - limit)
        return cut, last, cut - 1 if cut > first else None
    cut = min(last, first + limit)
    return first, cut, cut if cut < last else None


def keep_bars(series: Series, mask: Flags) -> Series:
    columns = {name: getattr(series, name) for name in ("days", *FIELDS, "complete")}
    kept = {name: column[mask] for name, column in columns.items() if column is not None}
    return replace(series, **kept)


def slice_days(series: Series, start: date | None, end: date | None) -> Series:
    """The bars from `start` to `end`, both inclusive; None leaves that side open.

    A bar longer than a day belongs to the day of its first session.
    """
    return take_slice(series, slice(*find_range(series, start, end)))


def cut_page(series: Series, limit: int, order: str) -> tuple[Series, date | None]:
    """The first `limit` bars of a sorted series in that order, and the day of the bar after."""
    first, last, following = cut_range(0, len(series), limit, order)
    page = take_slice(series, slice(first, last))
    after: date | None = None if following is None else series.days[following].item()
    return (reverse_bars(page) if order == "desc" else page), after


def list_fields(interval: str) -> tuple[str, ...]:
    """The columns that a bar has beside its timestamp."""
    return FIELDS if interval == "1d" else (*FIELDS, "complete")


def select_fields(fields: str | None, interval: str = "1d") -> tuple[str, ...]:
    """`Close,volume` as names, in that order; None is all. Raises ValueError.

    timestamp always comes, first, and may be named or not; symbol may be named too.
    """
    possible = list_fields(interval)
    if fields is None:
        return possible
    names = [name.strip().lower() for name in fields.split(",")]
    for name in names:
        if name not in (*possible, "timestamp", "symbol"):
            raise ValueError(f"fields: {name!r} is none; possible are {', '.join(possible)}")
        if names.count(name) > 1:
            raise ValueError(f"fields: {name} is given {names.count(name)} times: give it once")
    return tuple(name for name in names if name != "timestamp")


# Adjustment.


def adjust(
    series: Series,
    splits: Sequence[Split],
    adjustment: str,
    *,
    dividends: Sequence[Dividend] = (),
    adjusted_as_of: date | None = None,
) -> Series:
    """The same bars as traded (raw), as if all splits had always been (split), or as if
    dividends had been put into the price too (all). `series` is as stored, raw or split.

    Before a split of ratio r, split-adjusted prices are raw prices / r, and volumes are × r.
    Before a dividend, prices of `all` are × (1 - dividend / close of the bar before the ex-date),
    volumes are left alone: as Yahoo reckons, after CRSP. Dividends are on the basis of the stored
    prices. One that is not less than the close before counts for nothing: it has no factor.

    adjusted_as_of: splits and dividends with a later ex_date count for nothing, so that the
    prices are those that one would have computed on that day; raw prices do not depend on it.
    """
    if adjustment not in ADJUSTMENTS:
        raise ValueError(f"adjustment={adjustment}: possible are {', '.join(ADJUSTMENTS)}")
    if series.adjustment == "all":
        raise ValueError("prices with dividends put in cannot be adjusted again")
    known = [split for split in splits if adjusted_as_of is None or split[0] <= adjusted_as_of]
    wanted = [] if adjustment == "raw" else known
    stored = list(splits) if series.adjustment == "split" else []
    adjusted = series
    if wanted != stored:
        adjusted = scale(
            series,
            divisors=compute_split_factors(series.days, [s for s in wanted if s not in stored]),
            factors=compute_split_factors(series.days, [s for s in stored if s not in wanted]),
        )
    if adjustment == "all":
        paid = [d for d in dividends if adjusted_as_of is None or d[0] <= adjusted_as_of]
        factors = compute_dividend_factors(series, splits, paid)
        prices = {name: getattr(adjusted, name) * factors for name in PRICES}
        adjusted = replace(adjusted, **prices)
    return replace(adjusted, adjustment=adjustment)


def scale(series: Series, divisors: Floats, factors: Floats) -> Series:
    """Prices × factors / divisors, volumes the other way round, to whole shares.

    A volume beyond 64 bits is masked; one that nothing changes stays the same to the last digit.
    """
    prices = {name: getattr(series, name) * factors / divisors for name in PRICES}
    volumes = series.volume.filled(0)
    scaled = np.rint(volumes * divisors / factors)
    is_too_big = np.abs(scaled) >= TOO_BIG
    whole = np.where(is_too_big, 0, scaled).astype(np.int64)
    volume = np.ma.masked_array(
        np.where(divisors == factors, volumes, whole),
        np.ma.getmaskarray(series.volume) | (is_too_big & (divisors != factors)),
    )
    return replace(series, volume=volume, **prices)


def compute_split_factors(days: Days, splits: Sequence[Split]) -> Floats:
    """For each day the product of the ratios of all splits after it."""
    return compute_factors(days, [ex for ex, _ in splits], np.array([r for _, r in splits], float))


def compute_dividend_factors(
    series: Series, splits: Sequence[Split], dividends: Sequence[Dividend]
) -> Floats:
    """For each bar the product of (1 - dividend / close of the bar before) of all later ones.

    A split between that bar and the ex-date (there may be days without bars) changes what a share
    is, in raw prices. On one and the same day the dividend is for a share before the split.
    """
    known = [each for each in dividends if len(series) and series.days[0] < np.datetime64(each[0])]
    ex_dates: Days = np.array([ex for ex, _ in known], "datetime64[D]")
    amounts = np.array([amount for _, amount in known], float)
    before = np.searchsorted(series.days, ex_dates) - 1
    closes: Floats = series.close[before]
    if series.adjustment == "raw":
        eves = ex_dates - np.timedelta64(1, "D")
        factors = compute_split_factors(series.days[before], splits)
        closes = closes * compute_split_factors(eves, splits) / factors
    counts = closes > amounts
    ratios = 1 - amounts[counts] / closes[counts]
    return compute_factors(series.days, ex_dates[counts], ratios)


def compute_factors(days: Days, ex_dates: Any, values: Floats) -> Floats:
    """For each day the product of all values with an ex-date after it."""
    ex = np.asarray(ex_dates, "datetime64[D]")
    order = np.argsort(ex, kind="stable")
    products = np.append(np.cumprod(values[order][::-1])[::-1], 1.0)
    factors: Floats = products[np.searchsorted(ex[order], days, "right")]
    return factors
