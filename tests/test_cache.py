"""Finished answers are kept as bytes, by generation; clients that have them get a 304.

Symbols' columns lie in the same memory, and some answers are made of them before routing.
"""

import asyncio
import gc
import gzip
import random
import re
import socket
import threading
import tracemalloc
from collections.abc import Hashable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api.bars.series import FIELDS, weigh_columns
from api.cache.memory import ENTRY_OVERHEAD, Answer, Memory, MemoryBackend, RawHeaders
from api.cache.series_cache import ROUNDS_TO_PREPARE, CachedSeries, SeriesCache
from api.edge import fingerprint
from api.edge.answers import AnswerCache
from api.edge.negotiate import choose_coding
from api.edge.passing import Passing, passes_cache
from api.encode.text import Prepared
from api.main import Service, create_app
from api.store import Question, T
from api.store.duckdb_file.snapshots import Database, Snapshot
from etl import load
from tests.conftest import call_stage, make_bars
from tests.server import connect_async, make_settings, serve, serve_app, serve_process, wait_until
from tests.stores import store_of, write_store

BARS = "/instruments/AAPL/ohlcv?limit=50"
URLS = [BARS, "/instruments", "/instruments/ibm", "/instruments/MSFT/statistics"]


@pytest.fixture
def app(sample_dir: Path) -> Service:
    return create_app(make_settings(sample_dir))


@pytest.fixture
def fresh(app: Service) -> Iterator[httpx.Client]:
    """A client of `app`, whose cache is empty."""
    with serve_app(app) as client:
        yield client


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    """A client of an app whose cache holds what tests before asked for."""
    with serve(sample_dir) as client:
        yield client


class CountingDatabase(Database):
    """Counts requests and the questions they ask; holds questions up while `gate` is closed."""

    def __init__(self, data_dir: Path) -> None:
        settings = make_settings(data_dir)
        super().__init__(settings.database_path, settings.db_memory_mb, settings.query_timeout)
        self.requests = self.questions = 0
        self.gate = threading.Event()
        self.gate.set()

    def newest(self) -> Snapshot:
        self.requests += 1
        return super().newest()

    async def ask(
        self, snapshot: Snapshot | None, question: Question[T], is_wide: bool = False
    ) -> T:
        self.questions += 1
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        return await super().ask(snapshot, question, is_wide)


@pytest.fixture
def counted(sample_dir: Path) -> tuple[Service, CountingDatabase]:
    """An app, and its database that counts."""
    app = create_app(make_settings(sample_dir))
    database = CountingDatabase(sample_dir)
    assert isinstance(app.front, AnswerCache)
    app.state.database = app.state.series_cache.database = app.front.database = database
    return app, database


def list_answers(app: Service) -> list[Hashable]:
    """The keys of the answers that are kept; those of columns are pairs."""
    return [key for key in get_memory(app).list_keys() if isinstance(key, str)]


def get_memory(app: Service) -> Memory:
    memory: Memory = app.state.cache.memory
    return memory


def publish(data_dir: Path, close: float) -> None:
    """Publish one more generation."""
    bars = make_bars(data_dir / "bars.parquet", [("AAPL", "2013-03-04", close)], source="sample")
    assert call_stage(load.main, "--input", bars) == 0


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_hit_has_the_bytes_and_headers_of_the_miss(fresh: httpx.Client, coding: str) -> None:
    for url in URLS:
        miss, hit = (read_raw(fresh, url, coding) for _ in range(2))
        assert miss[1].pop("x-cache") == "MISS"
        assert hit[1].pop("x-cache") == "HIT"
        assert miss == hit
        assert miss[0]


def read_raw(client: httpx.Client, url: str, coding: str) -> tuple[bytes, dict[str, str]]:
    """Body as sent, and headers without those of the moment."""
    with client.stream("GET", url, headers={"Accept-Encoding": coding}) as answer:
        assert answer.status_code == 200
        body = b"".join(answer.iter_raw())
    own = ("date", "x-request-id")
    return body, {name: value for name, value in answer.headers.items() if name not in own}


def test_gzip_is_the_same_answer_smaller_under_its_own_etag(client: httpx.Client) -> None:
    plain, headers = read_raw(client, BARS, "identity")
    packed, packed_headers = read_raw(client, BARS, "gzip")
    assert "content-encoding" not in headers
    assert packed_headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain
    assert len(packed) * 2 < len(plain)
    assert int(packed_headers["content-length"]) == len(packed)
    assert headers["etag"] != packed_headers["etag"]


def test_a_short_answer_is_not_compressed(client: httpx.Client) -> None:
    body, headers = read_raw(client, "/instruments/AAPL", "gzip")
    assert "content-encoding" not in headers
    assert body.startswith(b'{"symbol"')


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("br, GZIP;q=0.5", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip; q=0.000", "identity"),
        ("br", "identity"),
        ("identity", "identity"),
        ("*", "gzip"),
        ("br, *;q=0.1", "gzip"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0.2, gzip;q=0.1", "identity"),
        ("gzip;q=0, *", "identity"),
        ("gzip, identity;q=0", "gzip!"),
        ("gzip, *;q=0", "gzip!"),
        ("*, identity;q=0", "gzip!"),
        ("identity;q=0", ""),
        ("br, *;q=0", ""),
        ("gzip;q=2, identity", "identity"),
        ("gzip;q=x", "identity"),
        (",,", "identity"),
    ],
)
def test_the_coding_is_one_that_the_client_takes(accepted: str, coding: str) -> None:
    assert choose_coding(accepted.encode()) == coding


@pytest.mark.parametrize("url", URLS)
def test_every_answer_says_how_it_may_be_kept(client: httpx.Client, url: str) -> None:
    generation = client.get("/health").json()["generation"]
    headers = client.get(url).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["vary"] == "Accept, Accept-Encoding"
    assert headers["x-data-generation"] == generation
    is_of_all = url == "/instruments"  # the others are of a symbol
    assert headers["etag"].startswith(f'"{generation}-') == is_of_all
    assert re.fullmatch('"[0-9a-f-]{26,}"', headers["etag"])
    assert headers["content-type"] == "application/json"


def test_each_request_has_an_etag_of_its_own(client: httpx.Client) -> None:
    urls = [*URLS, BARS.replace("50", "51"), BARS + "&order=desc", "/instruments/AAPL/statistics"]
    assert len({client.get(url).headers["etag"] for url in urls}) == len(urls)


@pytest.mark.parametrize(
    "given", ["{}", "W/{}", '"other", {}', '"other" ,W/{},"third"', "*"], ids=str
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_the_answer_gets_a_304_without_it(
    client: httpx.Client, given: str, method: str
) -> None:
    first = client.get(BARS)
    etag = first.headers["etag"]
    again = client.request(method, BARS, headers={"If-None-Match": given.format(etag)})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "vary", "cache-control", "x-data-generation"):
        assert again.headers[name] == first.headers[name]
    assert "content-type" not in again.headers


@pytest.mark.parametrize("given", ['"other"', "{}x", "{0}{0}", "W/", "", ","])
def test_who_has_another_answer_gets_this_one(client: httpx.Client, given: str) -> None:
    etag = client.get(BARS).headers["etag"]
    again = client.get(BARS, headers={"If-None-Match": given.format(etag)})
    assert (again.status_code, len(again.json()["data"])) == (200, 50)


def test_an_error_is_never_a_304(client: httpx.Client) -> None:
    assert client.get("/instruments/APPL", headers={"If-None-Match": "*"}).status_code == 404


def test_a_fresh_process_gives_the_same_etags_and_304s(
    client: httpx.Client, sample_dir: Path
) -> None:
    etags = {url: client.get(url).headers["etag"] for url in URLS}
    with serve_process(sample_dir) as other:
        for url, etag in etags.items():
            assert other.get(url, headers={"If-None-Match": etag}).status_code == 304
            assert other.get(url).headers["etag"] == etag


def test_a_publication_makes_old_answers_and_etags_unreachable(own_sample: Path) -> None:
    with serve(own_sample) as client:
        urls = ["/instruments", *(url.replace("ibm", "aapl") for url in URLS if "MSFT" not in url)]
        before = {url: client.get(url) for url in urls}
        publish(own_sample, 420.0)
        for url, old in before.items():
            again = client.get(url, headers={"If-None-Match": old.headers["etag"]})
            assert (again.status_code, again.headers["x-cache"]) == (200, "MISS")
            assert again.headers["etag"] != old.headers["etag"]
            assert again.headers["x-data-generation"] != old.headers["x-data-generation"]
        assert client.get("/instruments/AAPL").json()["last_close"] == 420.0


def test_errors_are_not_kept(fresh: httpx.Client, app: Service) -> None:
    for url in ["/instruments/APPL", "/nowhere", f"{BARS}&x=1", "/instruments?limit=0"] * 2:
        answer = fresh.get(url)
        assert answer.status_code in (404, 422)
        assert answer.headers["x-cache"] == "MISS"
        assert "etag" not in answer.headers
    assert list_answers(app) == []


def test_health_and_the_docs_are_not_kept(fresh: httpx.Client, app: Service) -> None:
    for url in ("/health", "/docs", "/openapi.json", "/"):
        assert "x-cache" not in fresh.get(url).headers
    assert fresh.get("/health").headers["cache-control"] == "no-store"
    assert get_memory(app).bytes == 0


def test_a_get_after_a_head_is_a_hit(fresh: httpx.Client) -> None:
    assert fresh.head(BARS).headers["x-cache"] == "MISS"
    answer = fresh.get(BARS)
    assert (answer.headers["x-cache"], len(answer.json()["data"])) == ("HIT", 50)


def make_answer(size: int) -> Answer:
    return Answer(200, [(b"content-type", b"text/plain"), (b"x-name", "é".encode())], bytes(size))


def weigh(memory: Memory) -> tuple[int, int]:
    """The bytes of all entries and of the fresh ones, counted anew."""
    fresh = sum(weight for _, weight in memory.fresh.values())
    return fresh + sum(weight for _, weight in memory.proven.values()), fresh


def test_the_store_is_bounded_in_bytes_and_forgets_the_least_recently_used() -> None:
    memory = Memory(3 * (1000 + ENTRY_OVERHEAD))
    for key in "abc":
        memory.put(key, key, 1000)
    assert memory.list_keys() == ["a", "b", "c"]
    assert memory.get("a") == "a"
    memory.put("d", "d", 1000)
    assert memory.list_keys() == ["c", "d", "a"]
    memory.put("e", "e", 2000)  # needs the room of two
    assert memory.list_keys() == ["e", "a"]
    memory.put("e", "e", 0)  # replaced, not counted twice
    memory.put("f", "f", 9000)  # does not fit: nothing is thrown out for it
    assert memory.list_keys() == ["e", "a"]
    assert (memory.bytes, memory.fresh_bytes) == weigh(memory)
    assert memory.bytes == 1000 + 2 * ENTRY_OVERHEAD <= memory.max_bytes
    assert memory.get("f") is None
    memory.drop("e")
    memory.drop("a")
    memory.drop("never there")
    assert (memory.bytes, memory.fresh_bytes, memory.list_keys()) == (0, 0, [])


def test_what_is_replaced_by_something_too_large_is_gone() -> None:
    memory = Memory(2000)
    memory.put("a", "old", 10)
    memory.put("a", "new", 5000)
    assert (memory.get("a"), memory.bytes) == (None, 0)


def test_the_count_of_bytes_stays_right_whatever_is_done() -> None:
    memory, chance = Memory(20_000), random.Random(4)
    for _ in range(5_000):
        key = chance.randrange(40)
        do = chance.choice(("get", "put", "prove", "drop"))
        if do == "get":
            memory.get(key)
        elif do == "drop":
            memory.drop(key)
        else:
            memory.put(key, key, chance.randrange(4_000), is_proven=do == "prove")
        assert (memory.bytes, memory.fresh_bytes) == weigh(memory)
        assert 0 <= memory.fresh_bytes <= memory.bytes <= memory.max_bytes
        assert not set(memory.fresh) & set(memory.proven)


def test_what_was_asked_for_twice_outlives_a_flood_of_what_is_asked_for_once() -> None:
    memory = Memory(100 * (1000 + ENTRY_OVERHEAD))
    for key in range(80):
        memory.put(key, key, 1000)
        assert memory.get(key) == key
    for key in range(1000, 11_000):
        memory.put(key, key, 1000)
    assert all(memory.get(key) == key for key in range(80))
    assert memory.get(10_999) == 10_999


def test_what_is_asked_for_once_has_at_least_an_eighth_of_the_room() -> None:
    memory = Memory(80 * (1000 + ENTRY_OVERHEAD))
    for key in range(200):
        memory.put(key, key, 1000, is_proven=True)
    for key in range(1000, 1010):
        memory.put(key, key, 1000)
    assert len(memory.list_keys()) == 80
    assert list(memory.fresh) == list(range(1000, 1010))


def test_an_answer_comes_back_as_it_was_put_in_or_as_bytes() -> None:
    async def check() -> None:
        backend, answer = MemoryBackend(Memory(10_000)), make_answer(100)
        await backend.set_answer("a", answer)
        assert await backend.get_answer("a") == answer
        packed = await backend.get("a")
        assert packed == answer.pack()
        assert await backend.get_with_ttl("a") == (-1, packed)
        await backend.set("b", packed or b"")
        assert await backend.get_answer("b") == answer
        assert (await backend.get("c"), await backend.get_with_ttl("c")) == (None, (-1, None))

    asyncio.run(check())


def test_one_key_or_one_namespace_can_be_cleared_and_columns_stay() -> None:
    async def clear() -> None:
        memory = Memory(100_000)
        backend = MemoryBackend(memory)
        memory.put(("1-a", "AAPL"), "columns", 10)
        for key in ("1-a x", "1-a y", "2-b x", "3-c x", "4-d x"):
            await backend.set_answer(key, make_answer(5))
        assert await backend.clear(key="2-b x") == 1
        assert await backend.clear(namespace="1-a") == 2
        assert await backend.clear(key="none") == 0
        assert await backend.clear() == 2
        assert memory.list_keys() == [("1-a", "AAPL")]
        assert memory.bytes == weigh(memory)[0] == 10 + ENTRY_OVERHEAD

    asyncio.run(clear())


def test_a_full_cache_keeps_to_its_size_and_answers_on(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir, CACHE_MAX_MB=1))
    with serve_app(app) as client:
        for limit in range(3000, 3020):  # about 300 kB each
            answer = client.get(f"/instruments/IBM/ohlcv?limit={limit}")
            assert answer.json()["count"] == limit
            assert 0 < get_memory(app).bytes <= 2**20
        newest = answer.request.url
        assert client.get(newest).headers["x-cache"] == "HIT"
        assert client.get("/instruments/IBM/ohlcv?limit=3000").headers["x-cache"] == "MISS"
        assert get_memory(app).bytes == weigh(get_memory(app))[0]


@pytest.mark.long
def test_ten_thousand_urls_stay_within_the_memory_and_spare_what_is_in_use(
    sample_dir: Path,
) -> None:
    app = create_app(make_settings(sample_dir, CACHE_MAX_MB=4))
    memory, most = get_memory(app), 0

    async def flood() -> None:
        nonlocal most
        used = "/instruments/GOOG/statistics"
        for _ in range(2):
            await call_app(app, used)
        for number in range(10_000):
            start = date(2000, 3, 1) + timedelta(days=number // 4)
            symbol = ("AAPL", "IBM", "MSFT", "GOOG")[number % 4]
            status, _, _ = await call_app(
                app, f"/instruments/{symbol}/ohlcv?start={start}&end={start + timedelta(days=30)}"
            )
            assert status == 200
            most = max(most, memory.bytes)
        _, headers, _ = await call_app(app, used)
        assert headers["x-cache"] == "HIT"

    asyncio.run(flood())
    assert 2 * 2**20 < most <= 4 * 2**20
    assert memory.bytes == weigh(memory)[0]
    assert count_bytes(memory) <= memory.bytes


def count_bytes(memory: Memory) -> int:
    """What the kept bodies, columns and texts take, by their own account."""
    total, calendars = 0, {}
    for value, _ in (*memory.fresh.values(), *memory.proven.values()):
        if isinstance(value, Answer):
            total += len(value.body)
        elif isinstance(value, Prepared):
            total += len(value.text) + value.offsets.nbytes
        else:
            calendars[id(value.series.timestamps)] = value.series.timestamps.nbytes
            total += sum(getattr(value.series, name).nbytes for name in FIELDS)
    return total + sum(calendars.values())


async def call_app(
    app: Service, url: str, coding: str = "identity"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET, straight from the app."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asked = {"headers": [(b"accept-encoding", coding.encode()), (b"x-request-id", b"same")]}
    await app({**make_scope(url), **asked}, receive_nothing, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(each["body"] for each in sent[1:])


def make_scope(url: str) -> dict[str, Any]:
    path, _, query = url.partition("?")
    return {
        **{"type": "http", "method": "GET", "path": path, "raw_path": path.encode()},
        **{"query_string": query.encode(), "headers": [], "root_path": "", "scheme": "http"},
    }


async def receive_nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_without_room_nothing_is_kept(sample_dir: Path) -> None:
    with serve(sample_dir, CACHE_MAX_MB=0) as client:
        first, second = client.get(BARS), client.get(BARS)
        assert first.headers["x-cache"] == second.headers["x-cache"] == "MISS"
        assert first.content == second.content


def test_a_hit_asks_the_database_nothing(counted: tuple[Service, CountingDatabase]) -> None:
    app, database = counted
    with serve_app(app) as client:
        for expected in (1, 1, 1):
            client.get(BARS)
            assert database.questions == expected
        client.get("/instruments")
        assert database.questions == 2


def test_a_symbol_is_read_once_whatever_is_asked_of_it(
    counted: tuple[Service, CountingDatabase],
) -> None:
    app, database = counted
    with serve_app(app) as client:
        for query in (
            "",
            "?limit=5",
            "?order=desc",
            "?interval=1mo&adjustment=all",
            "?fields=close",
        ):
            client.get(f"/instruments/aapl/ohlcv{query}").raise_for_status()
        for year in range(2001, 2012):
            days = f"start={year}-01-01&end={year}-12-31"
            for resource in ("ohlcv", "statistics", "drawdowns", "rolling", "indicators"):
                client.get(f"/instruments/AAPL/{resource}?{days}").raise_for_status()
        client.get("/ohlcv?symbols=AAPL,aapl&limit=1").raise_for_status()
        assert database.questions == 1


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "catalog known"])
def test_concurrent_first_questions_about_a_symbol_read_it_once(
    counted: tuple[Service, CountingDatabase], is_warm: bool
) -> None:
    app, database = counted
    resources = ("ohlcv", "statistics", "returns", "drawdowns", "ohlcv?limit=3", "rolling")
    urls = [f"/instruments/{name}/{each}" for name in ("IBM", "ibm") for each in resources]
    urls += [f"/instruments/IBM/ohlcv?start=20{year:02}-01-01" for year in range(12)]

    async def ask_many(base_url: httpx.URL) -> list[httpx.Response]:
        async with connect_async(base_url) as client:
            if is_warm:
                await client.get("/instruments/FB/ohlcv")
            database.gate.clear()
            before = database.requests
            asked = [asyncio.create_task(client.get(url)) for url in urls]
            while database.requests < before + len(urls):
                await asyncio.sleep(0.001)
            database.gate.set()
            return await asyncio.gather(*asked)

    with serve_app(app) as client:
        answers = asyncio.run(ask_many(client.base_url))
    assert {answer.status_code for answer in answers} == {200}
    assert database.questions == 1 + is_warm


def test_symbols_with_the_same_days_hold_them_once(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))

    async def ask() -> list[CachedSeries]:
        series_cache: SeriesCache = app.state.series_cache
        return [await series_cache.take(None, symbol) for symbol in ("AAPL", "MSFT", "GOOG")]

    apple, microsoft, google = asyncio.run(ask())
    assert apple.series.timestamps is microsoft.series.timestamps
    assert google.series.timestamps is not apple.series.timestamps
    assert count_bytes(get_memory(app)) <= get_memory(app).bytes
    assert get_memory(app).bytes < weigh_columns(apple.series) * 3


def test_text_is_prepared_for_what_is_in_much_use_alone(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))
    series_cache: SeriesCache = app.state.series_cache
    url = "/instruments/AAPL/ohlcv?start=2012-01-{:02}&end=2012-06-30"

    async def ask() -> tuple[bytes, bytes]:
        held = await series_cache.take(None, "AAPL")
        _, _, before = await call_app(app, url.format(3))
        assert series_cache.find_rows(held) is None
        series_cache.count_encoded(held, ROUNDS_TO_PREPARE * len(held.series))
        await asyncio.gather(*series_cache.preparing)
        assert series_cache.find_rows(held) is not None
        series_cache.count_encoded(held, ROUNDS_TO_PREPARE * len(held.series))
        assert not series_cache.preparing  # once is enough
        _, _, after = await call_app(app, url.format(1))
        return before, after

    before, after = asyncio.run(ask())
    assert before == after
    assert get_memory(app).bytes == weigh(get_memory(app))[0]


def list_ranges() -> list[str]:
    """Queries with start, end, both, in both orders or none: many ranges, empty ones too."""
    chance, first = random.Random(7), date(2000, 2, 20)
    days = [first + timedelta(days=chance.randrange(4_770)) for _ in range(60)]
    days += [date(2000, 3, 1), date(2013, 3, 1), date(2005, 2, 28)]
    pairs = [sorted(chance.sample(days, 2)) for _ in range(60)] + [[day, day] for day in days]
    odd = ["", "end=1999-12-31", "start=2013-03-02", "start=2012-01-07&end=2012-01-08"]
    odd += ["start=0001-01-01&end=9999-12-31", "start=9999-12-31", "end=0001-01-01"]
    ranges = [f"start={start}&end={end}" for start, end in pairs]
    swapped = [f"end={end}&start={start}" for start, end in pairs[:10]]
    return odd + ranges + swapped + [f"start={day}" for day in days[:10]]


@pytest.mark.parametrize(
    ("symbol", "resource"),
    [
        ("fb", "statistics"),
        pytest.param("AAPL", "ohlcv", marks=pytest.mark.long),
        pytest.param("AAPL", "statistics", marks=pytest.mark.long),
        pytest.param("fb", "ohlcv", marks=pytest.mark.long),
    ],
)
def test_an_answer_made_before_routing_is_byte_for_byte_the_routes(
    sample_dir: Path, symbol: str, resource: str
) -> None:
    short, routed = (create_app(make_settings(sample_dir, MAX_ROWS=2000)) for _ in range(2))
    for app in (short, routed):
        assert isinstance(app.front, AnswerCache)
    made = count_shortcuts(short.front)
    routed.front.shortcut = take_no_shortcut

    async def compare() -> None:
        for app in (short, routed):  # from now on the symbol is known
            await call_app(app, f"/instruments/{symbol}/ohlcv?limit=1")
        for query in list_ranges():
            url = f"/instruments/{symbol}/{resource}?{query}"
            for coding in ("identity", "gzip"):
                answers = [await call_app(app, url, coding) for app in (short, routed)]
                assert answers[0] == answers[1], url

    asyncio.run(compare())
    assert sum(made) > len(made) / 2


def count_shortcuts(front: AnswerCache) -> list[bool]:
    """Whether each question to the shortcut, from now on, got an answer."""
    made: list[bool] = []
    original = front.shortcut

    async def count(snapshot: Snapshot, path: str, query: bytes) -> Any:
        answer = await original(snapshot, path, query)
        made.append(answer is not None)
        return answer

    front.shortcut = count
    return made


async def take_no_shortcut(
    snapshot: Snapshot, path: str, query: bytes
) -> tuple[bytes, RawHeaders] | None:
    return None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start=2012-W01-1", 422),
        ("start=20120103", 200),
        ("start=2012-1-03x", 422),
        ("start=2012-02-30", 422),
        ("start=2012-02-01&end=2012-01-01", 422),
        ("start=2012-02-01&start=2012-02-01", 422),
        ("end=2012-02-01&x=1", 422),
        ("start=", 422),
        ("%73tart=2012-01-03", 200),
        ("start=2012%2D01-03", 200),
    ],
)
@pytest.mark.parametrize("resource", ["ohlcv", "statistics"])
def test_what_needs_a_word_is_left_to_the_routes(
    client: httpx.Client, resource: str, query: str, status: int
) -> None:
    client.get("/instruments/AAPL/ohlcv?limit=1").raise_for_status()
    assert client.get(f"/instruments/AAPL/{resource}?{query}").status_code == status
    assert client.get(f"/instruments/APPL/{resource}?{query}").status_code in (404, 422)


def test_a_symbol_that_no_route_has_is_unknown_before_and_after_another_was_read(
    data_dir: Path,
) -> None:
    bars = [("EURUSD", "2013-03-04", 1.3), ("AAPL", "2013-03-04", 430.0)]
    assert call_stage(load.main, "--input", make_bars(data_dir / "bars.parquet", bars)) == 0
    renamed = "UPDATE {} SET symbol = 'EUR/USD' WHERE symbol = 'EURUSD'"  # as load never would
    write_store(store_of(data_dir), *map(renamed.format, ("ohlcv_data", "instruments")))
    with serve(data_dir) as client:
        for url in ("/instruments/EUR/USD/ohlcv", "/instruments/AAPL/ohlcv"):
            client.get(url)
        answer = client.get("/instruments/EUR/USD/ohlcv?start=2013-01-01")
        assert answer.status_code == 404


def test_concurrent_misses_of_one_key_do_the_work_once(
    counted: tuple[Service, CountingDatabase],
) -> None:
    app, database = counted
    database.gate.clear()

    async def ask_many(base_url: httpx.URL) -> list[httpx.Response]:
        async with connect_async(base_url) as client:
            asked = [asyncio.create_task(client.get(BARS)) for _ in range(30)]
            other = asyncio.create_task(client.get("/instruments"))
            while database.requests < 31:
                await asyncio.sleep(0.001)
            database.gate.set()
            await other
            return await asyncio.gather(*asked)

    with serve_app(app) as client:
        answers = asyncio.run(ask_many(client.base_url))
    assert database.questions == 2
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-cache"] for answer in answers} == {"MISS"}


def test_concurrent_misses_that_fail_all_learn_of_it(
    counted: tuple[Service, CountingDatabase],
) -> None:
    app, database = counted
    database.gate.clear()

    async def ask_many(base_url: httpx.URL) -> list[httpx.Response]:
        async with connect_async(base_url) as client:
            asked = [asyncio.create_task(client.get("/instruments/APPL")) for _ in range(10)]
            while database.requests < 10:
                await asyncio.sleep(0.001)
            database.gate.set()
            return await asyncio.gather(*asked)

    with serve_app(app) as client:
        answers = asyncio.run(ask_many(client.base_url))
        assert {answer.status_code for answer in answers} == {404}
        assert database.questions == 1
        assert client.get("/instruments/APPL").status_code == 404
        assert database.questions == 2


def test_a_leader_that_hangs_up_leaves_its_followers_their_answer(
    counted: tuple[Service, CountingDatabase],
) -> None:
    app, database = counted
    database.gate.clear()
    with serve_app(app) as client:
        leader = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        leader.sendall(f"GET {BARS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: database.questions == 1)
        answers: list[httpx.Response] = []
        follower = threading.Thread(target=lambda: answers.append(client.get(BARS)))
        follower.start()
        wait_until(lambda: database.requests == 2)
        leader.close()
        database.gate.set()
        follower.join()
    assert [answer.status_code for answer in answers] == [200]
    assert database.questions == 1


def test_a_cancelled_leader_leaves_its_followers_their_answer(
    counted: tuple[Service, CountingDatabase],
) -> None:
    """What a server that cancels the request of a client that is gone would do."""
    app, database = counted
    database.gate.clear()

    async def call(sent: list[dict[str, Any]]) -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        await app(make_scope(BARS), receive_nothing, send)

    async def lead_and_follow() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        leader = asyncio.create_task(call([]))
        while database.questions < 1:
            await asyncio.sleep(0)
        follower = asyncio.create_task(call(sent))
        for _ in range(10):
            await asyncio.sleep(0)
        leader.cancel()
        database.gate.set()
        await follower
        assert leader.cancelled()
        return sent

    start, body = asyncio.run(lead_and_follow())
    assert start["status"] == 200
    assert body["body"].startswith(b'{"symbol":"AAPL"')
    assert database.questions == 1


def test_two_apps_in_one_process_share_nothing(sample_dir: Path, data_dir: Path) -> None:
    publish(data_dir, 7.0)
    with serve(sample_dir) as one, serve(data_dir) as two, serve(sample_dir) as three:
        url = "/instruments/AAPL"
        assert one.get(url).json()["last_close"] == 430.47
        assert two.get(url).json()["last_close"] == 7.0
        assert one.get(url).headers["x-cache"] == "HIT"
        assert three.get(url).headers["x-cache"] == "MISS"


def test_cors_is_off_unless_origins_are_set(client: httpx.Client) -> None:
    headers = client.get(BARS, headers={"Origin": "https://app.example.com"}).headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_cors_lets_the_set_origins_read_the_headers_too(sample_dir: Path) -> None:
    mine, other = {"Origin": "https://app.example.com"}, {"Origin": "https://evil.example.com"}
    with serve(sample_dir, CORS_ORIGINS="https://app.example.com") as client:
        for x_cache in ("MISS", "HIT"):  # the layer lies outside the cache
            headers = client.get(BARS, headers=mine).headers
            assert headers["x-cache"] == x_cache
            assert headers["access-control-allow-origin"] == "https://app.example.com"
            exposed = {n.strip() for n in headers["access-control-expose-headers"].split(",")}
            assert exposed >= {"ETag", "Link", "X-Cache", "X-Data-Generation", "X-Count"}
            assert exposed >= {"X-Never-Asked", "X-Actions-Known-At", "Retry-After"}
            assert "origin" in headers["vary"].lower()
        assert "access-control-allow-origin" not in client.get(BARS, headers=other).headers


def test_cors_lets_a_page_send_if_none_match(sample_dir: Path) -> None:
    asked = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match",
    }
    with serve(sample_dir, CORS_ORIGINS="https://app.example.com") as client:
        assert client.options(BARS, headers=asked).status_code == 200
        refused = {**asked, "Access-Control-Request-Method": "DELETE"}
        assert client.options(BARS, headers=refused).status_code == 400


# What an answer depends on, and what it does not.


def ask_under(
    sample_dir: Path, headers: list[tuple[bytes, bytes]], **settings: object
) -> tuple[int, dict[str, str], bytes]:
    app = create_app(make_settings(sample_dir, **settings))
    return asyncio.run(call_with(app, "/instruments/AAPL/ohlcv?start=2012-01-01", headers))


async def call_with(
    app: Service, url: str, headers: list[tuple[bytes, bytes]], root_path: str = ""
) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**make_scope(url), "headers": headers, "root_path": root_path}, hear_nothing, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(each["body"] for each in sent[1:])


async def hear_nothing() -> Any:
    await asyncio.Future()


def test_two_settings_that_give_two_bodies_never_share_an_etag(sample_dir: Path) -> None:
    _, many, long = ask_under(sample_dir, [], MAX_ROWS=50_000)
    etag = many["etag"].encode()
    for headers in (
        [(b"if-none-match", etag)],
        [(b"range", b"bytes=100-199"), (b"if-range", etag)],
    ):
        status, few, body = ask_under(sample_dir, headers, MAX_ROWS=10)
        assert (status, few["etag"] == many["etag"]) == (200, False)
        assert len(body) < len(long)
    status, _, part = ask_under(sample_dir, [(b"range", b"bytes=100-199"), (b"if-range", etag)])
    assert (status, part) == (206, long[100:200])


@pytest.mark.parametrize(
    ("name", "value"),
    [("ENCODERS", ("another orjson",)), ("digest_code", lambda: "another version")],
)
def test_another_encoder_or_version_has_etags_of_its_own(
    sample_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    before = ask_under(sample_dir, [])[1]["etag"]
    monkeypatch.setattr(fingerprint, name, value)
    assert ask_under(sample_dir, [])[1]["etag"] != before


def test_settings_that_shape_no_byte_leave_etags_alone(sample_dir: Path) -> None:
    before = ask_under(sample_dir, [])[1]["etag"]
    settings = {"CACHE_MAX_MB": 0, "API_PORT": 9, "CORS_ORIGINS": "*", "QUERY_TIMEOUT": 7}
    assert ask_under(sample_dir, [], **settings)[1]["etag"] == before


def test_nothing_that_clients_may_differ_in_reaches_a_route_that_is_kept(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))
    seen: list[dict[str, Any]] = []
    whole = app.answer

    async def spy(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope))
        await whole(scope, receive, send)

    assert isinstance(app.front, AnswerCache)
    app.front.app = spy
    told = [(b"host", b"localhost"), (b"cookie", b"a=1"), (b"x-forwarded-prefix", b"/evil")]
    asyncio.run(call_with(app, "/instruments", [*told, (b"accept", b"text/html, */*;q=0.1")]))
    assert seen[0]["headers"] == [(b"accept", b"application/json")]
    assert not {"client", "server"} & set(seen[0])


@pytest.mark.parametrize("path", ["/instruments/", "/instruments/AAPL/", "/udf/time/"])
def test_no_answer_leads_to_the_host_of_another_client(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Host": "localhost:1"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize("root", ["", "/market", "/health"])
def test_below_any_root_path_each_route_says_itself_what_is_kept(
    sample_dir: Path, root: str
) -> None:
    app = create_app(make_settings(sample_dir))

    async def ask(path: str) -> list[str | None]:
        answers = [await call_with(app, root + path, [], root) for _ in range(2)]
        assert {status for status, _, _ in answers} == {200}
        return [headers.get("x-cache") for _, headers, _ in answers]

    for path in ("/health", "/docs", "/openapi.json", "/docs/files/swagger-ui.css", "/udf/time"):
        assert asyncio.run(ask(path)) == [None, None]
    assert asyncio.run(ask("/instruments")) == ["MISS", "HIT"]
    assert asyncio.run(ask("/instruments/AAPL/ohlcv?limit=2")) == ["MISS", "HIT"]


def test_a_route_may_say_for_which_requests_it_passes_the_cache_by() -> None:
    app = FastAPI()
    router = APIRouter(prefix="/below")

    @router.get("/{name}/rows")
    @passes_cache(lambda query, media: b"all" in query or media == "csv")
    async def read_rows(name: str) -> None: ...

    @router.get("/{name}")
    async def read_one(name: str) -> None: ...

    app.include_router(router)
    passing = Passing(app)
    assert passing.passes("/below/a/rows", b"all=1", "json")
    assert passing.passes("/below/a/rows", b"", "csv")
    assert not passing.passes("/below/a/rows", b"", "json")
    assert not passing.passes("/below/rows", b"all=1", "json")
    assert not passing.passes("/other/a/rows", b"all=1", "json")
    assert passing.passes("/openapi.json", b"", "json")


def test_what_accept_names_in_vain_is_one_key_and_is_not_given_back(
    fresh: httpx.Client, app: Service
) -> None:
    for number in range(5):
        accept = f"text/odd{number}, " + "image/png;q=0.5," * 200
        refused = fresh.get("/instruments/AAPL/ohlcv", headers={"Accept": accept})
        assert (refused.status_code, "odd" in refused.text) == (406, False)
        assert fresh.get("/instruments", headers={"Accept": accept}).status_code == 200
    assert len(list_answers(app)) == 1


@pytest.mark.parametrize(
    ("given", "status"),
    [("{}", 200), ("*", 200), ('"other", {}', 200), ("W/{}", 412), ('"other"', 412), ("", 412)],
)
@pytest.mark.parametrize("is_kept", [False, True])
def test_if_match_refuses_another_answer(
    fresh: httpx.Client, given: str, status: int, is_kept: bool
) -> None:
    etag = fresh.head(BARS).headers["etag"]
    url = BARS if is_kept else f"{BARS}&order=asc"
    if not is_kept:
        etag = fresh.head(url).headers["etag"]
    answer = fresh.get(url, headers={"If-Match": given.format(etag)})
    assert answer.status_code == status
    if status == 412:
        assert answer.json()["detail"].startswith("If-Match names another answer")
        assert "etag" not in answer.headers


@pytest.mark.parametrize("url", ["/", "/dashboard/base.css", "/docs/files/swagger-ui.css"])
def test_files_are_given_to_who_names_them_in_if_match(client: httpx.Client, url: str) -> None:
    etag = client.get(url).headers["etag"]
    for given, status in ((etag, 200), ("*", 200), ('"other"', 412), ("", 412)):
        answer = client.get(url, headers={"If-Match": given})
        assert answer.status_code == status
        assert (status == 412) == ("If-Match names another answer" in answer.text[:500])
    both = {"If-None-Match": etag, "If-Match": '"other"'}
    assert client.get(url, headers=both).status_code == 412
    assert client.get(url, headers={**both, "If-Match": etag}).status_code == 304


def test_preconditions_do_not_hide_what_else_is_wrong(client: httpx.Client) -> None:
    for url, status in (("/instruments/APPL", 404), (f"{BARS}&x=1", 422), ("/nowhere", 404)):
        assert client.get(url, headers={"If-Match": '"other"'}).status_code == status
    etag = client.get(BARS).headers["etag"]
    both = {"If-Match": etag, "If-None-Match": etag}
    assert client.get(BARS, headers=both).status_code == 304
    assert client.get(BARS, headers={**both, "If-Match": '"other"'}).status_code == 412


def test_who_refuses_identity_gets_short_answers_compressed_too(client: httpx.Client) -> None:
    _, headers = read_raw(client, "/instruments/AAPL", "gzip, identity;q=0")
    assert headers["content-encoding"] == "gzip"
    for nothing in ("identity;q=0", "*;q=0", "br, *;q=0"):
        answer = client.get("/instruments/AAPL", headers={"Accept-Encoding": nothing})
        assert (answer.status_code, answer.json()["status"]) == (406, 406)


class FailingBackend(MemoryBackend):
    """A store of answers that is gone."""

    async def get_answer(self, key: str) -> Answer | None:
        raise ConnectionError("no store of answers")

    async def set_answer(self, key: str, answer: Answer) -> None:
        raise ConnectionError("no store of answers")


@pytest.mark.filterwarnings("default")
def test_a_store_of_answers_that_fails_costs_a_miss_and_one_line(
    sample_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(make_settings(sample_dir))
    assert isinstance(app.front, AnswerCache)
    app.front.backend = FailingBackend(Memory(1000))
    with serve_app(app) as client:
        for url in URLS * 2:
            answer = client.get(url)
            assert (answer.status_code, answer.headers["x-cache"]) == (200, "MISS")
    assert caplog.text.count("the store of answers fails") == 1


def test_work_that_nobody_waits_for_ends(counted: tuple[Service, CountingDatabase]) -> None:
    app, database = counted
    database.gate.clear()
    assert isinstance(app.front, AnswerCache)
    once = app.front.once
    with serve_app(app) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        gone = [socket.create_connection(address) for _ in range(20)]
        for number, each in enumerate(gone):
            url = f"/instruments?limit={1 + number // 2}"  # two wait for each
            each.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: database.requests == 20 and database.questions == 10)
        for each in gone[1:]:
            each.close()
        wait_until(lambda: len(once.under_way) == 1)
        database.gate.set()
        assert gone[0].recv(12) == b"HTTP/1.1 200"
        gone[0].close()
        wait_until(lambda: not once.under_way)


@pytest.mark.parametrize(
    "query",
    [
        "start={0}&end={0}",
        pytest.param("start={0}&end={0}&format=csv", marks=pytest.mark.long),
    ],
)
def test_kept_answers_weigh_what_they_take(sample_dir: Path, query: str) -> None:
    app = create_app(make_settings(sample_dir, CACHE_MAX_MB=64))

    async def fill(first: int, count: int) -> None:
        for number in range(first, first + count):
            day = date(2000, 3, 1) + timedelta(days=number)
            await call_app(app, f"/instruments/AAPL/ohlcv?{query.format(day)}")
        app.front.targets.known.clear()  # bounded by itself

    asyncio.run(fill(0, 10))
    counted = get_memory(app).bytes
    gc.collect()
    tracemalloc.start()
    try:
        asyncio.run(fill(10, 500))
        gc.collect()
        real = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert real < get_memory(app).bytes - counted < 2 * real


def test_columns_are_kept_by_version_symbol_and_interval(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))
    asyncio.run(call_app(app, BARS))
    pairs = [key for key in get_memory(app).list_keys() if isinstance(key, tuple)]
    snapshot = app.state.database.newest()
    assert pairs == [(snapshot.find_version("AAPL"), "AAPL", "1d")]
    cache: SeriesCache = app.state.series_cache
    assert cache.find(snapshot, "AAPL") is not None
    assert cache.find(snapshot, "AAPL", "1m") is None
