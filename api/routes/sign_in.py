"""POST /token and /token/revoke: OAuth 2 for the users of this service; there only with AUTH=on."""

from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from api.callers.grants import NO_STORE, Grants, Refusal
from api.callers.rates.windows import name_network
from api.edge.gate import Proxies, get_head
from api.edge.passing import passes_cache
from api.edge.route_table import open_to_all
from api.encode.formats import JSON
from api.encode.text import encode_json
from api.models.service import TokenAnswer
from api.problems import MEDIA_TYPE, Problem

router = APIRouter(tags=["service"])

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 8 * 1024
Form = dict[str, str]
OF_ERRORS = {
    400: "`error` and `error_description` say why, as OAuth 2 has it; `detail` too.",
    413: "The form is too long.",
    415: "The body is no form.",
    429: "Too many passwords were tried.",
    503: "The file of users cannot be read, or too many wait.",
}
PROBLEM = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": told, "content": {MEDIA_TYPE: PROBLEM}}
    for status, told in OF_ERRORS.items()
}


def describe_form(required: str, fields: dict[str, str]) -> dict[str, Any]:
    """The body of a route as the documentation shows it."""
    properties: dict[str, Any] = {
        name: {"type": "string", "description": told} for name, told in fields.items()
    }
    properties[required]["minLength"] = 1
    schema = {"type": "object", "required": [required], "properties": properties}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


@router.post(
    "/token",
    summary="Sign in",
    responses={200: {"model": TokenAnswer, "description": "The tokens."}, **ERRORS},
    openapi_extra=describe_form(
        "grant_type",
        {
            "grant_type": "password, or refresh_token.",
            "username": "Of grant_type=password.",
            "password": "Of grant_type=password.",
            "refresh_token": "Of grant_type=refresh_token: the one got last. It is spent by this.",
            "scope": "Parted by spaces: read, admin; all that the user may where none is given.",
        },
    ),
)
@passes_cache()
@open_to_all
async def give_token(request: Request) -> Response:
    """An access token for a password or a refresh token, and the refresh token that comes next."""
    form, grants = await read_form(request), get_grants(request)
    kind = form.get("grant_type", "")
    if kind == "password":
        name, password = require(form, "username"), require(form, "password")
        address = find_address(request)
        given = await grants.sign_in(name, password, form.get("scope", ""), address)
    elif kind == "refresh_token":
        given = await grants.renew(require(form, "refresh_token"), form.get("scope", ""))
    elif kind:
        raise Refusal("unsupported_grant_type", "grant_type is password or refresh_token.")
    else:
        raise Refusal("invalid_request", "grant_type is missing: password or refresh_token.")
    return Response(encode_json(given), headers=NO_STORE, media_type=JSON)


@router.post(
    "/token/revoke",
    summary="Sign out",
    response_class=Response,  # the answer has no body
    responses={
        200: {"description": "The token is valid no more, if it ever was."},
        **{status: ERRORS[status] for status in (400, 413, 415, 503)},
    },
    openapi_extra=describe_form("token", {"token": "A refresh token, or an access token."}),
)
@passes_cache()
@open_to_all
async def revoke_token(request: Request) -> Response:
    """End the sign-in that a token is of, with all its tokens (RFC 7009)."""
    form = await read_form(request)
    await get_grants(request).revoke(require(form, "token"))
    return Response(headers=NO_STORE)


def find_address(request: Request) -> str:
    """By which passwords are counted, whatever else is sent: of IPv6 the network of one client."""
    proxies: Proxies = request.app.layers.gate.proxies
    return name_network(proxies.find_address(request.scope.get("client"), get_head(request.scope)))


def get_grants(request: Request) -> Grants:
    grants: Grants = request.app.state.grants
    return grants


def require(form: Form, name: str) -> str:
    if not form.get(name):
        raise Refusal("invalid_request", f"{name} is missing.")
    return form[name]


async def read_form(request: Request) -> Form:
    """The fields of a form, each once. Refusal, Problem."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        raise Problem(415, f"Send the fields as a form: {FORM}.", NO_STORE)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Problem(413, f"The form has more than {MOST_BYTES} bytes.", NO_STORE)
    try:
        fields = parse_qsl(body.decode("ascii"), True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Refusal("invalid_request", "The body is no form in UTF-8.") from None
    if len(dict(fields)) < len(fields):
        raise Refusal("invalid_request", "A field is given twice.")
    return dict(fields)
