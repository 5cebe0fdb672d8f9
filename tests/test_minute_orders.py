"""Whatever the order in which answers come, and however they are parted into batches, a store of
minutes ends up with the same bars and the same history: those that plain Python finds."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from etl.contracts.minutes import MinuteSnapshot, MinuteStore
from tests.minute_stores import IN_TURN, OPENERS, Opener, at, bar, batch, load, told

# Two months, the night in which New York's clocks go forward, ends of a day and of a year.
KEYS = [at(0), at(1), at(0, 3), at(569), at(570), at(0, 24), at(0, 25), at(0, 299), at(0, 300)]
Row = dict[str, Any]


@pytest.fixture(params=IN_TURN)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


def make_rows(rng: random.Random, symbol: str) -> Iterator[Row]:
    """Answers of one small store: some keys, of each some values after each other, each said once
    or several times. No value comes back: of that the order may tell (see changes.py)."""
    for when in rng.sample(KEYS, rng.randint(1, 4)):
        hour = rng.randint(0, 3)
        for close in rng.sample(range(1, 50), rng.randint(1, 4)):
            volume = rng.choice([None, 0, 12, 3_000_000_000])
            for _ in range(rng.randint(1, 3)):
                hour += rng.randint(1, 5)
                yield say(rng, bar(symbol, when, float(close), told(hour), volume))


def say(rng: random.Random, row: Row) -> Row:
    """The same bar, its volume told with more decimals than it needs."""
    decimals = rng.choice([0, 0, 1, 3])
    volume = row["volume"] and row["volume"] * 10**decimals
    return row | {"volume": volume, "volume_decimals": decimals}


def part(rng: random.Random, rows: list[Row]) -> list[list[Row]]:
    """The rows in any order, in a few batches; some of them twice."""
    shuffled = rng.sample(rows, len(rows)) + rng.sample(rows, len(rows) // 5)
    cuts = sorted(rng.sample(range(1, len(shuffled)), 4))
    return [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]


Told = tuple[str, datetime, float, int | None, datetime, datetime | None]


def find_history(rows: list[Row]) -> tuple[list[Told], list[Told]]:
    """Bars (with the newest answer that said so) and revisions (with the answer that ended them),
    by the definition: equal answers after each other are one span."""
    bars: list[Told] = []
    revisions: list[Told] = []
    ordered = sorted(rows, key=lambda r: (r["symbol"], r["timestamp"], r["fetched_at"]))
    for key, of_key in groupby(ordered, key=lambda r: (r["symbol"], r["timestamp"])):
        spans = [
            (close, list(each)) for close, each in groupby(of_key, key=lambda row: row["close"])
        ]
        for (close, said), following in zip(spans, [*spans[1:], None], strict=True):
            volume = said[0]["volume"] and said[0]["volume"] // 10 ** said[0]["volume_decimals"]
            known = said[0]["fetched_at"]
            if following is None:
                bars.append((*key, close, volume, known, said[-1]["fetched_at"]))
            else:
                revisions.append((*key, close, volume, known, following[1][0]["fetched_at"]))
    return bars, revisions


def read_history(snapshot: MinuteSnapshot, symbols: list[str]) -> tuple[list[Any], list[Any]]:
    names = ("symbol", "timestamp", "close", "volume", "known_at")
    stored = snapshot.stored(symbols, "1m", None, None).to_pylist()
    old = [row for s in symbols for row in snapshot.revisions(s, "1m", None, None).to_pylist()]
    assert {row["volume_decimals"] for row in (*stored, *old)} == {0}
    return (
        [(*(row[name] for name in names), row["seen_at"]) for row in stored],
        [(*(row[name] for name in names), row["known_until"]) for row in old],
    )


def check_orders(opener: Opener, folder: Path, count: int, orders: int) -> None:
    rng = random.Random(1)
    symbols = [f"S{number:03}" for number in range(count)]
    rows = [row for symbol in symbols for row in make_rows(rng, symbol)]
    wanted = find_history(rows)
    assert all(len(part) > count for part in wanted)
    in_time = sorted(rows, key=lambda row: row["fetched_at"])
    found = []
    for number, parts in enumerate([[in_time], *(part(rng, rows) for _ in range(orders))]):
        store = opener(folder / str(number))
        load(store, *(batch(*each) for each in parts[:2]))
        for each in parts[2:]:
            load(store, batch(*each))
        snapshot = store.snapshot()
        assert read_history(snapshot, symbols) == wanted
        check_as_of(store, rng.choice(symbols), rows)
        found.append(dict(snapshot.instruments))
        store.close()
    assert all(each == found[0] for each in found), "digests and versions too"


def check_as_of(store: MinuteStore, symbol: str, rows: list[Row]) -> None:
    for hour in range(0, 30, 3):
        instant = told(hour) + timedelta(minutes=1)
        known = [row for row in rows if row["symbol"] == symbol and row["fetched_at"] <= instant]
        closes = [row[2] for row in find_history(known)[0]]
        found = store.snapshot().bars(symbol, "1m", as_of=instant)
        assert found["close"].to_pylist() == closes


def test_any_order_of_batches_gives_the_same_bars_and_history(
    opener: Opener, tmp_path: Path
) -> None:
    check_orders(opener, tmp_path, 20, 1)


@pytest.mark.minutes
def test_any_order_of_batches_gives_the_same_of_many_stores(opener: Opener, tmp_path: Path) -> None:
    check_orders(opener, tmp_path, 200, 5)


def test_of_two_answers_of_one_instant_the_greater_content_wins_in_any_order(
    opener: Opener, tmp_path: Path
) -> None:
    rows = [bar("A", at(0), close, volume=v) for close, v in ((10.0, 7), (10.0, None), (9.0, 9))]
    for number, order in enumerate(([0, 1, 2], [2, 1, 0])):
        store = opener(tmp_path / str(number))
        load(store, *(batch(rows[i]) for i in order))
        found = store.snapshot().stored(["A"], "1m", None, None)
        assert (found["close"].to_pylist(), found["volume"].to_pylist()) == ([10.0], [7])
        assert store.snapshot().revisions("A", "1m", None, None).num_rows == 0
        store.close()
