"""Look at the source again and again: what is newer there is fetched, and how it stands is told."""

import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb

from etl.base.errors import EtlError
from etl.base.whole_files import compute_digest
from etl.contracts.following import read_following, write_following
from etl.contracts.manifest import Manifest
from etl.settings import Settings, SettingsError
from etl.store.duckdb_file import publish
from etl.store.replicas import ReplicaError
from etl.store.replicas.fetch import Origin, check_order, fetch, read_generation
from etl.store.replicas.folder import Folder
from etl.store.replicas.instance import Instance
from etl.store.replicas.objects import read_blocks, read_pointer
from etl.store.replicas.objects import read_generation as read_uploaded

log = logging.getLogger("etl")


class Objects:
    """An Origin: what another host uploaded."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.pointer: tuple[str, str] | None = None
        self.manifest: Manifest | None = None

    def read_manifest(self) -> Manifest:
        """A look costs one small object, unless the pointer moved."""
        pointer = read_pointer(self.folder)
        if pointer is None:
            raise ReplicaError("has no generation yet")
        if self.manifest is None or pointer != self.pointer:
            self.manifest = read_uploaded(self.folder, *pointer)
            self.pointer = pointer
        return self.manifest

    def read_blocks(
        self, manifest: Manifest, numbers: Iterable[int]
    ) -> Iterator[tuple[int, bytes, int]]:
        return read_blocks(self.folder, manifest, numbers)


class Follower:
    """One host's: how it stands is in DATA_DIR/following.json after each look."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.database_path
        self.origin: Origin | None = None
        self.key = ""
        self.seen: tuple[object, str] | None = None
        self.proven = ""  # the generation here whose digest was compared
        self.state = replace(read_following(settings.data_dir), fault="")

    def look(self) -> None:
        """Once: fetch what is newer, and write down how it stands. Nothing is raised."""
        try:
            self.catch_up()
            self.note("")
        except ReplicaError as error:
            self.note(f"the source (FOLLOW_URL) {error}", error.detail)
        except (EtlError, SettingsError) as error:
            self.note("this host cannot take what the source has: the log says why", str(error))
        except (OSError, duckdb.Error, MemoryError) as error:
            self.note("this host cannot take what the source has: the log says why", repr(error))

    def catch_up(self) -> None:
        origin = self.find_origin()
        manifest = origin.read_manifest()
        here = self.find_here()
        check_order(manifest, here)
        if here == manifest.generation and self.is_proven(manifest):
            return
        started = time.monotonic()
        fetched = fetch(origin, manifest, self.path)
        self.proven = manifest.generation
        self.state = replace(
            self.state,
            fetched_bytes=self.state.fetched_bytes + fetched.travelled,
            swaps=self.state.swaps + 1,
        )
        log.info(
            "follow: %s is in its place after %.1f s: %s bytes fetched, %s were here",
            *(manifest.generation, time.monotonic() - started),
            *(f"{fetched.travelled:,}", f"{fetched.reused:,}"),
        )

    def is_proven(self, manifest: Manifest) -> bool:
        """Whether the file here is that generation, byte for byte: asked once a process."""
        if self.proven != manifest.generation and compute_digest(self.path) == manifest.digest:
            self.proven = manifest.generation
        return self.proven == manifest.generation

    def find_here(self) -> str:
        """The generation here; the file is opened where it is another one than at the last look."""
        found = publish.identify(self.path)
        if self.seen is None or self.seen[0] != found:
            self.seen = found, read_generation(self.path)
        return self.seen[1]

    def find_origin(self) -> Origin:
        """Built once, and again with another key."""
        key = self.settings.follow_key.value
        if self.origin is None or key != self.key:
            self.origin, self.key = open_origin(self.settings, key), key
        return self.origin

    def note(self, fault: str, detail: str = "") -> None:
        now = time.time()
        if fault and fault != self.state.fault:
            log.warning("follow: %s%s", fault, f" ({detail})" if detail else "")
        elif self.state.fault and not fault:
            log.info("follow: back to normal after: %s", self.state.fault)
        self.state = replace(
            self.state,
            generation=self.find_here(),
            looked_at=now,
            reached_at=self.state.reached_at if fault else now,
            fault=fault,
            faults=self.state.faults + bool(fault),
        )
        try:
            write_following(self.settings.data_dir, self.state)
        except OSError as error:
            log.warning("follow: how it stands cannot be written down: %s", error.strerror)


def open_origin(settings: Settings, key: str) -> Origin:
    url = settings.follow_url
    if url.startswith(("http://", "https://")):
        return Instance(url, key)
    return Objects(Folder(url, settings.aws_endpoint_url))


def hold_alone(folder: Path) -> bool:
    """Whether no other process follows for this folder; held until this one ends."""
    handle = os.open(folder / "follow.lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return True
