"""What one published file is made of: blocks named by their SHA-256, as replicas fetch them.

The blocks are DuckDB's own (256 KiB behind a header), so that a block that a load does not touch
keeps its digest, and who has it does not fetch it again.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

HEADER_BYTES = 3 * 4096  # before the first block of a DuckDB file
BLOCK_BYTES = 256 * 1024
LARGEST = 1 << 44  # bytes of a file that a manifest may tell of
GENERATION = re.compile(r"[0-9]{1,15}-[0-9a-f]{8}")
DIGEST = re.compile(r"[0-9a-f]{64}")

Read = Callable[[int, int], bytes]  # offset, most bytes → what is there


@dataclass(frozen=True)
class Manifest:
    """digest: SHA-256 of the whole file, of `size` bytes; published_us: microseconds since 1970."""

    generation: str
    schema_version: int
    published_us: int
    size: int
    digest: str
    blocks: tuple[str, ...]

    @property
    def counter(self) -> int:
        return count(self.generation)


def count(generation: str) -> int:
    """The counter of a generation, which only grows."""
    return int(generation.partition("-")[0])


def find_place(number: int, size: int) -> tuple[int, int]:
    """Offset and length of a block in a file of `size` bytes; the header is block 0."""
    offset = HEADER_BYTES + (number - 1) * BLOCK_BYTES if number else 0
    length = BLOCK_BYTES if number else HEADER_BYTES
    return offset, min(length, size - offset)


def count_blocks(size: int) -> int:
    return 1 + -(-max(0, size - HEADER_BYTES) // BLOCK_BYTES)


def hash_block(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()


def hash_blocks(read: Read, size: int) -> tuple[str, tuple[str, ...]]:
    """The digest of a file, and those of its blocks, in one pass."""
    whole, blocks = hashlib.sha256(), []
    for number in range(count_blocks(size)):
        block = read(*find_place(number, size))
        whole.update(block)
        blocks.append(hash_block(block))
    return whole.hexdigest(), tuple(blocks)


def write_manifest(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=0).encode()


def read_manifest(text: bytes) -> Manifest:
    """ValueError for what is none: it comes from elsewhere."""
    try:
        found: dict[str, Any] = json.loads(text)
        manifest = Manifest(**{**found, "blocks": tuple(found["blocks"])})
        check(manifest)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("it is no manifest of a generation") from None
    return manifest


def check(manifest: Manifest) -> None:
    """ValueError or TypeError unless each part can be."""
    numbers = (manifest.schema_version, manifest.published_us, manifest.size)
    is_whole = all(type(number) is int for number in numbers)
    if not is_whole or not HEADER_BYTES < manifest.size <= LARGEST:
        raise ValueError
    datetime.fromtimestamp(manifest.published_us / 1e6)  # noqa: DTZ006 (ValueError where it is none)
    if len(manifest.blocks) != count_blocks(manifest.size):
        raise ValueError
    if not all(DIGEST.fullmatch(digest) for digest in (manifest.digest, *manifest.blocks)):
        raise ValueError
    if not GENERATION.fullmatch(manifest.generation):
        raise ValueError
