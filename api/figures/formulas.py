"""What the figures of performance are made of: formula, source, how many observations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from api.bars.series import Series
from api.figures.comparison import find_common_days
from api.figures.ratios import LEAST_FOR_TAIL
from api.figures.returns import are_positive, get_periods, split_rate


@dataclass(frozen=True)
class Formula:
    """`over` names what is counted (see count_observations); fewer than `least` give None."""

    formula: str
    source: str
    over: str = "returns"
    least: int = 1


FORMULAS: Mapping[str, Formula] = {
    "mean_close": Formula("mean(close)", "definition", "bars"),
    "median_close": Formula("median(close)", "definition", "bars"),
    "std_close": Formula("std(close, ddof 1)", "definition", "bars", 2),
    "total_volume": Formula("sum(volume)", "definition", "volumes"),
    "mean_volume": Formula("mean(volume)", "definition", "volumes"),
    "total_return": Formula("last close / first close - 1", "Bacon"),
    "cagr": Formula("(last close / first close) ^ (365.25 / days) - 1, of a day or more", "Bacon"),
    "annual_volatility": Formula("std(r, ddof 1) × √periods", "Bacon", least=2),
    "max_drawdown": Formula("min(close / highest close so far - 1)", "Bacon", "bars", 2),
    "sharpe_ratio": Formula("mean(r - f) / std(r - f, ddof 1) × √periods", "Sharpe 1994", least=2),
    "sortino_ratio": Formula(
        "mean(r - f) / √mean(min(r - f, 0)²) × √periods", "Sortino and Price 1994", least=2
    ),
    "calmar_ratio": Formula("cagr / -max_drawdown", "Young 1991"),
    "skew": Formula("G1 = √(n(n-1)) / (n-2) × m3 / m2^1.5", "Joanes and Gill 1998", least=3),
    "kurtosis": Formula(
        "G2 = (n-1) / ((n-2)(n-3)) × ((n+1)(m4 / m2² - 3) + 6), normal: 0",
        "Joanes and Gill 1998",
        least=4,
    ),
    "value_at_risk": Formula(
        "5 % quantile of r, linear", "Jorion, historical simulation", least=LEAST_FOR_TAIL
    ),
    "expected_shortfall": Formula(
        "mean of the floor(0.05 (n-1)) + 1 lowest r",
        "Jorion, historical simulation",
        least=LEAST_FOR_TAIL,
    ),
    "longest_drawdown_days": Formula(
        "most days from a peak to its recovery or the last bar", "Bacon", "bars", 2
    ),
    "up_days": Formula("count(r > 0)", "definition"),
    "down_days": Formula("count(r < 0)", "definition"),
    "average_true_range": Formula(
        "Wilder's average of 14 true ranges, last", "Wilder 1978", least=14
    ),
    "average_dollar_volume": Formula("mean(close × volume)", "definition", "volumes"),
    "beta": Formula("cov(r, b) / var(b)", "Jensen 1968", "common_returns", 2),
    "alpha": Formula(
        "(1 + mean((r - f) - beta (b - f))) ^ periods - 1", "Jensen 1968", "common_returns", 2
    ),
    "correlation": Formula("cov(r, b) / (std(r) std(b))", "Pearson", "common_returns", 2),
    "tracking_error": Formula("std(r - b, ddof 1) × √periods", "Bacon", "common_returns", 2),
}


def explain_performance(
    series: Series,
    benchmark: Series | None = None,
    interval: str = "1d",
    risk_free: float = 0.0,
    periods_per_year: int | None = None,
) -> dict[str, Any]:
    """How measure_performance reckons with the same arguments, ready for JSON.

    `periods_per_year`, `benchmark_periods_per_year` (of alpha and tracking error: the days that
    both trade on), `risk_free` (annual) and `risk_free_per_period` (f in the formulas), `counts`
    (see count_observations), and by figure its formula, source, `n` (the observations it is made
    of) and `least` (of fewer it is None).
    """
    counts = count_observations(series, benchmark)
    periods = periods_per_year or get_periods(interval, series)
    common = periods_per_year or get_periods(interval, series, benchmark or series)
    return {
        "interval": interval,
        "periods_per_year": periods,
        "benchmark_periods_per_year": common if benchmark is not None else None,
        "risk_free": risk_free,
        "risk_free_per_period": split_rate(risk_free, periods),
        "benchmark": benchmark.symbol if benchmark is not None else None,
        "counts": counts,
        "figures": {name: explain_figure(name, counts) for name in FORMULAS},
    }


def explain_figure(name: str, counts: dict[str, int]) -> dict[str, Any]:
    formula = FORMULAS[name]
    return {
        "formula": formula.formula,
        "source": formula.source,
        "n": counts[formula.over],
        "least": formula.least,
    }


def count_observations(series: Series, benchmark: Series | None) -> dict[str, int]:
    """bars, returns, volumes (bars with one), common_returns, and the bars left out: those
    without volume, those of days that the benchmark has not, those that only it has.

    A close of 0 or below leaves no returns: figures of them are None.
    """
    bars = len(series)
    returns = max(0, bars - 1) if are_positive(series.close) else 0
    volumes = int(np.ma.count(series.volume))
    common = others = 0
    if benchmark is not None:
        common, others = len(find_common_days(series, benchmark)), len(benchmark)
    return {
        "bars": bars,
        "returns": returns,
        "volumes": volumes,
        "common_returns": max(0, common - 1),
        "bars_without_volume": bars - volumes,
        "bars_without_partner": bars - common if benchmark is not None else 0,
        "benchmark_bars_without_partner": others - common,
    }
