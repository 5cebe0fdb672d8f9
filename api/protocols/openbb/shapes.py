"""What the widgets of OpenBB Workspace show, in the shapes that it reads. Pure functions.

https://docs.openbb.co/workspace/developers: tables are arrays of rows, charts are Plotly figures,
metrics are labels with values. A figure has no title: the widget has one.
"""

from typing import Any

import numpy as np

from api.bars.series import PRICES, Series
from api.bars.sessions import find_clock_times

Row = dict[str, Any]

RISE, FALL = "#089981", "#f23645"
FONTS = {"dark": "#d1d4dc", "light": "#131722"}
GRIDS = {"dark": "#2a2e39", "light": "#e0e3eb"}
PERCENTS = {
    "total_return": "Total return",
    "cagr": "Annual growth",
    "annual_volatility": "Annual volatility",
    "max_drawdown": "Deepest drawdown",
    "best_day_return": "Best bar",
    "worst_day_return": "Worst bar",
}
NUMBERS = {"sharpe_ratio": "Sharpe ratio", "high": "High", "low": "Low"}
NONE = "–"


def build_figure(series: Series, theme: str) -> Row:
    """A Plotly figure: candlesticks, and below them volume.

    Bars shorter than a day stand side by side: nights are no gaps.
    """
    days = show_times(series)
    kind = {"type": "category", "nticks": 8} if series.axis.kind == "instant" else {"type": "date"}
    axis = {"gridcolor": GRIDS[theme], "zeroline": False}
    return {
        "data": [
            {
                "type": "candlestick",
                "name": series.symbol,
                "x": days,
                **{name: getattr(series, name).tolist() for name in PRICES},
                "increasing": {"line": {"color": RISE}},
                "decreasing": {"line": {"color": FALL}},
            },
            {
                "type": "bar",
                "name": "Volume",
                "x": days,
                "y": series.volume.tolist(),
                "yaxis": "y2",
                "marker": {"color": np.where(series.close < series.open, FALL, RISE).tolist()},
                "opacity": 0.6,
            },
        ],
        "layout": {
            "font": {"color": FONTS[theme]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 50, "r": 20, "t": 20, "b": 30},
            "showlegend": False,
            "hovermode": "x unified",
            "xaxis": {**axis, **kind, "rangeslider": {"visible": False}},
            "yaxis": {**axis, "domain": [0.25, 1], "fixedrange": False},
            "yaxis2": {**axis, "domain": [0, 0.2]},
        },
    }


def show_times(series: Series) -> list[str]:
    """The session of each bar; of bars shorter than a day their start on the exchange's clock."""
    if series.axis.kind == "session":
        return list(np.datetime_as_string(series.days, unit="D").tolist())
    times = find_clock_times(series.timestamps, series.axis.zone)
    is_whole = not (times.view(np.int64) % 60).any()
    texts = np.datetime_as_string(times, unit="m" if is_whole else "s").tolist()
    return [text.replace("T", " ") for text in texts]


def build_metrics(figures: Row, series: Series) -> list[Row]:
    """Statistics as labels and values; the last close has the change from the bar before."""
    change = series.close[-1] / series.close[-2] - 1 if len(series) > 1 else None
    close = {"label": "Last close", "value": write_number(figures["close"])}
    delta = {"delta": f"{change * 100:.2f}"} if change is not None else {}
    percents = {label: write_percent(figures[name]) for name, label in PERCENTS.items()}
    numbers = {label: write_number(figures[name]) for name, label in NUMBERS.items()}
    told = {**percents, **numbers, "Bars": f"{figures['count']:,}"}
    return [{**close, **delta}, *({"label": n, "value": v} for n, v in told.items())]


def write_percent(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:,.2f} %"


def write_number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.2f}"
