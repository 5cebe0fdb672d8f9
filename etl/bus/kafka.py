"""The bus on brokers that speak Kafka's protocol: a topic, a group, and a topic of the dead.

A broker keeps one offset a partition, so entries are acknowledged up to the first that is not. What
this process read and did not acknowledge it gives out again itself; what one that died had read the
group gives to others, who cannot be told how often that was.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from etl.bus import BusDown, BusError, BusState, DeadEntry, Entry, check_size

log = logging.getLogger("etl")

T = TypeVar("T")

GROUP = "mds-consumers"
PATIENCE = 10.0  # seconds
PARTITIONS = 4
REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


def read_options(url: str) -> tuple[dict[str, str | int | float | bool], str]:
    """kafka://user:password@host:9092,other:9092/topic as librdkafka's settings, and the topic."""
    parts = urlsplit(url)
    user, _, brokers = parts.netloc.rpartition("@")
    options: dict[str, str | int | float | bool] = {"bootstrap.servers": brokers}
    is_safe = parts.scheme == "kafkas"
    if user:
        name, _, password = user.partition(":")
        options |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": unquote(name)}
        options["sasl.password"] = unquote(password)
    if user or is_safe:
        protocol = ("SASL_" if user else "") + ("SSL" if is_safe else "PLAINTEXT")
        options["security.protocol"] = protocol
    return options, parts.path.strip("/") or "mds-bars"


class KafkaBus:
    """Opens its two ends when they are used first: a stream never joins the group."""

    def __init__(self, url: str, most_bytes: int) -> None:
        self.options, self.topic = read_options(url)
        self.options |= {"log_level": 0, "socket.timeout.ms": int(PATIENCE * 1000)}
        self.dead_topic = f"{self.topic}-dead"
        self.most_bytes = most_bytes
        self.given: dict[tuple[int, int], tuple[Entry, float]] = {}  # place → and when
        self.next: dict[int, int] = {}  # partition → the offset that comes next
        self.acked: dict[int, set[int]] = {}
        self.dropped = 0
        self.producer_: Producer | None = None
        self.consumer_: Consumer | None = None

    # Its ends.

    @property
    def producer(self) -> Producer:
        if self.producer_ is None:
            self.make_topics()
            self.producer_ = Producer(
                {
                    **self.options,
                    "enable.idempotence": True,
                    "linger.ms": 0,
                    "delivery.timeout.ms": int(PATIENCE * 1000),
                }
            )
        return self.producer_

    @property
    def consumer(self) -> Consumer:
        if self.consumer_ is None:
            self.make_topics()
            settings = {
                "group.id": f"{GROUP}-{self.topic}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
            }
            self.consumer_ = Consumer({**self.options, **settings})
            self.consumer_.subscribe([self.topic], on_assign=self.forget, on_revoke=self.forget)
        return self.consumer_

    def make_topics(self) -> None:
        """Where they are there already, they stay as somebody made them."""
        admin = AdminClient(self.options)
        each = {"retention.bytes": str(max(1, self.most_bytes // PARTITIONS)), "retention.ms": "-1"}
        wanted = [
            NewTopic(self.topic, PARTITIONS, config=each),
            NewTopic(self.dead_topic, 1, config={"cleanup.policy": "compact"}),
        ]
        for future in admin.create_topics(wanted, operation_timeout=PATIENCE).values():
            try:
                future.result(PATIENCE)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise to_bus_error(error.args[0]) from None

    def forget(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions came or went: others may be given what was read and not acknowledged."""
        for partition in partitions:
            number = partition.partition
            self.next.pop(number, None)
            self.acked.pop(number, None)
            self.given = {at: each for at, each in self.given.items() if at[0] != number}

    def ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except KafkaException as error:
            raise to_bus_error(error.args[0]) from None

    # Publishing.

    def publish(self, body: bytes) -> None:
        self.send(self.topic, None, check_size(body))

    def send(self, topic: str, key: str | None, body: bytes | None) -> None:
        faults: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                faults.append(error)

        def produce() -> int:
            self.producer.produce(topic, body, key, on_delivery=note)
            return self.producer.flush(PATIENCE + 1)

        if self.ask(produce):
            self.producer.purge()
            raise BusDown("the brokers of BUS_URL do not answer")
        if faults:
            raise to_bus_error(faults[0])

    # Reading.

    def read(self, most: int, wait: float) -> list[Entry]:
        found = self.ask(lambda: self.consumer.consume(1, wait))
        if found and most > 1:  # asked for many at once it would wait until there are so many
            found += self.ask(lambda: self.consumer.consume(most - 1, 0.0))
        entries = []
        for message in found:
            if (error := message.error()) is not None:
                raise to_bus_error(error)
            entries.append(self.take(message))
        return entries

    def take(self, message: Message) -> Entry:
        place = message.partition() or 0, message.offset() or 0
        expected = self.next.get(place[0])
        if expected is not None and place[1] > expected:
            self.dropped += place[1] - expected
            log.error("bus: %s entries were dropped unread (BUS_MAX_MB)", place[1] - expected)
        self.next[place[0]] = place[1] + 1
        entry = Entry(
            f"{place[0]}-{place[1]}", message.value() or b"", 1, message.timestamp()[1] / 1000
        )
        self.given[place] = entry, time.monotonic()
        return entry

    def claim(self, idle: float, most: int) -> list[Entry]:
        before = time.monotonic() - idle
        late = [place for place, (_, at) in self.given.items() if at <= before][:most]
        for place in late:
            entry = self.given[place][0]
            self.given[place] = entry._replace(deliveries=entry.deliveries + 1), time.monotonic()
        return [self.given[place][0] for place in late]

    def ack(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            partition, offset = map(int, entry.position.split("-"))
            if self.given.pop((partition, offset), None):
                self.acked.setdefault(partition, set()).add(offset)
        done = [
            TopicPartition(self.topic, partition, self.find_end(partition))
            for partition in self.acked
            if self.acked[partition]
        ]
        if done:
            self.ask(lambda: self.consumer.commit(offsets=done, asynchronous=False))
            for each in done:
                self.acked[each.partition] = {
                    n for n in self.acked[each.partition] if n >= each.offset
                }

    def find_end(self, partition: int) -> int:
        """The first offset of a partition that was given out and not acknowledged."""
        open_ = [offset for number, offset in self.given if number == partition]
        return min(open_, default=self.next[partition])

    # The dead.

    def bury(self, body: bytes, reason: str) -> None:
        at = f"{time.time()}".encode()
        head = b"\n".join((at, reason.replace("\n", " ").encode()))
        self.send(self.dead_topic, uuid4().hex, head + b"\n" + check_size(body))

    def list_dead(self, most: int) -> list[DeadEntry]:
        found: dict[str, DeadEntry] = {}
        for message in self.read_dead():
            key = (message.key() or b"").decode()
            value = message.value()
            if not value:  # sent again
                found.pop(key, None)
                continue
            at, reason, body = value.split(b"\n", 2)
            found[key] = DeadEntry(key, body, reason.decode(), float(at))
        return list(found.values())[:most]

    def read_dead(self) -> list[Message]:
        """All of the topic, by a consumer of no group."""
        self.make_topics()
        options = {**self.options, "group.id": uuid4().hex, "auto.offset.reset": "earliest"}
        reader = Consumer({**options, "enable.auto.commit": False})
        try:
            place = TopicPartition(self.dead_topic, 0, 0)
            low, high = self.ask(lambda: reader.get_watermark_offsets(place, PATIENCE))
            reader.assign([TopicPartition(self.dead_topic, 0, low)])
            found: list[Message] = []
            last, ends = low - 1, time.monotonic() + PATIENCE
            while last < high - 1 and time.monotonic() < ends:
                for message in self.ask(lambda: reader.consume(1000, 0.2)):
                    if message.error() is None:
                        found.append(message)
                        last = message.offset() or 0
            return found
        finally:
            reader.close()

    def resend(self, dead: Sequence[DeadEntry]) -> int:
        there = {each.position for each in self.list_dead(2**31)}
        found = [each for each in dead if each.position in there]
        for each in found:
            self.publish(each.body)
            self.send(self.dead_topic, each.position, None)
        return len(found)

    # How it stands.

    def measure(self) -> BusState:
        waiting = sum(high - done for high, done in self.read_ends())
        oldest = min((entry.published_at for entry, _ in self.given.values()), default=0.0)
        return BusState(waiting, oldest, self.dropped, len(self.list_dead(2**31)))

    def read_ends(self) -> list[tuple[int, int]]:
        """Of each partition: the end of what was published, and of what was acknowledged."""
        self.make_topics()
        options = {**self.options, "group.id": f"{GROUP}-{self.topic}"}
        reader = self.consumer_ or Consumer({**options, "enable.auto.commit": False})
        try:
            places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            done = self.ask(lambda: reader.committed(places, PATIENCE))
            ends = []
            for place in done:
                low, high = self.ask(partial(reader.get_watermark_offsets, place, PATIENCE))
                ends.append((high, max(low, place.offset)))
            return ends
        finally:
            if reader is not self.consumer_:
                reader.close()

    def find_danger(self) -> str:
        return ""  # how many brokers keep a topic is for whoever runs them

    def close(self) -> None:
        if self.consumer_ is not None:
            self.consumer_.close()


def to_bus_error(error: KafkaError) -> BusError:
    if error.code() in REFUSED:
        return BusError(f"the brokers of BUS_URL refuse us ({error.name()}): set user and password")
    return BusDown(f"the brokers of BUS_URL do not do it ({error.name()})")
