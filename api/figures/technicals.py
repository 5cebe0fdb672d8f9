"""Formulas of technical indicators: columns as long as the series, NaN until each has its bars.

A column is reckoned from the first bar given. The first values are those of TA-Lib, to which all
agree. Callers see to numpy's warnings.
"""

import numpy as np

from api.bars.series import Floats, Series
from api.bars.volumes import round_volumes
from api.figures.windows import roll_max, roll_mean, roll_min, roll_std, roll_sum

ATR_WINDOW = 14

Columns = tuple[Floats, ...]


def compute_sma(series: Series, window: int) -> Columns:
    """Mean of the last `window` closes. TA-Lib: SMA."""
    return (roll_mean(series.close, window),)


def compute_ema(series: Series, window: int) -> Columns:
    """e += 2 / (window + 1) × (close - e), begun with the mean of the first closes. TA-Lib: EMA."""
    return (smooth(series.close, window, 2 / (window + 1)),)


def compute_rsi(series: Series, window: int) -> Columns:
    """100 × gain / (gain + loss), Wilder's averages of rises and falls of the close, 0 to 100.

    Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib: RSI. NaN while no close has
    moved, where TA-Lib gives 0.
    """
    changes = np.diff(series.close)
    gain = smooth(np.maximum(changes, 0), window, 1 / window)
    loss = smooth(np.maximum(-changes, 0), window, 1 / window)
    return (prepend_gap(100 * gain / (gain + loss), series),)


def compute_macd(series: Series, fast: int, slow: int, signal: int) -> Columns:
    """ema(fast) - ema(slow) of the close; its ema(signal); the first less the second.

    Both averages begin at the bar where the slow one can. Appel (1979); TA-Lib: MACD, which keeps
    the line back until there is a signal.
    """
    wait = min(slow - fast, len(series))
    quick = np.full(len(series), np.nan)
    quick[wait:] = smooth(series.close[wait:], fast, 2 / (fast + 1))
    line = quick - smooth(series.close, slow, 2 / (slow + 1))
    average = np.full(len(series), np.nan)
    average[slow - 1 :] = smooth(line[slow - 1 :], signal, 2 / (signal + 1))
    return line, average, line - average


def compute_bbands(series: Series, window: int, deviations: float) -> Columns:
    """The mean of the last closes, and it ± deviations × their std (ddof 0): upper, middle, lower.

    Bollinger (2001), Bollinger on Bollinger Bands; TA-Lib: BBANDS.
    """
    middle = roll_mean(series.close, window)
    width = deviations * roll_std(series.close, window, ddof=0)
    return middle + width, middle, middle - width


def compute_atr(series: Series, window: int) -> Columns:
    """Wilder's average of the true range, max(high, close before) - min(low, close before).

    Begins with the mean of the first `window` true ranges, of which bar 1 has none. In the
    currency of the prices. Wilder (1978); TA-Lib: ATR.
    """
    return (prepend_gap(smooth(compute_true_ranges(series), window, 1 / window), series),)


def compute_last_atr(series: Series, window: int) -> float:
    """The last value of compute_atr, of more than `window` bars: a sum of weighted ranges.

    What `smooth` does step by step, written out: each step leaves (1 - weight) of what was.
    """
    ranges = compute_true_ranges(series)
    weight, later = 1 / window, ranges[window:]
    shares = np.power(1 - weight, np.arange(len(later), -1, -1, dtype=np.float64))
    first = float(ranges[:window].mean())
    return first * float(shares[0]) + weight * float(np.add.reduce(later * shares[1:]))


def compute_true_ranges(series: Series) -> Floats:
    """Of each bar but the first."""
    before = series.close[:-1]
    ranges: Floats = np.maximum(series.high[1:], before) - np.minimum(series.low[1:], before)
    return ranges


def compute_vwap(series: Series, window: int) -> Columns:
    """sum(volume × (high + low + close) / 3) / sum(volume) over the last `window` bars.

    A bar without volume counts for nothing; NaN where none of a window has any. As TA-Lib's SUM of
    the two.
    """
    volume, _ = read_volume(series)
    typical = (series.high + series.low + series.close) / 3
    return (roll_sum(typical * volume, window) / roll_sum(volume, window),)


def compute_obv(series: Series) -> Columns:
    """Running sum of the volume, added when the close rises, taken off when it falls.

    Begins with the first volume. Granville (1963); TA-Lib: OBV. An unknown volume adds nothing;
    NaN while none is known.
    """
    volume, is_known = read_volume(series)
    signs = np.sign(np.diff(series.close, prepend=-np.inf))
    sums = np.cumsum(signs * volume)
    if series.volume_decimals:
        sums = round_volumes(sums, series.volume_decimals)
    return (np.where(np.maximum.accumulate(is_known), sums, np.nan),)


def compute_stoch(series: Series, window: int, smooth_k: int, smooth_d: int) -> Columns:
    """k: mean of the last `smooth_k` of 100 × (close - lowest) / (highest - lowest); d: mean of k.

    Lowest and highest over the last `window` bars. Lane (1984); TA-Lib: STOCH with simple averages.
    NaN where highest = lowest, and as long as an average holds such a bar; TA-Lib gives 0.
    """
    lowest, highest = roll_min(series.low, window), roll_max(series.high, window)
    raw = 100 * (series.close - lowest) / (highest - lowest)
    k = roll_mean(raw, smooth_k)
    return k, roll_mean(k, smooth_d)


def smooth(values: Floats, window: int, weight: float) -> Floats:
    """average += weight × (value - average), begun at row window - 1 with the mean so far."""
    result = np.full(len(values), np.nan)
    if len(values) < window:
        return result
    average = float(values[:window].mean())
    averages = [average]
    for value in values[window:].tolist():
        average += weight * (value - average)
        averages.append(average)
    result[window - 1 :] = averages
    return result


def prepend_gap(values: Floats, series: Series) -> Floats:
    """One value a bar out of one a change."""
    return np.concatenate((np.full(min(1, len(series)), np.nan), values))


def read_volume(series: Series) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Volumes, 0 where unknown, and where they are known."""
    is_known = ~np.ma.getmaskarray(series.volume)
    return np.where(is_known, series.volume.data, 0).astype(np.float64), is_known
