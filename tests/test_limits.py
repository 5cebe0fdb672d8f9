"""Limits of one process: exact, told in headers, bounded in memory, absent where not wanted."""

import asyncio
import ipaddress
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import limits
import pytest
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from api.callers import Caller, Spent
from api.callers.rates import limiter as limiter_module
from api.callers.rates import windows
from api.callers.rates.limiter import RateLimiter, build_rate_limiter, warn_of_workers
from api.callers.rates.windows import name_network
from api.edge.admission import count_symbols
from api.fallbacks import Standby
from api.settings import ApiSettings, SettingsError, read_settings
from tests.guarded import guard
from tests.server import HOST, connect_async, make_settings, serve

URL = "/instruments/AAPL/ohlcv?limit=1"


class Clock:
    """A clock that is set."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limiter_module, "time", clock)
    return clock


def build(rate: str) -> RateLimiter:
    return build_rate_limiter(rate, "", Standby())


def spend(limiter: RateLimiter, name: str = "1.2.3.4", weight: int = 1) -> Spent:
    return cast(Spent, limiter.spend(Caller(name, "address"), weight))


def is_let(limiter: RateLimiter, name: str = "1.2.3.4", weight: int = 1) -> bool:
    return spend(limiter, name, weight).refusal is None


@pytest.fixture(scope="module")
def limited(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, RATE_LIMIT="20/hour", TRUSTED_PROXIES=HOST) as client:
        yield client


def ask(client: httpx.Client, url: str, address: str) -> httpx.Response:
    return client.get(url, headers={"X-Forwarded-For": address})


def test_of_many_requests_at_once_exactly_so_many_are_let_through(sample_dir: Path) -> None:
    async def ask_all(url: httpx.URL) -> list[int]:
        async with connect_async(url) as client:
            answers = await asyncio.gather(*(client.get(URL) for _ in range(90)))
        return [answer.status_code for answer in answers]

    with serve(sample_dir, RATE_LIMIT="37/hour") as client:
        found = asyncio.run(ask_all(client.base_url))
    assert (found.count(200), found.count(429)) == (37, 53)


def test_headers_tell_the_limit_what_is_left_and_how_long(limited: httpx.Client) -> None:
    first, second = ask(limited, URL, "10.0.0.1"), ask(limited, URL, "10.0.0.1")
    assert first.headers["ratelimit-policy"] == '"default";q=20;w=3600'
    assert first.headers["ratelimit"] == '"default";r=19;t=3600'
    assert second.headers["ratelimit"].startswith('"default";r=18;t=3')


def test_a_refusal_is_a_problem_with_the_time_to_wait_and_the_remedy(limited: httpx.Client) -> None:
    answers = [ask(limited, URL, "10.0.0.2") for _ in range(21)]
    refused = answers[-1]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 3590 <= int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=3')
    assert refused.headers["x-content-type-options"] == "nosniff"
    body = refused.json()
    assert (body["status"], body["title"]) == (429, "Too Many Requests")
    seconds = refused.headers["retry-after"]
    assert body["detail"] == (
        f"At most 20 requests in 3600 s are allowed: ask again in {seconds} s, or ask for less at"
        " a time."
    )


def test_a_cached_answer_counts_as_any_other(limited: httpx.Client) -> None:
    found = [ask(limited, URL, "10.0.0.3") for _ in range(3)]
    assert found[-1].headers["x-cache"] == "HIT"
    assert found[-1].headers["ratelimit"].startswith('"default";r=17;')


@pytest.mark.parametrize("url", ["/health", "/", "/dashboard/main.js", "/docs", "/openapi.json"])
def test_health_and_files_cost_nothing(limited: httpx.Client, url: str) -> None:
    answers = [ask(limited, url, "10.0.0.4") for _ in range(25)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


@pytest.mark.parametrize(
    ("url", "left"),
    [
        (URL, 19),
        ("/ohlcv?symbols=AAPL,IBM,MSFT&limit=1", 17),
        ("/ohlcv?limit=1&symbols=AAPL%2cIBM", 18),
        ("/ohlcv/latest?symbols=AAPL", 19),
        ("/statistics/correlation?symbols=AAPL,IBM", 18),
        ("/instruments/AAPL/statistics", 18),
        ("/instruments/AAPL/indicators?name=rsi", 18),
        ("/screen", 10),
        ("/nothing", 19),
    ],
)
def test_what_costs_more_weighs_more(limited: httpx.Client, url: str, left: int) -> None:
    address = ipaddress.IPv4Address(zlib.crc32(url.encode()))  # another for each
    answer = ask(limited, url, str(address))
    assert answer.headers["ratelimit"].startswith(f'"default";r={left};'), answer.text


def test_a_request_heavier_than_the_whole_limit_takes_all_of_it_and_is_let(clock: Clock) -> None:
    limiter = build("5/minute")
    assert is_let(limiter, weight=10)
    assert not is_let(limiter)


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limiter = build("5/minute")
    assert is_let(limiter, weight=3)
    assert not is_let(limiter, weight=3)
    assert is_let(limiter, weight=2)


@pytest.mark.parametrize(
    ("query", "count"),
    [(b"", 1), (b"symbols=A", 1), (b"symbols=A,B%2CC", 3), (b"a=1,2&symbols=A", 1)],
)
def test_symbols_are_counted_from_the_query(query: bytes, count: int) -> None:
    assert count_symbols(query) == count
    assert count_symbols(b"symbols=" + b"," * 10_000) == 100


def test_callers_behind_a_proxy_are_told_apart_and_cannot_make_an_address_up(
    limited: httpx.Client,
) -> None:
    assert ask(limited, URL, "10.2.0.1").headers["ratelimit"].startswith('"default";r=19')
    for made_up in ("1.1.1.1", "2.2.2.2"):
        answer = ask(limited, URL, f"{made_up}, 10.2.0.1")
    assert answer.headers["ratelimit"].startswith('"default";r=17')


def test_who_is_no_proxy_is_counted_by_the_address_that_connects(sample_dir: Path) -> None:
    with serve(sample_dir, RATE_LIMIT="20/hour") as client:
        answers = [ask(client, URL, f"10.0.0.{n}") for n in range(3)]
    assert answers[-1].headers["ratelimit"].startswith('"default";r=17')


def test_all_addresses_of_one_ipv6_network_are_one_caller() -> None:
    limiter = build("2/minute")
    assert is_let(limiter, "2001:db8:0:1::1")
    assert is_let(limiter, "2001:db8:0:1:ffff::2%eth0")
    assert not is_let(limiter, "2001:db8:0:1::3")
    assert is_let(limiter, "2001:db8:0:2::1")
    assert name_network("::ffff:1.2.3.4") == "1.2.3.4"


def test_an_address_a_key_and_a_user_of_one_name_are_three_callers() -> None:
    limiter = build("1/minute")
    for kind in ("address", "key", "user"):
        caller = Caller("one", kind)  # type: ignore[arg-type]
        assert cast(Spent, limiter.spend(caller, 1)).refusal is None
        assert cast(Spent, limiter.spend(caller, 1)).refusal is not None


def test_a_window_begins_with_a_callers_first_request_and_then_all_is_allowed_again(
    clock: Clock,
) -> None:
    limiter = build("2/minute")
    assert [is_let(limiter) for _ in range(3)] == [True, True, False]
    clock.now += 59.5
    assert not is_let(limiter)
    clock.now += 0.6
    assert [is_let(limiter) for _ in range(3)] == [True, True, False]


def test_of_several_limits_each_holds_and_the_longest_wait_is_told(clock: Clock) -> None:
    limiter = build("2/second;3/hour")
    assert [is_let(limiter) for _ in range(3)] == [True, True, False]
    clock.now += 1
    assert [is_let(limiter) for _ in range(2)] == [True, False]
    headers, refusal = spend(limiter)
    assert dict(headers) == {
        b"ratelimit": b'"default-1s";r=1;t=1, "default-3600s";r=0;t=3599',
        b"ratelimit-policy": b'"default-1s";q=2;w=1, "default-3600s";q=3;w=3600',
    }
    assert refusal is not None
    assert refusal.headers["retry-after"] == "3599"


@pytest.mark.parametrize("rate", ["1/hour", "7/hour", "40/2 hours"])
def test_it_lets_through_what_the_fixed_window_of_limits_does(rate: str) -> None:
    """The same requests to both: of each caller the same are let through."""
    ours, item = build(rate), limits.parse(rate)
    theirs = FixedWindowRateLimiter(MemoryStorage())
    for n in range(120):
        name = f"10.0.0.{n % 3}"
        weight = min(1 + n % 2, item.amount)
        is_let_there = theirs.test(item, name, cost=weight)
        if is_let_there:
            theirs.hit(item, name, cost=weight)
        assert is_let(ours, name, weight) == is_let_there, n


def test_a_million_addresses_take_bounded_memory_and_leave_keys_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "MOST_CALLERS", 1000)
    limiter = build("1/hour")
    key = Caller("mine", "key")
    limiter.spend(key, 1)
    for n in range(2000):
        spend(limiter, str(n))
    tracemalloc.start()
    for n in range(20_000):
        spend(limiter, str(n))
    assert tracemalloc.get_traced_memory()[0] < 1_000_000
    tracemalloc.stop()
    assert len(limiter.first["address"]) == 1000
    assert cast(Spent, limiter.spend(key, 1)).refusal is not None


def test_counters_of_windows_that_ended_are_dropped(clock: Clock) -> None:
    limiter = build("1/minute")
    for n in range(100):
        spend(limiter, str(n))
    clock.now += 61
    spend(limiter, "new")
    assert list(limiter.first["address"]) == ["new"]


def test_what_is_refused_is_counted(sample_dir: Path) -> None:
    with serve(sample_dir, RATE_LIMIT="2/hour", METRICS="on") as client:
        for _ in range(5):
            client.get(URL)
        lines = client.get("/metrics").text.splitlines()
    assert "mds_rate_limited_total 3.0" in lines
    assert 'mds_fallback_in_use{what="redis_limits"} 0.0' in lines


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_without_a_limit_nothing_stands_in_the_way_and_no_header_tells_of_one(
    sample_dir: Path, value: str
) -> None:
    with serve(sample_dir, RATE_LIMIT=value) as client:
        assert "ratelimit" not in client.get(URL).headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("RATE_LIMIT", value) for value in ("100", "0/minute", "-1/second", "many", "1/year x")),
        ("RATE_LIMIT_URL", "127.0.0.1:6379"),
        ("RATE_LIMIT_URL", "http://user:hunter2@127.0.0.1"),
    ],
)
def test_a_limit_that_is_none_is_refused_with_what_is_possible(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}=.*: wanted an? (rate|address) like") as said:
        read_settings(ApiSettings, {name: value}, {}, Path("no .env"))
    assert "hunter2" not in str(said.value)


def test_several_workers_without_redis_say_what_holds(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, RATE_LIMIT="100/minute", API_WORKERS="4")
    warning = warn_of_workers(settings)
    assert warning is not None
    assert "each of API_WORKERS=4 limits by itself" in warning
    assert "up to 4 times 100/minute: set RATE_LIMIT_URL" in warning
    assert warn_of_workers(make_settings(tmp_path, API_WORKERS="4")) is None
    assert warn_of_workers(make_settings(tmp_path, RATE_LIMIT="100/minute")) is None


def test_with_callers_told_apart_100_a_minute_hold_unless_it_is_said_otherwise(
    sample_dir: Path, tmp_path: Path
) -> None:
    with guard(sample_dir, tmp_path, RATE_LIMIT="") as guarded:
        token = guarded.sign_in()["access_token"]
        told = guarded.get(secret=token).headers
        assert (told["ratelimit-policy"], told["ratelimit"][:16]) == (
            '"default";q=100;w=60',
            '"default";r=99;t',
        )
        refused = [guarded.get(secret="wrong").status_code for _ in range(120)]
        assert (refused[0], refused[-1]) == (401, 429), "keys are not tried for free"
        assert guarded.get(secret=token).status_code == 200, "by whoever shares the address"
