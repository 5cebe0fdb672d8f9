"""What every store of answers keeps to (api.cache.Cache), wherever it keeps their bytes."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from api import redis_link
from api.cache import Cache
from api.cache.memory import Answer, AnswerBackend, Memory, MemoryBackend
from api.cache.redis_backend import RedisBackend
from api.fallbacks import Standby
from tests.redis_server import RedisServer, run_redis


class BytesBackend(AnswerBackend):
    """The least that is needed where bytes are kept elsewhere: get and set."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        return -1, self.values.get(key)

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        self.values[key] = value

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        gone = [k for k in self.values if k == key or (namespace and k.startswith(namespace))]
        for each in gone:
            del self.values[each]
        return len(gone)


OPENERS: dict[str, Callable[[str], AnswerBackend]] = {
    "in memory": lambda url: MemoryBackend(Memory(1_000_000)),
    "as bytes": lambda url: BytesBackend(),
    "in Redis": lambda url: RedisBackend(url, "build", Standby()),
}
HEAD = [(b"content-type", b"application/json"), (b"etag", b'"1-\xe9"')]
ANSWERS = [
    Answer(200, HEAD, b'{"data":[]}'),
    Answer(200, [], b""),
    Answer(200, HEAD, bytes(range(256)) * 300),  # line feeds and all other bytes
]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The loop that a backend's connections live in."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=OPENERS)
def backend(
    request: pytest.FixtureRequest, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AnswerBackend]:
    url = ""
    if request.param == "in Redis":
        monkeypatch.setattr(redis_link, "TIMEOUT", 20.0)  # a busy machine is no fault
        monkeypatch.setattr(redis_link, "CONNECT_TIMEOUT", 20.0)
        server: RedisServer = request.getfixturevalue("redis_server")
        server.client.flushall()
        url = server.url
    backend: Cache = OPENERS[request.param](url)
    assert isinstance(backend, AnswerBackend)
    yield backend
    if isinstance(backend, RedisBackend):
        runner.run(backend.close())


@pytest.mark.parametrize("answer", ANSWERS, ids=["a small one", "an empty one", "all bytes"])
def test_what_is_set_is_got_byte_by_byte_and_as_an_answer(
    runner: asyncio.Runner, backend: AnswerBackend, answer: Answer
) -> None:
    runner.run(backend.set("key", answer.pack()))
    assert runner.run(backend.get("key")) == answer.pack()
    assert runner.run(backend.get_answer("key")) == answer


def test_an_answer_that_is_set_is_got_as_bytes(
    runner: asyncio.Runner, backend: AnswerBackend
) -> None:
    runner.run(backend.set_answer("key", ANSWERS[2]))
    assert runner.run(backend.get("key")) == ANSWERS[2].pack()
    assert runner.run(backend.get_with_ttl("key"))[1] == ANSWERS[2].pack()


def test_a_key_that_was_never_set_is_a_miss_whatever_it_begins_with(
    runner: asyncio.Runner, backend: AnswerBackend
) -> None:
    runner.run(backend.set("key", ANSWERS[0].pack()))
    for key in ("", "ke", "key2", "KEY"):
        assert runner.run(backend.get(key)) is None
        assert runner.run(backend.get_answer(key)) is None


def test_the_last_that_is_set_under_a_key_counts(
    runner: asyncio.Runner, backend: AnswerBackend
) -> None:
    for answer in (ANSWERS[2], ANSWERS[0]):
        runner.run(backend.set("key", answer.pack()))
    assert runner.run(backend.get("key")) == ANSWERS[0].pack()


def test_clear_forgets_one_key_or_those_that_begin_so_and_leaves_the_others(
    runner: asyncio.Runner,
    backend: AnswerBackend,
) -> None:
    for key in ("a:1", "a:2", "b:1", "b:2"):
        runner.run(backend.set(key, ANSWERS[0].pack()))
    assert runner.run(backend.clear(key="b:1")) == 1
    assert runner.run(backend.clear(namespace="a:")) == 2
    left = [key for key in ("a:1", "a:2", "b:1", "b:2") if runner.run(backend.get(key))]
    assert left == ["b:2"]
