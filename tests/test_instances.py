"""DuckDB in memory that one after the other has: each finds it as new."""

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from etl.base import instances
from etl.base.instances import SETTINGS, borrow


@pytest.fixture(autouse=True)
def none_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "idle", [])


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query).fetchall()


def describe(connection: duckdb.DuckDBPyConnection) -> list[list[tuple[object, ...]]]:
    """All that somebody may have left in it."""
    settings = ", ".join(f"current_setting('{name}')" for name in (*SETTINGS, "TimeZone"))
    return [
        ask(connection, "SELECT database_name, path FROM duckdb_databases() ORDER BY ALL"),
        ask(connection, "SELECT table_name FROM duckdb_tables()"),
        ask(connection, "SELECT view_name FROM duckdb_views() WHERE NOT internal"),
        ask(connection, "SELECT function_name FROM duckdb_functions() WHERE NOT internal"),
        ask(connection, f"SELECT current_database(), {settings}"),
    ]


def use(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(f"ATTACH '{path}' AS store; ATTACH ':memory:' AS \"a name\"")
    connection.execute("CREATE TABLE t AS SELECT 1 AS a; CREATE TEMP TABLE u AS FROM t")
    connection.execute("CREATE VIEW v AS FROM t; CREATE TEMP MACRO add(x) AS x + 1")
    connection.execute("CREATE MACRO more(x) AS x + 2; CREATE TABLE store.t AS FROM t")
    connection.register("given", pa.table({"a": [1]}))
    connection.execute("SET threads = 1; SET memory_limit = '99MiB'; SET TimeZone = 'Asia/Tokyo'")


def test_who_comes_next_finds_nothing_of_who_was_there(tmp_path: Path) -> None:
    with borrow() as connection:
        as_new = describe(connection)
        use(connection, tmp_path / "store.duckdb")
    (kept,) = instances.idle
    with borrow() as connection:
        assert not instances.idle
        assert describe(connection) == as_new
        use(connection, tmp_path / "other.duckdb")  # every name is free again
    assert instances.idle == [kept]


def test_its_files_are_closed_when_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with borrow() as connection:
        use(connection, path)
        connection.execute("BEGIN; INSERT INTO store.t VALUES (2)")  # and never ended
    with duckdb.connect(path) as alone:  # refused where it is still attached
        assert ask(alone, "FROM t") == [(1,)]


def test_each_has_the_settings_that_it_asked_for(tmp_path: Path) -> None:
    for given in ({"threads": "1"}, {"memory_limit": "64MiB"}, {"temp_directory": str(tmp_path)}):
        named = ", ".join(f"current_setting('{name}')::VARCHAR" for name in SETTINGS)
        with borrow(given) as connection:
            found = ask(connection, f"SELECT {named}")
        with duckdb.connect(":memory:", config=given) as alike:
            assert found == ask(alike, f"SELECT {named}")


def test_two_at_a_time_have_one_each() -> None:
    with borrow() as one, borrow() as other:
        one.execute("CREATE TABLE t AS SELECT 1")
        other.execute("CREATE TABLE t AS SELECT 2")
        assert ask(one, "FROM t") == [(1,)]
    assert len(instances.idle) == 1


def test_one_that_an_error_left_is_given_to_nobody() -> None:
    with pytest.raises(duckdb.CatalogException), borrow() as connection:
        connection.execute("FROM nothing")
    assert not instances.idle


def test_one_that_wrote_to_the_disk_ends_and_leaves_nothing_there(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    with borrow({"temp_directory": str(spill), "memory_limit": "32MiB"}) as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT range AS a FROM range(8_000_000)")
        assert any(spill.iterdir())
    assert not instances.idle
    assert not spill.exists()


def test_a_forked_process_leaves_alone_what_its_parent_has() -> None:
    with borrow() as connection:
        ask(connection, "SELECT 1")
    child = os.fork()
    if not child:
        left = len(instances.idle)
        with borrow() as connection:
            total = ask(connection, "SELECT sum(range) FROM range(1_000_000)")
        os._exit(0 if not left and total == [(499_999_500_000,)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(instances.idle) == 1
