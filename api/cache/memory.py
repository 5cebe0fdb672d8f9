"""What a worker keeps: finished answers and symbols' columns, bounded together in bytes."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from fastapi_cache.types import Backend

ENTRY_OVERHEAD = 400  # bytes of Python objects around one entry
HEADER_OVERHEAD = 100  # and around one header; some headers all answers share

FRESH_SHARE = 8

RawHeaders = list[tuple[bytes, bytes]]


class Memory:
    """Values by key, at most `max_bytes` in all.

    Two lists, each forgetting the least recently used. What was asked for once waits in `fresh`,
    which is pushed back to an eighth of the memory; what is asked for again moves to `proven`. So a
    flood of answers that nobody asks for twice does not push out what is in use.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.fresh: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.proven: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.fresh_bytes = 0
        self.bytes = 0
        self.answers = self.answer_bytes = 0  # of all: those under a text, as answers are

    def get(self, key: Hashable) -> Any | None:
        entry = self.proven.get(key)
        if entry is not None:
            self.proven.move_to_end(key)
            return entry[0]
        entry = self.fresh.pop(key, None)
        if entry is None:
            return None
        self.fresh_bytes -= entry[1]
        self.proven[key] = entry
        return entry[0]

    def put(self, key: Hashable, value: Any, size: int, is_proven: bool = False) -> None:
        """Keep a value of `size` bytes; one that is larger than all there is, is not kept."""
        self.drop(key)
        weight = size + ENTRY_OVERHEAD
        if weight > self.max_bytes:
            return
        self.bytes += weight
        if isinstance(key, str):
            self.answers += 1
            self.answer_bytes += weight
        if is_proven:
            self.proven[key] = value, weight
        else:
            self.fresh[key] = value, weight
            self.fresh_bytes += weight
        while self.bytes > self.max_bytes:
            self.drop(self.choose_oldest())

    def choose_oldest(self) -> Hashable:
        has_share = self.fresh_bytes > self.max_bytes // FRESH_SHARE
        keys: Iterable[Hashable] = self.fresh if has_share or not self.proven else self.proven
        return next(iter(keys))

    def drop(self, key: Hashable) -> None:
        entry = self.proven.pop(key, None)
        if entry is None:
            entry = self.fresh.pop(key, None)
            self.fresh_bytes -= entry[1] if entry else 0
        if entry is not None:
            self.bytes -= entry[1]
            if isinstance(key, str):
                self.answers -= 1
                self.answer_bytes -= entry[1]

    def list_keys(self) -> list[Hashable]:
        return [*self.fresh, *self.proven]


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished response."""

    status: int
    headers: RawHeaders
    body: bytes

    def weigh(self) -> int:
        """Bytes of memory of body and headers, as good as can be told without measuring."""
        texts = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.body) + texts + HEADER_OVERHEAD * len(self.headers)

    def pack(self) -> bytes:
        head = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        return orjson.dumps(head) + b"\n" + self.body


class Got(NamedTuple):
    """An answer, and whether it was made here and now, or fetched."""

    answer: Answer
    is_made: bool


def unpack(value: bytes) -> Answer:
    end = value.index(b"\n")
    head = orjson.loads(value[:end])
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in head]
    return Answer(200, headers, value[end + 1 :])


class AnswerBackend(Backend):
    """A fastapi-cache2 backend of answers; one that keeps bytes elsewhere adds nothing to it."""

    async def get_answer(self, key: str) -> Answer | None:
        value = await self.get(key)
        return unpack(value) if value is not None else None

    async def set_answer(self, key: str, answer: Answer) -> None:
        await self.set(key, answer.pack())


class MemoryBackend(AnswerBackend):
    """Answers in a Memory, as they are: a hit neither unpacks nor copies."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    async def get_answer(self, key: str) -> Answer | None:
        return self.memory.get(key)

    async def set_answer(self, key: str, answer: Answer) -> None:
        self.memory.put(key, answer, len(key) + answer.weigh())

    async def get(self, key: str) -> bytes | None:
        answer: Answer | None = self.memory.get(key)
        return answer.pack() if answer else None

    async def get_with_ttl(self, key: str) -> tuple[int, bytes | None]:
        return -1, await self.get(key)

    async def set(self, key: str, value: bytes, expire: int | None = None) -> None:
        await self.set_answer(key, unpack(value))

    async def clear(self, namespace: str | None = None, key: str | None = None) -> int:
        """Forget one answer, those whose key begins with `namespace`, or all. Returns how many."""
        answers = [each for each in self.memory.list_keys() if isinstance(each, str)]
        if key or namespace:
            answers = [k for k in answers if k == key or (namespace and k.startswith(namespace))]
        for each in answers:
            self.memory.drop(each)
        return len(answers)
