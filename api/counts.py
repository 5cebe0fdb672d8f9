"""What a process counts of itself: rows of numbers by key, cheap enough for each request.

A row has a count, a sum of seconds, a sum of bytes and the cells of a histogram. Rows lie in one
block of memory, which several workers may share as files (api.edge.shared_counts). Nothing here
knows who reads them.
"""

from bisect import bisect_left
from collections.abc import Mapping

# Upper bounds of the cells, in seconds; the last cell has all that took longer.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
COUNT, SECONDS, BYTES, CELLS = 0, 1, 2, 3  # places in a row; cells follow
WIDTH = CELLS + len(BOUNDS) + 1
MOST_ROWS = 4096
BLOCK_BYTES = MOST_ROWS * WIDTH * 8

Key = tuple[str | int, ...]  # what is counted, and its labels
Row = list[float]
OVERFLOW: Key = ("overflow",)  # where keys are counted that no row is left for


class Counts:
    """The rows of one process. For one thread: the event loop's."""

    def __init__(self, block: memoryview | None = None) -> None:
        block = memoryview(bytearray(BLOCK_BYTES)) if block is None else block
        with block:
            self.cells: memoryview[float] = block.cast("d")
        self.rows: dict[Key, memoryview[float]] = {}

    def add(self, *key: str | int, times: float = 1) -> None:
        """Count something that has neither duration nor size."""
        row = self.rows.get(key)
        if row is None:
            row = self.make_row(key)
        row[COUNT] += times

    def set(self, *key: str | int, value: float) -> None:
        """Give a number as it is now; it is no sum."""
        row = self.rows.get(key)
        if row is None:
            row = self.make_row(key)
        row[COUNT] = value

    def observe(self, key: Key, seconds: float, size: int = 0) -> None:
        """Count something that took so long and was so large."""
        row = self.rows.get(key)
        if row is None:
            row = self.make_row(key)
        row[COUNT] += 1
        row[SECONDS] += seconds
        row[BYTES] += size
        row[CELLS + bisect_left(BOUNDS, seconds)] += 1

    def make_row(self, key: Key) -> "memoryview[float]":
        place = len(self.rows)
        if place >= MOST_ROWS - 1 and key != OVERFLOW:
            return self.rows.get(OVERFLOW) or self.make_row(OVERFLOW)
        row = self.rows[key] = self.cells[place * WIDTH : (place + 1) * WIDTH]
        self.note_key(key)
        return row

    def note_key(self, key: Key) -> None:
        """For those who tell other processes what a row is of."""

    def read(self) -> Mapping[Key, Row]:
        """All rows as they are now."""
        return {key: list(row) for key, row in self.rows.items()}
