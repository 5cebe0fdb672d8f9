"""Notes on kept bars: on real bars, on recorded bad ones and on made ones."""

import functools
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.market import sessions
from etl.market.exchanges import find_exchange
from etl.rules import breaks, notes
from tests.stores import list_sessions

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
PRICES = ("open", "high", "low", "close")
PRICE_REASONS = {rule.reason for rule in breaks.RULES}

BARS = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", pa.timestamp("us")),
        *((name, pa.float64()) for name in PRICES),
        ("volume", pa.int64()),
        ("basis", pa.string()),
        ("exchange", pa.string()),
    ]
)
SPLITS = pa.schema([("symbol", pa.string()), ("ex_date", pa.date32()), ("ratio", pa.float64())])


@dataclass
class Series:
    """A quiet made series of one symbol, one bar a session; tests spoil it."""

    count: int = 80
    basis: str = "raw"
    symbol: str = "MADE"
    exchange: str = "XNYS"
    seed: int = 1
    swing: float = 0.01
    splits: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        self.days = list_sessions(self.exchange, date(2010, 1, 4), date(2014, 1, 1))
        self.days = self.days[: self.count]
        close = 50 * np.exp(np.cumsum(random.normal(0, self.swing, self.count)))
        open_ = close * np.exp(random.normal(0, self.swing / 2, self.count))
        high = np.maximum(open_, close) * np.exp(abs(random.normal(0, self.swing / 2, self.count)))
        low = np.minimum(open_, close) / np.exp(abs(random.normal(0, self.swing / 2, self.count)))
        self.prices = np.stack([open_, high, low, close])
        self.volume = (1e6 * np.exp(random.normal(0, 0.3, self.count))).astype(np.int64)

    def scale(self, start: int, end: int, factor: float, volume: float = 1) -> None:
        """Multiply the prices (and the volume) of the bars from `start` to before `end`."""
        self.prices[:, start:end] *= factor
        self.volume[start:end] = (self.volume[start:end] * volume).astype(np.int64)

    def to_tables(self) -> tuple[pa.Table, pa.Table]:
        columns = {
            "symbol": [self.symbol] * self.count,
            "timestamp": [datetime.combine(day, datetime.min.time()) for day in self.days],
            **dict(zip(PRICES, self.prices, strict=True)),
            "volume": self.volume,
            "basis": [self.basis] * self.count,
            "exchange": [self.exchange] * self.count,
        }
        split = {
            "symbol": [self.symbol] * len(self.splits),
            "ex_date": [self.days[place] for place, _ in self.splits],
            "ratio": [ratio for _, ratio in self.splits],
        }
        return pa.table(columns, BARS), pa.table(split, SPLITS)


@functools.cache
def connect(exchanges: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
    """One connection for all tests: to list the sessions takes longer than to find the notes."""
    connection = duckdb.connect()
    sessions.create_sessions(connection, list(exchanges), date(1999, 1, 1), date(2025, 1, 1))
    return connection


def find(bars: Any, splits: Any, *exchanges: str) -> list[tuple[str, date, str, str]]:
    """(symbol, day, reason, detail) of all notes on two Arrow tables (or SQL relations)."""
    connection = connect(exchanges or ("XNYS",))
    connection.register("bars", bars)
    connection.register("splits", splits)
    notes.find_notes(connection)
    found = connection.execute(
        "SELECT symbol, timestamp::DATE, reason, detail FROM notes ORDER BY ALL"
    ).fetchall()
    keys = connection.execute("SELECT DISTINCT symbol, timestamp, reason FROM notes").fetchall()
    assert len(keys) == len(found)  # one note a bar and reason
    return found


def judge(series: Series) -> dict[str, list[int]]:
    """Reason → places of the bars noted for it."""
    return judge_each([series])[0]


def judge_each(all_series: Sequence[Series]) -> list[dict[str, list[int]]]:
    """As `judge`, each series as a symbol of its own beside the others."""
    found: list[dict[str, list[int]]] = [{} for _ in all_series]
    named = [name_tables(each, f"MADE{place:03}") for place, each in enumerate(all_series)]
    bars, splits = (pa.concat_tables(kind) for kind in zip(*named, strict=True))
    for symbol, day, reason, _ in find(bars, splits):
        place = int(symbol.removeprefix("MADE"))
        found[place].setdefault(reason, []).append(all_series[place].days.index(day))
    return found


def name_tables(series: Series, symbol: str) -> tuple[pa.Table, ...]:
    """The tables of a series under another name."""
    bars, splits = series.to_tables()
    return tuple(
        table.set_column(0, BARS.field("symbol"), pa.array([symbol] * len(table), pa.string()))
        for table in (bars, splits)
    )


# --- one bar alone ---------------------------------------------------------------------------


def test_a_quiet_series_has_no_note() -> None:
    assert judge(Series()) == {}


@pytest.mark.parametrize("name", ["open", "close"])
def test_a_price_outside_low_to_high_is_noted_and_float_noise_is_not(name: str) -> None:
    series = Series()
    place = PRICES.index(name)
    series.prices[place, 10] = series.prices[1, 10] * 1.001
    series.prices[place, 20] = series.prices[2, 20] * 0.999
    series.prices[place, 30] = series.prices[1, 30] * (1 + 1e-8)
    assert judge(series) == {f"{name} outside range": [10, 20]}


def test_zero_volume_is_noted_and_no_volume_is_not() -> None:
    series = Series()
    series.volume[10] = 0
    bars, splits = series.to_tables()
    volume = pa.array([None if v > 1_500_000 else v for v in bars["volume"].to_pylist()])
    assert volume.null_count
    found = find(bars.set_column(6, "volume", volume), splits)
    assert [(day, reason) for _, day, reason, _ in found] == [(series.days[10], "zero volume")]


def test_a_bar_on_no_session_of_its_exchange_is_noted() -> None:
    series = Series()
    series.days[10] += timedelta(days=(5 - series.days[10].weekday()) % 7)  # a Saturday
    bars, splits = series.to_tables()
    [(_, day, reason, detail)] = find(bars, splits)
    assert (day, reason) == (series.days[10], "outside sessions")
    assert detail == f"XNYS has no session on a Saturday {day}"


def test_a_bar_is_judged_by_the_sessions_of_its_own_exchange() -> None:
    series = Series()  # sessions of New York; London was shut on 2010-04-05
    series.exchange = "XLON"
    bars, splits = series.to_tables()
    assert [(day, reason) for _, day, reason, _ in find(bars, splits, "XNYS", "XLON")] == [
        (date(2010, 4, 5), "outside sessions")
    ]


def test_a_day_before_the_known_sessions_is_not_judged() -> None:
    series = Series()
    series.exchange = "XTKS"
    series.days = [day - timedelta(days=365 * 18) for day in series.days]  # 1992
    bars, splits = series.to_tables()
    assert find(bars, splits, "XTKS") == []


# --- stale bars ------------------------------------------------------------------------------


def test_bars_that_repeat_with_a_range_are_stale_from_the_fourth_on() -> None:
    series = Series()
    series.prices[:, 20:26] = series.prices[:, [20]]
    assert judge(series) == {"stale repeat": [23, 24, 25]}


def test_a_price_that_stands_still_without_trade_is_stale_only_after_ten_bars() -> None:
    series = Series()
    series.prices[:, 20:29] = series.prices[3, 20]
    series.prices[:, 40:51] = series.prices[3, 40]
    assert judge(series) == {"stale repeat": [49, 50]}


# --- units -----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.001, 0.01, 0.1, 10, 100, 1000])
def test_every_bar_of_a_block_in_another_unit_is_noted_and_no_other(factor: float) -> None:
    blocks = [(30, 31), (30, 33), (30, 48), (0, 5), (0, 1), (75, 80), (79, 80)]
    all_series = [Series() for _ in blocks]
    for series, block in zip(all_series, blocks, strict=True):
        series.scale(*block, factor)
    assert judge_each(all_series) == [{"unit change": list(range(*block))} for block in blocks]


@pytest.mark.parametrize("columns", [[0], [2], [3], [2, 3], [0, 2], [0, 2, 3]])
def test_a_bar_with_some_prices_in_another_unit_is_noted(columns: list[int]) -> None:
    series = Series()
    series.prices[columns, 30] *= 0.01
    assert judge(series).get("unit change") == [30]


@pytest.mark.parametrize("volume", [0, 4, 50])
def test_every_bar_of_a_tenth_that_comes_back_is_noted_whatever_its_volume(volume: int) -> None:
    series = Series()
    series.scale(30, 40, 0.1, volume=volume)
    noted = judge(series)
    noted.pop("zero volume", None)
    assert list(noted.values()) == [list(range(30, 40))]


@pytest.mark.parametrize("factor", [0.01, 100])
def test_a_change_of_unit_that_stays_is_noted_where_it_begins(factor: float) -> None:
    series = Series(160)
    series.scale(80, 160, factor)
    assert judge(series) == {"unit change": [80]}


def test_a_block_longer_than_reach_is_noted_at_both_ends() -> None:
    series = Series(240)
    series.scale(80, 160, 0.01)
    assert {80, 160} <= set(judge(series)["unit change"])


def test_a_block_without_trade_is_wrong_beside_one_with_trade() -> None:
    series = Series(24)
    series.scale(6, 24, 0.01, volume=0)
    assert judge(series)["unit change"] == list(range(6, 24))


# --- splits ----------------------------------------------------------------------------------

RATIOS = (1.5, 2, 3, 4, 5, 7, 8, 10, 20, 1 / 2, 1 / 5, 1 / 10, 1 / 25)


def judge_ratios(all_series: Sequence[Series]) -> dict[float, dict[str, list[int]]]:
    return dict(zip(RATIOS, judge_each(all_series), strict=True))


def test_a_recorded_split_is_no_note_on_raw_prices_and_a_forgotten_one_is() -> None:
    all_series = [Series() for _ in RATIOS]
    for series, ratio in zip(all_series, RATIOS, strict=True):
        series.scale(40, 80, 1 / ratio, volume=ratio)
    assert judge_ratios(all_series) == {key: {"unrecorded split": [40]} for key in RATIOS}
    for series, ratio in zip(all_series, RATIOS, strict=True):
        series.splits = [(40, ratio)]
    assert judge_ratios(all_series) == {key: {} for key in RATIOS}


def test_a_split_that_the_raw_prices_do_not_show_is_noted() -> None:
    found = judge_ratios([Series(splits=[(40, ratio)]) for ratio in RATIOS])
    assert found == {key: {"unrecorded split": [40]} for key in RATIOS}


def test_a_split_recorded_on_a_day_without_a_bar_counts_for_the_next_bar() -> None:
    series = Series(splits=[(35, 2)])
    series.scale(40, 80, 1 / 2, volume=2)
    bars, splits = series.to_tables()
    kept = bars.take([n for n in range(80) if not 35 <= n < 40])
    assert find(kept, splits) == []


@pytest.mark.parametrize("ratio", [2, 3, 10, 1 / 10])
def test_a_split_recorded_a_day_late_is_noted_on_the_bar_between(ratio: float) -> None:
    series = Series(splits=[(41, ratio)])
    series.scale(40, 80, 1 / ratio, volume=ratio)
    assert judge(series) == {"unrecorded split": [40]}


@pytest.mark.parametrize("ratio", [2, 3, 10, 1 / 10])
def test_split_adjusted_prices_that_jump_at_a_split_are_noted_on_the_bars_before(
    ratio: float,
) -> None:
    series = Series(basis="split", splits=[(40, ratio)])
    assert judge(series) == {}
    series.scale(40, 80, 1 / ratio, volume=ratio)
    assert judge(series) == {"unrecorded split": list(range(20, 40))}


def test_a_split_undone_for_some_bars_is_noted_on_these_bars() -> None:
    series = Series(basis="split", splits=[(50, 2)])
    series.scale(40, 50, 2, volume=0.5)
    assert judge(series) == {"unrecorded split": list(range(40, 50))}


@pytest.mark.parametrize("fall", [0.5, 0.333, 0.1])
@pytest.mark.parametrize("basis", ["raw", "split"])
def test_a_crash_to_a_splits_ratio_with_a_crashs_volume_is_not_noted(
    fall: float, basis: str
) -> None:
    series = Series(basis=basis)
    series.scale(40, 80, fall, volume=3)
    series.volume[40] = 60_000_000
    assert judge(series) == {}


def test_a_fall_to_half_is_no_split_before_it_has_stayed_for_three_bars() -> None:
    series = Series()
    series.scale(78, 80, 0.5, volume=2)
    assert judge(series) == {"large move, unconfirmed": [78]}
    longer = Series(84)
    longer.scale(78, 84, 0.5, volume=2)
    assert judge(longer) == {"unrecorded split": [78]}


# --- spikes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.6, 1.7, 4])
@pytest.mark.parametrize("length", [1, 2])
def test_a_bar_or_two_far_from_both_sides_are_a_spike(factor: float, length: int) -> None:
    series = Series()
    series.scale(40, 40 + length, factor)
    assert judge(series) == {"price spike": list(range(40, 40 + length))}


@pytest.mark.parametrize("factor", [0.5, 0.6, 1.5, 2, 3, 4])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_large_move_of_the_newest_bars_is_noted_until_later_bars_tell(
    factor: float, after: int
) -> None:
    moved = [Series(80 + after, seed=seed) for seed in (0, 0, 1, 1, 2, 2)]
    for alone, stays in zip(moved[::2], moved[1::2], strict=True):
        alone.scale(79, 80, factor)
        stays.scale(79, 80 + after, factor)
    later = Series(85)
    later.scale(79, 80, factor)
    wanted = [{"large move, unconfirmed": [79]}] * len(moved)
    assert judge_each([*moved, later]) == [*wanted, {"price spike": [79]}]


@pytest.mark.parametrize("fall", [0.48, 0.6, 1.5])
def test_a_real_move_has_no_note_once_three_bars_have_come(fall: float) -> None:
    series = Series(84)
    series.scale(79, 84, fall, volume=3)
    series.volume[79] = 60_000_000
    assert set(judge(series)) <= ({"unrecorded split"} if fall == 1.5 else set())
    series = Series(80)
    series.scale(79, 80, fall, volume=60)
    assert judge(series) == {"large move, unconfirmed": [79]}


def test_a_large_move_that_is_usual_or_a_recorded_split_is_none() -> None:
    usual = [Series(60, swing=0.2, seed=seed) for seed in range(5)]
    assert judge_each(usual) == [{}] * len(usual)
    split = Series(splits=[(79, 2)])
    split.scale(79, 80, 1 / 2, volume=2)
    assert judge(split) == {}


def test_a_high_or_a_low_of_the_newest_bar_far_from_everything_is_noted() -> None:
    for column, factor in ((1, 4), (2, 1 / 5)):
        series = Series()
        series.prices[column, 79] *= factor
        assert judge(series) == {"large move, unconfirmed": [79]}


def test_a_high_or_a_low_far_from_everything_is_a_spike() -> None:
    series = Series()
    series.prices[1, 30] *= 4
    series.prices[2, 50] /= 5
    assert judge(series) == {"price spike": [30, 50]}


def test_a_jump_that_is_only_partly_taken_back_is_no_spike() -> None:
    series = Series()
    series.scale(40, 41, 2)
    series.scale(41, 80, 1.4)
    assert judge(series) == {}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_usual_for_a_symbol_is_no_spike(seed: int) -> None:
    assert judge(Series(200, swing=0.25, seed=seed)).get("price spike") is None


def test_prices_of_zero_or_less_are_left_to_other_rules() -> None:
    series = Series()
    series.prices[:, 40] = [-1, 1, -38, -37.63]
    series.prices[:, 41] = 0
    noted = judge(series)
    assert noted.pop("not positive") == [40, 41]
    assert set(noted) <= {"close outside range", "open outside range"}


# --- real bars -------------------------------------------------------------------------------


def read_sample(forgotten: str | None = None) -> tuple[pa.Table, pa.Table]:
    """The shipped bars (basis raw) and splits, one of these left out."""
    connection = duckdb.connect()
    bars = connection.sql(
        f"""SELECT symbol, timestamp, open, high, low, close, volume, 'raw' AS basis,
            'XNYS' AS exchange FROM read_csv('{SAMPLE}/bars.csv.gz',
            types = {{'timestamp': 'TIMESTAMP', 'volume': 'BIGINT'}})"""
    ).to_arrow_table()
    splits = connection.sql(
        f"""SELECT symbol, ex_date::DATE AS ex_date, value::DOUBLE AS ratio
            FROM read_csv('{SAMPLE}/splits.csv')
            WHERE symbol || ' ' || ex_date::DATE <> '{forgotten}'"""
    ).to_arrow_table()
    return bars, splits


def test_the_sample_with_its_splits_and_crashes_has_no_note() -> None:
    bars, splits = read_sample()
    assert (bars.num_rows, splits.num_rows) == (12154, 3)
    assert find(bars, splits) == []


def test_the_sample_without_volumes_has_no_note() -> None:
    bars, splits = read_sample()
    bars = bars.set_column(6, "volume", pa.nulls(bars.num_rows, pa.int64()))
    assert find(bars, splits) == []


@pytest.mark.parametrize("split", ["AAPL 2000-06-21", "AAPL 2005-02-28", "MSFT 2003-02-18"])
def test_a_split_taken_from_the_sample_is_noted_on_its_day(split: str) -> None:
    found = find(*read_sample(split))
    assert [(f"{symbol} {day}", reason) for symbol, day, reason, _ in found] == [
        (split, "unrecorded split")
    ]


# --- recorded bad bars -----------------------------------------------------------------------

FOLDER = os.environ.get("RECORDED_DIRTY_DIR")
needs_recorded = pytest.mark.skipif(
    not FOLDER, reason="RECORDED_DIRTY_DIR does not point to the recorded bad bars"
)
DIRTY = {
    "AET-L-1d-100x-error": "AET.L",
    "ALPHA-PA-1d-bad-stock-split": "ALPHA.PA",
    "LA-V-1d-bad-stock-split": "LA.V",
    "SPM-MI-1d-bad-stock-split": "SPM.MI",
}


def read_recorded(name: str, symbol: str) -> tuple[pa.Table, pa.Table, str]:
    """Bars and splits as the vendor serves them: adjusted for splits."""
    exchange = find_exchange(symbol, "XNYS")
    assert exchange is not None
    relation = duckdb.connect().sql(
        f"""SELECT '{symbol}' AS symbol, substr(first, 1, 19)::TIMESTAMP AS timestamp,
            Open::DOUBLE AS open, High::DOUBLE AS high, Low::DOUBLE AS low,
            Close::DOUBLE AS close, Volume::BIGINT AS volume, 'split' AS basis,
            '{exchange}' AS exchange, "Stock Splits"::DOUBLE AS ratio
            FROM (SELECT *, coalesce(COLUMNS('Date|Datetime')) AS first
                  FROM read_csv('{FOLDER}/{name}.csv', all_varchar = true))"""
    )
    bars = relation.select("* EXCLUDE (ratio)").to_arrow_table()
    splits = relation.filter("ratio <> 0").select("symbol, timestamp::DATE AS ex_date, ratio")
    return bars, splits.to_arrow_table(), exchange


def find_wrong(name: str, symbol: str) -> list[datetime]:
    """The bars of which a price differs by more than one percent from the right one."""
    right = {row["timestamp"]: row for row in read_recorded(f"{name}-fixed", symbol)[0].to_pylist()}
    return sorted(
        row["timestamp"]
        for row in read_recorded(name, symbol)[0].to_pylist()
        if any(not math.isclose(row[p], right[row["timestamp"]][p], rel_tol=0.01) for p in PRICES)
    )


def find_priced(found: Iterable[tuple[str, date, str, str]]) -> list[date]:
    return sorted(day for _, day, reason, _ in found if reason in PRICE_REASONS)


@needs_recorded
@pytest.mark.parametrize(("name", "symbol"), DIRTY.items())
def test_the_wrong_bars_of_a_recorded_file_are_noted_and_no_other(name: str, symbol: str) -> None:
    bars, splits, exchange = read_recorded(name, symbol)
    wrong = [at.date() for at in find_wrong(name, symbol)]
    assert wrong
    assert find_priced(find(bars, splits, exchange)) == wrong


@needs_recorded
@pytest.mark.parametrize(("name", "symbol"), DIRTY.items())
def test_the_right_bars_of_a_recorded_file_have_no_note_on_prices(name: str, symbol: str) -> None:
    bars, splits, exchange = read_recorded(f"{name}-fixed", symbol)
    assert find_priced(find(bars, splits, exchange)) == []


@needs_recorded
@pytest.mark.parametrize("symbol", ["CALM", "EWG"])
def test_a_recorded_clean_file_has_no_note_of_any_kind(symbol: str) -> None:
    bars, splits, exchange = read_recorded(f"{symbol}-1d-no-bad-divs", symbol)
    assert find(bars, splits, exchange) == []


@needs_recorded
def test_a_recorded_hourly_bar_half_in_pounds_is_a_unit_change() -> None:
    name, symbol = "ASAI-L-1h-bad-unit", "ASAI.L"
    [wrong] = find_wrong(name, symbol)
    for variant, days in ((name, [wrong.date()]), (f"{name}-fixed", [])):
        found = find(*read_recorded(variant, symbol))
        assert [day for _, day, reason, _ in found if reason == "unit change"] == days


# --- a neighbourhood is enough ---------------------------------------------------------------


def spoil(series: Series, random: np.random.Generator) -> None:
    """Some of everything that rules look for, anywhere."""
    for _ in range(random.integers(1, 7)):
        start = int(random.integers(0, series.count))
        end = start + int(random.choice([1, 2, 4, 12, 18, 25, 70, 400]))
        factor = float(random.choice([0.01, 0.1, 0.5, 0.52, 2, 3, 10, 100, 1.6]))
        kind = random.integers(0, 6)
        if kind == 0:
            series.scale(start, end, factor)
        elif kind == 1:
            series.scale(start, end, factor, volume=min(1 / factor, 100))
        elif kind == 2:
            series.splits.append((start, 1 / factor))
        elif kind == 3:
            series.scale(start, series.count, factor, volume=1 / factor)
            series.splits.append((min(start + int(random.integers(-2, 3)), series.count - 1), 2))
        elif kind == 4:
            series.prices[:, start:end] = series.prices[:, [start]]
            series.volume[start:end] = random.choice([0, 1000])
        else:
            series.prices[random.integers(0, 4), start:end:3] *= factor


def rename(table: pa.Table, symbol: str) -> pa.Table:
    return table.set_column(0, "symbol", pa.array([symbol] * table.num_rows, pa.string()))


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["raw", "split"]), st.integers(5, 60))
def test_windows_with_their_context_are_judged_like_the_whole(
    seed: int, basis: str, length: int
) -> None:
    """The series is cut into windows, each validated with its context as a symbol of its own."""
    random = np.random.default_rng(seed)
    series = Series(300, basis=basis, seed=seed, swing=float(random.choice([0.005, 0.02, 0.06])))
    spoil(series, random)
    bars, splits = series.to_tables()
    starts = range(0, series.count, length)
    places = [range(max(n - notes.CONTEXT, 0), n + length + notes.CONTEXT) for n in starts]
    found = find(
        pa.concat_tables([rename(bars[p.start : p.stop], str(n)) for n, p in enumerate(places)]),
        pa.concat_tables([rename(splits, str(n)) for n in range(len(places))]),
    )
    windowed = [note[1:] for note in found if series.days.index(note[1]) // length == int(note[0])]
    assert sorted(windowed) == sorted(note[1:] for note in find(bars, splits))


def test_the_order_of_bars_and_the_other_symbols_change_nothing() -> None:
    first, second = Series(symbol="A"), Series(symbol="B", seed=2, basis="split")
    first.scale(30, 40, 100)
    second.scale(20, 80, 0.5, volume=2)
    tables = [series.to_tables() for series in (first, second)]
    splits = pa.concat_tables([table for _, table in tables])
    together = pa.concat_tables([bars for bars, _ in tables])
    shuffled = together.take(np.random.default_rng(3).permutation(together.num_rows))
    alone = sorted(note for bars, _ in tables for note in find(bars, splits))
    assert len(alone) == 11
    assert find(shuffled, splits) == alone


def test_many_islands_are_judged_in_parts_with_the_same_notes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = Series(900)
    for place in range(20, 900, 190):
        series.scale(place, place + 3, 100)
    tables = series.to_tables()
    whole = find(*tables)
    monkeypatch.setattr(notes, "BATCH", 200)
    assert find(*tables) == whole
    assert len(whole) == 15
