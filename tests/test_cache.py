"""Finished answers are kept as bytes, by generation; clients that have them get a 304."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.cache import ENTRY_OVERHEAD, AnswerCache, MemoryBackend, choose_coding
from api.database import Database, Question, Snapshot, T
from api.main import create_app
from etl import load
from tests.conftest import call_stage, make_bars
from tests.server import connect_async, make_settings, serve, serve_app, serve_process, wait_until

BARS = "/instruments/AAPL/ohlcv?limit=50"
URLS = [BARS, "/instruments", "/instruments/ibm", "/instruments/MSFT/statistics"]


@pytest.fixture
def app(sample_dir: Path) -> FastAPI:
    return create_app(make_settings(sample_dir))


@pytest.fixture
def fresh(app: FastAPI) -> Iterator[httpx.Client]:
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

    def take_snapshot(self) -> Snapshot:
        self.requests += 1
        return super().take_snapshot()

    async def ask(self, snapshot: Snapshot, question: Question[T]) -> T:
        self.questions += 1
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        return await super().ask(snapshot, question)


@pytest.fixture
def counted(sample_dir: Path) -> tuple[FastAPI, CountingDatabase]:
    """An app, and its database that counts."""
    app = create_app(make_settings(sample_dir))
    database = CountingDatabase(sample_dir)
    app.state.database = database
    for layer in app.user_middleware:
        if layer.cls is AnswerCache:
            layer.kwargs["database"] = database
    return app, database


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
    """Body as sent, and headers without the date."""
    with client.stream("GET", url, headers={"Accept-Encoding": coding}) as answer:
        assert answer.status_code == 200
        body = b"".join(answer.iter_raw())
    return body, {name: value for name, value in answer.headers.items() if name != "date"}


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
    ],
)
def test_the_coding_is_one_that_the_client_takes(accepted: str, coding: str) -> None:
    assert choose_coding(accepted) == coding


@pytest.mark.parametrize("url", URLS)
def test_every_answer_says_how_it_may_be_kept(client: httpx.Client, url: str) -> None:
    generation = client.get("/health").json()["generation"]
    headers = client.get(url).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["vary"] == "Accept, Accept-Encoding"
    assert headers["x-data-generation"] == generation
    assert headers["etag"].startswith(f'"{generation}-')
    assert headers["etag"].endswith('"')
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
        before = {url: client.get(url) for url in URLS}
        publish(own_sample, 420.0)
        for url, old in before.items():
            again = client.get(url, headers={"If-None-Match": old.headers["etag"]})
            assert (again.status_code, again.headers["x-cache"]) == (200, "MISS")
            assert again.headers["etag"] != old.headers["etag"]
            assert again.headers["x-data-generation"] != old.headers["x-data-generation"]
        assert client.get("/instruments/AAPL").json()["last_close"] == 420.0


def test_errors_are_not_kept(fresh: httpx.Client, app: FastAPI) -> None:
    for url in ["/instruments/APPL", "/nowhere", f"{BARS}&x=1", "/instruments?limit=0"] * 2:
        answer = fresh.get(url)
        assert answer.status_code in (404, 422)
        assert answer.headers["x-cache"] == "MISS"
        assert "etag" not in answer.headers
    assert app.state.cache.bytes == 0


def test_health_and_the_docs_are_not_kept(fresh: httpx.Client, app: FastAPI) -> None:
    for url in ("/health", "/docs", "/openapi.json", "/"):
        assert "x-cache" not in fresh.get(url).headers
    assert fresh.get("/health").headers["cache-control"] == "no-store"
    assert app.state.cache.bytes == 0


def test_a_get_after_a_head_is_a_hit(fresh: httpx.Client) -> None:
    assert fresh.head(BARS).headers["x-cache"] == "MISS"
    answer = fresh.get(BARS)
    assert (answer.headers["x-cache"], len(answer.json()["data"])) == ("HIT", 50)


def weigh(backend: MemoryBackend) -> int:
    return sum(len(k) + len(v) + ENTRY_OVERHEAD for k, v in backend.entries.items())


def test_the_store_is_bounded_in_bytes_and_forgets_the_least_recently_used() -> None:
    async def fill() -> None:
        backend = MemoryBackend(3 * (1 + 1000 + ENTRY_OVERHEAD))
        for key in "abc":
            await backend.set(key, bytes(1000))
        assert list(backend.entries) == ["a", "b", "c"]
        assert await backend.get("a") == bytes(1000)
        await backend.set("d", bytes(1000))
        assert list(backend.entries) == ["c", "a", "d"]
        await backend.set("e", bytes(2000))  # needs the room of two
        assert list(backend.entries) == ["d", "e"]
        await backend.set("d", b"")  # replaced, not counted twice
        await backend.set("f", bytes(5000))  # does not fit: nothing is thrown out for it
        assert list(backend.entries) == ["e", "d"]
        assert backend.bytes == weigh(backend) <= backend.max_bytes
        assert await backend.get("f") is None
        assert await backend.clear() == 2
        assert (backend.bytes, len(backend.entries)) == (0, 0)

    asyncio.run(fill())


def test_one_key_or_one_namespace_can_be_cleared() -> None:
    async def clear() -> None:
        backend = MemoryBackend(10_000)
        for key in ("1-a x", "1-a y", "2-b x"):
            await backend.set(key, b"value")
        assert await backend.clear(key="2-b x") == 1
        assert await backend.clear(namespace="1-a") == 2
        assert (backend.bytes, list(backend.entries)) == (0, [])

    asyncio.run(clear())


def test_a_full_cache_keeps_to_its_size_and_answers_on(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir, CACHE_MAX_MB=1))
    with serve_app(app) as client:
        for limit in range(3000, 3020):  # about 300 kB each
            answer = client.get(f"/instruments/IBM/ohlcv?limit={limit}")
            assert answer.json()["count"] == limit
            assert 0 < app.state.cache.bytes <= 2**20
        newest = answer.request.url
        assert client.get(newest).headers["x-cache"] == "HIT"
        assert client.get("/instruments/IBM/ohlcv?limit=3000").headers["x-cache"] == "MISS"
        assert app.state.cache.bytes == weigh(app.state.cache)


def test_without_room_nothing_is_kept(sample_dir: Path) -> None:
    with serve(sample_dir, CACHE_MAX_MB=0) as client:
        first, second = client.get(BARS), client.get(BARS)
        assert first.headers["x-cache"] == second.headers["x-cache"] == "MISS"
        assert first.content == second.content


def test_a_hit_asks_the_database_nothing(counted: tuple[FastAPI, CountingDatabase]) -> None:
    app, database = counted
    with serve_app(app) as client:
        for expected in (1, 1, 1):
            client.get(BARS)
            assert database.questions == expected
        client.get(BARS + "&order=desc")
        assert database.questions == 2


def test_concurrent_misses_of_one_key_do_the_work_once(
    counted: tuple[FastAPI, CountingDatabase],
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
    counted: tuple[FastAPI, CountingDatabase],
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
    counted: tuple[FastAPI, CountingDatabase],
) -> None:
    app, database = counted
    database.gate.clear()
    with serve_app(app) as client:
        leader = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        leader.sendall(f"GET {BARS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
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
    counted: tuple[FastAPI, CountingDatabase],
) -> None:
    """What a server that cancels the request of a client that is gone would do."""
    app, database = counted
    database.gate.clear()

    async def call(sent: list[dict[str, Any]]) -> None:
        path, _, query = BARS.partition("?")
        scope = {
            **{"type": "http", "method": "GET", "path": path, "raw_path": path.encode()},
            **{"query_string": query.encode(), "headers": [], "root_path": "", "scheme": "http"},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

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
            assert exposed == {"ETag", "Link", "X-Cache", "X-Data-Generation"}
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
