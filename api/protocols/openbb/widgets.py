"""What OpenBB Workspace can show of this store: widgets and apps. Pure functions.

https://docs.openbb.co/workspace/developers: widgets.json is an object of widgets by id, apps.json
a list of dashboards. What the widgets show is in `openbb`.
"""

from collections.abc import Sequence
from typing import Any

from api.bars.series import PRICES

Row = dict[str, Any]

SOURCE = ["Market Data Service"]
CATEGORY = "Market Data"
GROUP = "Group 1"  # the form of name that the workspace knows
SHORT_INTERVALS = {
    **{"1s": "Second", "1m": "Minute", "5m": "5 minutes", "15m": "15 minutes"},
    **{"30m": "30 minutes", "1h": "Hour"},
}
INTERVALS = {"1d": "Day", "1wk": "Week", "1mo": "Month", "3mo": "Quarter", "1y": "Year"}
ADJUSTMENTS = {"split": "Splits", "all": "Splits and dividends", "raw": "None: as traded"}

BARS = "Open, high, low, close and volume, newest first"
CHART = "TradingView chart with notes, splits and dividends marked"
COVERAGE = "Sessions, gaps, notes and revisions of all instruments"
COVERAGE_COUNTS = {
    "bars": "Bars",
    "sessions_expected": "Sessions expected",
    "sessions_present": "Sessions present",
    "bars_outside_sessions": "Bars outside sessions",
    "bars_of_unknown_days": "Bars of unknown days",
    "gaps": "Gaps",
    "notes": "Notes",
    "provisional": "Provisional",
    "revisions": "Revisions",
}


def build_options(names: dict[str, str]) -> list[Row]:
    return [{"label": label, "value": value} for value, label in names.items()]


def build_params(
    symbol: str | None, intervals: Sequence[str] = (), interval: str = "1d"
) -> list[Row]:
    """The parameters that the widgets of one symbol have in common."""
    spans = {name: label for name, label in SHORT_INTERVALS.items() if name in intervals}
    return [
        {
            "paramName": "symbol",
            "type": "endpoint",
            "optionsEndpoint": "openbb/symbols",
            "label": "Symbol",
            "description": "The instrument",
            "value": symbol,
            "show": True,
        },
        build_choice("interval", "Interval", "What a bar spans", interval, spans | INTERVALS),
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


def build_widget(
    name: str, description: str, kind: str, endpoint: str, width: int, height: int
) -> Row:
    """What every widget says. A dashboard is 40 wide."""
    return {
        "name": name,
        "description": description,
        "category": CATEGORY,
        "source": SOURCE,
        "type": kind,
        "endpoint": endpoint,
        "gridData": {"w": width, "h": height},
    }


def build_widgets(
    symbol: str | None, intervals: Sequence[str] = (), interval: str = "1d"
) -> dict[str, Row]:
    """widgets.json; `symbol` and `interval` are those to begin with; intervals: shorter than a day,
    that are stored. Their bars have a time, on the clock of the exchange."""
    time = ("Time", "text") if intervals else ("Session", "dateString")
    return {
        "price_chart": {
            **build_widget(
                "Price chart", "Candlesticks and volume", "chart", "openbb/price_chart", 26, 15
            ),
            "raw": True,
            "params": build_params(symbol, intervals, interval),
        },
        "statistics": {
            **build_widget(
                "Statistics", "Return, risk and drawdown", "metric", "openbb/statistics", 14, 15
            ),
            "params": build_params(symbol, intervals, interval),
        },
        "bars": {
            **build_widget("Bars", BARS, "table", "openbb/bars", 40, 14),
            "params": build_params(symbol, intervals, interval),
            "data": build_table(
                build_column("timestamp", *time, pinned="left"),
                *(build_column(name, name.title(), formatterFn="none") for name in PRICES),
                build_column("volume", "Volume", formatterFn="none"),
            ),
        },
        "advanced_chart": {
            **build_widget("Advanced chart", CHART, "advanced_charting", "udf", 40, 24),
            "params": [],
            "data": {"defaultSymbol": symbol, "updateFrequency": 3_600_000},
        },
        "coverage": {
            **build_widget("Coverage", COVERAGE, "table", "openbb/coverage", 40, 16),
            "params": [],
            "data": build_table(
                build_column("symbol", "Symbol", "text", pinned="left"),
                build_column("exchange", "Exchange", "text"),
                build_column("calendar", "Calendar", "text"),
                build_column("sessions_known_from", "Sessions known from", "dateString"),
                build_column("sessions_known_to", "Sessions known to", "dateString"),
                build_column("first", "First", "dateString"),
                build_column("last", "Last", "dateString"),
                *(build_column(n, h, formatterFn="int") for n, h in COVERAGE_COUNTS.items()),
            ),
        },
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
            "description": "Bars of your own store: charts, statistics, and how far to trust them.",
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
