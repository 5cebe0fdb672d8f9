"""What the documentation says of callers, where AUTH is on: how to name oneself, who may what."""

from typing import Any

from api.edge.route_table import RouteTable
from api.problems import MEDIA_TYPE

OF_SCOPES = {"read": "Bars, figures and all that the store knows.", "admin": "Runs and metrics."}
# Addresses are relative, so that they hold behind every prefix that a proxy puts in front.
PASSWORD = {"tokenUrl": "token", "refreshUrl": "token", "scopes": OF_SCOPES}
SCHEMES = {
    "password": {"type": "oauth2", "flows": {"password": PASSWORD}},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An access token or API key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}}
REFUSALS = {
    "400": "Two ways to say who asks: Authorization and X-API-Key.",
    "401": "Nothing says who asks, or the token or key is not valid.",
    "403": "The token or key lacks the scope.",
}
WITH_MORE = ("/health",)  # open, and tells more to who may read


def describe_guard(schema: dict[str, Any], routes: RouteTable) -> None:
    """Add the ways to name oneself, and to each operation the scope that it needs."""
    schema["components"]["securitySchemes"] = SCHEMES
    schema["components"]["schemas"]["Health"]["required"] = ["status"]
    for path, operations in schema["paths"].items():
        scope = routes.find(path).scope
        for operation in operations.values():
            operation["security"] = [] if scope is None else list_ways(scope)
            if path in WITH_MORE:
                operation["security"] = [{}, *list_ways("read")]
            if scope is not None:
                add_refusals(operation["responses"])


def list_ways(scope: str) -> list[dict[str, list[str]]]:
    return [{"password": [scope]}, {"bearer": []}, {"key": []}]


def add_refusals(responses: dict[str, Any]) -> None:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    for status, told in REFUSALS.items():
        responses[status] = {"description": told, "headers": CHALLENGE, "content": problem}
