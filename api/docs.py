"""What /docs says: descriptions, real answers as examples (api/examples.json), and its files.

Swagger UI is served from the installed package fastapi-offline, so that it works offline.
"""

from pathlib import Path
from typing import Any

import fastapi_offline
import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from api.errors import MEDIA_TYPE
from api.formats import FORMATS, get_type
from api.models import ProblemBody
from api.passing import passes_cache

FILES = Path(fastapi_offline.__file__).parent / "static"
EXAMPLES: dict[str, Any] = orjson.loads(Path(__file__).with_name("examples.json").read_bytes())

DESCRIPTION = """
Daily price bars (open, high, low, close, volume) of a market data store of your own.

* Days are sessions, written as `2012-01-31`; `start` and `end` are inclusive.
* Every list has `count`, `next` (a relative URL, or null) and `data`; `next` stands in `Link` too.
* Every answer has a strong `ETag`: send it back as `If-None-Match` and get a 304 until new data
  are published. `X-Data-Generation` names the publication that an answer was made from.
* `Range` gives a part of an answer (206), as readers want it that take a table from a URL.
* Every error is `application/problem+json`: its `detail` says what is possible.
"""

WHAT = {
    406: "None of the formats that Accept names can be had.",
    404: "Unknown symbol; the nearest ones are named.",
    422: "A parameter cannot be used; the message says what can.",
    503: "No database yet, or the query took too long.",
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


def answers(model: type[BaseModel], example: str, *errors: int) -> dict[int | str, dict[str, Any]]:
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


def install_docs(app: FastAPI, max_rows: int) -> None:
    app.include_router(router)
    app.mount("/docs/files", StaticFiles(directory=FILES), name="docs-files")
    build = app.openapi

    def build_openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete_schema(build(), max_rows)
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
    for path in schema["paths"].values():
        for parameter in path["get"].get("parameters", []):
            if parameter["required"]:  # what "Try it out" begins with
                parameter["example"] = parameter["schema"].get("examples", [None])[0]
            if parameter["name"] == "limit":
                bounds = {"minimum": 1, "maximum": max_rows, "default": max_rows}
                parameter["schema"] = {"type": "integer", **bounds, "examples": [FEW_ROWS]}
                parameter["example"] = FEW_ROWS
        for response in path["get"]["responses"].values():
            for content in response["content"].values():
                if "example" in content:
                    content["example"] = EXAMPLES[content["example"]]


@router.get("/docs")
@passes_cache()
async def read_docs(request: Request) -> Response:
    answer = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: documentation",
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="docs/files/favicon.png",
    )
    answer.headers["Content-Security-Policy"] = POLICY
    return answer
