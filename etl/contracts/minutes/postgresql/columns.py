"""Rows of the server as columns of Arrow, without a Python object a row.

A question gives one row for each symbol, and of each column one value: all its values after each
other, as the server sends them (big-endian). So a statement of its own is nowhere needed to tell
whether the symbol is still as the snapshot knows it: that stands in the same row. COPY … TO in
binary form sends a message a row, which costs the client a hundred times as much, and in all more
than twice (DESIGN).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from etl.contracts.minutes import MinuteStoreError

# Microseconds from 1970 to 2000, where the server's instants begin.
EPOCH = 946_684_800_000_000
NO_VOLUME = -1  # of a stored bar it is never less than 0

SENT = {
    pa.timestamp("us"): "timestamp_send({name})",
    pa.float64(): "float8send({name})",
    pa.int64(): f"int8send(coalesce({{name}}, {NO_VOLUME}))",
    pa.int8(): "int2send({name})",
    # few different ones: its place in a list that is asked along
    pa.string(): "int2send(array_position(%(sources)s::text[], {name})::int2)",
}


def gather(fields: Sequence[pa.Field]) -> str:
    """SQL: the columns of a subquery that is in order, each as one value."""
    sent = (SENT[field.type].format(name=quote(field.name)) for field in fields)
    return ", ".join(f"string_agg({value}, ''::bytea)" for value in sent)


def quote(name: str) -> str:
    return f'"{name}"'


def read_columns(
    values: Sequence[bytes | None], fields: Sequence[pa.Field], sources: Sequence[str] = ()
) -> dict[str, pa.Array]:
    """What `gather` gave, by name."""
    columns = {
        field.name: READ[field.type](value or b"", sources)
        for field, value in zip(fields, values, strict=True)
    }
    if len({len(column) for column in columns.values()}) > 1:
        raise MinuteStoreError("a bar that is stored lacks a value: the table was written by hand")
    return columns


def read_instants(value: bytes, _: Sequence[str]) -> pa.Array:
    instants = np.frombuffer(value, ">i8").astype("i8") + EPOCH
    return pa.array(instants.view("M8[us]"))


def read_doubles(value: bytes, _: Sequence[str]) -> pa.Array:
    return pa.array(np.frombuffer(value, ">f8").astype("f8"))


def read_volumes(value: bytes, _: Sequence[str]) -> pa.Array:
    volumes = np.frombuffer(value, ">i8").astype("i8")
    missing = volumes == NO_VOLUME
    return pa.array(volumes, mask=missing if missing.any() else None)


def read_decimals(value: bytes, _: Sequence[str]) -> pa.Array:
    return pa.array(np.frombuffer(value, ">i2").astype("i1"))


def read_sources(value: bytes, sources: Sequence[str]) -> pa.Array:
    places = np.frombuffer(value, ">i2").astype("i4") - 1  # arrays there begin with 1
    return pa.DictionaryArray.from_arrays(places, pa.array(sources, pa.string())).cast(pa.string())


READ: Mapping[pa.DataType, Callable[[bytes, Sequence[str]], pa.Array]] = {
    pa.timestamp("us"): read_instants,
    pa.float64(): read_doubles,
    pa.int64(): read_volumes,
    pa.int8(): read_decimals,
    pa.string(): read_sources,
}
