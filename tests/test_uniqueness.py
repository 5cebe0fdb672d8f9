"""The cheap proof that no key is there twice: it must never hold where one is."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.uniqueness import is_in_order

Rows = list[tuple[str, int]]
ROWS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 5)), max_size=8)


def ask(connection: duckdb.DuckDBPyConnection, rows: Rows) -> bool:
    connection.execute("CREATE OR REPLACE TEMP TABLE rows (symbol VARCHAR, day INTEGER)")
    if rows:
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
    return is_in_order(
        connection,
        "SELECT symbol, TIMESTAMP '2024-01-01' + INTERVAL (day) DAY AS timestamp FROM rows",
    )


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([], True),
        ([("B", 1), ("B", 2), ("A", 1)], True),  # symbols in any order
        ([("A", 1), ("B", 1), ("A", 2)], False),  # a symbol in two pieces
        ([("A", 1), ("A", 1)], False),
        ([("A", 2), ("A", 1)], False),
    ],
)
def test_it_holds_for_symbols_in_one_piece_with_ascending_days(rows: Rows, holds: bool) -> None:
    assert ask(duckdb.connect(), rows) == holds


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, is_sorted=st.booleans())
def test_it_never_holds_where_a_key_is_twice(rows: Rows, is_sorted: bool) -> None:
    rows = sorted(rows) if is_sorted else rows
    with duckdb.connect() as connection:
        if ask(connection, rows):
            assert len(set(rows)) == len(rows)
        elif is_sorted:
            assert len(set(rows)) < len(rows)


def test_one_double_among_many_rows_on_several_threads_is_seen() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE TABLE bars AS SELECT 'S' || s AS symbol,
                      TIMESTAMP '2000-01-01' + INTERVAL (d) DAY AS timestamp
            FROM range(100) AS symbols(s), range(4000) AS days(d) ORDER BY ALL"""
        )
        assert is_in_order(connection, "FROM bars")
        connection.execute("INSERT INTO bars SELECT 'S50', TIMESTAMP '2001-01-01'")
        assert not is_in_order(connection, "FROM bars")
        assert not is_in_order(connection, "FROM bars ORDER BY ALL")
