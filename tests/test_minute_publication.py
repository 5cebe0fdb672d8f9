"""How a store of minute bars is written and published (etl.contracts.minutes), whatever engine it
is; what it gives stands in test_minute_store."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from etl.contracts.minutes import (
    Counts,
    MinuteStore,
    MinuteStoreError,
    MixedSources,
    StoreDown,
)
from tests.minute_stores import (
    IN_TURN,
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

SPAN = ("A", at(0), at(9), "alpaca", told())


@pytest.fixture(params=IN_TURN)
def opener(request: pytest.FixtureRequest) -> Opener:
    return OPENERS[request.param]


@pytest.fixture
def store(opener: Opener, tmp_path: Path) -> Iterator[MinuteStore]:
    opened = opener(tmp_path)
    yield opened
    opened.close()


def test_what_is_upserted_is_seen_once_it_is_published(store: MinuteStore) -> None:
    with store.writing():
        counts = store.upsert(batch(bar("A", at(0)), bar("A", at(1), 11.0)), "run")
        assert counts == Counts(inserted=2)
        assert (store.newest(), closes(store, "A")) == ("", [])
        generation = store.publish()
    assert generation
    assert store.newest() == store.snapshot().generation == generation
    assert closes(store, "A") == [10.0, 11.0]


def test_another_process_sees_what_is_published(opener: Opener, tmp_path: Path) -> None:
    writer, reader = opener(tmp_path), opener(tmp_path)
    load(writer, batch(bar("A", at(0))))
    first = reader.newest()
    assert closes(reader, "A") == [10.0]
    second = load(writer, batch(bar("A", at(1), 11.0)))
    assert reader.newest() == second != first
    assert closes(reader, "A") == [10.0, 11.0]
    for each in (writer, reader):
        each.close()


def test_the_same_batch_twice_is_once(store: MinuteStore) -> None:
    given = batch(
        *(bar("A", at(0)), bar("B", at(1), 11.0, volume=None)),
        notes=[("A", at(0), "spike", "why")],
        spans=[("A", at(-30), at(60), "alpaca", told())],
        sessions=[session("XNYS", date(2024, 3, 7))],
        exchanges={"A": "XNYS", "B": "XNYS"},
    )
    first = load(store, given)
    before = dict(store.snapshot().instruments)
    with store.writing():
        assert store.upsert(given, "another run") == Counts(confirmed=2)
        assert store.publish() == first
    assert dict(store.snapshot().instruments) == before


def test_synthetic_bars_are_never_beside_real_ones(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), source="synthetic"), bar("B", at(0))))
    assert store.snapshot().instruments["A", "1m"].is_synthetic
    generation = store.newest()
    for bad in (
        [bar("C", at(0)), bar("A", at(9))],
        [bar("B", at(9), source="synthetic")],
        [bar("D", at(0)), bar("D", at(1), source="synthetic")],
    ):
        with store.writing():
            with pytest.raises(MixedSources, match=f"^{bad[-1]['symbol']}: .*load"):
                store.upsert(batch(*bad), "run")
            assert store.publish() == generation
    made = batch(bar("E", at(0), source="synthetic"), interval="1s")
    with store.writing():
        store.upsert(batch(bar("E", at(0))), "run")
        with pytest.raises(MixedSources, match=r"^E: "):
            store.upsert(made, "run")
    assert ("C", "1m") not in store.snapshot().instruments


@pytest.mark.parametrize(
    "wrong",
    [
        bar("A", at(0.5)),
        bar("A", at(0), float("nan")),
        bar("A", at(0), float("inf")),
        bar("A", at(0), volume=-1),
        bar("A", at(0), decimals=19),
        bar("A", at(0)) | {"open": None},
        bar("A", at(0)) | {"source": None},
        bar("A", at(0)) | {"fetched_at": None},
    ],
)
def test_a_row_that_can_be_no_bar_is_refused_with_all_of_its_batch(
    store: MinuteStore, wrong: dict[str, object]
) -> None:
    with store.writing():
        store.upsert(batch(bar("B", at(0))), "run")
        with pytest.raises(
            MinuteStoreError, match=r"A 2024-03-07 .* is no bar of 1m: run transform"
        ):
            store.upsert(batch(bar("C", at(0)), wrong), "run")
        store.publish()
    assert list(store.snapshot().instruments) == [("B", "1m")]


def test_an_interval_that_is_no_base_is_refused(store: MinuteStore) -> None:
    with store.writing(), pytest.raises(MinuteStoreError, match=r"bars of 5m are not stored: .*1m"):
        store.upsert(batch(bar("A", at(0)), interval="5m"), "run")


def test_what_is_discarded_is_gone(store: MinuteStore) -> None:
    generation = load(store, batch(bar("A", at(0))))
    with store.writing():
        store.upsert(batch(bar("A", at(0), 12.0, told(1)), bar("B", at(0))), "run")
        store.discard()
        assert store.publish() == generation
        store.upsert(batch(bar("C", at(0))), "run")
    assert store.newest() == generation, "the end of writing() discards too"
    assert closes(store, "A") == [10.0]
    load(store, batch(bar("A", at(1), 11.0)))
    assert list(store.snapshot().instruments) == [("A", "1m")]
    assert closes(store, "A") == [10.0, 11.0]


def test_a_second_writer_is_told_so_and_readers_go_on(opener: Opener, tmp_path: Path) -> None:
    one, other = opener(tmp_path), opener(tmp_path)
    load(one, batch(bar("A", at(0))))
    with one.writing():
        one.upsert(batch(bar("A", at(1), 11.0)), "run")
        with (
            pytest.raises(StoreDown, match=r"writes (in)?to .* now: wait till it ends"),
            other.writing(),
        ):
            pass
        assert closes(other, "A") == [10.0]
        one.publish()
    load(other, batch(bar("A", at(2), 12.0)))
    assert closes(one, "A") == [10.0, 11.0, 12.0]
    for each in (one, other):
        each.close()


def test_several_batches_are_published_as_one(store: MinuteStore) -> None:
    with store.writing():
        store.upsert(batch(bar("A", at(0), 10.0, told(1)), bar("B", at(0))), "run")
        assert store.upsert(batch(bar("A", at(0), 11.0, told(2))), "run") == Counts(changed=1)
        assert store.upsert(batch(bar("A", at(0), 9.0, told(0))), "run") == Counts(stale=1)
        first = store.publish()
        store.upsert(batch(bar("A", at(1), 12.0)), "run")
        second = store.publish()
    assert first != second
    assert closes(store, "A") == [11.0, 12.0]
    assert store.snapshot().revisions("A", "1m", None, None)["close"].to_pylist() == [9.0, 10.0]


def test_a_version_moves_with_its_symbol_alone(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0)), bar("B", at(0))))
    before = store.snapshot().instruments
    load(store, batch(bar("A", at(1))))
    after = store.snapshot().instruments
    assert after["B", "1m"] == before["B", "1m"]
    assert after["A", "1m"].version != before["A", "1m"].version
    assert after["A", "1m"].digest != before["A", "1m"].digest
    assert (after["A", "1m"].first, after["A", "1m"].last) == (at(0), at(1))


def test_a_snapshot_goes_on_to_give_what_it_gave_or_says_that_it_cannot(
    store: MinuteStore,
) -> None:
    load(store, batch(bar("A", at(0)), bar("A", at(days=100), 11.0)))
    snapshot = store.snapshot()
    for number in (1, 2, 3):
        load(store, batch(bar("A", at(0), 50.0 + number, told(number)), bar("B", at(0))))
        try:
            found = snapshot.bars("A", "1m")
        except MinuteStoreError as error:
            assert isinstance(error, StoreDown) or "kept no more" in str(error)  # noqa: PT017
        else:
            assert found["close"].to_pylist() == [10.0, 11.0]
    assert closes(store, "A") == [53.0, 11.0]


def test_a_snapshot_may_be_read_by_several_threads(store: MinuteStore) -> None:
    symbols = [f"S{i}" for i in range(8)]
    bars = [bar(s, at(m, 40 * m), i) for i, s in enumerate(symbols) for m in range(4)]
    load(store, batch(*bars))
    snapshot = store.snapshot()

    def read(number: int) -> bool:
        found = snapshot.bars(symbols[number % 8], "1m")
        return found["close"].to_pylist() == [float(number % 8)] * 4

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))


def test_a_sound_store_verifies(store: MinuteStore) -> None:
    load(store, batch(bar("A", at(0), 10.0, told(1)), bar("B", at(days=50), volume=None)))
    load(
        store,
        batch(
            *(
                bar("A", at(0), 11.0, told(2)),
                bar("A", at(-1)),
                bar("C", at(0), volume=1, decimals=2),
            ),
            notes=[("A", at(0), "spike", "why")],
            spans=[("A", at(0), at(9), "alpaca", told())],
        ),
    )
    lines = store.verify()
    assert len(lines) > 1
    assert [(said, fault) for said, fault in lines if fault] == []


def test_what_is_removed_is_as_if_it_had_never_been(store: MinuteStore) -> None:
    if not hasattr(store, "remove"):
        pytest.skip("this engine takes nothing out yet")
    made = [bar("A", at(0, day), 5.0, told(day), source="synthetic") for day in (0, 50)]
    load(store, batch(bar("B", at(0))), batch(bar("A", at(0), 4.0, told(-1), source="synthetic")))
    load(store, batch(*made, notes=[("A", at(0), "spike", "")], spans=[SPAN]))
    with store.writing():
        store.upsert(batch(bar("A", at(9), 6.0, source="synthetic"), interval="1s"), "run")
        store.remove(["A", "none"])
        assert store.upsert(batch(bar("A", at(0))), "run") == Counts(inserted=1)
        assert closes(store, "A") == [5.0, 5.0], "till it is published"
        store.publish()
    snapshot = store.snapshot()
    assert sorted(snapshot.instruments) == [("A", "1m"), ("B", "1m")]
    assert snapshot.instruments["A", "1m"][3:6] == (1, at(0), at(0))
    assert snapshot.instruments["A", "1m"].sources == ("alpaca",)
    assert (closes(store, "A"), closes(store, "B")) == ([10.0], [10.0])
    assert snapshot.notes("A", "1m", None, None).num_rows == 0
    assert snapshot.revisions("A", "1m", None, None).num_rows == 0
    assert snapshot.spans("A", "1m").num_rows == 0
    assert [fault for _, fault in store.verify() if fault] == []
