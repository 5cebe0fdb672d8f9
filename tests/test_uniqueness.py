"""The first look for doubled keys: a symbol that has one must never pass it."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.rules.doubled_keys import find_unproven

Rows = list[tuple[str, int]]
ROWS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 5)), max_size=8)


def list_unproven(connection: duckdb.DuckDBPyConnection, rows: str) -> set[str]:
    find_unproven(connection, rows)
    return {row[0] for row in connection.execute("FROM unproven").fetchall()}


def ask(rows: Rows) -> set[str]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE rows (symbol VARCHAR, day INTEGER)")
        if rows:
            connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        at = "TIMESTAMP '2024-01-01' + INTERVAL (day) DAY AS timestamp"
        return list_unproven(connection, f"SELECT symbol, {at} FROM rows")


@pytest.mark.parametrize(
    ("rows", "unproven"),
    [
        ([], set()),
        ([("B", 1), ("B", 2), ("A", 1)], set()),  # symbols in any order
        ([("A", 1), ("B", 1), ("A", 2)], {"A"}),  # a symbol in two pieces
        ([("A", 1), ("A", 1), ("B", 1)], {"A"}),
        ([("B", 3), ("A", 2), ("A", 1)], {"A"}),
    ],
)
def test_a_symbol_in_one_piece_with_ascending_days_is_proven(
    rows: Rows, unproven: set[str]
) -> None:
    assert ask(rows) == unproven


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, is_sorted=st.booleans())
def test_a_symbol_with_a_doubled_key_is_never_proven(rows: Rows, is_sorted: bool) -> None:
    rows = sorted(rows) if is_sorted else rows
    doubled = {symbol for symbol, day in rows if rows.count((symbol, day)) > 1}
    unproven = ask(rows)
    assert doubled <= unproven
    assert unproven == doubled or not is_sorted


def test_one_double_among_many_rows_on_several_threads_is_seen() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """CREATE TABLE bars AS SELECT 'S' || s AS symbol,
                      TIMESTAMP '2000-01-01' + INTERVAL (d) DAY AS timestamp
            FROM range(100) AS symbols(s), range(4000) AS days(d) ORDER BY ALL"""
        )
        assert list_unproven(connection, "FROM bars") == set()
        connection.execute("INSERT INTO bars SELECT 'S50', TIMESTAMP '2001-01-01'")
        assert list_unproven(connection, "FROM bars") == {"S50"}
        assert list_unproven(connection, "FROM bars ORDER BY ALL") == {"S50"}
