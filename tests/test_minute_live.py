"""What live batches bring to a store of minute bars, whatever engine it is: they are seen as any
others, what they change is told in order, and folding them changes no answer."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from etl.contracts.minutes import CHANGES, Batch, Counts, MinuteStore
from tests.minute_stores import OPENERS, Opener, at, bar, batch, closes, load, session, told


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
def store(opener: Opener, tmp_path: Path) -> Iterator[MinuteStore]:
    opened = opener(tmp_path)
    yield opened
    opened.close()


def live(*bars: dict[str, Any], again: bool = False, **beside: Any) -> Batch:
    return replace(batch(*bars, **beside), is_live=True, tells_again=again)


def tell(store: MinuteStore, after: tuple[int, int] = (0, 0), most: int = 99) -> list[Any]:
    """(number, kind, symbol, minute, close) of the changes behind `after`."""
    found = store.snapshot().changes(after, most)
    assert found.schema.equals(CHANGES)
    return [
        (row["number"], row["kind"], row["symbol"], row["timestamp"], row["close"])
        for row in found.to_pylist()
    ]


def count(generation: str) -> int:
    return int(generation.partition("-")[0])


def test_a_live_batch_is_seen_as_any_other(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 1.0), bar("B", at(0), 5.0), exchanges={"A": "XNYS"}))
    load(store, live(bar("A", at(2), 3.0), bar("A", at(1), 2.0), bar("C", at(1), 9.0)))
    load(store, live(bar("A", at(3), 4.0, volume=25, decimals=1), exchanges={"C": "XNYS"}))
    assert (closes(store, "A"), closes(store, "C")) == ([1.0, 2.0, 3.0, 4.0], [9.0])
    assert closes(store, "A", start=at(1), end=at(3)) == [2.0, 3.0]
    snapshot = store.snapshot()
    assert snapshot.bars("A", "1m")["volume"].to_pylist() == [1000, 1000, 1000, 25]
    assert snapshot.last(["C", "A", "B"], "1m")["close"].to_pylist() == [4.0, 5.0, 9.0]
    assert snapshot.stored(["B", "A"], "1m", None, None)["close"].to_pylist() == [1, 2, 3, 4, 5]
    assert [each.bars for _, each in sorted(snapshot.instruments.items())] == [4, 1, 1]
    exchanges = {symbol: each.exchange for (symbol, _), each in snapshot.instruments.items()}
    assert exchanges == {"A": "XNYS", "B": "", "C": "XNYS"}
    assert [fault for _, fault in store.verify() if fault] == []


def test_a_live_correction_of_whatever_day_is_a_revision(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 1.0, told(0)), bar("A", at(0, 50), 2.0, told(0))))
    load(store, batch(bar("A", at(0), 1.5, told(1))))
    load(store, live(bar("A", at(0, 51), 3.0, told(2)), bar("A", at(0), 1.7, told(2))))
    load(store, live(bar("A", at(0), 1.8, told(3)), bar("A", at(0, 50), 2.0, told(3))))
    assert closes(store, "A") == [1.8, 2.0, 3.0]
    found = store.snapshot().revisions("A", "1m", None, None)
    assert found["close"].to_pylist() == [1.0, 1.5, 1.7]
    wanted = {0: [1.0, 2.0], 1: [1.5, 2.0], 2: [1.7, 2.0, 3.0], 3: [1.8, 2.0, 3.0]}
    assert {h: closes(store, "A", as_of=told(h)) for h in wanted} == wanted
    assert [fault for _, fault in store.verify() if fault] == []


def test_what_live_batches_change_is_told_in_order(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 1.0), bar("B", at(0), 1.0)))
    assert tell(store) == [], "of live batches alone"
    with store.writing():
        bars = [
            bar("B", at(1), 2.0),
            bar("A", at(2), 3.0),
            bar("A", at(1), 2.0),
            bar("A", at(0), 1.0),
        ]
        store.upsert(live(*bars), "run")
        store.upsert(live(bar("A", at(1), 2.5, told(1)), bar("A", at(2), 9.0, told(-1))), "run")
        first = count(store.publish())
    second = count(load(store, live(bar("A", at(0), 1.5, told(2)))))
    changes = store.snapshot().changes((0, 0), 99)
    assert changes["counter"].to_pylist() == [first] * 4 + [second]
    assert tell(store) == [
        (0, "new", "A", at(1), 2.0),
        (1, "new", "B", at(1), 2.0),
        (2, "new", "A", at(2), 3.0),
        (3, "revised", "A", at(1), 2.5),
        (0, "revised", "A", at(0), 1.5),
    ]
    assert tell(store, (first, 1), 2) == tell(store)[2:4]
    assert tell(store, (first, 3)) == tell(store)[4:]
    assert tell(store, (second, 0)) == []
    assert store.snapshot().changes_kept_from == 0
    assert {name: changes[name].to_pylist()[4] for name in ("interval", "source", "known_at")} == {
        **{"interval": "1m", "source": "alpaca", "known_at": told(2)},
    }


def test_what_is_said_again_is_told_by_a_replay_alone(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 1.0), bar("B", at(0), 2.0)))
    same = (bar("A", at(0), 1.0), bar("B", at(0), 2.0, told(1)))
    load(store, live(*same))
    assert tell(store) == []
    with store.writing():
        assert store.upsert(live(*same, again=True), "run") == Counts(confirmed=2)
        generation = store.publish()
    assert tell(store) == [(0, "repeated", "A", at(0), 1.0), (1, "repeated", "B", at(0), 2.0)]
    assert store.snapshot().changes((0, 0), 9)["counter"].to_pylist() == [count(generation)] * 2


def test_live_batches_leave_notes_as_they_are(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0)), bar("A", at(2)), notes=[("A", at(0), "spike", "why")]))
    load(store, live(bar("A", at(0), 11.0, told(1)), bar("A", at(1))))
    assert store.snapshot().notes("A", "1m", None, None).num_rows == 1


def test_sessions_and_spans_of_live_batches_are_kept(store: MinuteStore) -> None:
    days = [date(2024, 3, 7), date(2024, 3, 8)]
    span = ("A", at(0), at(1), "alpaca", told())
    load(store, batch(bar("A", at(0)), sessions=[session("XNYS", days[0])], spans=[span]))
    later = ("A", at(1), at(2), "alpaca", told(1))
    given = {"sessions": [session("XNYS", day, 5) for day in days], "spans": [span, later]}
    load(store, live(bar("A", at(1)), bar("B", at(1)), exchanges={"A": "XNYS"}, **given))
    snapshot = store.snapshot()
    assert snapshot.spans("A", "1m")["start"].to_pylist() == [at(0), at(1)]
    found = snapshot.sessions("XNYS", None, None)
    assert found["session"].to_pylist() == days
    assert found["close"].to_pylist() == [session("XNYS", day, 5)[3] for day in days]
    assert [fault for _, fault in store.verify() if fault] == []


def read_all(store: MinuteStore) -> list[Any]:
    snapshot = store.snapshot()
    return [
        dict(snapshot.instruments),
        *(snapshot.bars(s, "1m", as_of=when) for s in "AB" for when in (None, told(1), told(2))),
        *(snapshot.revisions(s, "1m", None, None) for s in "AB"),
        snapshot.stored(["A", "B"], "1m", None, None),
        snapshot.sessions("XNYS", None, None),
        snapshot.changes((0, 0), 99),
    ]


@pytest.mark.parametrize("before", [at(-1), at(0, 50), at(0, 99)])
def test_folding_changes_no_answer(store: MinuteStore, before: Any) -> None:
    load(store, batch(*(bar("A", at(m), m, told(0)) for m in range(4))))
    load(store, live(bar("A", at(1), 9.0, told(1)), bar("A", at(0, 50), 7.0), bar("B", at(3), 4.0)))
    load(
        store,
        live(
            bar("A", at(1), 8.0, told(2)),
            bar("A", at(0, 51), 7.0),
            sessions=[session("XNYS", date(2024, 3, 7))],
        ),
    )
    wanted = read_all(store)
    with store.writing():
        store.fold(before)
        store.publish()
    assert read_all(store) == wanted
    assert [fault for _, fault in store.verify() if fault] == []
    load(store, live(bar("A", at(2), 5.0, told(3)), bar("A", at(0, 52), 6.0)))
    assert closes(store, "A") == [0.0, 8.0, 5.0, 3.0, 7.0, 7.0, 6.0]
    load(store, batch(bar("A", at(3), 1.0, told(4)), bar("A", at(1), 0.0, told(1.5))))
    assert closes(store, "A") == [0.0, 8.0, 5.0, 1.0, 7.0, 7.0, 6.0]
    assert closes(store, "A", as_of=told(1.7))[1] == 0.0
    assert [fault for _, fault in store.verify() if fault] == []
