"""api.bars.adjust"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from api.bars.series import (
    ADJUSTMENTS,
    PRICES,
    TOO_BIG,
    Days,
    Dividend,
    Floats,
    Series,
    Split,
    Timestamps,
)
from api.bars.volumes import round_volumes

# Adjustment.


def adjust(
    series: Series,
    splits: Sequence[Split],
    adjustment: str,
    *,
    dividends: Sequence[Dividend] = (),
    adjusted_as_of: date | None = None,
    daily: Series | None = None,
) -> Series:
    """The same bars as traded (raw), as if all splits had always been (split), or as if
    dividends had been put into the price too (all). `series` is as stored, raw or split.

    Before a split of ratio r, split-adjusted prices are raw prices / r, and volumes are × r.
    Before a dividend, prices of `all` are × (1 - dividend / close of the bar before the ex-date),
    volumes are left alone: as Yahoo reckons, after CRSP. Dividends are on the basis of the stored
    prices. One that is not less than the close before counts for nothing: it has no factor.

    daily: one bar a session, raw or split, whose closes the dividends are reckoned of; without them
    `series` itself. Bars shorter than a day want them, and are adjusted by their sessions.

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
    times = series.timestamps if series.sessions is None else series.sessions
    if wanted != stored:
        adjusted = scale(
            series,
            divisors=compute_split_factors(times, [s for s in wanted if s not in stored]),
            factors=compute_split_factors(times, [s for s in stored if s not in wanted]),
        )
    if adjustment == "all":
        paid = [d for d in dividends if adjusted_as_of is None or d[0] <= adjusted_as_of]
        factors = compute_dividend_factors(daily or series, splits, paid, times)
        prices = {name: getattr(adjusted, name) * factors for name in PRICES}
        adjusted = replace(adjusted, **prices)
    return replace(adjusted, adjustment=adjustment)


def scale(series: Series, divisors: Floats, factors: Floats) -> Series:
    """Prices × factors / divisors, volumes the other way round, to whole shares (or units).

    A volume beyond 64 bits is masked; one that nothing changes stays the same to the last digit.
    """
    prices = {name: getattr(series, name) * factors / divisors for name in PRICES}
    volumes = series.volume.filled(0)
    if series.volume_decimals:
        parts = round_volumes(volumes * divisors / factors, series.volume_decimals)
        kept = np.where(divisors == factors, volumes, parts)
        volume = np.ma.masked_array(kept, np.ma.getmask(series.volume))
        return replace(series, volume=volume, **prices)
    scaled = np.rint(volumes * divisors / factors)
    is_too_big = np.abs(scaled) >= TOO_BIG
    whole = np.where(is_too_big, 0, scaled).astype(np.int64)
    volume = np.ma.masked_array(
        np.where(divisors == factors, volumes, whole),
        np.ma.getmaskarray(series.volume) | (is_too_big & (divisors != factors)),
    )
    return replace(series, volume=volume, **prices)


def compute_split_factors(days: Timestamps | Days, splits: Sequence[Split]) -> Floats:
    """For each day, or midnight of it, the product of the ratios of all splits after it."""
    return compute_factors(days, [ex for ex, _ in splits], np.array([r for _, r in splits], float))


def compute_dividend_factors(
    series: Series,
    splits: Sequence[Split],
    dividends: Sequence[Dividend],
    days: Timestamps | Days | None = None,
) -> Floats:
    """For each bar, or day, the product of (1 - dividend / close of the bar before) of all later
    dividends.

    A split between that bar and the ex-date (there may be days without bars) changes what a share
    is, in raw prices. On one and the same day the dividend is for a share before the split.
    """
    known = [
        each for each in dividends if len(series) and series.timestamps[0] < np.datetime64(each[0])
    ]
    ex_dates: Days = np.array([ex for ex, _ in known], "datetime64[D]")
    amounts = np.array([amount for _, amount in known], float)
    before = series.timestamps.searchsorted(ex_dates) - 1
    closes: Floats = series.close[before]
    if series.adjustment == "raw":
        eves = ex_dates - np.timedelta64(1, "D")
        factors = compute_split_factors(series.timestamps[before], splits)
        closes = closes * compute_split_factors(eves, splits) / factors
    counts = closes > amounts
    ratios = 1 - amounts[counts] / closes[counts]
    times = series.timestamps if days is None else days
    return compute_factors(times, ex_dates[counts], ratios)


def compute_factors(days: Timestamps | Days, ex_dates: Any, values: Floats) -> Floats:
    """For each day the product of all values with an ex-date after it."""
    ex = np.asarray(ex_dates, "datetime64[D]")
    order = np.argsort(ex, kind="stable")
    products = np.append(np.cumprod(values[order][::-1])[::-1], 1.0)
    factors: Floats = products[np.searchsorted(ex[order], days, "right")]
    return factors


def tell_actions(*parts: Series) -> dict[str, object]:
    """Since when the actions are known that adjusted prices stand on, and what was never asked."""
    never = [
        name if len(parts) == 1 else f"{part.symbol} {name}"
        for part in parts
        for name in part.never_asked
    ]
    if never:
        return {"actions_known_at": None, "never_asked": never}
    instants = [part.actions_known_at for part in parts if part.actions_known_at]
    return {"actions_known_at": min(instants)} if instants else {}
