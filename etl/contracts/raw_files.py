"""raw_data.parquet and raw_actions.parquet: written while answers come, published together.

The rule it keeps: memory does not grow with the symbols, and where nothing came nothing is
published: the files of the run before stay.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from etl.base.whole_files import write_whole
from etl.contracts.deliveries import Delivery
from etl.contracts.files import RAW_ACTIONS, RAW_BARS
from etl.settings import Settings

GROUP_ROWS = 65_536


class RawFile:
    """One Parquet file; rows are gathered to row groups, whoever brings them."""

    def __init__(self, schema: pa.Schema, run_id: str) -> None:
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
    """Bars and corporate actions of one run."""

    def __init__(self, settings: Settings, run_id: str, files: ExitStack) -> None:
        self.settings = settings
        self.files = files
        self.bars = RawFile(RAW_BARS, run_id)
        self.actions = RawFile(RAW_ACTIONS, run_id)

    def write(self, delivery: Delivery) -> None:
        self.bars.add(delivery.bars)
        self.actions.add(delivery.actions)
        if not self.bars.writer and (self.bars.rows or self.actions.rows):
            self.bars.writer = self.open(self.settings.raw_path, self.bars.schema)
            self.actions.writer = self.open(self.settings.raw_actions_path, self.actions.schema)

    def open(self, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
        next_path = self.files.enter_context(write_whole(path))
        return self.files.enter_context(pq.ParquetWriter(next_path, schema, compression="zstd"))


@contextmanager
def open_raw_files(settings: Settings, run_id: str) -> Iterator[RawFiles]:
    """Both files; they take their names when all was written, or not at all."""
    with ExitStack() as files:
        raw = RawFiles(settings, run_id, files)
        yield raw
        raw.bars.flush()
        raw.actions.flush()
