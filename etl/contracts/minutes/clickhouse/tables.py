"""The tables of a minute store in ClickHouse.

Rows are only ever added: of those with one key the one of the highest version holds, which is what
ReplacingMergeTree keeps when it merges. A partition is a function of the key, for rows are merged
within one alone. Prices go by Delta, which takes half of what Gorilla takes of prices in cents.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from etl.contracts.minutes import (
    CHANGES,
    INSTANT,
    NOTES,
    PRICES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
)
from etl.contracts.minutes.instruments import ACCOUNTS

MOMENT = "DateTime64(6, 'UTC')"
TYPES = {
    pa.string(): "String",
    pa.float64(): "Float64",
    pa.int64(): "Int64",
    pa.int8(): "Int8",
    pa.int32(): "Int32",
    pa.uint64(): "UInt64",
    pa.bool_(): "Bool",
    pa.date32(): "Date32",
    INSTANT: MOMENT,
    pa.list_(pa.string()): "Array(String)",
}
FEW_VALUES = ("symbol", "source", "kind", "exchange", "interval")  # kept as numbers of a dictionary
NULLABLE = ("volume", "break_start", "break_end", "first", "last")
CODECS = {
    **dict.fromkeys(PRICES, "Delta, ZSTD(1)"),
    **dict.fromkeys(("timestamp", "known_at", "seen_at", "known_until"), "DoubleDelta, ZSTD(1)"),
    "volume": "T64, ZSTD(1)",
    "version": "DoubleDelta, ZSTD(1)",
}
# is_withdrawn: a row of this key was there once, and holds no more.
WITHDRAWN = pa.field("is_withdrawn", pa.bool_())
VERSION = pa.field("version", pa.uint64())
BY_YEAR = "toYear(timestamp)"


@dataclass(frozen=True)
class Table:
    """name: without the interval. version: the column whose highest value holds."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition: str = ""
    version: str = VERSION.name

    @property
    def is_withdrawing(self) -> bool:
        return WITHDRAWN.name in self.schema.names


def extend(schema: pa.Schema, *fields: pa.Field) -> pa.Schema:
    return pa.schema([*schema, *fields])


BARS = Table("bars", extend(STORED_BARS, WITHDRAWN, VERSION), ("symbol", "timestamp"), BY_YEAR)
REVISED = Table(
    "revisions",
    extend(REVISIONS, WITHDRAWN, VERSION),
    ("symbol", "timestamp", "known_at"),
    BY_YEAR,
)
NOTED = Table(
    "notes",
    extend(NOTES, WITHDRAWN, VERSION),
    ("symbol", "timestamp", "kind", "detail"),
    BY_YEAR,
)
ASKED = Table("spans", extend(SPANS, WITHDRAWN, VERSION), tuple(SPANS.names))
OF_INTERVAL = (BARS, REVISED, NOTED, ASKED)

TIMED = Table("sessions", extend(SESSIONS, VERSION), ("exchange", "session"))
INSTRUMENTS = Table("instruments", extend(ACCOUNTS, VERSION), ("symbol", "interval"))
CHANGED = Table("changes", extend(CHANGES, VERSION), ("counter", "number"))
# One row holds: what is published. load, tables: where the rows of the last load are, until they
# are in the main tables too. kept_from: as MinuteSnapshot.changes_kept_from.
GENERATION = Table(
    "generation",
    pa.schema(
        [
            ("place", pa.int8()),
            ("counter", pa.uint64()),
            ("generation", pa.string()),
            ("published_at", INSTANT),
            ("load", pa.string()),
            ("tables", pa.list_(pa.string())),
            ("kept_from", pa.uint64()),
            ("step", pa.uint64()),
        ]
    ),
    ("place",),
    version="step",
)
# Who writes, and when that was last said.
WRITERS = Table(
    "writers",
    pa.schema(
        [
            ("id", pa.string()),
            ("holder", pa.string()),
            ("is_over", pa.bool_()),
            ("seen_at", INSTANT),
        ]
    ),
    ("id",),
    version="seen_at",
)
OF_STORE = (TIMED, INSTRUMENTS, CHANGED, GENERATION, WRITERS)


def name_table(table: Table, interval: str = "") -> str:
    return f"{table.name}_{interval}" if table in OF_INTERVAL else table.name


def describe_column(field: pa.Field) -> str:
    """Its type, as the server tells it."""
    kind = TYPES[field.type]
    if field.name in NULLABLE:
        return f"Nullable({kind})"
    return f"LowCardinality({kind})" if field.name in FEW_VALUES else kind


def write_columns(schema: pa.Schema) -> str:
    columns = []
    for field in schema:
        codec = f" CODEC({CODECS[field.name]})" if field.name in CODECS else ""
        columns.append(f"{quote(field.name)} {describe_column(field)}{codec}")
    return ", ".join(columns)


def write_ddl(table: Table, interval: str = "") -> str:
    partition = f"PARTITION BY {table.partition} " if table.partition else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {name_table(table, interval)} ({write_columns(table.schema)})"
        f" ENGINE = ReplacingMergeTree({table.version}) {partition}ORDER BY ({join(table.key)})"
    )


def quote(name: str) -> str:
    return f"`{name}`"


def join(names: Iterable[str]) -> str:
    return ", ".join(map(quote, names))
