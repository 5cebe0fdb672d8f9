"""What every bus holds to: at least once, bounded, and nothing dropped in silence."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from etl.bus import MOST_BYTES, Bus, BusDown, BusError, Entry
from etl.bus.choose import open_bus
from etl.bus.memory import MemoryBus
from tests.kafka_broker import run_kafka
from tests.redis_server import RedisServer, run_redis
from tests.server import wait_until

ROOM = 8 << 20

Open = Callable[[], Bus]  # one more end of the same bus


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis"), is_durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_kafka(tmp_path_factory.mktemp("kafka")) as url:
        yield url


@pytest.fixture(params=["memory", "redis", pytest.param("kafka", marks=pytest.mark.long)])
def open_end(request: pytest.FixtureRequest) -> Iterator[Open]:
    ends: list[Bus] = []
    alone = MemoryBus(ROOM)

    def open_() -> Bus:
        if request.param == "memory":
            return alone
        if request.param == "redis":
            request.getfixturevalue("redis_server").client.flushall()
        url = read_url(request)
        ends.append(open_bus(url, ROOM))
        return ends[-1]

    yield open_
    for end in ends:
        end.close()


def read_url(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return str(request.getfixturevalue("kafka_url")).replace("mds-bars", f"t{uuid4().hex}")


def read_all(bus: Bus, count: int) -> list[Entry]:
    """So many entries; the first read of a broker waits for its group."""
    found: list[Entry] = []

    def is_there() -> bool:
        found.extend(bus.read(100, 0.2))
        return len(found) >= count

    wait_until(is_there)
    return found


def test_entries_come_in_order_and_once(open_end: Open) -> None:
    bus = open_end()
    for number in range(5):
        bus.publish(b"%d" % number)
    found = read_all(bus, 5)
    assert sorted(entry.body for entry in found) == [b"0", b"1", b"2", b"3", b"4"]
    assert [entry.deliveries for entry in found] == [1] * 5
    assert bus.read(10, 0.01) == []
    assert bus.measure().waiting == 5
    assert bus.measure().oldest == pytest.approx(min(e.published_at for e in found))
    bus.ack(found)
    assert bus.measure() == (0, 0.0, 0, 0)
    bus.ack(found)  # gone already


def test_what_is_not_acknowledged_is_claimed_and_counted(open_end: Open) -> None:
    bus = open_end()
    bus.publish(b"one")
    bus.publish(b"two")
    first, second = sorted(read_all(bus, 2), key=lambda entry: entry.body)
    bus.ack([first])
    assert bus.claim(60, 10) == []
    (again,) = bus.claim(0, 10)
    assert again == second._replace(deliveries=2)
    (again,) = bus.claim(0, 10)
    assert again.deliveries == 3
    bus.ack([again])
    assert bus.claim(0, 10) == []
    assert bus.measure().waiting == 0


def test_the_dead_are_listed_with_their_reason_and_sent_again_once(open_end: Open) -> None:
    bus = open_end()
    bus.bury(b"\x00\xff\n{", "no JSON")
    bus.bury(b"second", "no symbol: it is\nempty")
    dead = bus.list_dead(10)
    assert [each.body for each in dead] == [b"\x00\xff\n{", b"second"]
    assert [each.reason.split()[:2] for each in dead] == [["no", "JSON"], ["no", "symbol:"]]
    assert bus.list_dead(1) == dead[:1]
    assert bus.measure().dead == 2
    assert bus.resend(dead[:1]) == 1
    assert bus.resend(dead[:1]) == 0
    assert [each.body for each in bus.list_dead(10)] == [b"second"]
    assert [entry.body for entry in read_all(bus, 1)] == [dead[0].body]


def test_an_entry_that_is_too_long_is_refused(open_end: Open) -> None:
    bus = open_end()
    bus.publish(b"x" * MOST_BYTES)
    with pytest.raises(ValueError, match="split it"):
        bus.publish(b"x" * (MOST_BYTES + 1))
    assert [len(entry.body) for entry in read_all(bus, 1)] == [MOST_BYTES]


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_what_has_no_room_is_dropped_oldest_first_and_counted(
    kind: str, request: pytest.FixtureRequest
) -> None:
    url = ""
    if kind == "redis":
        server = request.getfixturevalue("redis_server")
        server.client.flushall()
        url = server.url
    bus = open_bus(url, 100)
    for number in range(5):
        bus.publish(b"%d" % number * 40)
    assert [entry.body[:1] for entry in bus.read(10, 0.01)] == [b"3", b"4"]
    assert bus.measure()[::2] == (2, 3)
    bus.close()


# Redis alone


def test_a_dead_consumers_entries_go_to_another(redis_server: RedisServer) -> None:
    redis_server.client.flushall()
    one, other = (open_bus(redis_server.url, ROOM) for _ in range(2))
    for number in range(4):
        one.publish(b"%d" % number)
    mine, others = one.read(2, 0.01), other.read(9, 0.01)
    assert [entry.body for entry in mine + others] == [b"0", b"1", b"2", b"3"]
    one.close()
    taken = other.claim(0, 10)
    assert {entry.body for entry in taken} == {b"0", b"1", b"2", b"3"}
    assert {entry.deliveries for entry in taken} == {2}
    other.ack(taken)
    assert other.measure().waiting == 0
    other.close()


def test_a_redis_that_came_back_goes_on_with_what_waited(tmp_path: Path) -> None:
    with run_redis(tmp_path, is_durable=True) as server:
        bus = open_bus(server.url, ROOM)
        bus.publish(b"one")
        bus.publish(b"two")
        bus.ack(bus.read(1, 0.01))
        server.kill()
        with pytest.raises(BusDown, match="ConnectionError"):
            bus.publish(b"three")
        with pytest.raises(BusDown):
            bus.read(1, 0.01)
        server.start()
        assert [entry.body for entry in bus.read(9, 0.01)] == [b"two"]
        server.client.flushall()  # it came back empty
        bus.publish(b"four")
        assert [entry.body for entry in bus.read(9, 0.01)] == [b"four"]
        bus.close()


def test_a_full_redis_takes_nothing_and_says_so(tmp_path: Path) -> None:
    with run_redis(tmp_path) as server:
        bus = open_bus(server.url, ROOM)
        bus.publish(b"one")
        server.fill()
        with pytest.raises(BusDown, match="OutOfMemory"):
            bus.publish(b"two")
        server.empty()
        bus.publish(b"two")
        assert [entry.body for entry in bus.read(9, 0.01)] == [b"one", b"two"]
        bus.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"appendonly": "yes"}, ""),
        ({"appendonly": "no", "save": ""}, "nothing on disk"),
        ({"appendonly": "no", "save": "60 1"}, "only snapshots"),
        (
            {"appendonly": "yes", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            "throws keys away when it is full (allkeys-lru)",
        ),
    ],
)
def test_a_redis_that_may_lose_bars_is_named_a_danger(
    redis_server: RedisServer, settings: dict[str, str], said: str
) -> None:
    before = {name: redis_server.client.config_get(name)[name] or "" for name in settings}
    bus = open_bus(redis_server.url, ROOM)
    try:
        for name, value in settings.items():
            redis_server.client.config_set(name, value)
        danger = bus.find_danger()
        assert said in danger
        assert bool(danger) is bool(said)
    finally:
        for name, value in before.items():
            redis_server.client.config_set(name, value)
        bus.close()


def test_a_wrong_password_is_told_without_it(redis_server: RedisServer) -> None:
    bus = open_bus(redis_server.url.replace("//", "//:hunter2@"), ROOM)
    with pytest.raises(BusError) as caught:
        bus.publish(b"one")
    assert "hunter2" not in str(caught.value)
    bus.close()


def test_what_redis_drops_is_an_error_of_the_log(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.client.flushall()
    bus = open_bus(redis_server.url, 10)
    with caplog.at_level(logging.ERROR, "etl"):
        bus.publish(b"x" * 8)
        bus.publish(b"y" * 8)
    assert "1 entries dropped" in caplog.text
    bus.close()
