"""What /docs says: descriptions, real answers as examples (api/examples.json), and its files.

Swagger UI is served from the installed package fastapi-offline, so that it works offline.
"""

from functools import cache
from pathlib import Path
from typing import Any

import fastapi_offline
import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel

from api.docs.guard import describe_guard
from api.edge.files import File, build_file, read_file, send_file
from api.edge.negotiate import get_type
from api.edge.passing import passes_cache
from api.edge.route_table import RouteTable, open_to_all, weighs
from api.encode.formats import FORMATS, JSON
from api.models import ProblemBody
from api.problems import MEDIA_TYPE, Problem

FILES = Path(fastapi_offline.__file__).parent / "static"
PARTS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
EXAMPLES: dict[str, Any] = orjson.loads(Path(__file__).with_name("examples.json").read_bytes())

DESCRIPTION = """
Daily price bars (open, high, low, close, volume) of a market data store of your own.

* Days are sessions, written as `2012-01-31`; `start` and `end` are inclusive.
* Every list has `count`, `next` (a relative URL, or null) and `data`; `next` stands in `Link` too.
* Every answer has a strong `ETag`: send it back as `If-None-Match` and get a 304 until new data
  are published. `X-Data-Generation` names the newest publication, of which each answer is.
* `Range` gives a part of an answer (206), as readers want it that take a table from a URL.
* Every error is `application/problem+json`: its `detail` says what is possible.
"""

WHAT = {
    406: "None of the formats that Accept names can be had.",
    404: "Unknown symbol (the nearest ones are named), or one without bars of that kind.",
    422: "A parameter cannot be used; the message says what can.",
    503: "No database yet, a store that does not answer, or a query that took too long.",
}

# What stands in the head of answers: name → what it says.
OF_EVERY_ANSWER = {
    "ETag": "Strong: names these bytes; send it back as If-None-Match, or as If-Range.",
    "X-Data-Generation": "The newest publication of the store: the answer is the one it gives.",
    "X-Minute-Generation": "Where bars shorter than a day count: their newest publication.",
    "X-Request-ID": "The request's name in the log: yours, if you send a sane one.",
    "X-Cache": "hit where the answer was ready, else miss.",
}
WITHOUT_ETAG = ("/health",)  # it depends on the clock
WITHOUT_LIMIT = ("/rolling", "/indicators", "/returns")
BYTES = {"schema": {"type": "string", "examples": ["bytes 0-99/1234"]}}
OF_LISTS = {"Link": 'Where rows follow: the URL of the next page, rel="next".'}
OF_TABLES = {
    "Content-Disposition": "A name for the file; of csv, ndjson, parquet and arrow, as all below.",
    "X-Symbol": "Of one symbol: its name.",
    "X-Symbols": "Of several: those that have rows.",
    "X-Interval": "The bars' interval.",
    "X-Hours": "Of intraday intervals: regular or extended.",
    "X-Timezone": "Of intraday intervals: the clock of the exchange.",
    "X-Synthetic": "true where bars were made out of daily ones: nobody traded them.",
    "X-Provisional": "Of provisional=true: days whose bars are made of minutes so far.",
    "X-Adjustment": "What the prices are adjusted for.",
    "X-Count": "Rows in this answer.",
    "X-Unknown": "Symbols asked for that are not in the store.",
    "X-As-Of": "The instant of as_of, in UTC.",
    "X-Left-Out": "Of quality=strict: bars that have a note.",
    "X-Actions-Known-At": "Of adjusted prices: since when splits and dividends are known.",
    "X-Never-Asked": "Of adjusted prices: kinds of actions never asked for.",
    "X-Detail": "Where as_of leaves nothing: why.",
}
PARTLY = {
    "206": "The part that Range asked for, one range of bytes; Content-Range says which.",
    "304": "If-None-Match names this answer: nothing changed.",
    "412": "If-Match names another answer than this one.",
    "416": "Range asks for bytes behind the end.",
}

# Swagger UI starts itself by an inline script, and styles itself inline.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

FEW_ROWS = 10

router = APIRouter(include_in_schema=False)


def answers(model: Any, example: str, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer and each error it can give, with names of examples.

    `complete_schema` puts the examples in: FastAPI would take every null out of them.
    """
    documented: dict[int | str, dict[str, Any]] = {
        200: {
            "model": model,
            "description": "The answer.",
            "content": {"application/json": {"example": example}},
        }
    }
    for status in errors:
        documented[status] = {
            "description": WHAT[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemBody"},
                    "example": str(status),
                }
            },
        }
    return documented


def bar_answers(
    model: type[BaseModel], example: str, *errors: int
) -> dict[int | str, dict[str, Any]]:
    """As `answers`, of a route that gives its bars in every format."""
    documented = answers(model, example, *errors)
    for each in FORMATS.values():
        media_type = get_type(each)
        documented[200]["content"].setdefault(media_type, {"schema": {"type": "string"}})
    return documented


def install_docs(app: FastAPI, max_rows: int, is_guarded: bool = False) -> None:
    app.include_router(router)
    build = app.openapi

    def build_openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete_schema(build(), max_rows)
            if is_guarded:
                describe_guard(build(), RouteTable(app))
        return build()

    app.openapi = build_openapi  # type: ignore[method-assign]


def complete_schema(schema: dict[str, Any], max_rows: int) -> None:
    """What FastAPI does not know: the error body, the limit that a setting gives, the examples."""
    schemas = schema["components"]["schemas"]
    parts = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(parts.pop("$defs", {}))
    schemas["ProblemBody"] = parts
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, path in schema["paths"].items():
        if "get" not in path:
            continue
        for parameter in path["get"].get("parameters", []):
            if parameter["required"]:  # what "Try it out" begins with
                parameter["example"] = parameter["schema"].get("examples", [None])[0]
            if parameter["name"] == "limit":
                bounds = {"minimum": 1, "maximum": max_rows, "default": max_rows}
                parameter["schema"] = {"type": "integer", **bounds, "examples": [FEW_ROWS]}
                parameter["example"] = FEW_ROWS
        if name.endswith(WITHOUT_LIMIT):
            show_range(path["get"]["parameters"])
        for response in path["get"]["responses"].values():
            for content in response.get("content", {}).values():
                if "example" in content:
                    content["example"] = EXAMPLES[content["example"]]
        if name not in WITHOUT_ETAG:
            complete_responses(path["get"])


def show_range(parameters: list[dict[str, Any]]) -> None:
    """Try it out begins with a month: a browser takes seconds to show thousands of rows."""
    for parameter in parameters:
        if parameter["name"] in ("start", "end"):
            parameter["example"] = parameter["schema"]["examples"][0]


def complete_responses(operation: dict[str, Any]) -> None:
    """The headers of an answer, and what a client gets that has it already, or wants a part."""
    responses = operation["responses"]
    content, told = responses["200"]["content"], dict(OF_EVERY_ANSWER)
    if any(parameter["name"] == "limit" for parameter in operation["parameters"]):
        told |= OF_LISTS
    if len(content) > 1:
        told |= OF_TABLES
    headers = {
        name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()
    }
    responses["200"]["headers"] = headers
    always = {name: headers[name] for name in ("ETag", "X-Request-ID")}
    parts = {media: {"schema": {"type": "string"}} for media in content}
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    of_part = {**headers, "Content-Range": {**BYTES, "description": "Which bytes of how many."}}
    responses["206"] = {"description": PARTLY["206"], "headers": of_part, "content": parts}
    responses["304"] = {"description": PARTLY["304"], "headers": always}
    for status in ("412", "416"):
        responses[status] = {"description": PARTLY[status], "content": problem}


@router.get("/openapi.json")
@passes_cache()
@open_to_all
@weighs(0)
async def read_openapi(request: Request) -> Response:
    app = request.app
    if not hasattr(app.state, "openapi_file"):  # made once: nothing in it changes
        app.state.openapi_file = build_file(orjson.dumps(app.openapi()), JSON)
    return send_file(request, app.state.openapi_file, {})


@router.get("/docs")
@passes_cache()
@open_to_all
@weighs(0)
async def read_docs(request: Request) -> Response:
    return send_file(request, build_page(request.app.title), {"Content-Security-Policy": POLICY})


@router.get("/docs/files/{name}")
@passes_cache()
@open_to_all
@weighs(0)
async def read_part(request: Request, name: str) -> Response:
    path = FILES / name
    if name not in PARTS:
        raise Problem(404, f"There is no such page: /docs loads {', '.join(PARTS)}.")
    return send_file(request, read_file(path, path.stat().st_mtime_ns, PARTS[name]), {})


@cache
def build_page(title: str) -> File:
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{title}: documentation",
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="docs/files/favicon.png",
    )
    return build_file(bytes(page.body), "text/html; charset=utf-8")
