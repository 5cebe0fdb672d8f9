"""Which bus there is: BUS_URL says so."""

from urllib.parse import urlsplit

from etl.bus import Bus, BusError
from etl.bus.memory import MemoryBus


def open_bus(url: str, most_bytes: int) -> Bus:
    """Of this process where no URL is given. BusError where its client is not installed."""
    if not url:
        return MemoryBus(most_bytes)
    if urlsplit(url).scheme in ("kafka", "kafkas"):
        check_package("confluent_kafka", "requirements-kafka.txt")
        from etl.bus.kafka import KafkaBus

        return KafkaBus(url, most_bytes)
    check_package("redis", "requirements-redis.txt")
    from etl.bus.redis_streams import RedisBus

    return RedisBus(url, most_bytes)


def check_package(name: str, file: str) -> None:
    try:
        __import__(name)
    except ImportError:
        raise BusError(
            f"BUS_URL wants {name}: pip install -r {file} -c constraints.txt, or leave it empty"
        ) from None
