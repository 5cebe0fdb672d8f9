"""The published file itself, for instances that follow this one (FOLLOW_URL)."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.edge.passing import passes_cache
from api.edge.ranges import ONE_RANGE, find_place, refuse_range
from api.encode.formats import JSON
from api.store.duckdb_file.sending import OpenFile, Sender, name_manifest

router = APIRouter(include_in_schema=False)

PIECE = 1 << 18
MEDIA_TYPE = "application/vnd.duckdb"
HEADERS = {"Accept-Ranges": "bytes", "Cache-Control": "no-cache"}


@router.get("/generations/current")
@passes_cache()
async def read_current(request: Request) -> Response:
    """The DuckDB file, whole or by Range; its ETag is the generation."""
    file = find_sender(request).open()
    headers = {**HEADERS, "ETag": file.etag}
    if is_known(request, file.etag):
        return Response(status_code=304, headers=headers)
    place = find_part(request, file)
    if place is None:
        return send(file, slice(0, file.size), 200, headers)
    if place.start >= place.stop:
        return refuse_range(file.size)
    headers["Content-Range"] = f"bytes {place.start}-{place.stop - 1}/{file.size}"
    return send(file, place, 206, headers)


@router.get("/generations/current/manifest")
@passes_cache()
async def read_manifest(request: Request) -> Response:
    """What that file is made of: the digests of its blocks."""
    manifest = await find_sender(request).open().describe()
    headers = {"Cache-Control": "no-cache", "ETag": name_manifest(manifest)}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(manifest, headers=headers, media_type=JSON)


def find_sender(request: Request) -> Sender:
    sender: Sender = request.app.state.sender
    return sender


def is_known(request: Request, etag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or etag in (part.strip() for part in known.split(","))


def find_part(request: Request, file: OpenFile) -> slice | None:
    """What Range asks for; None for the whole, also where If-Range wants another generation."""
    found = ONE_RANGE.fullmatch(request.headers.get("range", "").encode("latin-1"))
    if found is None or request.headers.get("if-range", file.etag) != file.etag:
        return None
    return find_place(found[1], found[2], file.size)


def send(file: OpenFile, place: slice, status: int, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(place.stop - place.start)
    return StreamingResponse(read_pieces(file, place), status, headers, MEDIA_TYPE)


async def read_pieces(file: OpenFile, place: slice) -> AsyncIterator[bytes]:
    """Piece by piece, as the client takes them: the disk is read in a thread."""
    for offset in range(place.start, place.stop, PIECE):
        yield await asyncio.to_thread(file.read, offset, min(PIECE, place.stop - offset))
