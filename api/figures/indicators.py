"""Technical indicators of one series: what can be asked for, how it is written, the columns of it.

Those with memory (an average that never forgets, a running sum) want all stored bars, so that the
range asked for does not change a value: compute over the whole history, then slice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from api.bars.series import Floats, Series
from api.figures.technicals import (
    ATR_WINDOW,
    Columns,
    compute_atr,
    compute_bbands,
    compute_ema,
    compute_macd,
    compute_obv,
    compute_rsi,
    compute_sma,
    compute_stoch,
    compute_vwap,
)

MOST_WINDOW = 1000
MOST_INDICATORS = 20


@dataclass(frozen=True)
class Parameter:
    """A number in a spec. Whole, unless `decimals` says how many places it may have."""

    name: str
    default: float
    least: float
    most: float
    decimals: int = 0


@dataclass(frozen=True)
class Kind:
    """What an indicator name means: its parameters, its columns and how they are computed."""

    meaning: str
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    compute: Callable[..., Columns]  # of the series and the parameters
    has_memory: bool = False  # a value depends on all bars before it, not on a window of them


@dataclass(frozen=True)
class Indicator:
    """A spec: a name of KINDS and a value for each of its parameters."""

    name: str
    values: tuple[float, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names as sma_20, macd_signal_12_26_9, obv."""
        suffix = "".join(f"_{value:g}" for value in self.values)
        return tuple(name + suffix for name in KINDS[self.name].columns)


def parse_indicators(text: str) -> tuple[Indicator, ...]:
    """Specs in the order written, one written twice only once; parameters left out are defaults.

    ValueError on no name, an unknown one, a parameter too many or out of range, more than 20.
    """
    parts = [part.strip().lower() for part in text.split(",")]
    if len(parts) > MOST_INDICATORS:
        raise ValueError(f"{len(parts)} indicators: at most {MOST_INDICATORS} at once")
    return tuple(dict.fromkeys(parse_indicator(part) for part in parts))


def parse_indicator(text: str) -> Indicator:
    name, *given = text.split(":")
    if name not in KINDS:
        raise ValueError(f"{text[:40]!r} is no indicator: possible are {', '.join(list_forms())}")
    parameters = KINDS[name].parameters
    if len(given) > len(parameters):
        raise ValueError(f"{text[:40]!r} has too many parameters: write {write_form(name)}")
    values = [parameter.default for parameter in parameters]
    values[: len(given)] = [
        parse_value(text, parameter, word)
        for parameter, word in zip(parameters, given, strict=False)
    ]
    spec = Indicator(name, tuple(values))
    check_order(text, spec)
    return spec


def parse_value(text: str, parameter: Parameter, word: str) -> float:
    """ValueError unless it is a plain number in the parameter's range."""
    places = rf"(\.\d{{1,{parameter.decimals}}})?" if parameter.decimals else ""
    if re.fullmatch(r"\d{1,6}" + places, word, re.ASCII):
        value = float(word) if parameter.decimals else int(word)
        if parameter.least <= value <= parameter.most:
            return value
    sort = f"number with at most {parameter.decimals} decimals" if places else "whole number"
    raise ValueError(
        f"{text[:40]!r}: {parameter.name} should be a {sort}"
        f" from {parameter.least:g} to {parameter.most:g}"
    )


def check_order(text: str, spec: Indicator) -> None:
    if spec.name == "macd" and spec.values[0] >= spec.values[1]:
        fast, slow, _ = spec.values
        raise ValueError(f"{text[:40]!r}: fast {fast:g} should be less than slow {slow:g}")


def list_forms() -> list[str]:
    """How each indicator is written: sma[:window], macd[:fast[:slow[:signal]]], obv …"""
    return [write_form(name) for name in KINDS]


def write_form(name: str) -> str:
    names = [parameter.name for parameter in KINDS[name].parameters]
    return name + "".join(f"[:{one}" for one in names) + "]" * len(names)


def compute_indicators(series: Series, specs: Sequence[Indicator]) -> dict[str, Floats]:
    """Column name → float64, one value a bar, in the order of the specs; NaN where not defined."""
    result = {}
    with np.errstate(all="ignore"):
        for spec in specs:
            columns = KINDS[spec.name].compute(series, *spec.values)
            for name, column in zip(spec.columns, columns, strict=True):
                result[name] = np.where(np.isfinite(column), column, np.nan)
    return result


def count_past(specs: Sequence[Indicator]) -> int | None:
    """So many bars before one bear on its values, or fewer; None: all of them do."""
    if any(KINDS[spec.name].has_memory for spec in specs):
        return None
    return max(ceil(sum(spec.values)) for spec in specs)


def window_of(default: int, least: int = 1, name: str = "window") -> Parameter:
    return Parameter(name, default, least, MOST_WINDOW)


KINDS = {
    "sma": Kind(
        meaning="simple moving average",
        parameters=(window_of(20),),
        columns=("sma",),
        compute=compute_sma,
    ),
    "ema": Kind(
        meaning="exponential moving average",
        parameters=(window_of(20),),
        columns=("ema",),
        compute=compute_ema,
        has_memory=True,
    ),
    "rsi": Kind(
        meaning="relative strength index",
        parameters=(window_of(14, 2),),
        columns=("rsi",),
        compute=compute_rsi,
        has_memory=True,
    ),
    "macd": Kind(
        meaning="moving average convergence divergence",
        parameters=(window_of(12, 2, "fast"), window_of(26, 3, "slow"), window_of(9, 1, "signal")),
        columns=("macd", "macd_signal", "macd_histogram"),
        compute=compute_macd,
        has_memory=True,
    ),
    "bbands": Kind(
        meaning="Bollinger bands",
        parameters=(window_of(20, 2), Parameter("deviations", 2, 0.1, 10, decimals=2)),
        columns=("bbands_upper", "bbands_middle", "bbands_lower"),
        compute=compute_bbands,
    ),
    "atr": Kind(
        meaning="average true range",
        parameters=(window_of(ATR_WINDOW),),
        columns=("atr",),
        compute=compute_atr,
        has_memory=True,
    ),
    "vwap": Kind(
        meaning="volume-weighted average price",
        parameters=(window_of(20),),
        columns=("vwap",),
        compute=compute_vwap,
    ),
    "obv": Kind(
        meaning="on-balance volume",
        parameters=(),
        columns=("obv",),
        compute=compute_obv,
        has_memory=True,
    ),
    "stoch": Kind(
        meaning="stochastic oscillator",
        parameters=(window_of(14, 1, "k"), window_of(3, 1, "smooth"), window_of(3, 1, "d")),
        columns=("stoch_k", "stoch_d"),
        compute=compute_stoch,
    ),
}
