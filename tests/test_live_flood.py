"""As many bars as there are at once: all are stored, each once, and memory stays as it was."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time

import pytest

from etl.bus.choose import open_bus
from etl.contracts.minutes.engines import open_minutes
from etl.feed.consumer import Consumer
from etl.feed.messages import BAR, Message, pack
from etl.settings import Settings, read_settings
from tests.kafka_broker import run_kafka
from tests.redis_server import run_redis

MIB = 1 << 20
AT_ONCE = 20  # minutes that are published before they are stored
OPEN = datetime(2024, 3, 7, 14, 30)  # noqa: DTZ001


@contextmanager
def run_redis_bus(folder: Path) -> Iterator[str]:
    with run_redis(folder, is_durable=True) as server:
        yield server.url


BUSES: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "Redis Streams": run_redis_bus,
    "Kafka protocol": run_kafka,
}


def make_minute(minute: int, symbols: int) -> Iterator[Message]:
    day, within = divmod(minute, 390)
    stamp = f"{OPEN + timedelta(days=day, minutes=within):%Y-%m-%dT%H:%M:%SZ}"
    close = f"{10 + minute / 100:.2f}"
    for number in range(symbols):
        name = f"S{number:04d}"
        yield Message(BAR, minute, "alpaca", name, stamp, "10", "99", "1", close, "100")


@pytest.mark.parametrize("name", BUSES)
@pytest.mark.parametrize(
    ("symbols", "minutes"),
    [
        pytest.param(500, 40, marks=pytest.mark.live, id="20,000"),
        pytest.param(2_500, 400, marks=pytest.mark.live, id="a million"),
    ],
)
def test_a_flood_is_stored_whole(tmp_path: Path, name: str, symbols: int, minutes: int) -> None:
    environ = {"DATA_DIR": str(tmp_path / "data"), "CONSUME_BARS": "50000"}
    settings = read_settings(Settings, environ=environ, env_file=Path("/nowhere/.env"))
    with (
        BUSES[name](tmp_path) as url,
        closing(open_bus(url, 512 * MIB)) as bus,
        closing(open_minutes(settings)) as store,
    ):
        consumer = Consumer(settings, bus, store)
        peaks, seconds, processor = [], 0.0, 0.0
        for first in range(0, minutes, AT_ONCE):
            for minute in range(first, first + AT_ONCE):
                for body in pack(make_minute(minute, symbols)):
                    bus.publish(body)
            seconds, processor = seconds - perf_counter(), processor - process_time()
            while consumer.state.stored.inserted < (first + AT_ONCE) * symbols:
                consumer.step(1.0)
            seconds, processor = seconds + perf_counter(), processor + process_time()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
        stored = store.snapshot().instruments
        assert {each.bars for each in stored.values()} == {minutes}
        assert len(stored) == symbols
        assert consumer.state.stored == (symbols * minutes, 0, 0, 0, 0)
        assert bus.measure() == (0, 0.0, 0, 0)
    count = symbols * minutes
    print(f"\n{name}: {count:,} bars, {count / seconds:,.0f} a second stored,"
          f" {processor / count * 1e6:.0f} µs of processor a bar;"
          f" MB at most, in steps: {peaks[:: max(1, len(peaks) // 5)]}")  # fmt: skip
