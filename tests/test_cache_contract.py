"""What every store of answers keeps to (api.cache.Cache), wherever it keeps their bytes."""

import asyncio
from collections.abc import Callable

import pytest

from api.cache import Cache
from api.cache.memory import Answer, AnswerBackend, Memory, MemoryBackend


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


OPENERS: dict[str, Callable[[], AnswerBackend]] = {
    "in memory": lambda: MemoryBackend(Memory(1_000_000)),
    "as bytes": BytesBackend,
}
HEAD = [(b"content-type", b"application/json"), (b"etag", b'"1-\xe9"')]
ANSWERS = [
    Answer(200, HEAD, b'{"data":[]}'),
    Answer(200, [], b""),
    Answer(200, HEAD, bytes(range(256)) * 300),  # line feeds and all other bytes
]


@pytest.fixture(params=OPENERS)
def backend(request: pytest.FixtureRequest) -> AnswerBackend:
    return OPENERS[request.param]()


def get(cache: Cache, key: str) -> bytes | None:
    return asyncio.run(cache.get(key))


def keep(cache: Cache, key: str, value: bytes) -> None:
    asyncio.run(cache.set(key, value))


@pytest.mark.parametrize("answer", ANSWERS, ids=["a small one", "an empty one", "all bytes"])
def test_what_is_set_is_got_byte_by_byte_and_as_an_answer(
    backend: AnswerBackend, answer: Answer
) -> None:
    keep(backend, "key", answer.pack())
    assert get(backend, "key") == answer.pack()
    assert asyncio.run(backend.get_answer("key")) == answer


def test_an_answer_that_is_set_is_got_as_bytes(backend: AnswerBackend) -> None:
    asyncio.run(backend.set_answer("key", ANSWERS[2]))
    assert get(backend, "key") == ANSWERS[2].pack()
    assert asyncio.run(backend.get_with_ttl("key"))[1] == ANSWERS[2].pack()


def test_a_key_that_was_never_set_is_a_miss_whatever_it_begins_with(backend: AnswerBackend) -> None:
    keep(backend, "key", ANSWERS[0].pack())
    for key in ("", "ke", "key2", "KEY"):
        assert get(backend, key) is None
        assert asyncio.run(backend.get_answer(key)) is None


def test_the_last_that_is_set_under_a_key_counts(backend: AnswerBackend) -> None:
    for answer in (ANSWERS[2], ANSWERS[0]):
        keep(backend, "key", answer.pack())
    assert get(backend, "key") == ANSWERS[0].pack()


def test_clear_forgets_one_key_or_those_that_begin_so_and_leaves_the_others(
    backend: AnswerBackend,
) -> None:
    for key in ("a:1", "a:2", "b:1", "b:2"):
        keep(backend, key, ANSWERS[0].pack())
    assert asyncio.run(backend.clear(key="b:1")) == 1
    assert asyncio.run(backend.clear(namespace="a:")) == 2
    left = [key for key in ("a:1", "a:2", "b:1", "b:2") if get(backend, key)]
    assert left == ["b:2"]
