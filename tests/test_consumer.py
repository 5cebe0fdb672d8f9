"""From the bus into the minute store: each bar once, refused ones kept apart, nothing lost."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from etl.bus import Bus
from etl.bus.memory import MemoryBus
from etl.contracts.minutes import Batch, Counts, MinuteStore, StoreDown
from etl.contracts.minutes.engines import open_minutes
from etl.feed import consumer
from etl.feed.consumer import TRIES, Consumer
from etl.feed.messages import BAR, DAILY, NOTHING, UPDATED, Message, pack
from etl.feed.telling import Teller
from etl.settings import Settings, read_settings
from tests.server import wait_until

AT = 1_795_530_700_000_000
M30, M31 = (datetime.fromisoformat(f"2026-11-23T14:{minute}") for minute in (30, 31))
T1, T2 = "2026-11-23T14:30:00Z", "2026-11-23T14:31:00Z"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        Settings, environ={"DATA_DIR": str(tmp_path)}, env_file=Path("/nowhere/.env")
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[MinuteStore]:
    store = open_minutes(settings)
    yield store
    store.close()


@pytest.fixture
def bus() -> Bus:
    return MemoryBus(1 << 20)


def bar(close: str = "1.5", at: int = AT, stamp: str = T1, symbol: str = "IBM", kind: str = BAR,
        **more: str | None) -> Message:  # fmt: skip
    values: dict[str, str | None] = {"open": "1", "high": "2", "low": "0.5", "volume": "100"}
    return Message(kind, at, "alpaca", symbol, stamp, close=close, **{**values, **more})  # type: ignore[arg-type]


def publish(bus: Bus, *messages: Message) -> None:
    for body in pack(messages):
        bus.publish(body)


def read(store: MinuteStore, symbol: str = "IBM") -> list[tuple[datetime, float]]:
    table = store.snapshot().bars(symbol, "1m")
    return list(zip(*(table[name].to_pylist() for name in ("timestamp", "close")), strict=True))


def consume(settings: Settings, bus: Bus, store: MinuteStore) -> Consumer:
    consumer = Consumer(settings, bus, store, idle=0)
    consumer.drain()
    return consumer


def test_bars_are_stored_once_and_acknowledged(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar(), bar("1.6", stamp=T2), bar("9", symbol="AAPL"))
    publish(bus, bar(at=AT + 1))  # the same, sent again
    consumer = consume(settings, bus, store)
    assert read(store) == [
        (M30, 1.5),
        (M31, 1.6),
    ]
    assert [close for _, close in read(store, "AAPL")] == [9]
    assert bus.measure() == (0, 0.0, 0, 0)
    assert consumer.state.stored.inserted == 3


def test_a_correction_replaces_and_an_older_answer_never_does(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar("1.5", at=AT))
    consume(settings, bus, store)
    publish(bus, bar("1.7", at=AT + 60_000_000, kind=UPDATED))
    consume(settings, bus, store)
    publish(bus, bar("1.4", at=AT + 1))  # late
    consume(settings, bus, store)
    assert [close for _, close in read(store)] == [1.7]
    revisions = store.snapshot().revisions("IBM", "1m", None, None)
    assert sorted(revisions["close"].to_pylist()) == [1.4, 1.5]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (bar(high="0.4"), "high"),
        (bar(open=None), "price"),
        (bar("NaN"), "not finite"),
        (bar("abc"), "number"),
        (bar(stamp="2026-11-23T14:30:07Z"), "off the interval"),
        (bar(stamp="yesterday"), "unreadable time"),
        (bar(stamp="2999-01-04T15:00:00Z"), "future time"),
        (bar(symbol=""), "symbol"),
        (bar(volume="-1"), "volume"),
        (bar()._replace(interval="5m"), "an interval that is not stored"),
        (Message(NOTHING, AT, "alpaca", text="{not json"), "no message"),
    ],
)
def test_what_is_no_bar_is_kept_apart_and_the_rest_is_stored(
    message: Message, reason: str, settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar(stamp=T2), message)
    consumer = consume(settings, bus, store)
    assert [stamp for stamp, _ in read(store)] == [M31]
    (dead,) = bus.list_dead(9)
    assert reason in dead.reason
    assert (bus.measure().waiting, consumer.state.dead) == (0, 1)


def test_what_was_kept_apart_can_be_sent_again(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar(high="0.4"))
    consume(settings, bus, store)
    assert bus.resend(bus.list_dead(9)) == 1
    consume(settings, bus, store)
    assert len(bus.list_dead(9)) == 1  # it is refused for the same reason


def test_todays_daily_bar_is_neither_stored_nor_kept_apart(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar(kind=DAILY), bar(stamp=T2))
    consume(settings, bus, store)
    assert len(read(store)) == 1
    assert bus.list_dead(9) == []


class Failing:
    """The store, that fails so many times before it takes a batch."""

    def __init__(self, store: MinuteStore, times: int) -> None:
        self.store, self.times = store, times

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def upsert(self, batch: Batch, run_id: str) -> Counts:
        self.times -= 1
        if self.times >= 0:
            raise StoreDown("it does not answer")
        return self.store.upsert(batch, run_id)


def test_a_store_that_is_down_costs_nothing(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar(), bar(stamp=T2))
    consumer = Consumer(settings, bus, Failing(store, 3))  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(StoreDown):
            consumer.step(0)
    assert bus.measure().waiting == 1
    assert consumer.step(0) == 1
    assert len(read(store)) == 2
    assert bus.measure() == (0, 0.0, 0, 0)


def test_who_ends_waits_a_while_for_a_store_that_another_writes_to(
    settings: Settings, bus: Bus, store: MinuteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LAST_TRIES", 4)
    publish(bus, bar())
    Consumer(settings, bus, Failing(store, 3), retry=0.0).drain()  # type: ignore[arg-type]
    assert len(read(store)) == 1
    publish(bus, bar(stamp=T2))
    with pytest.raises(StoreDown):
        Consumer(settings, bus, Failing(store, 99), retry=0.0).drain()  # type: ignore[arg-type]
    assert bus.measure().waiting == 1


def test_an_entry_that_fails_again_and_again_is_kept_apart_and_others_are_stored(
    settings: Settings, bus: Bus, store: MinuteStore, caplog: pytest.LogCaptureFixture
) -> None:
    publish(bus, bar()._replace(source="synthetic"))
    consume(settings, bus, store)
    publish(bus, bar(stamp=T2))  # real, beside synthetic
    publish(bus, bar(symbol="AAPL"))
    consume(settings, bus, store)
    (dead,) = bus.list_dead(9)
    assert "synthetic" in dead.reason
    assert len(caplog.messages) == TRIES
    assert len(read(store)) == len(read(store, "AAPL")) == 1
    assert bus.measure().waiting == 0


def test_what_another_consumer_left_is_taken_over(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    publish(bus, bar())
    assert len(bus.read(9, 0)) == 1  # by one that dies
    consume(settings, bus, store)
    assert len(read(store)) == 1


def test_a_consumer_stores_what_comes_until_it_is_told_to_end(
    settings: Settings, bus: Bus, store: MinuteStore
) -> None:
    ends = threading.Event()
    consumer = Consumer(settings, bus, store)
    thread = threading.Thread(target=consumer.run, args=(ends,))
    thread.start()
    publish(bus, bar())
    while bus.measure().waiting:
        assert thread.is_alive()
    ends.set()
    thread.join(120)
    assert len(read(store)) == 1


def test_batches_are_bounded(settings: Settings, bus: Bus, store: MinuteStore) -> None:
    consumer = Consumer(replace(settings, consume_bars=10), bus, store)
    for number in range(5):
        publish(bus, *(bar(symbol=f"S{number}{each}") for each in range(8)))
    assert [consumer.step(1) for _ in range(2)] == [5, 0]


def test_live_bars_are_folded_in_a_pause_and_told_meanwhile(
    settings: Settings, bus: Bus, store: MinuteStore, tmp_path: Path
) -> None:
    consumer = Consumer(settings, bus, store)
    publish(bus, bar())
    consumer.step(0)
    consumer.fold_if_quiet()
    assert not consumer.is_folded  # the pause is short yet
    consumer.stored_at -= 10_000
    consumer.fold_if_quiet()
    assert consumer.is_folded
    assert len(read(store)) == 1
    Teller(replace(settings, metrics_textfile=tmp_path / "mds.prom")).tell(consumer)
    (told,) = tmp_path.glob("market_data_live_*.prom")
    assert 'outcome="inserted"} 1.0' in told.read_text()


def test_consumers_of_one_store_take_turns(settings: Settings, bus: Bus) -> None:
    ends = threading.Event()
    stores = [open_minutes(settings) for _ in range(2)]
    consumers = [Consumer(settings, bus, each, retry=0.01) for each in stores]
    threads = [threading.Thread(target=each.run, args=(ends,)) for each in consumers]
    for thread in threads:
        thread.start()
    for number in range(20):
        publish(bus, bar(symbol=f"S{number}"))
        wait_until(lambda: bus.measure().waiting < 3)
    wait_until(lambda: not bus.measure().waiting)
    ends.set()
    for thread in threads:
        thread.join(120)
    assert sum(each.state.stored.inserted for each in consumers) == 20
    assert len(stores[0].snapshot().instruments) == 20
    for store in stores:
        store.close()
