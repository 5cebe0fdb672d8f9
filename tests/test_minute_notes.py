"""What is noted of bars of minutes, and when it no longer holds."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from etl.market.exchanges import find_exchange
from etl.market.session_spans import create_spans
from etl.rules.minute_notes import find_notes
from tests.conftest import call_etl
from tests.minutes import load_rows, look_at, make_row, use_folder

OPEN = datetime.fromisoformat("2013-02-28T14:30")
NEXT_DAY = datetime.fromisoformat("2013-03-01")
NEXT_WEEK = datetime.fromisoformat("2013-03-10")
Bar = tuple[Any, ...]  # minutes since the open, then open high low close volume
Notes = dict[tuple[int, str], str]

BARS = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", pa.timestamp("us")),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume")),
        ("seen_at", pa.timestamp("us")),
    ]
)
DAILY = pa.schema(
    [
        *(("symbol", pa.string()), ("day", pa.date32())),
        *((name, pa.float64()) for name in ("high", "low", "close", "volume")),
        ("known_at", pa.timestamp("us")),
    ]
)


def bar(minute: float, price: float, high: float = 0, low: float = 0, volume: float = 100) -> Bar:
    return minute, price, high or price, low or price, price, volume


def walk(minutes: range, price: float = 100) -> list[Bar]:
    """Calm bars, no two of them alike."""
    return [bar(n, price + n % 7 / 100, volume=100 + n) for n in minutes]


def note(
    bars: Sequence[Bar],
    symbol: str = "IBM",
    daily: dict[str, Any] | None = None,
    seen_at: datetime = NEXT_DAY,
    opening: datetime = OPEN,
) -> Notes:
    """(minutes since the opening, kind) → detail."""
    rows = [(symbol, opening + timedelta(minutes=n), *values, seen_at) for n, *values in bars]
    with duckdb.connect() as connection:
        named = [dict(zip(BARS.names, row, strict=True)) for row in rows]
        given = {
            "bars": pa.Table.from_pylist(named, schema=BARS),
            "daily_bars": pa.Table.from_pylist([daily] if daily else [], schema=DAILY),
            "symbol_exchanges": pa.table(
                {"symbol": [symbol], "exchange": pa.array([find_exchange(symbol, "XNYS")])}
            ),
        }
        for name, table in given.items():
            connection.register(name, table)
        names = [name for name in [find_exchange(symbol, "XNYS")] if name]
        create_spans(connection, names, opening.date(), opening.date())
        find_notes(connection)
        found = connection.execute("SELECT timestamp, kind, detail FROM notes").fetchall()
    keys = [(int((at - opening).total_seconds() // 60), kind) for at, kind, _ in found]
    assert len(set(keys)) == len(keys), "one note a bar and kind"
    return dict(zip(keys, (row[2] for row in found), strict=True))


def make_daily(symbol: str = "IBM", **values: object) -> dict[str, Any]:
    usual = {"high": 101.0, "low": 99.0, "close": 100.0, "volume": 1000.0}
    return {"symbol": symbol, "day": OPEN.date(), "known_at": NEXT_DAY, **usual, **values}


def test_calm_bars_have_no_note() -> None:
    assert note(walk(range(390))) == {}


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("factor", [1.03, 0.9, 100])
def test_a_price_that_leaves_and_is_back_within_minutes_is_a_spike(
    length: int, factor: float
) -> None:
    bars = walk(range(30))
    for n in range(length):
        bars[15 + n] = bar(15 + n, 100 * factor)
    assert set(note(bars)) == {(15 + n, "spike") for n in range(length)}


def test_a_single_print_within_a_bar_is_a_spike() -> None:
    bars = walk(range(30))
    bars[12] = bar(12, 100, high=108)
    told = note(bars)[12, "spike"]
    assert told.startswith("108, where the bars before are at 100.")


def test_a_price_that_stays_where_it_went_is_none() -> None:
    assert note([*walk(range(15)), *walk(range(15, 30), 110)]) == {}


def test_what_is_usual_for_a_wild_session_is_none() -> None:
    wild = [bar(n, 100 + n % 3, high=104 + n % 3, low=96 + n % 3) for n in range(60)]
    wild[30] = bar(30, 105, high=109, low=101)
    assert note(wild) == {}


def test_a_spike_between_two_sessions_is_not_looked_for() -> None:
    """What moved overnight has no bars before it to come back to."""
    days = [(0, 100.0), (1440, 130.0), (4 * 1440, 100.0)]  # Thursday, Friday, Monday
    bars = [each for n, price in days for each in walk(range(n, n + 5), price)]
    assert note(bars, seen_at=NEXT_WEEK) == {}


@pytest.mark.parametrize(("length", "is_noted"), [(59, False), (60, True), (200, True)])
def test_a_price_that_does_not_move_for_an_hour_is_frozen(length: int, is_noted: bool) -> None:
    bars = [
        *walk(range(10)),
        *(bar(n, 99, volume=n) for n in range(10, 10 + length)),
        *walk(range(10 + length, 100 + length)),
    ]
    noted = note(bars)
    assert set(noted) == ({(10, "frozen_price")} if is_noted else set())
    if is_noted:
        assert f"in {length} bars, until 2013-02-28 " in noted[10, "frozen_price"]


@pytest.mark.parametrize(("length", "is_noted"), [(3, False), (4, True)])
def test_bars_that_repeat_with_their_volume_are_frozen_soon(length: int, is_noted: bool) -> None:
    bars = [*walk(range(10)), *(bar(n, 99, 101, 98, 777) for n in range(10, 10 + length))]
    assert set(note(bars)) == ({(10, "frozen_price")} if is_noted else set())


def test_seconds_that_are_alike_for_as_long_as_minutes_are_frozen_too() -> None:
    alike = [bar(n / 60, 99, volume=100) for n in range(240)]
    assert note(alike[:120]) == {}
    assert set(note(alike)) == {(0, "frozen_price")}


@pytest.mark.parametrize(
    ("symbol", "opening", "minutes", "wanted"),
    [
        ("IBM", OPEN, [-2, -1, 0, 389, 390], {-2: "2 bars before", 390: "1 bar after"}),
        (
            "7203.T",
            datetime.fromisoformat("2013-02-28"),
            [0, 149, 150, 209, 210],
            {150: "2 bars in the break of"},
        ),
        ("ESH13", datetime.fromisoformat("2013-02-27T23:00"), [0, 600], {}),  # the evening before
        ("BTC-USD", OPEN, [-900, 0, 900], {}),
        ("IBM", OPEN, [2 * 1440], {2 * 1440: "1 bar after the session 2013-03-01"}),  # Saturday
        ("IBM", OPEN, [4 * 1440 - 600], {4 * 1440 - 600: "1 bar before the session 2013-03-04"}),
        ("OPAP.AT", OPEN, [-900, 0, 900], {}),  # no calendar is known: every hour is regular
    ],
)
def test_bars_outside_the_session_are_noted_once_a_stretch(
    symbol: str, opening: datetime, minutes: list[int], wanted: dict[int, str]
) -> None:
    bars = [bar(n, 100, volume=1000 + n) for n in minutes]
    found = note(bars, symbol, seen_at=NEXT_WEEK, opening=opening)
    assert set(found) == {(n, "outside_session") for n in wanted}
    for n, told in wanted.items():
        assert found[n, "outside_session"].startswith(told)


@pytest.mark.parametrize(
    ("minute", "high", "low", "is_noted"),
    [
        (0, 102.1, 0, True),
        (0, 101.9, 0, False),
        (0, 0, 97.9, True),
        (-5, 102.1, 0, False),
        (-5, 125.0, 0, True),
    ],
)
def test_a_price_far_outside_the_range_of_its_day_is_noted(
    minute: int, high: float, low: float, is_noted: bool
) -> None:
    bars = [bar(minute, 100, high, low, volume=900)]
    kinds = {kind for _, kind in note(bars, daily=make_daily())}
    assert ("outside_day_range" in kinds) == is_noted


@pytest.mark.parametrize(
    ("daily", "told"),
    [
        ({"high": 100.2, "low": 99.8, "volume": 1000.0}, None),
        ({"high": 101.0}, "high 100.2, daily 101"),
        ({"low": 99.2}, "low 99.8, daily 99.2"),
        ({"close": 98.0}, "close 100, daily 98"),
        ({"volume": 900.0}, "volume 1000, daily 900"),
        ({"volume": 1600.0}, None),  # the auctions are in the day alone
        ({"volume": 2000.0, "close": 102.0}, "close 100, daily 102; volume 1000, daily 2000"),
        ({"volume": None}, None),
        ({"high": 101.0, "known_at": OPEN}, None),  # the daily bar is of a session under way
        ({"high": 101.0, "symbol": "AAPL"}, None),
    ],
)
def test_a_session_that_does_not_make_its_daily_bar_is_noted_with_the_numbers(
    daily: dict[str, Any], told: str | None
) -> None:
    bars = [bar(0, 100, high=100.2, volume=400), bar(5, 100, low=99.8, volume=600)]
    before = bar(-10, 100, high=100.4, volume=5000)  # no part of the day
    usual = {"high": 100.2, "low": 99.8}
    found = note([before, *bars], daily=make_daily(**usual | daily))
    assert {k: v for k, v in found.items() if k[1] != "outside_session"} == (
        {(0, "differs_from_daily"): told} if told else {}
    )


def test_a_session_under_way_is_provisional_and_not_compared() -> None:
    bars = [bar(0, 100), bar(5, 100, volume=7)]
    found = note(bars, daily=make_daily(high=200.0), seen_at=OPEN + timedelta(minutes=6))
    assert set(found) == {(0, "provisional")}
    assert (
        "before the close of the session 2013-02-28 at 2013-02-28 21:00:00"
        in found[0, "provisional"]
    )


def test_prices_that_contradict_their_bar_are_noted() -> None:
    odd = (0, 105.0, 101.0, 99.0, 100.0, 5.0)
    assert set(note([odd])) == {(0, "open_outside_range")}
    assert set(note([bar(0, -1.0)], "CL=F")) == {(0, "not_positive")}


def read_notes(data_dir: Path) -> set[tuple[str, str]]:
    with look_at(use_folder(data_dir)) as snapshot:
        table = snapshot.notes("IBM", "1m", None, None)
        rows = table.select(["timestamp", "kind"]).to_pylist()
    return {(f"{row['timestamp']:%H:%M}", row["kind"]) for row in rows}


def at(minute: int, price: float, seen: str, **other: object) -> dict[str, Any]:
    stamp = f"{OPEN + timedelta(minutes=minute):%Y-%m-%dT%H:%M}Z"
    return make_row(stamp, price, "IBM", fetched_at=datetime.fromisoformat(seen), **other)


def test_what_comes_later_changes_what_is_said_of_the_whole_session(data_dir: Path) -> None:
    """The spike can be told once the price is back; a session that is over is provisional no
    more."""
    settings = use_folder(data_dir)
    first = [at(n, 100 + n / 100, "2013-02-28T14:36", volume=str(n + 1)) for n in range(5)]
    load_rows(settings, [*first, at(5, 120, "2013-02-28T14:36")])
    assert read_notes(data_dir) == {("14:30", "provisional")}
    later = [at(n, 100 + n / 100, "2013-02-28T22:00", volume=str(n + 1)) for n in range(6, 12)]
    load_rows(settings, later)
    assert read_notes(data_dir) == {("14:35", "spike")}
    load_rows(settings, [at(5, 100.01, "2013-03-01T00:00")])
    assert read_notes(data_dir) == set()


def test_a_session_is_compared_with_the_bar_of_the_daily_store(data_dir: Path) -> None:
    call_etl(data_dir, SOURCE="sample", SYMBOLS="IBM")
    load_rows(use_folder(data_dir), [at(0, 200, "2013-03-02"), at(1, 200.5, "2013-03-02")])
    assert ("14:30", "differs_from_daily") in read_notes(data_dir)
