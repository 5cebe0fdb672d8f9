"""Limits over several processes, on a real Redis: never more in all, and no request fails by it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from api import redis_link
from api.callers import Caller, Limiter, Spent
from api.callers.rates.leases import Leases
from api.callers.rates.limiter import RateLimiter, build_rate_limiter
from api.callers.rates.policies import build_policies
from api.fallbacks import Standby
from api.main import create_app
from tests.conftest import clean_environ, run_stage
from tests.redis_server import BREAK_CASES, RedisServer, run_redis
from tests.server import connect_async, make_settings, read_json, serve_app, wait_until

URL = "/instruments/AAPL/ohlcv?limit=1"
ANN = Caller("ann", "user")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


async def spend(limiter: Limiter, caller: Caller = ANN, weight: int = 1) -> Spent:
    spent = limiter.spend(caller, weight)
    return spent if isinstance(spent, Spent) else await spent


async def count_let(limiter: Limiter, tries: int, caller: Caller = ANN) -> int:
    answers = await asyncio.gather(*(spend(limiter, caller) for _ in range(tries)))
    return sum(answer.refusal is None for answer in answers)


def drive(work: Callable[[list[RateLimiter]], Awaitable[None]], rate: str, *urls: str) -> None:
    """Run the work with a limiter for each address, as so many processes have them."""

    async def run() -> None:
        limiters = [build_rate_limiter(rate, url, Standby()) for url in urls]
        try:
            await work(limiters)
        finally:
            for limiter in limiters:
                await limiter.close()

    asyncio.run(run())


# What holds for every Limiter.


@pytest.fixture(params=["memory", "redis", "redis gone"])
def url(request: pytest.FixtureRequest) -> str:
    """How a limiter counts."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("empty_redis")
        return server.url
    return "redis://127.0.0.1:9" if request.param == "redis gone" else ""


@pytest.mark.parametrize("quota", [1, 7, 100, 137])
def test_of_requests_at_once_every_limiter_lets_exactly_so_many_through(
    url: str, quota: int
) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        assert await count_let(limiters[0], quota + 50) == quota
        assert await count_let(limiters[0], quota + 50, Caller("bob", "user")) == quota
        assert await count_let(limiters[0], 5) == 0

    drive(work, f"{quota}/hour", url)


def test_every_limiter_tells_what_is_left_and_refuses_with_the_time_to_wait(url: str) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        first = dict((await spend(limiters[0])).headers)
        assert first[b"ratelimit-policy"] == b'"default";q=12;w=3600'
        assert first[b"ratelimit"] == b'"default";r=11;t=3600'
        heavy = dict((await spend(limiters[0], weight=9)).headers)
        assert heavy[b"ratelimit"].startswith(b'"default";r=2;t=3')
        headers, refusal = await spend(limiters[0], weight=3)
        assert dict(headers)[b"ratelimit"].startswith(b'"default";r=2;')
        assert refusal is not None
        assert refusal.status_code == 429
        assert 3590 <= int(refusal.headers["retry-after"]) <= 3600
        assert (await spend(limiters[0], weight=2)).refusal is None
        assert (await spend(limiters[0], weight=0)).refusal is None

    drive(work, "12/hour", url)


def test_every_limiter_begins_anew_when_the_window_ends(url: str) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        assert await count_let(limiters[0], 20) == 3
        deadline = time.monotonic() + 120
        while (await spend(limiters[0])).refusal is not None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    drive(work, "3/second", url)


# What holds of several processes.


@pytest.mark.parametrize("quota", [10, 100, 333])
def test_four_instances_never_let_more_through_in_all_and_lose_at_most_three_blocks(
    empty_redis: RedisServer, quota: int
) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        let = sum(await asyncio.gather(*(count_let(each, 2 * quota) for each in limiters)))
        assert quota - 3 * build_policies(f"{quota}/hour")[0].block <= let <= quota

    drive(work, f"{quota}/hour", *[empty_redis.url] * 4)


def test_one_instance_after_another_gets_all_that_is_left(empty_redis: RedisServer) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        counts = [await count_let(limiters[0], 30), await count_let(limiters[1], 200)]
        assert counts == [30, 70]

    drive(work, "100/hour", *[empty_redis.url] * 2)


def test_redis_is_asked_once_a_block_and_not_at_all_of_who_has_nothing_left(
    empty_redis: RedisServer,
) -> None:
    def count_scripts() -> int:
        return sum(
            empty_redis.client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0)
            for name in ("evalsha", "eval")
        )

    async def work(limiters: list[RateLimiter]) -> None:
        assert await count_let(limiters[0], 300) == 200

    before = count_scripts()
    drive(work, "200/hour", empty_redis.url)
    assert count_scripts() - before <= 12, "10 blocks, and the script that was not known at first"


def test_two_limits_of_one_caller_have_counters_of_their_own(empty_redis: RedisServer) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        assert await count_let(limiters[0], 30) == 5

    drive(work, "5/hour;20/day", empty_redis.url)
    drive(work, "5/2 hours", empty_redis.url)


def test_nothing_of_a_caller_stays_in_redis_when_the_window_is_over(
    empty_redis: RedisServer,
) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        await count_let(limiters[0], 3)

    drive(work, "5/hour", empty_redis.url)
    keys = empty_redis.client.keys("*")
    assert len(keys) == 1
    assert 0 < empty_redis.client.ttl(keys[0]) <= 3600


# What becomes of a Redis in use.


@pytest.fixture
def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    monkeypatch.setattr(redis_link, "PAUSE", 0.05)
    monkeypatch.setattr(redis_link, "TIMEOUT", 1.5)  # a busy machine is no fault
    monkeypatch.setattr(redis_link, "CONNECT_TIMEOUT", 1.5)
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
    settings = make_settings(
        sample_dir, RATE_LIMIT="9/second", RATE_LIMIT_URL=own_redis.url, TRUSTED_PROXIES="127.0.0.1"
    )
    app = create_app(settings)
    with serve_app(app) as client:
        seen: list[int] = []

        async def load(is_over: Callable[[], bool]) -> None:
            async with connect_async(client.base_url) as many:
                while not is_over():
                    asked = (
                        many.get(URL, headers={"X-Forwarded-For": f"10.0.{len(seen) % 250}.{n}"})
                        for n in range(20)
                    )
                    seen.extend(answer.status_code for answer in await asyncio.gather(*asked))

        def load_until(is_over: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 120
            asyncio.run(load(lambda: is_over() or time.monotonic() > deadline))
            assert is_over()

        standby = app.state.fallbacks["redis_limits"]
        load_until(lambda: len(seen) >= 40)
        assert standby.fault is None
        harm(own_redis)
        is_harmless = harm not in (RedisServer.kill, RedisServer.pause, RedisServer.fill)
        load_until(lambda: is_harmless or standby.count >= 3)
        if not is_harmless:
            assert "each process limits by itself" in str(fallbacks(client)["redis_limits"])
        mend(own_redis)
        load_until(lambda: standby.fault is None)
        assert fallbacks(client) == {}
    assert set(seen) <= {200, 429}
    assert seen.count(200) > seen.count(429)
    warnings = [each for each in caplog.messages if each.startswith("RATE_LIMIT_URL")]
    assert len(warnings) == (0 if is_harmless else 1), "logged once"
    assert own_redis.url not in caplog.text


def fallbacks(client: httpx.Client) -> dict[str, str]:
    found: dict[str, str] = read_json(client, "/health")["fallbacks"]
    return found


def test_while_redis_is_gone_what_was_leased_before_still_counts(own_redis: RedisServer) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        assert await count_let(limiters[0], 35) == 35
        own_redis.kill()
        assert await count_let(limiters[0], 200) == 65

    drive(work, "100/hour", own_redis.url)


def test_a_redis_that_hangs_keeps_one_request_waiting_and_none_after_it(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "PAUSE", 1000.0)

    async def work(limiters: list[RateLimiter]) -> None:
        await spend(limiters[0])
        own_redis.pause()
        await spend(limiters[0], Caller("first", "user"))
        for n in range(100):
            found = limiters[0].spend(Caller(f"{n}", "user"), 1)
            assert not isinstance(found, Spent)
            with suppress(StopIteration):
                found.__await__().send(None)  # it ends without waiting for anything
                pytest.fail("it waits")

    drive(work, "100/hour", own_redis.url)
    own_redis.resume()


def test_a_client_that_hangs_up_ends_no_lease_that_others_wait_for(
    empty_redis: RedisServer,
) -> None:
    async def work(limiters: list[RateLimiter]) -> None:
        first = asyncio.ensure_future(spend(limiters[0]))
        second = asyncio.ensure_future(spend(limiters[0]))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).refusal is None

    drive(work, "100/hour", empty_redis.url)


def test_an_address_of_redis_without_the_package_ends_the_service_with_2(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['redis'] = sys.modules['redis.asyncio'] = None;"
        "import api.main; sys.exit(api.main.main())"
    )
    env = clean_environ(tmp_path, RATE_LIMIT="5/second", RATE_LIMIT_URL="redis://127.0.0.1:9")
    done = run_stage("-c", code, env=env)
    wanted = "error: RATE_LIMIT_URL wants the package redis: install it by"
    assert (done.returncode, done.stderr[: len(wanted)]) == (2, wanted)


def test_the_leases_close_what_they_opened(empty_redis: RedisServer) -> None:
    async def work() -> None:
        opened = Leases(empty_redis.url, Standby())
        assert await opened.take("user:ann", build_policies("5/hour")[0], 2) is not None
        await opened.close()
        await opened.close()

    asyncio.run(work())
    wait_until(lambda: len(empty_redis.client.client_list()) == 1)
