"""load: what the store takes, what it refuses, and what its tables say afterwards."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl import load, transform, verify
from etl.__main__ import main as run_all
from etl.contracts.tables import TABLES
from etl.settings import SettingsError
from etl.store import clean_files
from etl.store.duckdb_file import build, rounds
from tests.conftest import (
    Bar,
    call_stage,
    make_bars,
    query_store,
    read_bars,
    read_record,
)
from tests.stores import copy_folder, identify, load_answer, load_file, make_answer

IBM_3 = ("IBM", "2012-01-03", 186.3)
IBM_4 = ("IBM", "2012-01-04", 185.5)
FB_3 = ("FB", "2012-01-03", 38.0)


def load_bars(data_dir: Path, bars: Sequence[Bar], **extra: str) -> int:
    """Load bars from a file of their own; returns the exit code."""
    path = make_bars(data_dir.parent / "bars.parquet", bars, **extra)
    return call_stage(load.main, "--input", path)


def store_of(data_dir: Path) -> Path:
    return data_dir / "market_data.duckdb"


def read_counts(data_dir: Path) -> tuple[int, int, int]:
    record = read_record(data_dir)["stages"]["load"]
    return record["inserted"], record["revised"], record["unchanged"]


def read_closes(data_dir: Path) -> list[tuple[Any, ...]]:
    return query_store(
        store_of(data_dir),
        "SELECT symbol, strftime(timestamp, '%Y-%m-%d'), close FROM ohlcv_data ORDER BY ALL",
    )


def read_instruments(data_dir: Path) -> list[tuple[Any, ...]]:
    return query_store(
        store_of(data_dir),
        """SELECT symbol, strftime(first, '%m-%d'), strftime(last, '%m-%d'), bars, last_close,
                  source, basis FROM instruments ORDER BY symbol""",
    )


def derive_instruments(data_dir: Path) -> list[tuple[Any, ...]]:
    """What `instruments` should say, from the bars alone."""
    return query_store(
        store_of(data_dir),
        """SELECT symbol, strftime(min(timestamp), '%m-%d'), strftime(max(timestamp), '%m-%d'),
                  count(*), arg_max(close, timestamp) FROM ohlcv_data GROUP BY ALL ORDER BY ALL""",
    )


# Upsert


def test_bars_are_counted_as_inserted_revised_or_unchanged(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(data_dir, [IBM_3, IBM_4]) == 0
    assert read_counts(data_dir) == (2, 0, 0)
    capsys.readouterr()
    assert load_bars(data_dir, [IBM_3, ("IBM", "2012-01-04", 185.6), FB_3]) == 0
    assert read_counts(data_dir) == (1, 1, 1)
    assert "load: 1 inserted, 1 revised, 1 unchanged; published as 2-" in capsys.readouterr().err
    assert read_closes(data_dir) == [FB_3, IBM_3, ("IBM", "2012-01-04", 185.6)]


def test_a_bar_received_before_its_session_ended_is_replaced_by_the_final_one(
    data_dir: Path,
) -> None:
    day = "2020-05-08"  # IBM as recorded at 14:07 in New York, and as it ended
    assert load_bars(data_dir, [("IBM", day, 121.79, 2_538_547)]) == 0
    assert load_bars(data_dir, [("IBM", day, 122.99, 4_965_000)]) == 0
    assert read_counts(data_dir) == (0, 1, 0)
    found = query_store(store_of(data_dir), "SELECT close, volume FROM ohlcv_data")
    assert found == [(122.99, 4_965_000)]


@pytest.mark.parametrize(("before", "after"), [(None, 5), (5, None), (5, 6)])
def test_a_volume_that_comes_goes_or_changes_is_an_update(
    data_dir: Path, before: int | None, after: int | None
) -> None:
    assert load_bars(data_dir, [(*IBM_3, before)]) == 0
    assert load_bars(data_dir, [(*IBM_3, after)]) == 0
    assert read_counts(data_dir) == (0, 1, 0)
    assert query_store(store_of(data_dir), "SELECT volume FROM ohlcv_data") == [(after,)]


def test_an_unchanged_load_publishes_nothing(
    own_sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store_of(own_sample).stat()
    assert call_stage(load.main) == 0
    after = store_of(own_sample).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "0 inserted, 0 revised, 12,154 unchanged; nothing to publish" in capsys.readouterr().err
    assert not (own_sample / "market_data.previous.duckdb").exists()
    assert (own_sample / "generation").read_text() == "1\n"


def test_bars_that_do_not_come_again_stay(data_dir: Path) -> None:
    assert load_bars(data_dir, [IBM_3]) == 0
    assert load_bars(data_dir, [FB_3]) == 0
    assert read_closes(data_dir) == [FB_3, IBM_3]


def test_any_order_of_loads_gives_one_table(data_dir: Path, tmp_path: Path) -> None:
    parts = [[IBM_3], [IBM_4, FB_3], [("AAPL", "2012-01-03", 411.2), ("IBM", "2012-01-05", 184.6)]]
    stores = []
    for name, order in (("forth", parts), ("back", parts[::-1])):
        database = tmp_path / name / "store.duckdb"
        database.parent.mkdir()
        for i, bars in enumerate(order):
            path = make_bars(tmp_path / f"{name}{i}.parquet", bars)
            assert call_stage(load.main, "--input", path, "--database", database) == 0
        # the files are of other times in each order
        listed = "SELECT * EXCLUDE (seen_at, version) FROM instruments ORDER BY 1"
        stores.append([read_bars(database), query_store(database, listed)])
    assert stores[0] == stores[1]


def test_the_rows_lie_sorted_again_once_too_many_lie_behind_the_sorted_ones(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_unsorted() -> int:
        found: int = query_store(store_of(data_dir), "SELECT unsorted_rows FROM generation")[0][0]
        return found

    monkeypatch.setattr(build, "UNSORTED_ROWS", 1)
    assert load_bars(data_dir, [IBM_4, FB_3]) == 0
    assert read_unsorted() == 0
    assert load_bars(data_dir, [("AAPL", "2012-01-03", 411.2)]) == 0
    assert read_unsorted() == 1
    assert load_bars(data_dir, [IBM_3]) == 0
    assert read_unsorted() == 0
    as_they_lie = query_store(store_of(data_dir), "FROM ohlcv_data ORDER BY rowid")
    assert as_they_lie == read_bars(store_of(data_dir))


# What is refused: the store as it was, exit 1, one line with the remedy

DAY = datetime(2012, 1, 3)  # noqa: DTZ001
Columns = dict[str, pa.Array]


def make_columns(rows: int = 2) -> Columns:
    """Columns that keep the contract: one bar each of A, B …"""
    return {
        "timestamp": pa.array([DAY] * rows, pa.timestamp("us")),
        "symbol": pa.array([chr(ord("A") + i) for i in range(rows)]),
        **{name: pa.array([1.5] * rows) for name in ("open", "high", "low", "close")},
        "volume": pa.array([7] * rows, pa.int64()),
    }


def load_columns(data_dir: Path, columns: Columns) -> int:
    path = data_dir.parent / "bars.parquet"
    pq.write_table(pa.table(columns), path)
    return call_stage(load.main, "--input", path)


def test_columns_that_keep_the_contract_are_taken(data_dir: Path) -> None:
    assert load_columns(data_dir, make_columns()) == 0
    assert len(read_bars(store_of(data_dir))) == 2


NANOSECONDS = pa.array([DAY] * 2, pa.timestamp("ns"))
SMALL_VOLUMES = pa.array([7, 7], pa.int32())


@pytest.mark.parametrize(
    "change", [{"timestamp": NANOSECONDS}, {"volume": SMALL_VOLUMES}], ids=["ns", "int32"]
)
def test_types_that_lose_nothing_are_taken(data_dir: Path, change: Columns) -> None:
    assert load_columns(data_dir, {**make_columns(), **change}) == 0
    assert [row[0] for row in read_bars(store_of(data_dir))] == [DAY, DAY]


BREACHES: dict[str, tuple[Columns, str]] = {
    "doubled key": ({"symbol": pa.array(["A", "A"])}, "A 2012-01-03 is there 2 times"),
    "null symbol": ({"symbol": pa.array(["A", None])}, "1 rows with a NULL key"),
    "null timestamp": (
        {"timestamp": pa.array([DAY, None], pa.timestamp("us"))},
        "1 rows with a NULL key",
    ),
    "lower case": ({"symbol": pa.array(["A", "b"])}, "a symbol that is padded or not upper"),
    "padded": ({"symbol": pa.array(["A", "B "])}, "a symbol that is padded or not upper"),
    "empty symbol": ({"symbol": pa.array(["A", ""])}, "1 rows with unreadable symbol"),
    "a pair": ({"symbol": pa.array(["A", "BTC/USD"])}, "unreadable symbol (the first: BTC/USD"),
    "a sentence": ({"symbol": pa.array(["A", "X" * 33])}, "1 rows with unreadable symbol"),
    "time of day": (
        {"timestamp": pa.array([DAY, DAY.replace(hour=16)], pa.timestamp("us"))},
        "1 rows with time of day (the first: B 2012-01-03)",
    ),
    "null price": ({"low": pa.array([1.5, None])}, "1 rows with missing price"),
    "nan price": ({"close": pa.array([1.5, float("nan")])}, "1 rows with not finite"),
    "no price": ({"low": pa.array([1.5, 0.0])}, "1 rows with not positive (the first: B "),
    "negative": ({"open": pa.array([-1.5, -2.0])}, "2 rows with not positive (the first: "),
    "high below low": ({"high": pa.array([1.5, 1.4])}, "1 rows with high below low"),
    "negative volume": ({"volume": pa.array([7, -7], pa.int64())}, "1 rows with negative volume"),
    **{
        f"day {number}": (
            {"timestamp": pa.array([0, number * 86_400_000_000], pa.timestamp("us"))},
            f"1 rows with {reason} (the first: B ",
        )
        for number, reason in (
            (47_000, "future date"),  # 2098
            (6_580_000, "future date"),  # the year 19985
            (-140_000, "unreadable date"),  # 1586
            (-800_000, "unreadable date"),  # before Christ
        )
    },
    "endless time": (
        {"timestamp": pa.array([0, 2**63 - 1], pa.timestamp("us"))},
        "1 rows with unreadable date (the first: B infinity)",
    ),
    "endless price": ({"high": pa.array([1.5, float("inf")])}, "1 rows with not finite"),
    "text price": ({"open": pa.array(["1.5", "1.5"])}, "column open is VARCHAR, wanted DOUBLE"),
    "float price": (
        {"open": pa.array([1.5, 1.5], pa.float32())},
        "column open is FLOAT, wanted DOUBLE",
    ),
    "float volume": (
        {"volume": pa.array([10.6, 7.0])},
        "column volume is DOUBLE, wanted BIGINT or INTEGER",
    ),
    "unsigned volume": ({"volume": pa.array([7, 7], pa.uint64())}, "column volume is UBIGINT"),
    "text date": ({"timestamp": pa.array(["2012-01-03"] * 2)}, "column timestamp is VARCHAR"),
    "instant": (
        {"timestamp": pa.array([DAY] * 2, pa.timestamp("us", tz="UTC"))},
        "column timestamp is TIMESTAMP WITH TIME ZONE",
    ),
    "number as symbol": ({"symbol": pa.array([1, 2])}, "column symbol is BIGINT, wanted VARCHAR"),
    "two bases": (
        {"symbol": pa.array(["A", "A"]), "basis": pa.array(["raw", "split"]),
         "timestamp": pa.array([DAY, DAY.replace(day=4)], pa.timestamp("us"))},
        "A comes on two bases: load the files one by one",
    ),
    "sample and real": (
        {"source": pa.array(["sample", "files"])},
        "bars.parquet mixes the sample with real bars: load the real ones alone",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one bar in its store, to be copied."""
    folder = tmp_path_factory.mktemp("loaded") / "data"
    load_file(folder, make_bars(folder.parent / "bars.parquet", [IBM_3]))
    return folder


@pytest.mark.parametrize(("change", "message"), BREACHES.values(), ids=BREACHES)
@pytest.mark.parametrize("has_store", [False, True], ids=["no store", "store"])
def test_an_input_that_breaks_the_contract_is_refused_whole_in_one_line(
    data_dir: Path,
    loaded: Path,
    capsys: pytest.CaptureFixture[str],
    change: Columns,
    message: str,
    has_store: bool,
) -> None:
    if has_store:
        copy_folder(loaded, data_dir)
    assert load_columns(data_dir, {**make_columns(), **change}) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR ")
    assert message in line
    assert store_of(data_dir).exists() == has_store
    assert not has_store or read_closes(data_dir) == [IBM_3]


@pytest.mark.parametrize("name", ["timestamp", "symbol", "close", "volume"])
def test_a_missing_column_is_named(
    data_dir: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    columns = make_columns()
    del columns[name]
    assert load_columns(data_dir, columns) == 1
    assert f"has no column {name}: it needs timestamp, symbol, open" in capsys.readouterr().err


def test_an_input_that_is_no_parquet_or_not_there_is_named(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_dir / "bars.csv").write_text("timestamp,symbol\n")
    assert call_stage(load.main, "--input", data_dir / "bars.csv") == 1
    assert "bars.csv cannot be read as Parquet: " in capsys.readouterr().err
    assert call_stage(load.main) == 1
    assert "clean_data.parquet does not exist: run the stage before" in capsys.readouterr().err


def test_the_refused_rows_of_load_pass_through_transform(data_dir: Path) -> None:
    path = data_dir.parent / "bars.parquet"
    columns = make_columns()
    columns["symbol"] = pa.array(["ibm ", "IBM"])
    columns["volume"] = pa.array([10.0, 10.0])
    pq.write_table(pa.table(columns), path)
    assert call_stage(transform.main, "--input", path) == 0
    assert call_stage(load.main) == 0
    assert [row[1] for row in read_bars(store_of(data_dir))] == ["IBM"]


# Basis and sources


def test_the_other_basis_for_a_stored_symbol_is_refused_with_the_remedy(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(data_dir, [IBM_3, FB_3], basis="split", source="files") == 0
    capsys.readouterr()
    assert load_bars(data_dir, [IBM_4], basis="raw", source="alpha_vantage") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "IBM is stored with basis split and comes with basis raw" in line
    assert "take IBM out of SYMBOLS, or load its file anew in an empty DATA_DIR with" in line
    assert read_closes(data_dir) == [FB_3, IBM_3]
    assert load_bars(data_dir, [IBM_4], basis="raw", source="files") == 1
    remedy = "set SOURCE_ADJUSTMENT=split if that is what the prices are, or load them into"
    assert remedy in capsys.readouterr().err


def test_a_symbol_on_another_basis_is_left_out_and_the_rest_is_loaded(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(data_dir, [IBM_3], basis="split", source="files") == 0
    assert load_bars(data_dir, [IBM_4, FB_3], basis="raw", source="alpha_vantage") == 0
    assert "left out, the rest is loaded: IBM is stored with basis" in capsys.readouterr().err
    assert read_closes(data_dir) == [FB_3, IBM_3]
    entry = read_record(data_dir)["stages"]["load"]
    assert (entry["left_out"], list(entry["failures"])) == ({"IBM": 1}, ["IBM"])
    [[failures, rejected]] = query_store(
        store_of(data_dir),
        "SELECT failures, rejected FROM etl_runs WHERE inserted = 1 AND received = 2",
    )
    assert failures.startswith('{"IBM": "basis: IBM is stored')
    assert rejected == 1
    assert call_stage(verify.main) == 0


def test_another_symbol_may_have_another_basis(data_dir: Path) -> None:
    assert load_bars(data_dir, [IBM_3], basis="split") == 0
    assert load_bars(data_dir, [FB_3], basis="raw") == 0
    assert [row[-1] for row in read_instruments(data_dir)] == ["raw", "split"]


def test_without_a_basis_column_the_setting_says_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_ADJUSTMENT", "split")
    assert load_bars(data_dir, [IBM_3]) == 0
    assert read_instruments(data_dir) == [
        ("IBM", "01-03", "01-03", 1, 186.3, "files", "split"),
    ]


def test_real_bars_drop_the_sample_and_say_so(
    own_sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(own_sample, [IBM_3], source="alpha_vantage", basis="raw") == 0
    err = capsys.readouterr().err
    assert "WARNING load: real bars come, so the sample's 12,154 bars are dropped" in err
    assert read_closes(own_sample) == [IBM_3]
    assert query_store(store_of(own_sample), "FROM corporate_actions") == []
    kept = own_sample / "market_data.previous.duckdb"
    assert len(read_bars(kept)) == 12_154


def test_real_bars_of_another_basis_drop_the_sample_too(own_sample: Path) -> None:
    assert load_bars(own_sample, [IBM_3], source="files", basis="split") == 0
    assert [row[-1] for row in read_instruments(own_sample)] == ["split"]


def test_an_empty_input_neither_drops_the_sample_nor_says_so(
    own_sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(own_sample, [], source="files") == 0
    assert "dropped" not in capsys.readouterr().err
    assert len(read_bars(store_of(own_sample))) == 12_154


def test_the_sample_is_refused_by_a_store_of_real_bars(
    own_sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_bars(own_sample, [IBM_3], source="files") == 0
    capsys.readouterr()
    assert call_stage(load.main) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "the store holds real bars, and the sample does not mix with them: set AV_API_KEY" in (
        line
    )
    assert read_closes(own_sample) == [IBM_3]


def test_files_and_a_vendor_mix(data_dir: Path) -> None:
    assert load_bars(data_dir, [IBM_3, FB_3], source="files") == 0
    assert load_bars(data_dir, [IBM_4], source="alpha_vantage") == 0
    assert read_closes(data_dir) == [FB_3, IBM_3, IBM_4]
    assert [row[5] for row in read_instruments(data_dir)] == ["files", "alpha_vantage"]


# Tables


def test_the_tables_are_those_of_the_schema(sample_dir: Path) -> None:
    with duckdb.connect(":memory:") as connection:
        for ddl in TABLES.values():
            connection.execute(ddl)
        asked = "SELECT table_name, sql FROM duckdb_tables() ORDER BY table_name"
        wanted = connection.execute(asked).fetchall()
    found = query_store(
        store_of(sample_dir),
        "SELECT table_name, sql FROM duckdb_tables() WHERE database_name = 'store' ORDER BY ALL",
    )
    assert found == wanted


def test_ohlcv_data_is_as_the_design_has_it(sample_dir: Path) -> None:
    columns = query_store(
        store_of(sample_dir),
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE table_name = 'ohlcv_data' ORDER BY column_index",
    )
    assert columns == [
        ("timestamp", "TIMESTAMP"),
        ("symbol", "VARCHAR"),
        ("open", "DOUBLE"),
        ("high", "DOUBLE"),
        ("low", "DOUBLE"),
        ("close", "DOUBLE"),
        ("volume", "BIGINT"),
    ]
    constraints = query_store(
        store_of(sample_dir),
        "SELECT constraint_type, constraint_column_names FROM duckdb_constraints()"
        " WHERE table_name = 'ohlcv_data'",
    )
    assert constraints == [("UNIQUE", ["symbol", "timestamp"])]


def test_instruments_keep_in_step_with_the_bars(data_dir: Path) -> None:
    loads: list[list[Bar]] = [
        [IBM_4, FB_3],
        [IBM_3],  # an older bar
        [("IBM", "2012-01-05", 184.6), ("AAPL", "2012-01-03", 411.2)],  # a newer one, a new symbol
        [("IBM", "2012-01-03", 186.4)],  # an old bar, changed
        [("IBM", "2012-01-05", 184.7), IBM_4],  # the last bar, changed
    ]
    for bars in loads:
        assert load_bars(data_dir, bars) == 0
        assert [row[:5] for row in read_instruments(data_dir)] == derive_instruments(data_dir)
    assert read_instruments(data_dir)[-1] == (
        "IBM", "01-03", "01-05", 3, 184.7, "files", "raw",
    )  # fmt: skip


def test_the_instruments_of_the_sample_are_those_of_its_bars(sample_dir: Path) -> None:
    found = read_instruments(sample_dir)
    assert [row[:5] for row in found] == derive_instruments(sample_dir)
    assert {row[5:] for row in found} == {("sample", "raw")}


def test_the_generation_says_which_publication_by_which_run(sample_dir: Path) -> None:
    record = read_record(sample_dir)
    found = query_store(store_of(sample_dir), "FROM generation")
    [(generation, version, published_at, run_id, unsorted)] = found
    assert generation == record["stages"]["load"]["generation"]
    assert (version, run_id, unsorted) == (4, record["run_id"], 0)
    started, ended = (record["stages"]["load"][name] for name in ("started_at", "finished_at"))
    assert started <= f"{published_at.isoformat(timespec='milliseconds')}Z" <= ended


def test_a_corporate_action_is_stored_once_and_a_changed_one_replaces_it(data_dir: Path) -> None:
    for value in ("2", "2", "3"):
        load_split(data_dir, value)
        found = query_store(store_of(data_dir), "SELECT symbol, ratio FROM corporate_actions")
        assert found == [("IBM", float(value))]
    rows = "SELECT ratio FROM corporate_action_revisions"
    assert query_store(store_of(data_dir), rows) == [(2,)]


def test_a_split_that_moves_in_a_newer_file_leaves_its_old_day_and_no_older_file_brings_it_back(
    data_dir: Path,
) -> None:
    path = data_dir.parent / "inbox" / "IBM.csv"
    path.parent.mkdir()
    for at, day in ((200_000_000, 3), (300_000_000, 4), (100_000_000, 3)):
        rows = [f"2012-01-0{d},10,12,9,11,5,{4 * (d == day)}" for d in (2, 3, 4, 5)]
        path.write_text("\n".join(("Date,Open,High,Low,Close,Volume,Stock Splits", *rows)))
        os.utime(path, (1_300_000_000 + at,) * 2)
        assert call_stage(run_all, "--source", "files", "--path", path) == 0
    days = "SELECT day(ex_date) FROM corporate_actions"
    assert query_store(store_of(data_dir), days) == [(4,)]
    gone = "SELECT day(ex_date), epoch(known_to) FROM corporate_action_revisions"
    assert query_store(store_of(data_dir), gone) == [(3, 1_600_000_000)]


@pytest.mark.parametrize("is_newest_first", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_file_says_nothing_of_actions_on_days_that_it_has_no_bar_of(
    data_dir: Path, is_newest_first: bool
) -> None:
    """Without the bar of an ex-date, or on a day at a weekend between bars."""
    days = {1_600_000_000: (2, 3, 4, 5, 6, 9), 1_700_000_000: (2, 3, 5, 6, 9)}
    dividends = {3: 0.5, 4: 0.25, 6: 0.75}
    path = data_dir.parent / "inbox" / "IBM.csv"
    path.parent.mkdir()
    for at in sorted(days, reverse=is_newest_first):
        paid = dividends if at == min(days) else {3: 0.5}
        rows = [f"2012-01-0{day},10,12,9,11,5,{paid.get(day, 0)}" for day in days[at]]
        path.write_text("\n".join(("Date,Open,High,Low,Close,Volume,Dividends", *rows)))
        os.utime(path, (at,) * 2)
        assert call_stage(run_all, "--source", "files", "--path", path) == 0
    kept = "SELECT day(ex_date) FROM corporate_actions ORDER BY ALL"
    assert query_store(store_of(data_dir), kept) == [(3,), (4,)]
    lists = (
        "SELECT day(first), day(last) FROM action_lists WHERE known_at > '2023-01-01' ORDER BY 1"
    )
    assert query_store(store_of(data_dir), lists) == [(2, 3), (5, 9)]


def load_split(data_dir: Path, ratio: str) -> None:
    """extract, transform and load of one file with a split, without a process."""
    folder = data_dir.parent / "inbox"
    folder.mkdir(exist_ok=True)
    (folder / "IBM.csv").write_text(
        f"Date,Open,High,Low,Close,Volume,Stock Splits\n2012-01-03,10,12,9,11,5,{ratio}\n"
    )
    from etl.__main__ import main as run_all

    assert call_stage(run_all, "--source", "files", "--path", folder) == 0


def test_actions_of_other_bars_are_not_taken(own_sample: Path, tmp_path: Path) -> None:
    database = tmp_path / "other.duckdb"
    make_bars(own_sample / "clean_data.parquet", [IBM_3])  # in the place of transform's
    assert call_stage(load.main, "--database", database) == 0
    assert query_store(database, "FROM corporate_actions") == []


# Inputs and outputs


def test_a_folder_of_parquet_files_is_one_input(data_dir: Path, tmp_path: Path) -> None:
    make_bars(tmp_path / "many" / "a.parquet", [IBM_3])
    make_bars(tmp_path / "many" / "deep" / "b.parquet", [IBM_4], source="files")
    assert call_stage(load.main, "--input", tmp_path / "many") == 0
    assert read_closes(data_dir) == [IBM_3, IBM_4]


def test_a_key_doubled_across_the_files_of_a_folder_is_refused(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bars(tmp_path / "many" / "a.parquet", [IBM_3])
    make_bars(tmp_path / "many" / "b.parquet", [IBM_3])
    assert call_stage(load.main, "--input", tmp_path / "many") == 1
    assert "IBM 2012-01-03 is there 2 times" in capsys.readouterr().err


def test_another_database_can_be_named_from_the_current_folder(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bars(tmp_path / "bars.parquet", [IBM_3])
    monkeypatch.chdir(tmp_path)
    assert call_stage(load.main, "--input", "bars.parquet", "--database", "other.duckdb") == 0
    assert len(read_bars(tmp_path / "other.duckdb")) == 1
    assert not store_of(data_dir).exists()


def test_the_clean_file_comes_back_out_of_the_store(sample_dir: Path) -> None:
    clean = pq.read_table(sample_dir / "clean_data.parquet").select(
        ["timestamp", "symbol", "open", "high", "low", "close", "volume"]
    )
    stored = read_bars(store_of(sample_dir))
    assert stored == [tuple(row.values()) for row in clean.to_pylist()]


def test_a_load_that_fails_while_the_store_is_copied_leaves_no_copy(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-09", ("A", "2024-01-02", 5.0))
    before = {path: identify(path) for path in data_dir.glob("market_data*")}
    with pytest.raises(SettingsError, match="EXCHANGE=XLN: did you mean XLON"):
        load_answer(data_dir, "2024-01-09", ("A", "2024-01-03", 5.0), EXCHANGE="XLN")
    assert {path: identify(path) for path in data_dir.glob("market_data*")} == before


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("no/such/x.duckdb", "the folder {}/no/such does not exist: make it first"),
        ("", "{} is no file: name the DuckDB file to publish"),
        ("market_data.next.duckdb", "choose another name"),
        ("market_data.previous.duckdb", "choose another name"),
    ],
)
def test_a_database_that_cannot_be_published_is_refused_before_anything_is_made(
    data_dir: Path, name: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        load.main(["--database", str(data_dir / name)])
    assert ended.value.code == 2
    assert wanted.format(data_dir) in capsys.readouterr().err
    assert list(data_dir.iterdir()) == []


def test_few_bars_and_many_make_one_store(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few are kept in memory, of many only views; some come in two answers of one file."""
    answers = [
        ("2024-02-01", [("A", f"2024-01-{n:02}", 5.0 + n) for n in (2, 3, 5, 8)]),
        (
            "2024-02-02",
            [("A", "2024-01-03", 9.0), ("A", "2024-01-04", 9.0), ("B", "2024-01-02", 1)],
        ),
        ("2024-02-03", [("A", "2024-01-02", 70.0), ("A", "2024-01-09", 9.0)]),
    ]
    tables = ("ohlcv_data", "ohlcv_revisions", "ohlcv_known", "gaps", "bar_notes", "instruments")
    found = []
    for name, few in (("few", rounds.FEW_ROWS), ("many", 0)):
        folder = tmp_path / name
        for module in (rounds, clean_files):
            monkeypatch.setattr(module, "FEW_ROWS", few)
        for number, some in enumerate((answers[:1], answers[1:])):
            load_file(folder, make_answer(tmp_path / f"{number}.parquet", *some))
        rows = "SELECT COLUMNS(lambda c: c NOT IN ('run_id', 'version')) FROM"
        found.append([query_store(store_of(folder), f"{rows} {t} ORDER BY ALL") for t in tables])
    assert found[0] == found[1]
    assert [len(rows) for rows in found[0]][:2] == [7, 2]
