"""What follows each publication where PUBLISH_URL is set: the new generation goes there too.

Blocks first, then the manifest, then the pointer in one step: whoever reads the pointer finds all
of it. What a kill leaves half done is not pointed to, and the next run finishes it.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etl.base.errors import EtlError
from etl.base.run_records import Run
from etl.contracts.manifest import (
    Manifest,
    count,
    find_place,
    hash_block,
    hash_blocks,
    write_manifest,
)
from etl.settings import Settings
from etl.store.duckdb_file import published
from etl.store.replicas import ReplicaError
from etl.store.replicas.folder import Folder, run_all
from etl.store.replicas.objects import (
    BLOCKS,
    MANIFESTS,
    list_generations,
    name_manifest,
    pack,
    read_generation,
    read_pointer,
    unpack,
    write_pointer,
)

log = logging.getLogger("etl")
NAMED = """SELECT generation, schema_version, epoch_us(published_at) FROM known_generation"""


class UploadError(EtlError):
    """The publication stands; its copy does not."""


def upload_published(settings: Settings, database: Path, run: Run) -> None:
    """Bring what PUBLISH_URL names in step with the published file, if it is not.

    UploadError where that fails: the next run tries again, whether it has anything new or not.
    """
    if not settings.publish_url or database != settings.database_path or not database.is_file():
        return
    with run.record_stage("upload") as record:
        try:
            folder = Folder(settings.publish_url, settings.aws_endpoint_url)
            record.update(bring_in_step(folder, database, settings.publish_keep))
        except (ReplicaError, OSError) as error:
            said = describe_fault(error)
            record["failures"] = {"PUBLISH_URL": f"upload: {said}"}
            raise UploadError(
                f"{said}: the database here is published, its copy is not; the next `make etl` or"
                " `make load` uploads it, though nothing be new"
            ) from None


def describe_fault(error: ReplicaError | OSError) -> str:
    if not isinstance(error, ReplicaError):
        return str(error)
    return f"PUBLISH_URL {error}" + (f" ({error.detail})" if error.detail else "")


def bring_in_step(folder: Folder, database: Path, keep: int) -> dict[str, Any]:
    """What was uploaded, for the record."""
    found = published.ask_published(database, NAMED)
    if not found:
        raise ReplicaError("gets nothing, for the published file cannot be read: run `make verify`")
    pointer = read_pointer(folder)
    present = folder.list_sizes(BLOCKS)
    generation = found[0][0]
    if pointer and pointer[0] == generation and is_whole(folder, pointer, present):
        return {"generation": generation, "uploaded_bytes": 0}
    check_order(pointer, generation)
    with database.open("rb") as file:
        handle = file.fileno()
        manifest = describe_file(handle, *found[0])
        uploaded = upload_blocks(folder, handle, manifest, present)
    folder.write(name_manifest(generation), write_manifest(manifest))
    write_pointer(folder, manifest)
    log.info("upload: %s, %s new bytes", generation, f"{uploaded:,}")
    prune(folder, keep, present.keys() | set(manifest.blocks))
    return {"generation": generation, "uploaded_bytes": uploaded}


def is_whole(folder: Folder, pointer: tuple[str, str], present: dict[str, int]) -> bool:
    try:
        manifest = read_generation(folder, *pointer)
    except ReplicaError:
        return False
    return all(present.get(digest) for digest in manifest.blocks)


def check_order(pointer: tuple[str, str] | None, generation: str) -> None:
    """Replicas never go back, so what is older than what they have may not be pointed to."""
    if pointer and pointer[0] != generation and count(pointer[0]) >= count(generation):
        raise ReplicaError(
            f"holds {pointer[0]}, and {generation} is not newer: another store is published there,"
            " or this one was made anew; name another folder"
        )


def describe_file(handle: int, generation: str, schema_version: int, published_us: int) -> Manifest:
    size = os.fstat(handle).st_size
    whole, blocks = hash_blocks(lambda offset, length: os.pread(handle, length, offset), size)
    return Manifest(generation, schema_version, published_us, size, whole, blocks)


def upload_blocks(folder: Folder, handle: int, manifest: Manifest, present: dict[str, int]) -> int:
    """The bytes of those that were not there. Each is read again, and must be what it was."""

    def upload(number: int) -> int:
        offset, length = find_place(number, manifest.size)
        digest = manifest.blocks[number]
        name = f"{BLOCKS}/{digest}"
        packed = pack(os.pread(handle, length, offset))
        folder.write(name, packed)
        if hash_block(unpack(folder.read(name), length)) != digest:
            raise ReplicaError("does not give back what was written to it", name)
        return len(packed)

    numbers = {digest: number for number, digest in enumerate(manifest.blocks)}
    missing = [number for digest, number in numbers.items() if not present.get(digest)]
    return sum(run_all(upload, missing))


def prune(folder: Folder, keep: int, present: Iterable[str]) -> None:
    """Keep the newest generations. Where this user may not remove, that is told, and no fault."""
    try:
        generations = list_generations(folder)
        kept, old = generations[:keep], generations[keep:]
        needed = {digest for each in kept for digest in read_generation(folder, each).blocks}
        folder.remove(name_manifest(each) for each in old)
        folder.remove(f"{BLOCKS}/{digest}" for digest in sorted(set(present) - needed))
    except (ReplicaError, ValueError) as error:
        log.warning("upload: older generations stay in %s/: PUBLISH_URL %s", MANIFESTS, error)
