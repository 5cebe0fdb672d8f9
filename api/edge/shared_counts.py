"""The counts of several workers as one: each has a file that the others read.

A worker takes a slot, a file that no living process holds, and goes on counting in it. So what a
worker counted that was killed at any moment is kept, and there are never more files than workers
at one time. Rows are mapped into memory: what is written there is in the file.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import orjson

from api.counts import BLOCK_BYTES, COUNT, WIDTH, Counts, Key, Row

# Names the folder to the workers that a server starts; it is no setting.
ENVIRON = "MARKET_DATA_COUNTS_DIR"
GAUGE = "gauge"  # keys that begin so are of living workers only


@contextmanager
def share_counts(workers: int) -> Iterator[None]:
    """A folder for the counts of the workers that this process starts, as long as they run."""
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="market-data-counts-") as folder:
        os.environ[ENVIRON] = folder
        try:
            yield
        finally:
            del os.environ[ENVIRON]


def open_counts() -> Counts:
    """The counts of this process: a slot, where a server said that there are several workers."""
    folder = os.environ.get(ENVIRON)
    return SharedCounts(Path(folder)) if folder else Counts()


class SharedCounts(Counts):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.file = take_slot(folder)
        self.file.truncate(BLOCK_BYTES)
        self.map = mmap.mmap(self.file.fileno(), BLOCK_BYTES)
        super().__init__(memoryview(self.map))
        names = name_keys(self.path)
        for key in read_keys(names, is_mended=True):
            place = len(self.rows)
            self.rows[key] = self.cells[place * WIDTH : (place + 1) * WIDTH]
            if key[0] == GAUGE:  # of the one that had the slot before
                self.rows[key][COUNT] = 0
        self.names = names.open("ab", buffering=0)

    def note_key(self, key: Key) -> None:
        self.names.write(orjson.dumps(key) + b"\n")

    def close(self) -> None:
        """Leave the slot, with all that was counted in it, to another."""
        for view in (*self.rows.values(), self.cells):
            view.release()
        self.map.close()
        self.names.close()
        self.file.close()

    def read(self) -> Mapping[Key, Row]:
        """The sums over all workers, and over those that there were."""
        total = dict(super().read())
        for path in self.folder.glob("*.rows"):
            if path != self.path:
                add_rows(total, path)
        return total


def take_slot(folder: Path) -> tuple[Path, IO[bytes]]:
    """The first file that no living process holds, held from now on."""
    for number in count():
        path = folder / f"worker-{number}.rows"
        file = path.open("a+b")
        if lock(file, fcntl.LOCK_EX):
            return path, file
        file.close()
    raise AssertionError("count() has no end")


def lock(file: IO[bytes], kind: int) -> bool:
    """Whether the lock could be had at once; it ends with the process, or with the file."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def name_keys(path: Path) -> Path:
    return path.with_suffix(".keys")


def read_keys(path: Path, is_mended: bool = False) -> list[Key]:
    """What the rows of a slot are of, in order. A last line that was cut short is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    if is_mended and len(whole) < len(content):
        os.truncate(path, len(whole))
    return [tuple(orjson.loads(line)) for line in whole.splitlines()]


def add_rows(total: dict[Key, Row], path: Path) -> None:
    """Add what another worker counted; what it was doing when it died is over."""
    with path.open("rb") as file:
        is_dead = lock(file, fcntl.LOCK_SH)
        keys, block = read_keys(name_keys(path)), file.read()
    cells: memoryview[float] = memoryview(block[: len(block) // 8 * 8]).cast("d")
    for place, key in enumerate(keys):
        row: Row = list(cells[place * WIDTH : (place + 1) * WIDTH])
        if len(row) == WIDTH and not (is_dead and key[0] == GAUGE):
            known = total.get(key)
            total[key] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
