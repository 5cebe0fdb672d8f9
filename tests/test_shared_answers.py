"""Answers that instances share through a real Redis: made once, the same for all, and never missed
where it is gone.
"""

import asyncio
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import redis_link
from api.cache import redis_backend, shared
from api.cache.memory import Answer, Got
from api.cache.redis_backend import Claim, RedisBackend
from api.cache.shared import SharedAnswers
from api.edge import fingerprint
from api.fallbacks import Standby
from api.main import Service, create_app, main
from api.settings import SettingsError
from etl.credentials.redaction import strike
from tests.conftest import clean_environ, run_stage
from tests.guarded import BARS, CHIEF, guard
from tests.redis_server import BREAK_CASES, RedisServer, run_redis
from tests.server import connect_async, make_settings, read_json, serve, serve_app, wait_until
from tests.stores import write_store

YEAR = "/instruments/AAPL/ohlcv?start=2005-01-01&end=2005-12-31"
DEAR = [
    YEAR,
    "/instruments/IBM/statistics?start=2004-01-01",
    "/instruments/IBM/ohlcv?limit=7",
    "/instruments/MSFT/ohlcv?format=csv",
    "/instruments",
    "/instruments/IBM/drawdowns",
    "/statistics/correlation?symbols=AAPL,IBM",
]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault, and no reason to make an answer twice."""
    monkeypatch.setattr(redis_link, "TIMEOUT", 20.0)
    monkeypatch.setattr(redis_link, "CONNECT_TIMEOUT", 20.0)
    monkeypatch.setattr(redis_backend, "LOCK_MS", 60_000)
    monkeypatch.setattr(shared, "PATIENCE", 60.0)


def ask(client: httpx.Client, url: str) -> tuple[str, httpx.Response]:
    """What X-Cache says, and the answer."""
    answer = client.get(url)
    return answer.headers["x-cache"], answer


def list_keys(server: RedisServer) -> list[str]:
    return sorted(key.decode() for key in server.client.keys("*"))


def get_told(answer: httpx.Response) -> dict[str, str]:
    """The headers that do not differ from one request to the next."""
    own = ("date", "x-request-id", "x-cache")
    return {name: value for name, value in answer.headers.items() if name not in own}


# What several instances share.


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_what_one_instance_made_another_fetches_with_the_same_bytes_and_headers(
    sample_dir: Path, empty_redis: RedisServer, coding: str
) -> None:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(serve(sample_dir, CACHE_URL=empty_redis.url)) for _ in range(2)
        )
        for client in (first, second):
            client.headers["accept-encoding"] = coding
        for url in DEAR:
            made, fetched, kept = ask(first, url), ask(second, url), ask(second, url)
            assert [each[0] for each in (made, fetched, kept)] == ["MISS", "HIT", "HIT"]
            assert made[1].content == fetched[1].content == kept[1].content
            assert get_told(made[1]) == get_told(fetched[1]) == get_told(kept[1])
            etag = {"if-none-match": made[1].headers["etag"]}
            assert second.get(url, headers=etag).status_code == 304
    keys = list_keys(empty_redis)
    assert len(keys) == len(DEAR)
    assert not any(key.endswith(" lock") for key in keys)


def test_instances_that_start_at_once_make_each_answer_once_whoever_asks_whom(
    sample_dir: Path, empty_redis: RedisServer
) -> None:
    urls = [f"/instruments/{symbol}/statistics?start=2004-01-{day:02}"
            for symbol in ("AAPL", "GOOG", "IBM", "MSFT") for day in range(1, 13)]  # fmt: skip

    async def ask_all(bases: list[httpx.URL]) -> list[tuple[str, str, bytes]]:
        async def ask_one(client: httpx.AsyncClient, url: str) -> tuple[str, str, bytes]:
            answer = await client.get(url)
            assert answer.status_code == 200
            return url, answer.headers["x-cache"], answer.content

        async with connect_async(bases[0]) as one, connect_async(bases[1]) as two:
            asked = [ask_one(each, url) for url in urls for each in (one, two, two, one)]
            return await asyncio.gather(*asked)

    with ExitStack() as stack:
        clients = [
            stack.enter_context(serve(sample_dir, CACHE_URL=empty_redis.url)) for _ in range(2)
        ]
        seen = asyncio.run(ask_all([client.base_url for client in clients]))
    made = {(url, content) for url, said, content in seen if said == "MISS"}
    assert len(made) == len(urls)
    assert {(url, content) for url, _, content in seen} == made
    # those who ask one instance at the same time have one answer, and it says how it was had
    missing = sum(said == "MISS" for _, said, _ in seen)
    assert len(urls) <= missing <= 2 * len(urls)


def test_an_instance_that_is_started_anew_makes_nothing_that_was_made_before(
    sample_dir: Path, empty_redis: RedisServer
) -> None:
    for wanted in ("MISS", "HIT", "HIT"):
        with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
            assert {ask(client, url)[0] for url in DEAR} == {wanted}


def test_keys_begin_with_fingerprint_and_version_and_all_of_them_expire(
    sample_dir: Path, empty_redis: RedisServer
) -> None:
    app = create_app(make_settings(sample_dir, CACHE_URL=empty_redis.url))
    with serve_app(app) as client:
        ask(client, YEAR)
        ask(client, "/instruments")
        snapshot = app.state.database.newest()
    build = app.front.targets.fingerprint
    versions = {snapshot.versions["AAPL"], snapshot.generation}
    keys = list_keys(empty_redis)
    assert {tuple(key.split(" ")[:2]) for key in keys} == {(build, each) for each in versions}
    assert all(0 < empty_redis.client.ttl(key) <= redis_backend.EXPIRE for key in keys)


@pytest.mark.parametrize("settings", [{"MAX_ROWS": "100"}, {"ROOT_PATH": "/market"}], ids=str)
def test_instances_with_other_settings_never_share(
    sample_dir: Path, empty_redis: RedisServer, settings: dict[str, str]
) -> None:
    url = "/instruments?limit=5"
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        assert ask(client, url)[0] == "MISS"
    with serve(sample_dir, CACHE_URL=empty_redis.url, **settings) as client:
        assert ask(client, url)[0] == "MISS"
    assert len(list_keys(empty_redis)) == 2


def test_instances_share_of_another_store_what_depends_on_nothing_that_differs(
    sample_dir: Path, empty_redis: RedisServer, tmp_path: Path
) -> None:
    shutil.copytree(sample_dir, tmp_path / "data")
    changed = "UPDATE ohlcv_data SET close = close + 1 WHERE symbol = 'AAPL'"
    generation = "UPDATE generation SET generation = '2-00000000'"
    database = tmp_path / "data" / "market_data.duckdb"
    version = "UPDATE instruments SET version = 7 WHERE symbol = 'AAPL'"  # a load renews it
    write_store(database, changed, version, generation)
    said = {}
    for folder in (sample_dir, tmp_path / "data"):
        with serve(folder, CACHE_URL=empty_redis.url) as client:
            said[folder] = [ask(client, url)[0] for url in (YEAR, DEAR[1], "/instruments")]
    assert list(said.values()) == [["MISS", "MISS", "MISS"], ["MISS", "HIT", "MISS"]]


def test_another_version_never_shares(
    sample_dir: Path, empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0.0", "1.0.1"):
        monkeypatch.setattr(fingerprint, "ENCODERS", (version, *fingerprint.ENCODERS[1:]))
        with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
            assert ask(client, YEAR)[0] == "MISS"
    assert len(list_keys(empty_redis)) == 2


@pytest.mark.parametrize(
    "url",
    [
        "/instruments/AAPL/ohlcv?start=2005-01-01&end=2005-05-31",
        "/etl/runs?limit=3",
        "/health",
        "/instruments/NONE/ohlcv",
        "/instruments/AAPL/ohlcv?limit=none",
    ],
)
def test_what_is_made_in_less_time_or_of_this_machine_alone_stays_out(
    sample_dir: Path, empty_redis: RedisServer, url: str
) -> None:
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        client.get(url)
        client.get(url)
    wait_until(lambda: list_keys(empty_redis) == [])  # a lock is given back in the background


def test_what_was_fetched_is_answered_by_its_bytes_the_third_time(
    sample_dir: Path, empty_redis: RedisServer
) -> None:
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        wanted = client.get(YEAR).content
    app = create_app(make_settings(sample_dir, CACHE_URL=empty_redis.url))
    with serve_app(app) as client:
        assert client.get(YEAR).headers["x-cache"] == "HIT"
        assert app.front.ready is not None
        assert app.front.ready.known == {}
        assert client.get(YEAR).content == wanted
        assert len(app.front.ready.known) == 1
        empty_redis.client.flushall()
        answer = client.get(YEAR)
    assert (answer.headers["x-cache"], answer.content) == ("HIT", wanted)


def test_callers_share_bodies_and_nothing_of_them_is_stored(
    sample_dir: Path, empty_redis: RedisServer, tmp_path: Path
) -> None:
    settings = {"CACHE_URL": empty_redis.url, "RATE_LIMIT": "100/minute", "CORS_ORIGINS": "*"}
    with (
        guard(sample_dir, tmp_path, **settings) as first,
        guard(sample_dir, tmp_path, **settings) as second,
    ):
        token, key = first.make_token(), second.make_token(CHIEF, "read admin")
        made, fetched = first.get(BARS, token), second.get(BARS, key)
        assert second.get(BARS).status_code == 401
    assert (made.headers["x-cache"], fetched.headers["x-cache"]) == ("MISS", "HIT")
    assert made.content == fetched.content
    assert "private" in fetched.headers["cache-control"]
    stored = b"".join(empty_redis.client.get(key) + key for key in empty_redis.client.keys("*"))
    assert BARS.encode() in stored
    for word in (token, key, "ann", "eve", "private", "ratelimit", "authorization", "request-id"):
        assert word.encode() not in stored.lower()


# What is found in Redis, and is no answer of ours.


def replace(server: RedisServer, key: str) -> Any:
    server.client.delete(key)
    return server.client


Damage = Callable[[RedisServer, str, bytes], Any]
DAMAGE: dict[str, Damage] = {
    "cut off": lambda server, key, value: server.client.set(key, value[:-1]),
    "cut to nothing": lambda server, key, value: server.client.set(key, b""),
    "cut within the digest": lambda server, key, value: server.client.set(key, value[:20]),
    "longer": lambda server, key, value: server.client.append(key, b" "),
    "a bit changed": lambda server, key, value: server.client.setrange(key, 700, b"\x00"),
    "of others": lambda server, key, value: server.client.set(key, b"<html>502</html>" * 9),
    "a list": lambda server, key, value: replace(server, key).rpush(key, "a"),
    "a hash": lambda server, key, value: replace(server, key).hset(key, "a", "b"),
}
TELLING = ("cut off", "a bit changed", "a list")
DAMAGES = [
    pytest.param(damage, id=name, marks=() if name in TELLING else pytest.mark.long)
    for name, damage in DAMAGE.items()
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_value_that_is_damaged_is_made_anew_and_never_served(
    sample_dir: Path, empty_redis: RedisServer, damage: Damage
) -> None:
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        wanted = client.get(YEAR)
    [key] = list_keys(empty_redis)
    damage(empty_redis, key, empty_redis.client.get(key))
    for said in ("MISS", "HIT"):
        with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
            found, answer = ask(client, YEAR)
            assert (found, answer.content) == (said, wanted.content)
            assert get_told(answer) == get_told(wanted)
            assert read_json(client, "/health")["fallbacks"] == {}, "Redis itself is well"


def test_the_value_of_another_key_is_made_anew(sample_dir: Path, empty_redis: RedisServer) -> None:
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        wanted, other = client.get(YEAR), client.get(DEAR[1])
        [own] = [key for key in list_keys(empty_redis) if "2005" in key]
        [foreign] = [key for key in list_keys(empty_redis) if key != own]
    empty_redis.client.copy(foreign, own, replace=True)
    with serve(sample_dir, CACHE_URL=empty_redis.url) as client:
        found, answer = ask(client, YEAR)
    assert (found, answer.content) == ("MISS", wanted.content)
    assert answer.content != other.content


def test_a_key_of_another_type_is_a_miss_and_no_fault_of_redis(empty_redis: RedisServer) -> None:
    empty_redis.client.rpush("build key", "a")

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        assert await first.backend.get("key") is None
        standby = first.backend.link.standby
        assert (standby.fault, standby.count) == (None, 1)

    drive(empty_redis, work)


# The lock.


def drive(server: RedisServer, work: Callable[[SharedAnswers, SharedAnswers], Any]) -> None:
    """Run the work with what two instances share by."""

    async def run() -> None:
        both = [SharedAnswers(RedisBackend(server.url, "build", Standby())) for _ in range(2)]
        try:
            await work(*both)
        finally:
            for each in both:
                await each.close()

    asyncio.run(run())


ANSWER = Answer(200, [(b"etag", b'"1"')], b"body")


async def make_answer() -> Answer:
    return ANSWER


async def make_nothing() -> Answer:
    raise AssertionError("it is there, or in the making")


def test_who_does_not_get_the_lock_waits_for_what_the_other_makes(
    empty_redis: RedisServer,
) -> None:
    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        is_making, may_end = asyncio.Event(), asyncio.Event()

        async def make_slowly() -> Answer:
            is_making.set()
            await may_end.wait()
            return ANSWER

        one = asyncio.ensure_future(first.get_or_make("key", make_slowly))
        await is_making.wait()
        two = asyncio.ensure_future(second.get_or_make("key", make_nothing))
        await second.backend.claim("key", "another look")
        assert not two.done()
        may_end.set()
        assert (await one, await two) == (Got(ANSWER, True), Got(ANSWER, False))

    drive(empty_redis, work)


def test_a_lock_of_one_that_died_costs_half_a_second_and_no_answer(
    empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.02)

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        assert await first.backend.claim("key", "died") is Claim.OURS
        assert await second.get_or_make("key", make_answer) == Got(ANSWER, True)
        assert await first.get_or_make("key", make_nothing) == Got(ANSWER, False)

    drive(empty_redis, work)
    assert empty_redis.client.get("build key lock") == b"died", "it is not ours to release"


@pytest.mark.parametrize("fault", ["an error", "no 200", "given up"])
def test_who_makes_nothing_gives_the_lock_back(
    empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(shared, "PATIENCE", float("inf"))  # nobody goes on without the lock

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        is_making = asyncio.Event()

        async def fail() -> Answer:
            is_making.set()
            if fault == "given up":
                await asyncio.Future()
            if fault == "an error":
                raise RuntimeError(fault)
            return Answer(404, [], b"none")

        task = asyncio.ensure_future(first.get_or_make("key", fail))
        await is_making.wait()
        if fault == "given up":
            task.cancel()
        async with asyncio.timeout(50):  # less than the lock lives
            assert await second.get_or_make("key", make_answer) == Got(ANSWER, True)
        await asyncio.wait([task])
        assert (
            task.cancelled()
            or task.exception()
            or task.result() == Got(Answer(404, [], b"none"), True)
        )

    drive(empty_redis, work)


def test_what_is_too_long_for_the_way_is_made_by_each(
    empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_backend, "LARGEST", 10)

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        for each in (first, second):
            assert await each.get_or_make("key", make_answer) == Got(ANSWER, True)

    drive(empty_redis, work)
    assert list_keys(empty_redis) == []


def test_clear_without_a_name_forgets_what_is_of_this_build_alone(empty_redis: RedisServer) -> None:
    empty_redis.client.set("buil", "others")
    empty_redis.client.set("limits:block", "others")

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        for key in ("a[1]*", "b", "c"):
            await first.backend.set(key, ANSWER.pack())
        assert await second.backend.clear(namespace="a[1]*") == 1
        assert await second.backend.clear() == 2

    drive(empty_redis, work)
    assert list_keys(empty_redis) == ["buil", "limits:block"]


# What becomes of a Redis in use.


@pytest.fixture
def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    monkeypatch.setattr(redis_link, "PAUSE", 0.05)
    monkeypatch.setattr(redis_link, "TIMEOUT", 1.5)
    with run_redis(tmp_path) as server:
        yield server


@pytest.mark.parametrize(("harm", "mend"), BREAK_CASES)
def test_whatever_becomes_of_redis_under_load_no_request_fails_and_health_says_it(
    sample_dir: Path,
    own_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[RedisServer], None],
    mend: Callable[[RedisServer], None],
) -> None:
    app = create_app(make_settings(sample_dir, CACHE_URL=own_redis.url, METRICS="on"))
    standby = app.state.fallbacks["redis_cache"]
    with serve_app(app) as client:
        wanted = client.get(DEAR[1]).content
        load = Load(client)
        load.run_until(lambda: len(load.seen) >= 20)
        assert standby.fault is None
        harm(own_redis)
        is_harmless = harm not in (RedisServer.kill, RedisServer.pause, RedisServer.fill)
        load.run_until(lambda: is_harmless or standby.count >= 2)
        if not is_harmless:
            told = read_json(client, "/health")["fallbacks"]["redis_cache"]
            assert "each instance makes its own answers" in told
            scraped = client.get("/metrics").text
            assert 'mds_fallback_in_use{what="redis_cache"} 1.0' in scraped
        mend(own_redis)
        load.run_until(lambda: standby.fault is None)
        load.run_until(lambda: bool(list_keys(own_redis)))
        assert read_json(client, "/health")["fallbacks"] == {}
        assert client.get(DEAR[1]).content == wanted
    assert set(load.seen) == {200}
    warnings = [each for each in caplog.messages if each.startswith("CACHE_URL")]
    assert len(warnings) == (0 if is_harmless else 1), "logged once"


class Load:
    """Questions that were never asked before, many at a time."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.seen: list[int] = []

    async def ask_some(self) -> None:
        async with connect_async(self.client.base_url) as many:
            n = len(self.seen)
            urls = [f"/instruments/IBM/ohlcv?limit={n + each}" for each in range(1, 11)]
            answers = await asyncio.gather(*map(many.get, urls))
            self.seen.extend(answer.status_code for answer in answers)

    def run_until(self, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not is_over():
            assert time.monotonic() < deadline
            asyncio.run(self.ask_some())


def test_a_redis_that_hangs_keeps_no_request_waiting_after_the_first_fault(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "PAUSE", 1000.0)
    monkeypatch.setattr(redis_link, "TIMEOUT", 0.2)

    async def work(first: SharedAnswers, second: SharedAnswers) -> None:
        await first.get_or_make("key", make_answer)
        own_redis.pause()
        assert await first.get_or_make("key", make_answer) == Got(ANSWER, True)
        for _ in range(100):
            call = first.get_or_make("key", make_answer)
            with pytest.raises(StopIteration):
                call.send(None)  # it ends without waiting for anything
        own_redis.resume()

    drive(own_redis, work)


# Passwords and packages.


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_the_password_of_redis_opens_it_and_is_never_told(
    sample_dir: Path, empty_redis: RedisServer, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    url = empty_redis.url.replace("//", "//:pass%2Fword%21@")
    empty_redis.client.config_set("requirepass", "pass/word!" if password == "right" else "other")
    try:
        with serve(sample_dir, CACHE_URL=url) as client:
            assert ask(client, YEAR)[0] == "MISS"
            told = client.get("/health").text
    finally:
        empty_redis.client.config_set("requirepass", "")
    assert ("Redis cannot be asked (AuthenticationError)" in told) is (password == "wrong")
    logging.getLogger("api").warning("a line that quotes %s, or pass/word!", url)
    for word in ("pass%2Fword%21", "pass/word!"):
        assert word not in told + "".join(caplog.messages[:-1])
        assert word not in strike(caplog.messages[-1])


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@127.0.0.1",
        "redis://:hunter2@127.0.0.1:port",
        "127.0.0.1:6379?password=hunter2",
    ],
)
def test_a_bad_address_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    wanted = r"^CACHE_URL=\(hidden\): wanted an address like redis://127.0.0.1:6379/0$"
    with pytest.raises(SettingsError, match=wanted):
        make_settings(tmp_path, CACHE_URL=url)


def test_an_address_of_redis_without_the_package_ends_the_service_with_2(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setenv("CACHE_URL", "redis://127.0.0.1:9")
    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith("error: CACHE_URL wants the package redis: install it by `pip install")
    assert told.count("\n") == 1
    with pytest.raises(SettingsError, match="CACHE_URL wants the package redis"):
        create_app(make_settings(data_dir, CACHE_URL="redis://127.0.0.1:9"))


def test_without_an_address_nothing_of_redis_is_loaded(sample_dir: Path) -> None:
    code = (
        "import sys, api.main; app = api.main.create_app();"
        "names = {'redis', 'api.cache.shared', 'api.cache.redis_backend'};"
        "sys.exit(bool(names & set(sys.modules)) or app.front.sharing is not None)"
    )
    assert run_stage("-c", code, env=clean_environ(sample_dir)).returncode == 0


def test_what_was_opened_is_closed_with_the_service(
    sample_dir: Path, empty_redis: RedisServer
) -> None:
    app: Service = create_app(make_settings(sample_dir, CACHE_URL=empty_redis.url))
    with serve_app(app) as client:
        ask(client, YEAR)
        assert len(empty_redis.client.client_list()) > 1
    wait_until(lambda: len(empty_redis.client.client_list()) == 1)
