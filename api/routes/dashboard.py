"""The page at / and the files that it loads, all of api/dashboard/.

They belong to this version, not to a snapshot: their ETag is of their bytes. Each is read again
when the file changes, and is compressed once.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from api.cache import choose_coding, compress, matches
from api.errors import Problem
from api.passing import passes_cache

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "dashboard"
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
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class File(NamedTuple):
    """A file as it is sent: plain, compressed, and the digest that its ETag is made of."""

    media_type: str
    plain: bytes
    packed: bytes
    digest: str


@router.get("/")
@passes_cache()
async def read_page(request: Request) -> Response:
    return answer_file(request, "index.html")


@router.get("/dashboard/{name:path}")
@passes_cache()
async def read_part(request: Request, name: str) -> Response:
    return answer_file(request, name)


def answer_file(request: Request, name: str) -> Response:
    """The file, compressed if the client takes that; 304 if it has it; a 404 Problem if none is."""
    path = FOLDER / name
    if not NAME.fullmatch(name) or path.suffix not in TYPES or not path.is_file():
        raise Problem(404, "There is no such file of the page: / is the page itself.")
    file = read_file(path, path.stat().st_mtime_ns)
    accepted = request.headers.get("accept-encoding", "").encode("latin-1")
    coding = choose_coding(accepted).rstrip("!") or "identity"
    headers = {**HEADERS, "ETag": f'"{file.digest}-{coding}"'}
    if matches(request.headers.get("if-none-match", "").encode("latin-1"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if coding == "identity":
        return Response(file.plain, headers=headers, media_type=file.media_type)
    headers["Content-Encoding"] = coding
    return Response(file.packed, headers=headers, media_type=file.media_type)


@lru_cache(maxsize=64)
def read_file(path: Path, changed: int) -> File:
    """`changed` is the time of the file's last change, so that an edited file is read again."""
    plain = path.read_bytes()
    digest = hashlib.blake2b(plain, digest_size=8).hexdigest()
    return File(TYPES[path.suffix], plain, compress(plain), digest)
