"""Arrow as COPY … FROM takes it in binary form: whole columns at once, no Python object a row."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.contracts.minutes.postgresql.columns import EPOCH

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
TEXT = 25  # the number of the type
ABSENT = -1  # the length of a value that is NULL
# Arrow's type → numpy's as the server takes it.
NUMBERS = {
    pa.timestamp("us"): ">i8",
    pa.int64(): ">i8",
    pa.float64(): ">f8",
    pa.int8(): ">i2",
    pa.date32(): ">i4",
    pa.int32(): ">i4",
}
A_DAY = 86_400_000_000  # microseconds
ROWS = 65_536  # of one piece


def write_rows(table: pa.Table) -> Iterator[bytes]:
    """The table, for `COPY … FROM STDIN (FORMAT binary)` with its columns by name."""
    yield HEADER
    for batch in table.to_batches(max_chunksize=ROWS):
        yield from write_batch(batch)
    yield END


def write_batch(batch: pa.RecordBatch) -> Iterator[bytes]:
    """Rows whose values are as long as each other are one array; the order is kept within them."""
    lengths = np.stack([measure(column) for column in batch.columns], axis=1)
    kinds, places = np.unique(lengths, axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        rows = batch if len(kinds) == 1 else batch.take(np.flatnonzero(places.ravel() == number))
        yield write_alike(rows, [int(length) for length in kind])


def measure(column: pa.Array) -> npt.NDArray[np.int32]:
    """Bytes of each value."""
    if column.type not in NUMBERS:
        lengths = pc.binary_length(column)
    else:
        lengths = pa.array(np.full(len(column), np.dtype(NUMBERS[column.type]).itemsize, "i4"))
        lengths = pc.if_else(column.is_valid(), lengths, None)
    measured: npt.NDArray[np.int32] = lengths.fill_null(ABSENT).to_numpy(zero_copy_only=False)
    return measured.astype("i4")


def write_alike(rows: pa.RecordBatch, lengths: list[int]) -> bytes:
    """Rows of which each column has one length: number of values, and each with its length."""
    form: list[tuple[str, str]] = [("fields", ">i2")]
    for place, (column, length) in enumerate(zip(rows.columns, lengths, strict=True)):
        form.append((f"length_{place}", ">i4"))
        if length > 0:
            form.append((f"value_{place}", NUMBERS.get(column.type, f"S{length}")))
    block = np.empty(rows.num_rows, np.dtype(form))
    block["fields"] = len(lengths)
    for place, (column, length) in enumerate(zip(rows.columns, lengths, strict=True)):
        block[f"length_{place}"] = length
        if length > 0:
            block[f"value_{place}"] = to_numbers(column)
    return block.tobytes()


def to_numbers(column: pa.Array) -> Any:
    """A numpy array."""
    if column.type not in NUMBERS:
        # as bytes, without a Python object for each of many equal ones
        coded = column.dictionary_encode()
        texts = np.array(coded.dictionary.cast(pa.binary()).to_pylist(), "S")
        return texts[coded.indices.to_numpy()]
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_numpy() - EPOCH
    if pa.types.is_date(column.type):
        return column.cast(pa.int32()).to_numpy() - EPOCH // A_DAY
    return column.to_numpy()


def write_texts(texts: Sequence[str]) -> bytes:
    """text[] as the server takes it: dimensions, their lengths, each text with its own."""
    if not texts:
        return struct.pack("!3i", 0, 0, TEXT)
    values = (text.encode() for text in texts)
    parts = (struct.pack("!i", len(value)) + value for value in values)
    return struct.pack("!5i", 1, 0, TEXT, len(texts), 1) + b"".join(parts)
