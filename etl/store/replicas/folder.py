"""A folder of objects by URL: s3://, gs://, file://, or any scheme that fsspec knows.

pyarrow speaks to all of them, and is installed anyway. An object appears whole or not at all.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa

from etl.base.whole_files import write_whole
from etl.store.replicas import ReplicaError

T = TypeVar("T")
R = TypeVar("R")

OWN_SCHEMES = ("file", "gs", "gcs")
AT_ONCE = 16  # objects under way: each waits for a round trip
CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
FAULTS = (OSError, ValueError, pa.ArrowException)


class Missing(Exception):
    """There is no such object."""


class Folder:
    """Objects below a URL, by their names."""

    def __init__(self, url: str, endpoint: str = "") -> None:
        self.system, self.root = reach(url, endpoint)

    def read(self, name: str) -> bytes:
        """Missing, or ReplicaError."""
        try:
            with self.system.open_input_stream(f"{self.root}/{name}") as stream:
                found: bytes = stream.read()
                return found
        except FileNotFoundError:
            raise Missing(name) from None
        except FAULTS as error:
            raise ReplicaError("cannot be read", error) from None

    def write(self, name: str, content: bytes) -> None:
        """ReplicaError. What was under this name is replaced in one step."""
        path = f"{self.root}/{name}"
        try:
            if self.is_local:
                write_local(Path(path), content)
            else:
                with self.system.open_output_stream(path) as stream:
                    stream.write(content)
        except FAULTS as error:
            raise ReplicaError("cannot be written to", error) from None

    def list_sizes(self, folder: str) -> dict[str, int]:
        """Name below `folder` → bytes."""
        from pyarrow.fs import FileSelector

        try:
            found = self.system.get_file_info(
                FileSelector(f"{self.root}/{folder}", allow_not_found=True)
            )
        except FAULTS as error:
            raise ReplicaError("cannot be listed", error) from None
        return {each.base_name: each.size for each in found if each.is_file}

    def remove(self, names: Iterable[str]) -> None:
        """ReplicaError, where this user may not."""
        try:
            run_all(lambda name: self.system.delete_file(f"{self.root}/{name}"), names)
        except FAULTS as error:
            raise ReplicaError("lets nothing be removed", error) from None

    @property
    def is_local(self) -> bool:
        return bool(self.system.type_name == "local")


def reach(url: str, endpoint: str) -> tuple[Any, str]:
    """File system and path within it. ReplicaError where this scheme cannot be spoken."""
    from pyarrow.fs import FileSystem

    parts = urlsplit(url)
    try:
        if parts.scheme == "s3":
            return reach_s3(parts.netloc, endpoint), f"{parts.netloc}{parts.path}".rstrip("/")
        prefix = "" if parts.scheme in OWN_SCHEMES else "fsspec+"
        system, path = FileSystem.from_uri(prefix + url)
        return system, path.rstrip("/")
    except (ImportError, *FAULTS) as error:
        raise ReplicaError(f"cannot be opened by its scheme {parts.scheme}", error) from None


def reach_s3(bucket: str, endpoint: str) -> Any:
    """Who we are is found as any client of AWS does: environment, ~/.aws, the machine's role."""
    from pyarrow.fs import S3FileSystem, resolve_s3_region

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    where: dict[str, Any] = {"region": region}
    if endpoint:
        parts = urlsplit(endpoint)
        where.update(scheme=parts.scheme, endpoint_override=parts.netloc)
    elif not region:
        where.update(region=resolve_s3_region(bucket))
    return S3FileSystem(
        **where,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
        allow_delayed_open=True,  # a small object is then one request
        background_writes=False,
    )


def write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as next_path:
        next_path.write_bytes(content)


def run_all(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results, in order, of many at once; the first error ends it."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
