"""What a live batch tells those who follow it (etl.contracts.minutes.live)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from etl.contracts.minutes import REVISIONS, STORED_BARS, Batch
from etl.contracts.minutes.changes import compare
from etl.contracts.minutes.live import TOLD, list_changes
from tests.minute_stores import at, bar, batch, told


def stored(*rows: dict[str, Any]) -> pa.Table:
    known = [{**r, "known_at": r["fetched_at"], "seen_at": r["fetched_at"]} for r in rows]
    return pa.Table.from_pylist(known, STORED_BARS)


def tell(there: pa.Table, coming: Batch) -> list[tuple[str, str, float]]:
    with duckdb.connect(":memory:") as connection:
        changes = compare(connection, coming, there, REVISIONS.empty_table())
        found = list_changes(connection, coming, changes, there)
    assert found.schema.equals(TOLD)
    columns = (found[name].to_pylist() for name in ("kind", "symbol", "close"))
    return list(zip(*columns, strict=True))


THERE = stored(bar("A", at(0), 10.0, told(2)), bar("B", at(0), 20.0, told(2)))
# What comes → what is told, in its order.
BATCHES: dict[str, tuple[Sequence[dict[str, Any]], list[tuple[str, str, float]]]] = {
    "new, by time and symbol": (
        [bar("B", at(1)), bar("A", at(2), 3.0), bar("A", at(1))],
        [("new", "A", 10.0), ("new", "B", 10.0), ("new", "A", 3.0)],
    ),
    "revised": ([bar("B", at(0), 21.0, told(3))], [("revised", "B", 21.0)]),
    "another volume": ([bar("B", at(0), 20.0, told(3), volume=7)], [("revised", "B", 20.0)]),
    "the newest of several": (
        [bar("C", at(0), 1.0, told(3)), bar("C", at(0), 2.0, told(4))],
        [("new", "C", 2.0)],
    ),
    "an older answer": ([bar("B", at(0), 21.0, told(1))], []),
    "the same, known earlier": ([bar("B", at(0), 20.0, told(1))], [("repeated", "B", 20.0)]),
    "the same, said later": ([bar("B", at(0), 20.0, told(3))], [("repeated", "B", 20.0)]),
    "the same, said once more": (
        [bar("A", at(0), 10.0, told(2), volume=1000, decimals=1)],
        [("repeated", "A", 10.0)],
    ),
}


@pytest.mark.parametrize(("rows", "wanted"), BATCHES.values(), ids=BATCHES)
def test_a_live_batch_tells_what_it_changes_and_a_replay_what_it_says_again(
    rows: Sequence[dict[str, Any]], wanted: list[tuple[str, str, float]]
) -> None:
    coming = replace(batch(*rows), is_live=True)
    assert tell(THERE, replace(coming, tells_again=True)) == wanted
    assert tell(THERE, coming) == [each for each in wanted if each[0] != "repeated"]
    assert tell(THERE, replace(coming, is_live=False, tells_again=True)) == []
