"""The documentation works offline, says all that there is, and its examples are real answers."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator

from api.docs.openapi import EXAMPLES
from api.models import ProblemBody
from tests.browser import find_browser, launch, visit
from tests.make_examples import PATH, collect_answers
from tests.server import read_json, serve

ROUTES = {
    "/health": ("health", {"422", "503"}),
    "/instruments": ("instruments", {"422", "503"}),
    "/instruments/{symbol}": ("instrument", {"404", "422", "503"}),
    "/instruments/{symbol}/ohlcv": ("ohlcv", {"404", "406", "422", "503"}),
    "/ohlcv": ("many", {"404", "406", "422", "503"}),
    "/ohlcv/latest": ("latest", {"404", "406", "422", "503"}),
    "/instruments/{symbol}/statistics": ("statistics", {"404", "422", "503"}),
    "/instruments/{symbol}/rolling": ("rolling", {"404", "422", "503"}),
    "/instruments/{symbol}/indicators": ("indicators", {"404", "422", "503"}),
    "/instruments/{symbol}/returns": ("returns", {"404", "422", "503"}),
    "/instruments/{symbol}/drawdowns": ("drawdowns", {"404", "422", "503"}),
    "/statistics/correlation": ("correlation", {"404", "422", "503"}),
    "/statistics/covariance": ("covariance", {"404", "422", "503"}),
    "/screen": ("screen", {"422", "503"}),
    "/coverage": ("coverages", {"422", "503"}),
    "/instruments/{symbol}/coverage": ("coverage", {"404", "422", "503"}),
    "/instruments/{symbol}/notes": ("notes", {"404", "422", "503"}),
    "/instruments/{symbol}/revisions": ("revisions", {"404", "422", "503"}),
    "/instruments/{symbol}/corporate-actions": ("corporate-actions", {"404", "422", "503"}),
    "/etl/runs": ("runs", {"422", "503"}),
    "/etl/runs/{run_id}": ("run", {"404", "422", "503"}),
}
# What differs from run to run, or from machine to machine: the values of these, and ids of runs.
VOLATILE = {
    *("generation", "published_at", "newest_bar_age_days", "versions"),
    *("started_at", "finished_at", "files", "sizes"),
}
# a number with a fraction, standing by itself
NUMBER = re.compile(r"(?<=[ \[])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?=,?$)", re.MULTILINE)
RUN_ID = re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b")


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def schema(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = read_json(client, "/openapi.json")
    return found


class Links(HTMLParser):
    """Collects what a page loads: scripts, styles, icons, images."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        self.found += [value for key, value in attrs if key == name and value]


def test_the_docs_load_everything_from_the_service_itself(client: httpx.Client) -> None:
    page = client.get("/docs").text
    links = Links(page).found
    links += re.findall(r"url: '([^']+)'", page)
    assert {link.rsplit(".", 1)[1] for link in links} == {"js", "css", "png", "json"}
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) == ("", ""), link
        answer = client.get(urljoin("/docs", link))
        assert (answer.status_code, len(answer.content) > 500) == (200, True), link
    assert "https://" not in page
    assert "http://" not in page


def test_the_styles_of_the_docs_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    style = client.get("/docs/files/swagger-ui.css").text
    loaded = re.findall(r"url\([\"']?([^)\"']+)", style)
    assert [url for url in loaded if not url.startswith("data:")] == []
    assert "@import" not in style


def test_every_route_is_documented(schema: dict[str, Any]) -> None:
    assert set(schema["paths"]) == set(ROUTES)
    for operations in schema["paths"].values():
        assert set(operations) == {"get"}
        assert operations["get"]["summary"]
        assert operations["get"]["description"]


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_shows_its_answer_and_its_errors(schema: dict[str, Any], path: str) -> None:
    example, errors = ROUTES[path]
    responses = schema["paths"][path]["get"]["responses"]
    with_etag = {"206", "304", "412", "416"} if path != "/health" else set()
    assert set(responses) == {"200"} | errors | with_etag
    content = responses["200"]["content"]["application/json"]
    assert content["example"] == EXAMPLES[example] != {}
    (described, *_) = content["schema"].get("anyOf", [content["schema"]])
    model = described["$ref"].rsplit("/", 1)[1]
    declared = schema["components"]["schemas"][model]
    assert set(declared["required"]) <= set(content["example"]) <= set(declared["properties"])
    for status in errors:
        assert list(responses[status]["content"]) == ["application/problem+json"]
        content = responses[status]["content"]["application/problem+json"]
        assert content["schema"]["$ref"].endswith("/ProblemBody")
        assert content["example"]["status"] == int(status)
        ProblemBody.model_validate(content["example"])
        assert responses[status]["description"]


def list_parameters(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, parameter)
        for path, operations in schema["paths"].items()
        for parameter in operations["get"].get("parameters", [])
    ]


def test_every_parameter_has_a_description_and_an_example(schema: dict[str, Any]) -> None:
    parameters = list_parameters(schema)
    assert {parameter["name"] for _, parameter in parameters} == {
        *("symbol", "start", "end", "limit", "order", "adjustment", "q", "after"),
        *("as_of", "history", "quality", "run_id", "interval", "adjusted_as_of", "fields"),
        *("symbols", "names", "window", "what", "risk_free", "benchmark", "explain", "kind"),
        *("format", "unknown", "periods", "sep", "decimal", "hours", "provisional"),
        *("most", "sort", "min_volume", "min_dollar_volume", "min_price", "min_bars"),
    }
    for path, parameter in parameters:
        where = f"{parameter['name']} of {path}"
        assert parameter["description"], where
        examples = parameter["schema"].get("examples") or parameter.get("examples")
        assert examples or "example" in parameter, where


def test_the_examples_of_parameters_work(client: httpx.Client, schema: dict[str, Any]) -> None:
    asked: dict[str, dict[str, Any]] = {}
    for path, parameter in list_parameters(schema):
        if parameter["in"] == "query":
            values = parameter["schema"].get("examples") or [parameter.get("example")]
            asked.setdefault(path, {})[parameter["name"]] = values[0]
    assert len(asked) == 19
    (run,) = read_json(client, "/etl/runs")["data"]
    for path, query in asked.items():
        url = path.replace("{symbol}", "AAPL").replace("{run_id}", run["run_id"])
        answer = client.get(url, params=query)
        assert answer.status_code == 200, answer.text
        has_rows = bool(answer.json().get("count", answer.json().get("symbols")))
        # the sample has none of these
        assert has_rows or path.endswith(("/notes", "/revisions", "/coverage"))


def test_every_operation_has_a_name_of_its_own_that_a_client_can_use(
    schema: dict[str, Any],
) -> None:
    names = [path["get"]["operationId"] for path in schema["paths"].values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names), names


DOCUMENTED_OF_OTHERS = {
    *("content-length", "content-type", "date", "vary", "cache-control", "referrer-policy"),
    *("content-security-policy", "x-content-type-options", "accept-ranges"),
}


@pytest.mark.parametrize(
    "query",
    [
        *("limit=2", "limit=2&format=csv&as_of=2099-01-01", "format=csv&adjustment=all"),
        *("quality=strict&format=ndjson", "format=csv&as_of=2000-01-01"),
    ],
)
@pytest.mark.parametrize("status", [200, 206, 304])
def test_every_header_of_an_answer_is_documented(
    client: httpx.Client, schema: dict[str, Any], query: str, status: int
) -> None:
    for path, url in (
        ("/ohlcv", f"/ohlcv?symbols=AAPL,ZZZZ&unknown=skip&{query}"),
        ("/instruments/{symbol}/ohlcv", f"/instruments/AAPL/ohlcv?{query}"),
    ):
        etag = client.get(url).headers["etag"]
        sent = {206: {"Range": "bytes=0-9"}, 304: {"If-None-Match": etag}}.get(status, {})
        answer = client.get(url, headers=sent)
        assert answer.status_code == status, answer.text
        documented = schema["paths"][path]["get"]["responses"][str(status)]["headers"]
        told = set(answer.headers) - DOCUMENTED_OF_OTHERS
        if status == 304:
            told -= {"x-cache", "x-data-generation"}
        assert "etag" in told
        assert told <= {name.lower() for name in documented}


@pytest.mark.parametrize(
    "url",
    [
        *("/openapi.json", "/docs", "/docs/files/swagger-ui-bundle.js"),
        *("/docs/files/swagger-ui.css", "/docs/files/favicon.png"),
    ],
)
def test_the_documentation_is_sent_compressed_and_once(client: httpx.Client, url: str) -> None:
    plain, packed = (client.get(url, headers={"Accept-Encoding": c}) for c in ("identity", "gzip"))
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    if not url.endswith(".png"):
        assert int(packed.headers["content-length"]) < len(plain.content)
    assert plain.headers["etag"] != packed.headers["etag"]
    for answer, coding in ((plain, "identity"), (packed, "gzip")):
        sent = {"Accept-Encoding": coding, "If-None-Match": answer.headers["etag"]}
        again = client.get(url, headers=sent)
        assert (again.status_code, again.content) == (304, b"")
    assert client.head(url).headers["etag"] == plain.headers["etag"]
    assert client.get("/docs/files/none.js").status_code == 404


def test_what_an_operation_needs_and_its_limit_are_filled_in(schema: dict[str, Any]) -> None:
    for path, parameter in list_parameters(schema):
        if parameter["required"]:
            assert parameter["example"], f"{parameter['name']} of {path}"
        if parameter["name"] == "limit":
            assert parameter["example"] == 10


@pytest.mark.long
@pytest.mark.skipif(not find_browser(), reason="no Chromium is installed")
def test_every_operation_can_be_executed_as_it_opens(client: httpx.Client) -> None:
    """But that of one run: no run of an example is in every store."""
    with launch() as browser, visit(browser, client.base_url) as seen:
        page = seen.page
        page.goto(f"{client.base_url}/docs")
        page.wait_for_selector(".opblock")
        operations = page.locator(".opblock")
        assert operations.count() == len(ROUTES)
        for place in range(operations.count()):
            operation = operations.nth(place)
            path = operation.locator(".opblock-summary-path").get_attribute("data-path")
            press(operation, ".opblock-summary-control")
            press(operation, ".try-out__btn")
            with page.expect_response(lambda answer: not answer.url.endswith(".js")) as answered:
                press(operation, ".execute")
            status = 404 if path == "/etl/runs/{run_id}" else 200
            assert answered.value.status == status, answered.value.url
            if "limit" in answered.value.url:
                assert "limit=10" in answered.value.url


def press(operation: Locator, selector: str) -> None:
    """A click that waits for the button, and for nothing to stop moving."""
    operation.locator(selector).evaluate("(button) => button.click()")


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    assert "ProblemBody" in references
    assert references <= set(schema["components"]["schemas"])


def test_the_limit_that_is_set_is_the_limit_that_is_documented(sample_dir: Path) -> None:
    with serve(sample_dir, MAX_ROWS=123) as client:
        schema = read_json(client, "/openapi.json")
    limits = [p["schema"] for _, p in list_parameters(schema) if p["name"] == "limit"]
    assert [(s["minimum"], s["maximum"], s["default"]) for s in limits] == [(1, 123, 123)] * 11


def test_the_examples_are_real_answers(
    sample_dir: Path, restated_dir: Path, tmp_path: Path
) -> None:
    live = collect_answers(sample_dir, restated_dir, tmp_path)
    stored = json.loads(PATH.read_text())
    assert list(stored) == list(live)
    for key, answer in live.items():
        # as text: the order of the fields counts, and whether a number is whole
        old, new = (write_text(mask(each)) for each in (stored[key], answer))
        assert NUMBER.sub("<number>", old) == NUMBER.sub("<number>", new), key
        # the last digit of a figure may differ from processor to processor
        assert read_numbers(old) == pytest.approx(read_numbers(new), rel=1e-12, abs=0), key


def test_the_examples_show_a_past() -> None:
    for key in ("notes", "revisions", "corporate-actions", "runs"):
        assert EXAMPLES[key]["count"] == len(EXAMPLES[key]["data"]) > 0
    assert {gap["cause"] for gap in EXAMPLES["coverage"]["gaps"]} == {"rejected", "not delivered"}
    assert EXAMPLES["coverage"]["provisional"] == ["2020-05-11"]
    assert EXAMPLES["run"]["run_id"] == EXAMPLES["runs"]["data"][0]["run_id"]


def test_an_example_that_is_off_in_a_type_or_in_the_eleventh_digit_is_told() -> None:
    figure = write_text({"figure": 0.4241960253866515})
    assert NUMBER.sub("", figure) != NUMBER.sub("", write_text({"figure": 1}))
    same, other = (write_text({"figure": n}) for n in (0.4241960253866516, 0.42419602540))
    assert read_numbers(same) == pytest.approx(read_numbers(figure), rel=1e-12, abs=0)
    assert read_numbers(other) != pytest.approx(read_numbers(figure), rel=1e-12, abs=0)


def write_text(value: Any) -> str:
    return json.dumps(value, indent=1)


def read_numbers(text: str) -> list[float]:
    return [float(found) for found in NUMBER.findall(text)]


def mask(value: Any) -> Any:
    """The answer with all its names, in order, but no volatile value."""
    if isinstance(value, dict):
        return {name: hide(v) if name in VOLATILE else mask(v) for name, v in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return RUN_ID.sub("<run_id>", value) if isinstance(value, str) else value


def hide(value: Any) -> Any:
    return dict.fromkeys(value, "...") if isinstance(value, dict) else "..."
