"""The raw files of a run: bars and what comes beside them, written while answers come.

The rule it keeps: memory does not grow with the symbols, and where nothing came nothing is
published: the files of the run before stay.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl.base.whole_files import write_whole
from etl.contracts.deliveries import Delivery
from etl.contracts.files import RAW_ACTIONS, RAW_BARS
from etl.contracts.minute_files import RAW_MINUTES, RAW_SPANS
from etl.settings import Settings

GROUP_ROWS = 65_536


class RawFile:
    """One Parquet file; rows are gathered to row groups, whoever brings them."""

    def __init__(self, path: Path, schema: pa.Schema, run_id: str) -> None:
        self.path = path
        self.schema = schema.with_metadata({"run_id": run_id})
        self.run_id = run_id
        self.rows = self.gathered = 0
        self.tables: list[pa.Table] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table | None) -> None:
        if table is None or not table.num_rows:
            return
        self.tables.append(table.select(self.schema.names).cast(self.schema))
        self.rows += table.num_rows
        self.gathered += table.num_rows
        if self.writer and self.gathered >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.tables and self.writer:
            table = pa.concat_tables(self.tables)
            run_ids = pa.array([self.run_id], pa.string()).take(pa.repeat(0, table.num_rows))
            place = table.schema.get_field_index("run_id")
            self.writer.write_table(table.set_column(place, "run_id", run_ids).cast(self.schema))
            self.tables, self.gathered = [], 0


class RawFiles:
    """Bars of one run, and beside them its corporate actions or, of minutes, its spans."""

    def __init__(self, bars: RawFile, beside: RawFile, files: ExitStack) -> None:
        self.bars, self.beside, self.files = bars, beside, files

    def write(self, delivery: Delivery) -> None:
        self.bars.add(delivery.bars)
        self.beside.add(delivery.actions if delivery.spans is None else delivery.spans)
        if not self.bars.writer and (self.bars.rows or self.beside.rows):
            self.bars.writer = self.open(self.bars)
            self.beside.writer = self.open(self.beside)

    def open(self, file: RawFile) -> pq.ParquetWriter:
        next_path = self.files.enter_context(write_whole(file.path))
        return self.files.enter_context(
            pq.ParquetWriter(next_path, file.schema, compression="zstd")
        )


OpenFiles = Callable[[Settings, str], AbstractContextManager[RawFiles]]


def open_raw_files(settings: Settings, run_id: str) -> AbstractContextManager[RawFiles]:
    """raw_data.parquet and raw_actions.parquet."""
    bars = RawFile(settings.raw_path, RAW_BARS, run_id)
    return open_both(bars, RawFile(settings.raw_actions_path, RAW_ACTIONS, run_id))


def open_raw_minutes(settings: Settings, run_id: str) -> AbstractContextManager[RawFiles]:
    """raw_minutes.parquet and raw_minute_spans.parquet."""
    bars = RawFile(settings.raw_minutes_path, RAW_MINUTES, run_id)
    return open_both(bars, RawFile(settings.raw_spans_path, RAW_SPANS, run_id))


@contextmanager
def open_both(bars: RawFile, beside: RawFile) -> Iterator[RawFiles]:
    """Both files; they take their names when all was written, or not at all."""
    with ExitStack() as files:
        raw = RawFiles(bars, beside, files)
        yield raw
        bars.flush()
        beside.flush()
