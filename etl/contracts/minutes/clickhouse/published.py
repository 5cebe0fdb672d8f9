"""What is published: the one row that a load writes last, and how rows are read beside it.

    load_<id>_bars_1m … ─ generation row ─→ (readers take both) ─ attached to bars_1m … ─→ dropped

A load writes into tables of its own, and they become part of the main ones after its generation is
published. In the main tables its rows could not wait: merges drop a row as soon as one of its key
with a higher version is beside it, published or not. So the main tables hold what was published and
nothing else, and what a writer that died left is never read. A read takes the load's tables, where
its generation names them, beside the main ones; they are dropped whole, so it finds either their
rows or, reading again, these rows in the main tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from etl.contracts.minutes.clickhouse.link import Link, MissingTable, Values
from etl.contracts.minutes.clickhouse.tables import (
    GENERATION,
    WITHDRAWN,
    Table,
    join,
    name_table,
)

NEWER = "toBool(version > {newest:UInt64})"
NEVER = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


COLUMNS = tuple(name for name in GENERATION.schema.names if name != "place")


@dataclass(frozen=True)
class Published:
    """counter: the highest version of its rows. load, tables: see GENERATION."""

    generation: str = ""
    counter: int = 0
    published_at: datetime = NEVER
    load: str = ""
    tables: tuple[str, ...] = ()
    kept_from: int = 0
    step: int = 0

    def list_layers(self, name: str) -> tuple[str, ...]:
        """The tables that hold the rows of this main table."""
        return (name_load(self.load, name), name) if name in self.tables else (name,)

    def attached(self) -> "Published":
        """The same once all its rows are in the main tables."""
        return replace(self, load="", tables=(), step=self.step + 1)


def name_load(load: str, name: str) -> str:
    return f"load_{load}_{name}"


def read_published(link: Link) -> Published:
    query = f"SELECT {join(COLUMNS)} FROM {GENERATION.name} ORDER BY step DESC LIMIT 1"
    try:
        rows = link.read(query).to_pylist()
    except MissingTable:
        return Published()
    if not rows:
        return Published()
    return Published(**{**rows[0], "tables": tuple(rows[0]["tables"])})


@dataclass(frozen=True)
class Question:
    """Rows of one table of one interval.

    keys: SQL over the columns of its key, with {values}: looked at before rows of one key are made
    one, and before the other columns are read. where: SQL over the others: of the row that holds.
    """

    table: Table
    columns: tuple[str, ...]
    interval: str = ""
    keys: str = "1"
    where: str = "1"
    most: int | None = None

    def write(self, layers: Sequence[str]) -> str:
        """SQL: of each key the row that holds; `is_newer`: it came after the generation {newest}.

        What was withdrawn is left out, unless that is newer.
        """
        where = self.where
        if self.table.is_withdrawing:
            where += f" AND ({WITHDRAWN.name} = 0 OR {NEWER})"
        most = "" if self.most is None else f" LIMIT {self.most}"
        return (
            f"SELECT {join(self.columns)}, {NEWER} AS is_newer FROM {self.write_rows(layers)} WHERE"
            f" {where} ORDER BY {join(self.table.key)}{most}"
        )

    def write_rows(self, layers: Sequence[str]) -> str:
        if len(layers) == 1:
            return f"{layers[0]} FINAL PREWHERE {self.keys}"
        key, names = join(self.table.key), join(self.table.schema.names)
        parts = " UNION ALL ".join(
            f"SELECT {names} FROM {layer} FINAL PREWHERE {self.keys}" for layer in layers
        )
        return f"(SELECT * FROM ({parts}) ORDER BY {key}, version DESC LIMIT 1 BY {key})"


def ask(link: Link, question: Question, published: Published, values: Values) -> pa.Table:
    """The rows of a question, with `is_newer`."""
    name = name_table(question.table, question.interval)
    layers = published.list_layers(name)
    given = {**values, "newest": published.counter}
    try:
        return link.read(question.write(layers), given)
    except MissingTable:
        if len(layers) == 1:
            raise
    return link.read(question.write((name,)), given)
