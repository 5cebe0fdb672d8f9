"""The digest of a bar, computed again without DuckDB; and stores of the schema before."""

import struct
from pathlib import Path
from typing import Any

import duckdb
import pytest

from etl import rollback, verify
from etl.contracts import bar_digests
from etl.contracts.tables import SCHEMA_VERSION
from tests.conftest import call_stage, query_store
from tests.stores import load_answer, make_older, store_of, write_store

MICROS = 86_400_000_000
BAR: tuple[Any, ...] = (15_341 * MICROS, 409.4, 412.5, 409.0, 411.23, 10_793_600)
OTHER = (15_342 * MICROS, 410.0, 414.68, 409.28, 413.44, 9_286_500)
ALL_BITS = 2**64 - 1


def compute(bars: list[tuple[Any, ...]]) -> int:
    """XOR of the digests, by DuckDB."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE bars (micros BIGINT, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE,"
            " volume BIGINT)"
        )
        connection.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?)", bars)
        found: int = connection.execute(
            f"SELECT bit_xor({bar_digests.BAR_DIGEST})"
            " FROM (SELECT *, make_timestamp(micros) AS timestamp FROM bars)"
        ).fetchall()[0][0]
    return found


def compute_by_hand(bar: tuple[Any, ...]) -> int:
    total = 0
    for value, key in zip(bar, bar_digests.KEYS.values(), strict=True):
        bits = ALL_BITS
        if value is not None:
            bits = struct.unpack(">Q", struct.pack(">q" if type(value) is int else ">d", value))[0]
        total += bits * key
    assert total < 2**128
    folded = (total & ALL_BITS) ^ (total >> 64)
    product = folded * bar_digests.LAST_KEY
    return (product & ALL_BITS) ^ (product >> 64)


@pytest.mark.parametrize(
    "bar",
    [
        BAR,
        (-MICROS, -1.5, 1e308, 5e-324, 0.1, None),  # before 1970, and no volume
        (253_402_214_400_000_000, 1.0, 1.0, 1.0, 1.0, 2**63 - 1),
        (0, 0.0, 0.0, 0.0, 0.0, -(2**63)),
    ],
)
def test_a_digest_is_arithmetic_on_the_bits_of_the_values(bar: tuple[Any, ...]) -> None:
    assert compute([bar]) == compute_by_hand(bar)


def test_the_digest_of_a_bar_never_changes() -> None:
    assert compute([BAR]) == 12350479320460799844


def test_each_value_moves_the_digest() -> None:
    changed = [
        *((BAR[0] + MICROS, *BAR[1:]), (*BAR[:5], 0), (*BAR[:5], None), (*BAR[:5], BAR[5] + 1)),
        *((*BAR[:n], BAR[n] + 1e-13 * BAR[n], *BAR[n + 1 :]) for n in range(1, 5)),
        (BAR[0], BAR[2], BAR[1], *BAR[3:]),
    ]
    assert len({compute([bar]) for bar in (BAR, *changed)}) == 1 + len(changed)


@pytest.mark.parametrize("column", range(6))
def test_two_bars_that_swap_a_value_move_the_digest(column: int) -> None:
    swapped = [
        tuple(b[n] if n == column else a[n] for n in range(6))
        for a, b in ((BAR, OTHER), (OTHER, BAR))
    ]
    assert compute(swapped) != compute([BAR, OTHER])


def make_old(data_dir: Path) -> None:
    """Turn the published file into one of schema 1."""
    make_older(store_of(data_dir))
    write_store(
        store_of(data_dir),
        f"""UPDATE instruments i SET digest = b.digest FROM (
            SELECT symbol, bit_xor({bar_digests.OF_BAR[1]}) AS digest FROM ohlcv_data
            GROUP BY symbol) b
        WHERE b.symbol = i.symbol""",
        """UPDATE etl_run_symbols s SET digest = format('{:016x}', i.digest)
        FROM instruments i WHERE i.symbol = s.symbol""",
        "UPDATE generation SET schema_version = 1",
    )


def read_version(data_dir: Path) -> int:
    version: int = query_store(store_of(data_dir), "SELECT schema_version FROM generation")[0][0]
    return version


def test_a_store_of_the_schema_before_is_proven_by_the_digests_of_that(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-09", ("A", "2024-01-02", 5.0), ("B", "2024-01-02", 6.0))
    make_old(data_dir)
    assert call_stage(verify.main) == 0
    write_store(store_of(data_dir), "UPDATE ohlcv_data SET close = 5.5 WHERE symbol = 'A'")
    assert call_stage(verify.main) == 1


def test_a_load_renews_the_digests_of_all_symbols_of_an_older_store(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-09", ("A", "2024-01-02", 5.0), ("B", "2024-01-02", 6.0))
    wanted = query_store(store_of(data_dir), "SELECT digest FROM instruments WHERE symbol = 'B'")
    make_old(data_dir)
    load_answer(data_dir, "2024-01-10", ("A", "2024-01-03", 5.0))
    found = query_store(store_of(data_dir), "SELECT digest FROM instruments WHERE symbol = 'B'")
    assert found == wanted
    assert read_version(data_dir) == SCHEMA_VERSION
    assert call_stage(verify.main) == 0


def test_a_rollback_to_a_store_of_the_schema_before_renews_its_digests(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-09", ("A", "2024-01-02", 5.0))
    make_old(data_dir)
    load_answer(data_dir, "2024-01-10", ("A", "2024-01-03", 5.0))
    assert call_stage(rollback.main) == 0
    assert query_store(store_of(data_dir), "SELECT symbol, bars FROM instruments") == [("A", 1)]
    assert read_version(data_dir) == SCHEMA_VERSION
    assert call_stage(verify.main) == 0
