"""What a store of minute bars gives of what was put into it (etl.contracts.minutes), whatever
engine it is; how it is written and published stands in test_minute_publication."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from etl.contracts.minutes import (
    BARS,
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    Counts,
    MinuteStore,
)
from tests.minute_stores import (
    OPENERS,
    Opener,
    at,
    bar,
    batch,
    closes,
    load,
    session,
    told,
)


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
def store(opener: Opener, tmp_path: Path) -> Iterator[MinuteStore]:
    opened = opener(tmp_path)
    yield opened
    opened.close()


def test_a_store_that_nothing_was_put_into_is_empty(store: MinuteStore) -> None:
    assert store.newest() == ""
    snapshot = store.snapshot()
    assert (snapshot.generation, dict(snapshot.instruments)) == ("", {})
    assert snapshot.bars("A", "1m").equals(BARS.empty_table())
    assert snapshot.stored(["A", "B"], "1m", None, None).equals(STORED_BARS.empty_table())
    assert snapshot.last(["A"], "1m").num_rows == 0
    assert snapshot.notes("A", "1m", None, None).equals(NOTES.empty_table())
    assert snapshot.revisions("A", "1m", None, None).equals(REVISIONS.empty_table())
    assert snapshot.spans("A", "1m").equals(SPANS.empty_table())
    assert snapshot.sessions("XNYS", None, None).equals(SESSIONS.empty_table())
    with store.writing():
        assert store.publish() == ""


def test_bars_are_in_order_with_their_volumes_in_the_unit_of_the_instrument(
    store: MinuteStore,
) -> None:
    load(
        store,
        batch(
            bar("B", at(2), 3.0, volume=None),
            bar("B", at(0), 1.0, volume=7),
            bar("B", at(1), 2.0, volume=1250, decimals=3),
            bar("A", at(0), volume=5),
        ),
    )
    found = store.snapshot().bars("B", "1m")
    assert found.schema.equals(BARS)
    assert found["timestamp"].to_pylist() == [at(0), at(1), at(2)]
    assert found["volume"].to_pylist() == [700, 125, None]
    assert store.snapshot().instruments["B", "1m"].volume_decimals == 2
    assert store.snapshot().bars("A", "1m")["volume"].to_pylist() == [5]


RANGES: list[tuple[datetime | None, datetime | None, list[int]]] = [
    (None, None, [0, 1, 2]),
    (at(1), None, [1, 2]),
    (None, at(1), [0]),
    (at(0.5), at(1.5), [1]),
    (at(3), None, []),
    (at(1), at(1), []),
    (at(-9999), at(days=999), [0, 1, 2]),
]


def test_a_range_begins_at_its_start_and_ends_before_its_end(store: MinuteStore) -> None:
    load(store, batch(*(bar("A", at(i), float(i)) for i in (2, 0, 1))))
    found = [closes(store, "A", start=start, end=end) for start, end, _ in RANGES]
    assert found == [wanted for _, _, wanted in RANGES]


# Largest volume, decimals of another of 1 unit, unit of both, both in it.
UNITS = [
    (3, 18, 18, [3 * 10**18, 1]),
    (10, 18, 17, [10**18, 0]),
    (2**63 - 1, 2, 0, [2**63 - 1, 0]),
    (92_233_720_368, 8, 8, [92_233_720_368 * 10**8, 1]),
    (92_233_720_369, 8, 7, [92_233_720_369 * 10**7, 0]),
]


def test_the_unit_is_the_finest_in_which_the_largest_volume_fits(store: MinuteStore) -> None:
    bars = [
        *(bar(f"S{i}", at(0), volume=largest) for i, (largest, *_) in enumerate(UNITS)),
        *(bar(f"S{i}", at(1), volume=1, decimals=d) for i, (_, d, *_) in enumerate(UNITS)),
    ]
    load(store, batch(*bars))
    snapshot = store.snapshot()
    for number, (_, _, unit, wanted) in enumerate(UNITS):
        assert snapshot.instruments[f"S{number}", "1m"].volume_decimals == unit
        assert snapshot.bars(f"S{number}", "1m")["volume"].to_pylist() == wanted


def test_months_and_intervals_are_read_as_one(store: MinuteStore) -> None:
    days = (0, 30, 300, 700)
    load(store, batch(*(bar("A", at(days=day), float(day)) for day in days)))
    load(store, batch(bar("A", at(1 / 60), 5.0), interval="1s"))
    assert closes(store, "A") == list(days)
    assert closes(store, "A", start=at(days=30), end=at(days=700)) == [30.0, 300.0]
    assert closes(store, "A", "1s") == [5.0]
    assert {key: each.bars for key, each in store.snapshot().instruments.items()} == {
        ("A", "1m"): 4,
        ("A", "1s"): 1,
    }


def test_a_newer_answer_replaces_a_bar_and_an_older_one_does_not(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 10.0, told(2)), bar("A", at(1), 20.0, told(2))))
    with store.writing():
        counts = store.upsert(
            batch(
                bar("A", at(0), 11.0, told(3)),
                bar("A", at(0), 99.0, told(2.5)),
                bar("A", at(1), 19.0, told(1)),
                bar("A", at(2), 30.0, told(1)),
            ),
            "run",
        )
        store.publish()
    assert counts == Counts(inserted=1, changed=1, stale=1, repeated=1)
    assert closes(store, "A") == [11.0, 20.0, 30.0]


def test_an_answer_that_says_the_same_renews_since_when_an_older_one_cannot_replace_it(
    store: MinuteStore,
) -> None:
    load(store, batch(bar("A", at(0), 10.0, told(0))))
    version = store.snapshot().instruments["A", "1m"].version
    with store.writing():
        assert store.upsert(batch(bar("A", at(0), 10.0, told(5))), "run") == Counts(confirmed=1)
        store.publish()
    assert store.snapshot().stored(["A"], "1m", None, None)["seen_at"].to_pylist() == [told(5)]
    assert store.snapshot().instruments["A", "1m"].version == version
    with store.writing():
        assert store.upsert(batch(bar("A", at(0), 11.0, told(4))), "run") == Counts(stale=1)
        store.publish()
    assert closes(store, "A") == [10.0]


def test_an_old_value_is_a_revision_and_as_of_gives_it(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 10.0, told(1)), bar("A", at(1), 20.0, told(1))))
    load(store, batch(bar("A", at(0), 11.0, told(3)), bar("A", at(2), 30.0, told(3))))
    found = store.snapshot().revisions("A", "1m", None, None)
    assert found.schema.equals(REVISIONS)
    columns = ("timestamp", "close", "known_at", "known_until")
    assert [found[name].to_pylist() for name in columns] == [[at(0)], [10.0], [told(1)], [told(3)]]
    assert closes(store, "A", as_of=told(0)) == []
    assert closes(store, "A", as_of=told(1)) == closes(store, "A", as_of=told(2.9)) == [10.0, 20.0]
    assert closes(store, "A", as_of=told(3)) == closes(store, "A") == [11.0, 20.0, 30.0]
    assert store.snapshot().revisions("A", "1m", at(1), None).num_rows == 0


def test_an_older_answer_that_comes_late_takes_its_place_in_the_history(
    store: MinuteStore,
) -> None:
    for hours, close in ((5, 13.0), (1, 11.0), (3, 12.0), (4, 13.0)):
        load(store, batch(bar("A", at(0), close, told(hours))))
    found = store.snapshot().revisions("A", "1m", None, None)
    assert found["close"].to_pylist() == [11.0, 12.0]
    assert found["known_until"].to_pylist() == [told(3), told(4)]
    assert closes(store, "A", as_of=told(4)) == [13.0]


def test_symbols_are_read_together_sorted_with_all_that_is_stored_of_them(
    store: MinuteStore,
) -> None:
    bars = [bar(s, at(m), m) for m in (1, 0) for s in ("b", "A", "^X", "B")]
    load(store, batch(*bars))
    found = store.snapshot().stored(["b", "^X", "A", "none"], "1m", None, at(1))
    assert found.schema.equals(STORED_BARS)
    assert found["symbol"].to_pylist() == ["A", "^X", "b"], "as bytes, not as letters"
    assert store.snapshot().stored(["A"], "1m", at(1), None)["timestamp"].to_pylist() == [at(1)]
    assert store.snapshot().stored(["A"], "1s", None, None).num_rows == 0


def test_the_last_bar_of_each_symbol_is_found_in_whatever_month_it_is(store: MinuteStore) -> None:
    bars = [bar("A", at(0), 1.0), bar("A", at(1), 2.0, volume=15, decimals=1), bar("B", at(0), 3.0)]
    load(store, batch(*bars, bar("B", at(days=100), 4.0, volume=None)))
    found = store.snapshot().last(["B", "none", "A"], "1m")
    assert found.column_names == ["symbol", *BARS.names]
    assert found.to_pydict() | {"open": 0, "high": 0, "low": 0} == {
        **{"symbol": ["A", "B"], "timestamp": [at(1), at(days=100)], "close": [2.0, 4.0]},
        **{"volume": [15, None], "open": 0, "high": 0, "low": 0},
    }


def test_notes_take_the_place_of_those_between_the_bars_that_come(store: MinuteStore) -> None:
    bars = [bar("A", at(minute)) for minute in range(6)]
    old = [("A", at(minute), "spike", "old") for minute in (0, 2, 5)]
    load(store, batch(*bars, bar("B", at(2)), notes=[*old, ("B", at(2), "frozen", "b")]))
    before = store.snapshot().instruments
    load(store, batch(*bars[1:5], notes=[("A", at(3), "spike", "new")]))
    found = store.snapshot().notes("A", "1m", None, None)
    assert found.schema.equals(NOTES)
    assert found["timestamp"].to_pylist() == [at(0), at(3), at(5)]
    assert found["detail"].to_pylist() == ["old", "new", "old"]
    assert store.snapshot().notes("A", "1m", at(1), at(5)).num_rows == 1
    assert store.snapshot().notes("B", "1m", None, None).num_rows == 1
    after = store.snapshot().instruments
    assert after["A", "1m"].version != before["A", "1m"].version
    assert after["A", "1m"].digest == before["A", "1m"].digest
    assert after["B", "1m"] == before["B", "1m"]


def test_notes_of_months_between_are_replaced_too(store: MinuteStore) -> None:
    days = (0, 40, 80)
    bars = [bar("A", at(days=day)) for day in days]
    load(store, batch(*bars, notes=[("A", at(days=day), "spike", "") for day in days]))
    load(store, batch(bars[0], bars[2]))
    assert store.snapshot().notes("A", "1m", None, None).num_rows == 0


def test_the_span_of_each_answer_is_kept(store: MinuteStore) -> None:
    first = [("A", at(0), at(9), "alpaca", told(0)), ("A", at(0), at(9), "massive", told(0))]
    load(store, batch(bar("A", at(0)), spans=[*first, ("B", at(5), at(20), "alpaca", told(0))]))
    version = store.snapshot().instruments["A", "1m"].version
    load(store, batch(bar("A", at(1)), spans=[*first, ("A", at(0), at(10), "alpaca", told(1))]))
    found = store.snapshot().spans("A", "1m")
    assert found.schema.equals(SPANS)
    columns = ("start", "end", "source", "fetched_at")
    assert list(zip(*(found[name].to_pylist() for name in columns), strict=True)) == [
        (at(0), at(9), "alpaca", told(0)),
        (at(0), at(9), "massive", told(0)),
        (at(0), at(10), "alpaca", told(1)),
    ]
    assert store.snapshot().spans("A", "1s").num_rows == 0
    assert store.snapshot().instruments["A", "1m"].version != version


def test_a_span_without_a_bar_is_kept(store: MinuteStore) -> None:
    generation = load(store, batch(spans=[("A", at(0), at(9), "alpaca", told(0))]))
    assert generation
    assert store.snapshot().spans("A", "1m").num_rows == 1
    assert dict(store.snapshot().instruments) == {}
    load(store, batch(bar("A", at(0))))
    alone = store.snapshot().instruments["A", "1m"].version
    load(store, batch(spans=[("A", at(0), at(10), "alpaca", told(1))]))
    assert store.snapshot().instruments["A", "1m"].version != alone


def test_sessions_are_kept_by_exchange_and_day(store: MinuteStore) -> None:
    days = [date(2024, 3, day) for day in (6, 7, 8)]
    rows = [session("XNYS", day) for day in days]
    load(
        store,
        batch(
            bar("A", at(0)),
            bar("T", at(0)),
            sessions=[*rows, session("XTKS", days[0])],
            exchanges={"A": "XNYS", "T": "XTKS"},
        ),
    )
    before = store.snapshot().instruments
    assert (before["A", "1m"].exchange, before["T", "1m"].exchange) == ("XNYS", "XTKS")
    load(store, batch(sessions=[session("XNYS", days[2], hours=3.5)]))
    found = store.snapshot().sessions("XNYS", None, None)
    assert found.schema.equals(SESSIONS)
    assert found["session"].to_pylist() == days
    lengths = [
        c - o for o, c in zip(*(found[n].to_pylist() for n in ("open", "close")), strict=True)
    ]
    assert [each.seconds / 3600 for each in lengths] == [6.5, 6.5, 3.5]
    inner = store.snapshot().sessions("XNYS", days[1], days[1])
    assert inner["session"].to_pylist() == [days[1]]
    after = store.snapshot().instruments
    assert after["A", "1m"].version != before["A", "1m"].version
    assert after["T", "1m"] == before["T", "1m"]
