"""Figures over a moving window, by whole columns. A result is as long as its column, NaN where
the window is not yet full; each value is reckoned from its window alone, to the last digit, however
many bars there are around it.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from api.bars.series import Floats

BLOCK = 2**17  # numbers reckoned with at once: 1 MB, which stays in the processor's cache


def reduce_windows(reduce: Callable[..., Floats], window: int, *columns: Floats) -> Floats:
    """`reduce` gets of each column a (window, k) view, one window a column, and gives k values."""
    count = len(columns[0])
    result = np.full(count, np.nan)
    step = max(1, BLOCK // window)
    for first in range(window - 1, count, step):
        last = min(first + step, count)
        views = (
            sliding_window_view(column[first - window + 1 : last], last - first)
            for column in columns
        )
        result[first:last] = reduce_block(reduce, list(views))
    return result


def reduce_block(reduce: Callable[..., Floats], views: list[Floats]) -> Floats:
    """numpy adds up a single column in another order than one of several: it is not left alone."""
    if views[0].shape[1] > 1:
        return reduce(*views)
    return reduce(*(np.repeat(view, 2, axis=1) for view in views))[:1]


def roll_mean(column: Floats, window: int) -> Floats:
    return reduce_windows(lambda view: view.mean(axis=0), window, column)


def roll_sum(column: Floats, window: int) -> Floats:
    return reduce_windows(lambda view: view.sum(axis=0), window, column)


def roll_std(column: Floats, window: int, ddof: int) -> Floats:
    return reduce_windows(lambda view: view.std(axis=0, ddof=ddof), window, column)


def roll_max(column: Floats, window: int) -> Floats:
    return reduce_windows(lambda view: view.max(axis=0), window, column)


def roll_min(column: Floats, window: int) -> Floats:
    return reduce_windows(lambda view: view.min(axis=0), window, column)
