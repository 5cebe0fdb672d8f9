"""The objects of published generations in a folder: what is written there, and what is read."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from etl.contracts.manifest import (
    GENERATION,
    Manifest,
    count,
    find_place,
    hash_block,
    read_manifest,
    write_manifest,
)
from etl.store.replicas import ReplicaError
from etl.store.replicas.folder import AT_ONCE, Folder, Missing

POINTER = "current.json"
MANIFESTS, BLOCKS = "manifests", "blocks"
DAMAGED = "holds a damaged generation: it is not taken; the next one may be whole"


def name_manifest(generation: str) -> str:
    return f"{MANIFESTS}/{generation}.json"


def read_pointer(folder: Folder) -> tuple[str, str] | None:
    """Generation, and digest of its manifest; None where nothing was uploaded yet."""
    try:
        found = json.loads(folder.read(POINTER))
        return str(found["generation"]), str(found["manifest_digest"])
    except Missing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ReplicaError("holds a pointer that cannot be read", error) from None


def write_pointer(folder: Folder, manifest: Manifest) -> None:
    digest = hash_block(write_manifest(manifest))
    pointer = {"generation": manifest.generation, "manifest_digest": digest}
    folder.write(POINTER, json.dumps(pointer).encode())


def read_generation(folder: Folder, generation: str, digest: str = "") -> Manifest:
    """ReplicaError unless it is whole, and the one that the pointer meant."""
    try:
        text = folder.read(name_manifest(generation))
        if digest and hash_block(text) != digest:
            raise ValueError("the manifest is not the one that was written")
        manifest = read_manifest(text)
        if manifest.generation != generation:
            raise ValueError("the manifest is of another generation")
    except (Missing, ValueError) as error:
        raise ReplicaError(DAMAGED, error) from None
    return manifest


def read_blocks(
    folder: Folder, manifest: Manifest, numbers: Iterable[int]
) -> Iterator[tuple[int, bytes, int]]:
    """Number, content, and bytes that travelled; some at once, and never many in memory."""

    def read(number: int) -> tuple[int, bytes, int]:
        packed = read_block(folder, manifest.blocks[number])
        return number, unpack(packed, find_place(number, manifest.size)[1]), len(packed)

    wanted = list(numbers)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, len(wanted), 2 * AT_ONCE):
            some = [pool.submit(read, number) for number in wanted[start : start + 2 * AT_ONCE]]
            yield from (each.result() for each in some if each.exception() is None)
            for each in some:
                each.result()  # what came is kept, whatever did not


def read_block(folder: Folder, digest: str) -> bytes:
    try:
        return folder.read(f"{BLOCKS}/{digest}")
    except Missing as error:
        raise ReplicaError("lacks blocks of its newest generation", error) from None


def pack(block: bytes) -> bytes:
    packed: bytes = pa.compress(block, codec="zstd", asbytes=True)
    return packed


def unpack(packed: bytes, length: int) -> bytes:
    """What cannot be unpacked comes back as it is: its digest will tell."""
    try:
        block: bytes = pa.decompress(packed, length, codec="zstd", asbytes=True)
        return block
    except (pa.ArrowException, OSError, ValueError):
        return packed


def list_generations(folder: Folder) -> list[str]:
    """The uploaded ones, the newest first."""
    names = (name.removesuffix(".json") for name in folder.list_sizes(MANIFESTS))
    found = (name for name in names if GENERATION.fullmatch(name))
    return sorted(found, key=lambda generation: (count(generation), generation), reverse=True)
