"""Figures of one list of returns: reward for risk, shape, tail. All take returns (float64, one a
bar, simple, in order) and give a finite float, or None where there are too few or none is defined.
"""

import math

import numpy as np

from api.bars.series import Floats
from api.figures.returns import (
    compute_deviation,
    compute_mean,
    compute_spread,
    divide,
    drop_noise,
    keep_finite,
    split_rate,
)

TAIL = 0.05
LEAST_FOR_TAIL = 20  # of fewer returns, 5 % is less than one


def compute_sharpe_ratio(
    returns: Floats, risk_free: float = 0.0, periods_per_year: int = 252
) -> float | None:
    """mean(r - f) / std(r - f, ddof 1) × √periods, f the annual rate de-compounded to a bar.

    Sharpe (1994), The Sharpe Ratio; as empyrical.sharpe_ratio given f, as quantstats given the
    annual rate. None: fewer than 2 returns, or all equal (empyrical: ±inf).
    """
    if len(returns) < 2:
        return None
    with np.errstate(all="ignore"):
        excess = returns - split_rate(risk_free, periods_per_year)
        return divide(compute_mean(excess) * math.sqrt(periods_per_year), compute_spread(returns))


def compute_sortino_ratio(
    returns: Floats, risk_free: float = 0.0, periods_per_year: int = 252
) -> float | None:
    """mean(r - f) × periods / (√(mean(min(r - f, 0)²)) × √periods), f the rate of a bar.

    The mean of squares is over all returns, not over those below f. Sortino and Price (1994); as
    empyrical.sortino_ratio given f. None: fewer than 2 returns, or none below f.
    """
    if len(returns) < 2:
        return None
    with np.errstate(all="ignore"):
        excess = returns - split_rate(risk_free, periods_per_year)
        downside = math.sqrt(compute_mean(np.square(np.minimum(excess, 0))))
        downside = drop_noise(downside, returns)
        return divide(compute_mean(excess) * math.sqrt(periods_per_year), downside)


def compute_calmar_ratio(cagr: float | None, max_drawdown: float | None) -> float | None:
    """cagr / -max_drawdown, both over the whole range (Young, 1991, took 36 months).

    As empyrical.calmar_ratio, whose year is a number of bars where that of `cagr` is 365.25 days.
    None without a fall.
    """
    if cagr is None or not max_drawdown:
        return None
    return divide(cagr, -max_drawdown)


def compute_skew(returns: Floats) -> float | None:
    """Sample skewness, corrected for bias: G1 = √(n(n-1)) / (n-2) × m3 / m2^1.5.

    Joanes and Gill (1998); as pandas' skew, which quantstats takes. None: fewer than 3 returns,
    or all equal (pandas: 0).
    """
    count = len(returns)
    if count < 3:
        return None
    with np.errstate(all="ignore"):
        scores = standardize(returns)
        if scores is None:
            return None
        moment = compute_mean(scores * scores * scores)
        return keep_finite(math.sqrt(count * (count - 1)) / (count - 2) * moment)


def compute_kurtosis(returns: Floats) -> float | None:
    """Excess kurtosis (normal: 0), corrected for bias.

    G2 = (n-1) / ((n-2)(n-3)) × ((n+1) × (m4 / m2² - 3) + 6), Joanes and Gill (1998); as pandas'
    kurt, which quantstats takes. None: fewer than 4 returns, or all equal (pandas: 0).
    """
    count = len(returns)
    if count < 4:
        return None
    with np.errstate(all="ignore"):
        scores = standardize(returns)
        if scores is None:
            return None
        excess = (count + 1) * (compute_mean(np.square(scores * scores)) - 3) + 6
        return keep_finite((count - 1) / ((count - 2) * (count - 3)) * excess)


def standardize(returns: Floats) -> Floats | None:
    """(r - mean) / std with ddof 0; None where all are equal."""
    if not compute_spread(returns):
        return None
    scores: Floats = (returns - compute_mean(returns)) / compute_deviation(returns, ddof=0)
    return scores


def find_value_at_risk(returns: Floats) -> float | None:
    """The 5 % quantile of the returns, between two of them by line; a loss is negative.

    Historical simulation: Jorion, Value at Risk; as empyrical.value_at_risk. None: fewer than 20
    returns.
    """
    if len(returns) < LEAST_FOR_TAIL:
        return None
    place = (len(returns) - 1) * TAIL
    below = int(place)
    with np.errstate(all="ignore"):
        lower, upper = np.partition(returns, (below, below + 1))[below : below + 2].tolist()
        return keep_finite(lower + (upper - lower) * (place - below))


def find_expected_shortfall(returns: Floats) -> float | None:
    """Mean of the worst floor(0.05 × (n - 1)) + 1 returns; a loss is negative.

    Historical simulation; as empyrical.conditional_value_at_risk. None: fewer than 20 returns.
    """
    if len(returns) < LEAST_FOR_TAIL:
        return None
    worst = int((len(returns) - 1) * TAIL)
    with np.errstate(all="ignore"):
        return keep_finite(compute_mean(np.partition(returns, worst)[: worst + 1]))
