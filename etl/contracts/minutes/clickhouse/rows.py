"""Questions for rows of one symbol or of several, in a range of instants (naive UTC)."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from etl.contracts.minutes.clickhouse.link import Values
from etl.contracts.minutes.clickhouse.published import Question
from etl.contracts.minutes.clickhouse.tables import Table

SYMBOLS_A_QUESTION = 500  # they stand in the address of the question
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as all instants here
TICK = timedelta(microseconds=1)
INSTANT_OF = "fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"
Ask = Callable[[Question, Values], pa.Table]
Where = tuple[str, dict[str, object]]


def to_ticks(instant: datetime) -> int:
    return (instant - EPOCH) // TICK


def bound(where: str, start: datetime | None, end: datetime | None) -> Where:
    """SQL: from start on, before end; and the values of both."""
    values: dict[str, object] = {}
    for name, sign, instant in (("start", ">=", start), ("end", "<", end)):
        if instant is not None:
            where += f" AND timestamp {sign} {INSTANT_OF.format(name=name)}"
            values[name] = to_ticks(instant)
    return where, values


def split_names(names: Collection[str], most: int = SYMBOLS_A_QUESTION) -> Iterator[list[str]]:
    """All names sorted, so many at once."""
    ordered = sorted(set(names))
    for first in range(0, len(ordered), most):
        yield ordered[first : first + most]


def read_several(
    ask: Ask,
    table: Table,
    schema: pa.Schema,
    symbols: Sequence[str],
    interval: str,
    start: datetime | None,
    end: datetime | None,
) -> pa.Table:
    """Rows of these symbols, those of one after those of another."""
    parts = [schema.empty_table()]
    for some in split_names(symbols):
        where, values = bound("symbol IN {symbols:Array(String)}", start, end)
        question = Question(table, tuple(schema.names), interval, where)
        parts.append(ask(question, {**values, "symbols": some}).cast(schema))
    return pa.concat_tables(parts)
