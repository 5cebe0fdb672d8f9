"""Returns of closes, and what every figure made of them shares.

A figure is a finite float or None: what is not finite, or is the rounding of nothing, is None.
"""

import math

import numpy as np

from api.bars.hours import count_minutes
from api.bars.intraday import INTERVAL_SECONDS
from api.bars.series import Floats, Series

PERIODS_PER_YEAR = {"1d": 252, "1wk": 52, "1mo": 12, "3mo": 4, "1y": 1}
DAYS_PER_YEAR = {"24/7": 365, "24/5": 260}  # of calendars that know no holidays
KINDS = ("simple", "log")
NOISE = 1e-14  # a price holds 16 digits: a smaller spread of returns is rounding, and is none


def compute_returns(series: Series, kind: str = "simple") -> Floats:
    """The return of each bar but the first, float64; NaN where a price is 0 or below.

    simple: close / close before - 1; log: its natural logarithm, ln(close / close before), which
    adds up over time. ValueError on another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: it should be {' or '.join(KINDS)}")
    with np.errstate(all="ignore"):
        simple = compute_close_returns(series.close)
        if kind == "simple":
            return simple
        logs: Floats = np.log(series.close[1:] / series.close[:-1])
        return logs if are_positive(series.close) else np.where(np.isnan(simple), np.nan, logs)


def compute_close_returns(closes: Floats) -> Floats:
    """close / close before - 1; one fewer than closes; NaN where one of both is not positive."""
    with np.errstate(all="ignore"):
        returns: Floats = closes[1:] / closes[:-1] - 1
    if are_positive(closes):
        return returns
    return np.where((closes[1:] > 0) & (closes[:-1] > 0), returns, np.nan)


def are_positive(closes: Floats) -> bool:
    """Futures, rates and spreads can close at 0 or below: no share of such a price has a meaning,
    and none between two closes with such a one among them."""
    return not len(closes) or bool(np.minimum.reduce(closes) > 0)


def take_positive(closes: Floats) -> Floats:
    """All closes, or none where one of them is not positive: of none, every figure is None."""
    return closes if are_positive(closes) else closes[:0]


def split_rate(risk_free: float, periods_per_year: int) -> float:
    """An annual rate (0.03 is 3 %) as the rate of one bar: (1 + rate) ^ (1 / periods) - 1.

    Compounded, as quantstats has it; empyrical takes the rate of a bar. ValueError unless the
    rate is a number above -1.
    """
    if not -1 < risk_free < math.inf:
        raise ValueError(f"risk_free {risk_free}: it should be a yearly rate, as 0.03 for 3 %")
    return math.expm1(math.log1p(risk_free) / periods_per_year)


def get_periods(interval: str, *series: Series) -> int:
    """Bars of an interval in a year, of the days that all series trade on.

    252 days, 365 of what trades every day, 260 of what trades every weekday, by the calendar of
    each series, the fewest of several. Of bars shorter than a day so many as the minutes of a usual
    session, its regular hours, make up on each of these days. ValueError on an unknown interval.
    """
    if interval not in PERIODS_PER_YEAR | INTERVAL_SECONDS:
        raise ValueError(
            f"interval {interval!r}: it should be one of"
            f" {', '.join((*INTERVAL_SECONDS, *PERIODS_PER_YEAR))}"
        )
    calendars = [one.calendar for one in series] or [""]
    if interval in INTERVAL_SECONDS:
        return min(count_short_bars(calendar, interval) for calendar in calendars)
    if interval != "1d":
        return PERIODS_PER_YEAR[interval]
    return min(count_days(calendar) for calendar in calendars)


def count_days(calendar: str) -> int:
    return DAYS_PER_YEAR.get(calendar, PERIODS_PER_YEAR["1d"])


def count_short_bars(calendar: str, interval: str) -> int:
    seconds = count_days(calendar) * count_minutes(calendar) * 60
    return round(seconds / INTERVAL_SECONDS[interval])


def compute_spread(returns: Floats) -> float:
    """Standard deviation, ddof 1, of two or more returns; exactly 0 where they differ by rounding.

    Prices that grow by 1 % each day have a spread of 1e-16: divided by it, a ratio would be 1e14.
    """
    return drop_noise(compute_deviation(returns, ddof=1), returns)


def compute_mean(values: Floats) -> float:
    """Of one or more values; as numpy's mean, whose set-up costs more than a year of bars."""
    return float(np.add.reduce(values)) / len(values)


def compute_deviation(values: Floats, ddof: int) -> float:
    """Standard deviation of more than `ddof` values; as numpy's std, at a third of its time.

    A sum of squares, not a product of vectors: the last digit of that depends on the processor.
    """
    centred = values - compute_mean(values)
    return math.sqrt(float(np.add.reduce(centred * centred)) / (len(values) - ddof))


def drop_noise(spread: float, returns: Floats) -> float:
    return 0.0 if spread <= NOISE * (1 + float(np.abs(returns).max())) else spread


def divide(number: float, by: float) -> float | None:
    """None where that is not a finite number."""
    return keep_finite(number / by) if by else None


def keep_finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
