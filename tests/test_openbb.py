"""The backend of OpenBB Workspace, held to the documented shapes of widgets.json and apps.json."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import read_json, serve

ORIGIN = "https://pro.openbb.co"
WIDGET_FIELDS = {
    *("name", "description", "category", "source", "type", "endpoint", "gridData", "params"),
    *("data", "raw"),
}
TYPES = {"chart", "table", "metric", "advanced_charting"}
PARAM_FIELDS = {
    *("paramName", "type", "label", "description", "value", "show"),
    *("options", "optionsEndpoint"),
}
PARAM_TYPES = {"endpoint", "text", "date"}
COLUMN_FIELDS = {"field", "headerName", "cellDataType", "formatterFn", "pinned"}
CELL_TYPES = {"text", "number", "dateString"}
OF_ONE_SYMBOL = ("price_chart", "statistics", "bars")
BARS = "/openbb/bars?symbol=AAPL"
CHART = "/openbb/price_chart?symbol=AAPL"


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, CORS_ORIGINS=ORIGIN) as client:
        yield client


@pytest.fixture(scope="module")
def widgets(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = read_json(client, "/widgets.json")
    return found


def ask_widget(client: httpx.Client, widget: dict[str, Any]) -> Any:
    """The answer to the request that the workspace makes for a widget that was just put down."""
    query = {param["paramName"]: param["value"] or "" for param in widget["params"]}
    url = httpx.URL(f"/{widget['endpoint'].lstrip('/')}", params={**query, "theme": "light"})
    return read_json(client, str(url))


# Widgets and apps


def test_widgets_have_the_documented_fields_and_no_other(widgets: dict[str, Any]) -> None:
    assert list(widgets) == ["price_chart", "statistics", "bars", "advanced_chart", "coverage"]
    for widget in widgets.values():
        assert {"name", "description", "type", "endpoint"} <= set(widget) <= WIDGET_FIELDS
        assert widget["type"] in TYPES
        assert 10 <= widget["gridData"]["w"] <= 40
        assert 4 <= widget["gridData"]["h"] <= 100
    for name in ("bars", "coverage"):
        assert list(widgets[name]["data"]["table"]) == ["showAll", "columnsDefs"]
        for column in widgets[name]["data"]["table"]["columnsDefs"]:
            assert {"field", "headerName", "cellDataType"} <= set(column) <= COLUMN_FIELDS
            assert column["cellDataType"] in CELL_TYPES
            assert column.get("formatterFn", "int") in ("int", "none")


@pytest.mark.parametrize("name", OF_ONE_SYMBOL)
def test_parameters_have_the_documented_fields_and_no_other(
    widgets: dict[str, Any], name: str
) -> None:
    params = widgets[name]["params"]
    for param in params:
        assert {"paramName", "type", "label", "description"} <= set(param) <= PARAM_FIELDS
        assert param["type"] in PARAM_TYPES
        assert all(set(option) == {"label", "value"} for option in param.get("options", []))
        if "options" in param:
            assert param["value"] in [option["value"] for option in param["options"]]
    assert (params[0]["type"], params[0]["value"]) == ("endpoint", "AAPL")


def test_the_choices_of_a_symbol_are_those_of_the_store(
    client: httpx.Client, widgets: dict[str, Any]
) -> None:
    choices = read_json(client, "/" + widgets["bars"]["params"][0]["optionsEndpoint"])
    assert choices[0] == {"label": "AAPL", "value": "AAPL"}
    assert [choice["value"] for choice in choices] == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_every_choice_of_every_parameter_works(
    client: httpx.Client, widgets: dict[str, Any]
) -> None:
    for name in OF_ONE_SYMBOL:
        widget = widgets[name]
        assert ask_widget(client, widget)
        for param in widget["params"]:
            for option in param.get("options", []):
                url = f"/{widget['endpoint']}?symbol=AAPL&{param['paramName']}={option['value']}"
                assert read_json(client, url)


def test_the_app_lays_out_every_widget_once_without_overlap(
    client: httpx.Client, widgets: dict[str, Any]
) -> None:
    (app,) = read_json(client, "/apps.json")
    assert set(app) == {
        *("name", "description", "img", "img_dark", "img_light", "allowCustomization"),
        *("tabs", "groups", "prompts"),
    }
    placed = []
    for key, tab in app["tabs"].items():
        assert (set(tab), tab["id"]) == ({"id", "name", "layout"}, key)
        cells = [
            (x, y)
            for item in tab["layout"]
            for x in range(item["x"], item["x"] + item["w"])
            for y in range(item["y"], item["y"] + item["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 40
        placed += [item["i"] for item in tab["layout"]]
    assert sorted(placed) == sorted(widgets)


def test_the_widgets_of_one_symbol_are_a_group(client: httpx.Client) -> None:
    (app,) = read_json(client, "/apps.json")
    (group,) = app["groups"]
    assert group == {
        "name": "Group 1",
        "type": "endpointParam",
        "paramName": "symbol",
        "defaultValue": "AAPL",
        "widgetIds": list(OF_ONE_SYMBOL),
    }
    items = [item for tab in app["tabs"].values() for item in tab["layout"]]
    assert [item["i"] for item in items if item.get("groups") == ["Group 1"]] == [*OF_ONE_SYMBOL]


# What the widgets show


def test_the_advanced_chart_reads_the_udf_of_this_service(
    client: httpx.Client, widgets: dict[str, Any]
) -> None:
    widget = widgets["advanced_chart"]
    assert widget["data"]["defaultSymbol"] == "AAPL"
    assert read_json(client, f"{widget['endpoint']}/config")["supports_search"] is True


@pytest.mark.parametrize("name", ["bars", "coverage"])
def test_tables_are_rows_with_the_declared_columns(
    client: httpx.Client, widgets: dict[str, Any], name: str
) -> None:
    columns = [column["field"] for column in widgets[name]["data"]["table"]["columnsDefs"]]
    rows = ask_widget(client, widgets[name])
    assert len(rows) == {"bars": 3270, "coverage": 5}[name]
    assert all(list(row) == columns for row in rows)


def test_bars_are_those_of_the_service_newest_first(client: httpx.Client) -> None:
    query = "start=2012-01-03&end=2012-03-30&interval=1wk&adjustment=raw"
    rows = read_json(client, f"{BARS}&{query}")
    bars = read_json(client, f"/instruments/AAPL/ohlcv?{query}&order=desc")["data"]
    assert rows == [{n: v for n, v in bar.items() if n != "complete"} for bar in bars]
    assert len(rows) == 13


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_chart_is_a_plotly_figure_of_these_bars(client: httpx.Client, theme: str) -> None:
    query = "start=2013-01-02&end=2013-02-28"
    figure = read_json(client, f"{CHART}&{query}&theme={theme}")
    assert set(figure) == {"data", "layout"}
    candles, volume = figure["data"]
    assert (candles["type"], volume["type"], volume["yaxis"]) == ("candlestick", "bar", "y2")
    rows = read_json(client, f"{BARS}&{query}")[::-1]
    assert candles["x"] == volume["x"] == [row["timestamp"] for row in rows]
    for name in ("open", "high", "low", "close"):
        assert candles[name] == [row[name] for row in rows]
    assert volume["y"] == [row["volume"] for row in rows]
    assert "title" not in figure["layout"]
    assert figure["layout"]["font"]["color"] == {"dark": "#d1d4dc", "light": "#131722"}[theme]
    assert read_json(client, f"{CHART}&{query}&theme={theme}&raw=true") == rows


def test_statistics_are_labels_and_values(client: httpx.Client) -> None:
    metrics = read_json(client, "/openbb/statistics?symbol=AAPL")
    for metric in metrics:
        assert {"label", "value"} <= set(metric) <= {"label", "value", "delta"}
        assert {type(value) for value in metric.values()} == {str}
    values = {metric["label"]: metric["value"] for metric in metrics}
    assert values["Total return"] == "1,221.37 %"
    assert values["Bars"] == "3,270"
    assert metrics[0] == {"label": "Last close", "value": "430.47", "delta": "-2.48"}


def test_a_range_without_bars_is_empty(client: httpx.Client) -> None:
    query = "start=2020-01-01&end="
    assert read_json(client, f"{BARS}&{query}") == []
    assert read_json(client, f"{CHART}&{query}&raw=true") == []
    assert read_json(client, f"{CHART}&{query}")["data"][0]["x"] == []
    metrics = read_json(client, f"/openbb/statistics?symbol=AAPL&{query}")
    assert metrics[0] == {"label": "Last close", "value": "–"}
    assert metrics[-1] == {"label": "Bars", "value": "0"}


def test_an_answer_holds_the_newest_bars_that_it_may(sample_dir: Path) -> None:
    with serve(sample_dir, MAX_ROWS=3) as client:
        newest = ["2013-03-01", "2013-02-28", "2013-02-27"]
        assert [row["timestamp"] for row in read_json(client, BARS)] == newest
        assert read_json(client, CHART)["data"][0]["x"] == newest[::-1]
        assert len(read_json(client, "/openbb/symbols")) == 3
        assert len(read_json(client, "/openbb/coverage")) == 3


# Errors and origins


@pytest.mark.parametrize(
    ("url", "status", "detail"),
    [
        ("/openbb/bars?symbol=APPL", 404, "Unknown symbol APPL: did you mean AAPL?"),
        ("/openbb/bars", 422, "symbol is missing: add symbol="),
        (f"{BARS}&interval=2h", 422, "interval=2h: possible are 1s, 1m, 5m, 15m, 30m, 1h, 1d, 1wk"),
        (f"{BARS}&start=yesterday", 422, "'yesterday' is no day: write it as 2012-01-31"),
        (f"{BARS}&start=2013-05-01&end=2012-01-01", 422, "swap them"),
        (f"{CHART}&theme=blue", 422, "theme=blue: possible are dark or light"),
    ],
)
def test_an_error_says_what_is_possible(
    client: httpx.Client, url: str, status: int, detail: str
) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert detail in answer.json()["detail"]


def test_without_a_database_it_says_so(data_dir: Path) -> None:
    with serve(data_dir) as client:
        for url in ("/widgets.json", "/apps.json", "/openbb/symbols", "/openbb/coverage", BARS):
            answer = client.get(url)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_the_workspace_may_ask_from_its_origin(
    client: httpx.Client, widgets: dict[str, Any]
) -> None:
    urls = ["/widgets.json", "/apps.json", "/openbb/symbols", "/udf/config", "/udf/time", BARS]
    for url in urls:
        headers = client.get(url, headers={"Origin": ORIGIN}).headers
        assert headers["access-control-allow-origin"] == ORIGIN
        assert headers["access-control-allow-credentials"] == "true"


def test_a_preflight_lets_any_header_through_and_the_web_ask_this_machine(
    client: httpx.Client,
) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "content-type,x-api-key,authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = client.options("/widgets.json", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-private-network"] == "true"
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"content-type", "x-api-key", "authorization"} <= allowed
    other = client.options("/widgets.json", headers={**asked, "Origin": "https://evil.example"})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


def test_an_origin_that_is_not_named_gets_no_cookies_and_no_private_address(
    sample_dir: Path,
) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Private-Network": "true",
    }
    with serve(sample_dir, CORS_ORIGINS="*") as client:
        answer = client.options("/widgets.json", headers=asked)
        assert "access-control-allow-private-network" not in answer.headers
        headers = client.get("/widgets.json", headers={"Origin": ORIGIN}).headers
    assert headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in headers
