"""Files of this version of the service, as they are sent: those of the page and of the docs.

Their ETag is of their bytes. Each is read again when it changes, and is compressed once.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fastapi import Request, Response

from api.edge.answers import compress
from api.edge.keys import matches
from api.edge.negotiate import choose_coding


class File(NamedTuple):
    """A file as it is sent: plain, compressed, and the digest that its ETag is made of."""

    media_type: str
    plain: bytes
    packed: bytes
    digest: str


def build_file(plain: bytes, media_type: str) -> File:
    digest = hashlib.blake2b(plain, digest_size=8).hexdigest()
    return File(media_type, plain, compress(plain), digest)


@lru_cache(maxsize=64)
def read_file(path: Path, changed: int, media_type: str) -> File:
    """`changed` is the time of the file's last change, so that an edited file is read again."""
    return build_file(path.read_bytes(), media_type)


def send_file(request: Request, file: File, headers: Mapping[str, str]) -> Response:
    """The file, compressed if the client takes that; 304 if it has it."""
    accepted = request.headers.get("accept-encoding", "").encode("latin-1")
    coding = choose_coding(accepted).rstrip("!") or "identity"
    etag = f'"{file.digest}-{coding}"'
    told = {**headers, "Cache-Control": "no-cache", "Vary": "Accept-Encoding", "ETag": etag}
    if matches(request.headers.get("if-none-match", "").encode("latin-1"), etag):
        return Response(status_code=304, headers=told)
    if coding == "identity":
        return Response(file.plain, headers=told, media_type=file.media_type)
    told["Content-Encoding"] = coding
    return Response(file.packed, headers=told, media_type=file.media_type)
