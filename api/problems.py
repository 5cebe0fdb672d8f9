"""One error body everywhere: RFC 9457 application/problem+json, made by `build_problem`.

    Problem                 any refusal: status and a detail that names the remedy
    Fault (api.faults)      the same without HTTP, of a store or of whoever works for a request

An answer never shows a path, a query or a stack.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.faults import (
    Busy,
    Damaged,
    Fault,
    MinutesDown,
    NoDatabase,
    NoMinutes,
    OnlyMinutes,
    OutOfMemory,
    QueryTimeout,
    Refused,
    Unknown,
    UnknownRun,
)

log = logging.getLogger("api")

IT = re.compile(r"^(Input|String)\b")  # what a message of pydantic begins with

LONGEST_WORD, LONGEST_DETAIL = 80, 800
LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")

MEDIA_TYPE = "application/problem+json"
OUR_FAULT = "Something went wrong here; the server's log says what."


class Problem(Exception):
    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


# Fault → its status, and after how many seconds it may be gone.
STATUS: dict[type[Fault], tuple[int, str | None]] = {
    NoDatabase: (503, "5"),
    MinutesDown: (503, "5"),
    NoMinutes: (404, None),
    OnlyMinutes: (404, None),
    Damaged: (503, "1"),
    OutOfMemory: (503, "5"),
    Busy: (503, "5"),
    QueryTimeout: (503, "1"),
    Refused: (422, None),
    Unknown: (404, None),
    UnknownRun: (404, None),
}


def as_problem(error: Problem | Fault) -> Problem:
    """A fault as what a client is told."""
    if isinstance(error, Problem):
        return error
    status, seconds = STATUS[type(error)]
    members = {"nearest": error.nearest} if isinstance(error, Unknown) else {}
    headers = {"Retry-After": seconds} if seconds else None
    return Problem(status, str(error), headers, **members)


def shorten(value: Any) -> Any:
    """A text with its long words cut, and then itself; and so the texts of a list or a dict.

    What is quoted was sent by the client, who knows it, and may be as long as an address.
    """
    if isinstance(value, str):
        text = LONG_WORD.sub(lambda word: f"{word[0][:LONGEST_WORD]}…", value)
        return text if len(text) <= LONGEST_DETAIL else f"{text[:LONGEST_DETAIL]}…"
    if isinstance(value, Mapping):
        return {name: shorten(each) for name, each in value.items()}
    return [shorten(each) for each in value] if isinstance(value, list) else value


def build_problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """The one error body: type, title, status, detail and, where useful, more members."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": shorten(detail),
        **shorten(members),
    }
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def install_handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(Fault, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected)


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem | Fault)
    problem = as_problem(error)
    return build_problem(problem.status, problem.detail, problem.headers, **problem.members)


async def on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {
        404: "There is no such page: /docs lists what there is.",
        405: "This service only reads: use GET or HEAD.",
    }.get(error.status_code, str(error.detail))
    headers = error.headers
    if error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "GET")
        headers = {"Allow": methods.replace("GET", "GET, HEAD")}
        detail = detail if "GET" in methods else f"This is to be asked by {methods}."
    return build_problem(error.status_code, detail, headers)


async def on_unexpected(request: Request, error: Exception) -> Response:
    """The server logs the traceback, and hangs up; the client learns of the latter only."""
    return build_problem(500, OUR_FAULT, {"Connection": "close"})


async def on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [describe_invalid(request, item) for item in error.errors()]
    detail = "; ".join(item["message"] for item in errors)
    return build_problem(422, detail, errors=errors)


def describe_invalid(request: Request, item: Mapping[str, Any]) -> dict[str, Any]:
    """One bad parameter: its name, what was got, and a message that says what is possible."""
    location: Sequence[Any] = item["loc"]
    name = str(location[-1])[:LONGEST_WORD] if len(location) > 1 else "request"
    got = str(item.get("input", ""))[:LONGEST_WORD]
    if item["type"] == "extra_forbidden":
        possible = ", ".join(list_parameters(request)) or "none here"
        message = f"unknown parameter {name}: possible are {possible}"
    elif item["type"] == "missing":
        message = f"{name} is missing: add {name}="
    elif item["type"] == "value_error":
        message = str(item["ctx"]["error"])
    elif item["type"] == "literal_error":
        message = f"{name}={got}: possible are {item['ctx']['expected'].replace(chr(39), '')}"
    else:
        message = f"{name}={got}: {IT.sub('it', item['msg'])}"
    return {"parameter": name, "message": message}


def list_parameters(request: Request) -> list[str]:
    """The query parameters of the route that a request reached."""
    route = request.scope.get("route")
    models = (
        [field.field_info.annotation for field in route.dependant.query_params] if route else []
    )
    return [name for model in models for name in getattr(model, "model_fields", {})]
