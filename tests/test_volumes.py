"""Volumes with decimals: kept exactly, told as they came, in one unit a symbol whatever comes."""

import io
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.bars.adjust import adjust
from api.bars.resample import resample
from api.bars.series import Series
from api.bars.volumes import divide_units
from api.figures.performance import summarize_volume
from api.figures.technicals import compute_obv
from etl import load, transform, verify
from etl.contracts.files import RAW_BARS
from tests.conftest import call_stage, clean_environ, query_store
from tests.server import read_json, serve
from tests.stores import store_of

DAYS = [f"2024-01-{day:02}" for day in range(1, 10)]  # a Monday is the first
# In two answers, as they are written: the second has more decimals, and another first one.
FIRST = ["33305212.301887", "0.5", "1500", "0.1", "0.2", None, "2.25", "7", "12345678901.25"]
SECOND = ["33305212.30188701", *FIRST[1:8], "0.00000001"]
NUMBERS = [None if text is None else float(text) for text in SECOND]
COIN = "/instruments/BTC-USD/ohlcv"
STOCK = ("AAPL", "2024-01-02", "9007199254740993")


def load_texts(
    data_dir: Path, fetched_at: str, *bars: tuple[str, str, str | None], expected: int = 0
) -> None:
    """Take the volumes as texts through transform and load: (symbol, day, volume)."""
    rows = [
        {
            **{"symbol": symbol, "timestamp": day, "volume": volume, "run_id": "r"},
            **dict.fromkeys(("open", "high", "low", "close"), "10"),
            **{"basis": "raw", "source": "files", "fetched_at": datetime.fromisoformat(fetched_at)},
        }
        for symbol, day, volume in bars
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=RAW_BARS), data_dir / "raw_data.parquet")
    assert call_stage(transform.main) == 0
    assert call_stage(load.main) == expected


def name_bars(texts: list[str | None]) -> list[tuple[str, str, str | None]]:
    return [("BTC-USD", day, text) for day, text in zip(DAYS, texts, strict=True)]


@pytest.fixture(scope="module")
def coin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coins")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        load_texts(folder, "2024-02-01", *name_bars(FIRST), STOCK)
        load_texts(folder, "2024-02-02", *name_bars(SECOND))
    return folder


@pytest.fixture(scope="module")
def client(coin_dir: Path) -> Iterator[httpx.Client]:
    with serve(coin_dir) as client:
        yield client


def read_volumes(database: Path, table: str = "bars") -> list[Any]:
    rows = query_store(database, f"SELECT volume FROM {table} ORDER BY symbol, timestamp")
    return [row[0] for row in rows]


# What comes out


def test_the_view_bars_gives_numbers_and_the_table_units(coin_dir: Path) -> None:
    database = store_of(coin_dir)
    assert read_volumes(database)[1:] == NUMBERS
    units = [None if text is None else round(float(text) * 1e8) for text in SECOND]
    assert read_volumes(database, "ohlcv_data") == [9007199254740993, *units]
    decimals = query_store(database, "SELECT symbol, volume_decimals FROM instruments ORDER BY 1")
    assert decimals == [("AAPL", 0), ("BTC-USD", 8)]


def test_each_format_has_the_number_that_was_loaded(client: httpx.Client) -> None:
    assert [row["volume"] for row in read_json(client, COIN)["data"]] == NUMBERS
    assert read_json(client, f"{COIN}?format=columns")["data"]["volume"] == NUMBERS
    table = pl.read_parquet(io.BytesIO(client.get(f"{COIN}?format=parquet").content))
    assert table["volume"].to_list() == NUMBERS
    stream = pa.ipc.open_stream(client.get(f"{COIN}?format=arrow").content)
    assert stream.read_all()["volume"].to_pylist() == NUMBERS


@pytest.mark.parametrize("name", ["json", "csv", "ndjson"])
def test_texts_have_the_digits_that_were_loaded(client: httpx.Client, name: str) -> None:
    answer = client.get(f"{COIN}?format={name}").text
    assert "33305212.30188701" in answer
    assert "2.25" in answer


def test_volumes_that_are_whole_stay_integers(client: httpx.Client) -> None:
    assert '"volume":9007199254740993}' in client.get("/instruments/AAPL/ohlcv").text


def test_a_week_has_the_sum_to_the_last_decimal(client: httpx.Client) -> None:
    weeks = read_json(client, f"{COIN}?interval=1wk")["data"]
    assert [week["volume"] for week in weeks] == [33306715.35188701, 7.00000001]


def test_an_earlier_instant_has_the_numbers_of_then(client: httpx.Client) -> None:
    then = read_json(client, f"{COIN}?as_of=2024-02-01T12:00:00Z")["data"]
    assert [row["volume"] for row in then] == [None if t is None else float(t) for t in FIRST]
    revisions = read_json(client, "/instruments/BTC-USD/revisions")["data"]
    assert [row["volume"] for row in revisions] == [33305212.301887, 12345678901.25]


def test_figures_are_of_the_numbers(client: httpx.Client) -> None:
    known = [number for number in NUMBERS if number is not None]
    figures = read_json(client, "/instruments/BTC-USD/statistics?explain=false")
    assert figures["total_volume"] == 33306722.35188702
    assert figures["mean_volume"] == pytest.approx(sum(known) / 8)
    (ranked,) = read_json(client, "/screen?min_bars=9")["data"]
    assert ranked["mean_volume"] == pytest.approx(sum(known) / 8)
    assert ranked["dollar_volume"] == pytest.approx(10 * sum(known) / 8)
    first = int(datetime.fromisoformat("2024-01-01T00:00Z").timestamp())
    history = read_json(client, f"/udf/history?symbol=BTC-USD&resolution=1D&from=0&to={first * 2}")
    assert history["v"] == [number or 0 for number in NUMBERS]
    assert read_json(client, "/udf/symbols?symbol=BTC-USD")["volume_precision"] == 8


# Units


GROWTH = {
    "2024-02-01": ("2024-01-01", "7", 7.0),
    "2024-02-02": ("2024-01-02", "1.125", 1.125),
    "2024-02-03": ("2024-01-03", "0.00000001", 0.00000001),
}


@pytest.mark.parametrize(
    "order",
    [
        tuple(GROWTH)[::-1],
        pytest.param(tuple(GROWTH), marks=pytest.mark.long),
    ],
)
def test_decimals_grow_in_any_order_without_a_revision(
    data_dir: Path, order: tuple[str, ...]
) -> None:
    for fetched_at in order:
        load_texts(data_dir, fetched_at, ("BTC-USD", *GROWTH[fetched_at][:2]))
    database = store_of(data_dir)
    assert read_volumes(database) == [number for _, _, number in GROWTH.values()]
    counts = "(SELECT count(*) FROM ohlcv_revisions), (SELECT count(*) FROM bar_notes)"
    assert query_store(database, f"SELECT {counts}, volume_decimals FROM instruments") == [
        (0, 0, 8)
    ]
    assert call_stage(verify.main) == 0


def test_the_same_numbers_with_other_zeros_change_nothing(data_dir: Path) -> None:
    load_texts(data_dir, "2024-02-01", ("BTC-USD", "2024-01-01", "1.5"))
    load_texts(data_dir, "2024-02-01", ("BTC-USD", "2024-01-01", "1.5000"))
    load_texts(data_dir, "2024-02-02", ("BTC-USD", "2024-01-01", "15e-1"))
    assert query_store(store_of(data_dir), "FROM ohlcv_revisions") == []
    assert query_store(store_of(data_dir), "SELECT volume_decimals FROM instruments") == [(1,)]


def test_a_volume_beside_which_others_do_not_fit_makes_them_rounded_and_noted(
    data_dir: Path,
) -> None:
    load_texts(data_dir, "2024-02-01", ("X-USD", "2024-01-01", "1.12345678"))
    load_texts(data_dir, "2024-02-02", ("X-USD", "2024-01-02", "9000000000000000"))
    load_texts(data_dir, "2024-02-03", ("X-USD", "2024-01-03", "2.12345678"))
    database = store_of(data_dir)
    assert read_volumes(database) == [1.123, 9e15, 2.123]
    notes = query_store(database, "SELECT timestamp::DATE::VARCHAR, reason, detail FROM bar_notes")
    detail = "of {}: more digits than 63 bits hold"
    assert sorted(notes) == [
        ("2024-01-01", "volume rounded", detail.format("1.12345678")),
        ("2024-01-03", "volume rounded", detail.format("2.12345678")),
    ]
    assert call_stage(verify.main) == 0
    load_texts(data_dir, "2024-02-04", ("X-USD", "2024-01-03", "2.5"))  # which fits
    held = query_store(database, "SELECT timestamp::DATE::VARCHAR FROM bar_notes")
    assert held == [("2024-01-01",)]


def test_an_older_bar_that_is_not_taken_makes_nothing_coarser(data_dir: Path) -> None:
    load_texts(data_dir, "2024-02-02", ("X-USD", "2024-01-01", "1.12345678"))
    stale = ("X-USD", "2024-01-01", "9000000000000000000")
    load_texts(data_dir, "2024-02-01", stale, ("X-USD", "2024-01-02", "2.5"))
    assert read_volumes(store_of(data_dir)) == [1.12345678, 2.5]
    assert query_store(store_of(data_dir), "FROM bar_notes") == []


def test_a_volume_too_long_by_itself_is_rounded_and_noted(data_dir: Path) -> None:
    load_texts(data_dir, "2024-02-01", ("X-USD", "2024-01-01", "9000000000000000000.5"))
    database = store_of(data_dir)
    assert read_volumes(database, "ohlcv_data") == [9000000000000000001]
    assert query_store(database, "SELECT detail FROM bar_notes") == [
        ("of 9000000000000000000.5: more digits than 63 bits hold",)
    ]


def test_two_volumes_of_the_same_digits_are_two_bars(data_dir: Path) -> None:
    bars = [("X-USD", "2024-01-01", "15"), ("X-USD", "2024-01-01", "1.5"), STOCK]
    load_texts(data_dir, "2024-02-01", *bars)
    assert query_store(store_of(data_dir), "SELECT symbol FROM instruments") == [("AAPL",)]


@pytest.mark.parametrize(
    ("decimals", "code"), [(3, 0), (19, 1), pytest.param(-1, 1, marks=pytest.mark.long)]
)
def test_a_clean_file_says_the_unit_of_its_volumes(
    data_dir: Path, decimals: int, code: int
) -> None:
    load_texts(data_dir, "2024-02-01", STOCK)
    clean = data_dir / "own.parquet"
    table = pq.read_table(data_dir / "clean_data.parquet")
    index = table.column_names.index("volume_decimals")
    column = pa.array([decimals], pa.int32())
    pq.write_table(table.set_column(index, "volume_decimals", column), clean)
    other = data_dir / "other.duckdb"
    assert call_stage(load.main, "--input", clean, "--database", other) == code
    assert not other.exists() or read_volumes(other) == [9007199254740.993]


def make_series(units: list[int], decimals: int) -> Series:
    days = np.datetime64("2024-01-01") + np.arange(len(units))
    closes = np.arange(1.0, 1 + len(units))
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    volume = np.ma.masked_array(np.array(units, np.int64))
    return divide_units(
        Series("X", "raw", days.astype("datetime64[s]"), **prices, volume=volume), decimals
    )


@pytest.mark.parametrize("unit", [123456789012000001, 2**53 + 1, 2**63 - 1, 1, 0])
def test_more_digits_than_a_float_has_are_the_nearest_float(unit: int) -> None:
    series = make_series([unit], 6)
    assert series.volume.tolist() == [unit / 10**6]
    assert resample(series, "1wk").volume.tolist() == [unit / 10**6]


def test_sums_and_splits_have_no_more_decimals_than_the_volumes() -> None:
    series = make_series([1, 2, 4], 1)  # 0.1, 0.2 and 0.4: as floats their sum is not 0.7
    assert resample(series, "1mo").volume.tolist() == [0.7]
    assert summarize_volume(series)["total_volume"] == 0.7
    assert compute_obv(series)[0].tolist() == [0.1, 0.3, 0.7]
    halves = adjust(series, [(date(2024, 1, 3), 3.0)], "split")
    assert halves.volume.tolist() == [0.3, 0.6, 0.4]
