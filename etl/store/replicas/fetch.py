"""A generation fetched block by block, put together beside the published file, and swapped in.

Nothing takes the published file's name but what is whole, of the digest that its manifest says, and
opens as a store. A kill leaves what was fetched so far, which the next look goes on from.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from etl.base.errors import StoreError
from etl.base.instances import borrow
from etl.base.locks import hold_lock
from etl.base.whole_files import compute_digest
from etl.contracts.manifest import Manifest, count, find_place, hash_block, hash_blocks
from etl.contracts.tables import SCHEMA_VERSION
from etl.store.duckdb_file import attached, publish, published
from etl.store.replicas import ReplicaError

log = logging.getLogger("etl")

SPARE_BYTES = 64 << 20
NAMED = "SELECT max(generation) FROM known_generation"


class Origin(Protocol):
    """Where generations come from."""

    def read_manifest(self) -> Manifest: ...
    def read_blocks(
        self, manifest: Manifest, numbers: Iterable[int]
    ) -> Iterator[tuple[int, bytes, int]]: ...


@dataclass
class Fetched:
    """Bytes that travelled, and bytes that were here already."""

    travelled: int = 0
    reused: int = 0


def following_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.following{path.suffix}")


def read_generation(path: Path) -> str:
    """The one that is here; "" for none that can be read."""
    found = published.ask_published(path, NAMED) if path.is_file() else []
    return str(found[0][0] or "") if found else ""


def check_order(manifest: Manifest, here: str) -> None:
    """ReplicaError for what would be a step back, or cannot be read by this version."""
    if manifest.schema_version > SCHEMA_VERSION:
        raise ReplicaError(
            f"has {manifest.generation}, written by a newer version (schema"
            f" {manifest.schema_version}): update this one"
        )
    if here and here != manifest.generation and manifest.counter <= count(here):
        raise ReplicaError(
            f"has {manifest.generation}, which is not newer than {here} here: a replica never goes"
            " back; if that store was made anew, stop this service and take its database away"
        )


def fetch(origin: Origin, manifest: Manifest, path: Path) -> Fetched:
    """Make the generation of a manifest the published one. ReplicaError, OSError, StoreError."""
    next_path = following_of(path)
    check_room(manifest, next_path)
    fetched = Fetched()
    with open_partial(next_path, manifest) as (handle, lacking):
        missing = take_from_here(path, handle, manifest, lacking)
        fetched.reused = manifest.size - count_bytes(manifest, missing)
        alike = group_alike(manifest, missing)
        for number, block, travelled in origin.read_blocks(manifest, map(min, alike.values())):
            for each in alike.get(manifest.blocks[number], (number,)):
                put_block(handle, manifest, each, block)
            fetched.travelled += travelled
    check_whole(next_path, manifest)
    publish.mark_untouched(next_path, manifest.published_us)
    with hold_lock(path.parent, "follow"):
        check_order(manifest, read_generation(path))
        publish.restore_wal(path)
        publish.publish_store(next_path, path)
    return fetched


def check_room(manifest: Manifest, next_path: Path) -> None:
    here = next_path.stat().st_blocks * 512 if next_path.exists() else 0
    wanted = manifest.size - here + SPARE_BYTES
    if shutil.disk_usage(next_path.parent).free < wanted:
        raise ReplicaError(
            f"has a generation that wants {wanted >> 20} MiB more than there is here"
        )


@contextmanager
def open_partial(next_path: Path, manifest: Manifest) -> Iterator[tuple[int, list[int]]]:
    """A file of the right length, and which of its blocks are not yet as they should be."""
    if next_path.is_file():
        next_path.chmod(0o640)  # a kill right before its publication left it read-only
    handle = os.open(next_path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        os.ftruncate(handle, manifest.size)
        numbers = range(len(manifest.blocks))
        found = hash_open(handle, manifest.size)  # of a new one too: blocks of zeros are free
        yield handle, [number for number in numbers if found[number] != manifest.blocks[number]]
    finally:
        os.close(handle)


def hash_open(handle: int, size: int) -> tuple[str, ...]:
    return hash_blocks(lambda offset, length: os.pread(handle, length, offset), size)[1]


def take_from_here(path: Path, handle: int, manifest: Manifest, lacking: list[int]) -> list[int]:
    """Copy the blocks that the published file has; returns those that it has not."""
    if not path.is_file():
        return lacking
    missing = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        known = {digest: at for at, digest in enumerate(hash_open(file.fileno(), size))}
        for number in lacking:
            at = known.get(manifest.blocks[number])
            if at is None:
                missing.append(number)
                continue
            block = os.pread(file.fileno(), *reversed(find_place(at, size)))
            os.pwrite(handle, block, find_place(number, manifest.size)[0])  # just hashed above
    return missing


def group_alike(manifest: Manifest, numbers: Iterable[int]) -> dict[str, list[int]]:
    """Digest → the blocks that have it: one of them is fetched."""
    alike: dict[str, list[int]] = {}
    for number in numbers:
        alike.setdefault(manifest.blocks[number], []).append(number)
    return alike


def put_block(handle: int, manifest: Manifest, number: int, block: bytes) -> None:
    if hash_block(block) != manifest.blocks[number]:
        raise ReplicaError("gave a damaged or incomplete block: it is asked again", number)
    os.pwrite(handle, block, find_place(number, manifest.size)[0])


def count_bytes(manifest: Manifest, numbers: Iterable[int]) -> int:
    return sum(find_place(number, manifest.size)[1] for number in numbers)


def check_whole(next_path: Path, manifest: Manifest) -> None:
    """ReplicaError unless it is what was published there, and a store that can be served."""
    try:
        if compute_digest(next_path) != manifest.digest:
            raise StoreError("the digest of the whole is another")
        with borrow() as connection:
            attached.attach_store(connection, next_path, "store")
            published.name_known(connection)
            found = attached.read_one(connection, NAMED)
        if found != manifest.generation:
            raise StoreError(f"it says that it is {found}")
    except (StoreError, duckdb.Error) as error:
        publish.discard(next_path)
        raise ReplicaError(f"has a {manifest.generation} that is no whole store", error) from None
