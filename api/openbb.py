"""What OpenBB Workspace reads: widgets, apps, and the data behind each widget. Pure functions.

https://docs.openbb.co/workspace/developers: widgets.json is an object of widgets by id, apps.json
a list of dashboards; tables are arrays of rows, charts are Plotly figures, metrics are labels with
values. A figure has no title: the widget has one.
"""

from typing import Any

import numpy as np

from api.series import PRICES, Series

Row = dict[str, Any]

SOURCE = ["Market Data Service"]
CATEGORY = "Market Data"
GROUP = "Group 1"  # the form of name that the workspace knows
RISE, FALL = "#089981", "#f23645"
FONTS = {"dark": "#d1d4dc", "light": "#131722"}
GRIDS = {"dark": "#2a2e39", "light": "#e0e3eb"}

INTERVALS = {"1d": "Day", "1wk": "Week", "1mo": "Month", "3mo": "Quarter", "1y": "Year"}
ADJUSTMENTS = {"split": "Splits", "all": "Splits and dividends", "raw": "None: as traded"}


def build_options(names: dict[str, str]) -> list[Row]:
    return [{"label": label, "value": value} for value, label in names.items()]


def build_params(symbol: str | None) -> list[Row]:
    """The parameters that the widgets of one symbol have in common."""
    return [
        {
            "paramName": "symbol",
            "type": "endpoint",
            "optionsEndpoint": "/openbb/symbols",
            "label": "Symbol",
            "description": "The instrument",
            "value": symbol,
            "show": True,
        },
        build_choice("interval", "Interval", "What a bar spans", "1d", INTERVALS),
        build_choice(
            "adjustment", "Adjusted for", "What prices are adjusted for", "split", ADJUSTMENTS
        ),
        build_date("start", "From", "First day"),
        build_date("end", "To", "Last day"),
    ]


def build_choice(name: str, label: str, description: str, value: str, names: Row) -> Row:
    return {
        "paramName": name,
        "type": "text",
        "label": label,
        "description": description,
        "value": value,
        "options": build_options(names),
    }


def build_date(name: str, label: str, description: str) -> Row:
    text = f"{description}, inclusive; empty: no bound"
    return {"paramName": name, "type": "date", "label": label, "description": text, "value": None}


def build_column(field: str, header: str, kind: str = "number", **more: Any) -> Row:
    return {"field": field, "headerName": header, "cellDataType": kind, **more}


def build_table(*columns: Row) -> Row:
    return {"table": {"showAll": True, "columnsDefs": list(columns)}}


def build_widget(name: str, description: str, kind: str, endpoint: str, size: Row) -> Row:
    return {
        "name": name,
        "description": description,
        "category": CATEGORY,
        "source": SOURCE,
        "type": kind,
        "endpoint": endpoint,
        "gridData": size,
    }


def build_widgets(symbol: str | None) -> dict[str, Row]:
    """widgets.json; `symbol` is the one to begin with."""
    return {
        "price_chart": {
            **build_widget(
                "Price chart",
                "Candlesticks and volume",
                "chart",
                "openbb/price_chart",
                {"w": 26, "h": 15},
            ),
            "raw": True,
            "params": build_params(symbol),
        },
        "statistics": {
            **build_widget(
                "Statistics",
                "Return, risk and drawdown",
                "metric",
                "openbb/statistics",
                {"w": 14, "h": 15},
            ),
            "params": build_params(symbol),
        },
        "bars": {
            **build_widget(
                "Bars",
                "Open, high, low, close and volume, newest first",
                "table",
                "openbb/bars",
                {"w": 40, "h": 14},
            ),
            "params": build_params(symbol),
            "data": build_table(
                build_column("timestamp", "Session", "dateString", pinned="left"),
                *(build_column(name, name.title(), formatterFn="none") for name in PRICES),
                build_column("volume", "Volume", formatterFn="int"),
            ),
        },
        "advanced_chart": {
            **build_widget(
                "Advanced chart",
                "TradingView chart with notes, splits and dividends marked",
                "advanced_charting",
                "/udf",
                {"w": 40, "h": 24},
            ),
            "params": [],
            "data": {"defaultSymbol": symbol, "updateFrequency": 3_600_000},
        },
        "coverage": {
            **build_widget(
                "Coverage",
                "Sessions, gaps, notes and revisions of all instruments",
                "table",
                "openbb/coverage",
                {"w": 40, "h": 16},
            ),
            "params": [],
            "data": build_table(
                build_column("symbol", "Symbol", "text", pinned="left"),
                build_column("exchange", "Exchange", "text"),
                build_column("first", "First", "dateString"),
                build_column("last", "Last", "dateString"),
                *(build_column(n, h, formatterFn="int") for n, h in COVERAGE_COUNTS.items()),
            ),
        },
    }


COVERAGE_COUNTS = {
    "bars": "Bars",
    "sessions_expected": "Sessions expected",
    "sessions_present": "Sessions present",
    "gaps": "Gaps",
    "notes": "Notes",
    "provisional": "Provisional",
    "revisions": "Revisions",
}


def build_apps(symbol: str | None) -> list[Row]:
    """apps.json: one dashboard of three tabs, whose first has one symbol for all its widgets."""
    shared = ["price_chart", "statistics", "bars"]
    widgets = build_widgets(symbol)

    def place(name: str, x: int, y: int) -> Row:
        groups = {"groups": [GROUP]} if name in shared else {}
        return {"i": name, "x": x, "y": y, **widgets[name]["gridData"], **groups}

    def build_tab(key: str, name: str, *layout: Row) -> Row:
        return {key: {"id": key, "name": name, "layout": list(layout)}}

    prices = (place("price_chart", 0, 0), place("statistics", 26, 0), place("bars", 0, 15))
    return [
        {
            "name": "Market Data Service",
            "description": "Daily bars of your own store: charts, statistics, and how far to trust"
            " them.",
            "img": "",
            "img_dark": "",
            "img_light": "",
            "allowCustomization": True,
            "tabs": {
                **build_tab("prices", "Prices", *prices),
                **build_tab("chart", "Chart", place("advanced_chart", 0, 0)),
                **build_tab("coverage", "Coverage", place("coverage", 0, 0)),
            },
            "groups": [
                {
                    "name": GROUP,
                    "type": "endpointParam",
                    "paramName": "symbol",
                    "defaultValue": symbol,
                    "widgetIds": shared,
                }
            ],
            "prompts": [],
        }
    ]


def build_figure(series: Series, theme: str) -> Row:
    """A Plotly figure: candlesticks, and below them volume."""
    days = np.datetime_as_string(series.days, unit="D").tolist()
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
            "xaxis": {**axis, "type": "date", "rangeslider": {"visible": False}},
            "yaxis": {**axis, "domain": [0.25, 1], "fixedrange": False},
            "yaxis2": {**axis, "domain": [0, 0.2]},
        },
    }


def build_metrics(figures: Row, series: Series) -> list[Row]:
    """Statistics as labels and values; the last close has the change from the bar before."""
    change = series.close[-1] / series.close[-2] - 1 if len(series) > 1 else None
    close = {"label": "Last close", "value": write_number(figures["close"])}
    delta = {"delta": f"{change * 100:.2f}"} if change is not None else {}
    percents = {label: write_percent(figures[name]) for name, label in PERCENTS.items()}
    numbers = {label: write_number(figures[name]) for name, label in NUMBERS.items()}
    told = {**percents, **numbers, "Bars": f"{figures['count']:,}"}
    return [{**close, **delta}, *({"label": n, "value": v} for n, v in told.items())]


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


def write_percent(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:,.2f} %"


def write_number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.2f}"
