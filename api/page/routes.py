"""The page at / and the files that it loads, all of api/page/files/.

They belong to this version, not to a snapshot.
"""

import re
from pathlib import Path

from fastapi import APIRouter, Request, Response

from api.edge.files import read_file, send_file
from api.edge.passing import passes_cache
from api.edge.route_table import open_to_all, weighs
from api.problems import Problem

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "files"
NAME = re.compile(r"(vendor/)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",  # LICENSE and NOTICE of what is vendored
}
# Nothing from elsewhere, nothing inline, no text turned into markup or into code.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/")
@passes_cache()
@open_to_all
@weighs(0)
async def read_page(request: Request) -> Response:
    return answer_file(request, "index.html")


@router.get("/dashboard/{name:path}")
@passes_cache()
@open_to_all
@weighs(0)
async def read_part(request: Request, name: str) -> Response:
    return answer_file(request, name)


def answer_file(request: Request, name: str) -> Response:
    """The file; a 404 Problem if there is none."""
    path = FOLDER / name
    if not NAME.fullmatch(name) or path.suffix not in TYPES or not path.is_file():
        raise Problem(404, "There is no such file of the page: / is the page itself.")
    file = read_file(path, path.stat().st_mtime_ns, TYPES[path.suffix])
    return send_file(request, file, HEADERS)
