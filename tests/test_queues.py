"""What every queue does with calls, whoever makes them; then what workers share through Redis."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from etl.base.clock import Clock
from etl.base.errors import Malformed, Unreachable
from etl.calls.fetch import Fetched
from etl.calls.vendor import Call
from etl.settings import Settings, read_settings
from tests.conftest import clean_environ, run_stage
from tests.extraction import read_raw, run_extract, settings_for
from tests.queues import collect_all, describe_environ, keep_text, open_line, start_workers
from tests.redis_server import RedisServer, run_redis
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET, open_vendors
from tests.vendor import Vendor, hang_up, open_vendor


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def one_vendor() -> Iterator[Vendor]:
    # a day that is given, for the first look into a calendar takes long
    with open_vendor(per_day=0, per_second=0, last_bar=date(2026, 11, 20)) as vendor:
        yield vendor


@pytest.fixture
def vendor(one_vendor: Vendor) -> Vendor:
    """As new."""
    one_vendor.requests.clear()
    one_vendor.scripts.clear()
    one_vendor.per_second = one_vendor.refused = 0
    one_vendor.second = 1.0
    return one_vendor


@pytest.fixture(scope="module")
def worker(
    redis_server: RedisServer, one_vendor: Vendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a Redis that a worker looks at: a process of its own."""
    pytest.importorskip("celery", reason="celery is not installed: make engines")
    folder = tmp_path_factory.mktemp("worker")
    env = describe_environ(folder / "none", one_vendor, redis_server.url)
    with start_workers(1, env, folder):
        yield redis_server.url


Open = Callable[..., tuple[Any, Callable[[str], Call]]]


@pytest.fixture(params=["threads", "workers"])
def open_one(request: pytest.FixtureRequest, tmp_path: Path, vendor: Vendor) -> Iterator[Open]:
    """Opens a queue of one kind, as an ETL does."""
    url = request.getfixturevalue("worker") if request.param == "workers" else ""
    lines: list[Any] = []

    def open_it(
        keep: Callable[[Call, Fetched], str | Call] = keep_text, **given: Any
    ) -> tuple[Any, Callable[[str], Call]]:
        limits = {"AV_CALLS_PER_DAY": 0, "AV_CALLS_PER_SECOND": 0, "HTTP_TIMEOUT": 60, **given}
        line, build = open_line(settings_for(tmp_path, vendor, QUEUE_URL=url, **limits), keep)
        lines.append(line)
        return line, build

    yield open_it
    for line in lines:
        line.close()


# What holds for every queue.


def submit(line: Any, calls: list[Call]) -> None:
    """As the dispatcher does, which waits where the queue says so."""
    for number, call in enumerate(calls):
        while (delay := line.find_delay()) is None or delay > 0:
            threading.Event().wait(delay or 0.01)
        line.submit(number, call)


def test_each_call_comes_back_once_with_what_was_kept_of_it(open_one: Open, vendor: Vendor) -> None:
    line, build = open_one()
    symbols = [f"S{number}" for number in range(12)]
    submit(line, [build(symbol) for symbol in symbols])
    found = collect_all(line, 12)
    assert [str(found[number]).split(":")[0] for number in range(12)] == symbols
    assert sorted(vendor.symbols) == sorted(symbols)


def test_an_answer_is_kept_before_it_is_handed_on(open_one: Open) -> None:
    kept: list[str] = []

    def keep(call: Call, fetched: Fetched) -> str:
        kept.append(call.symbol)
        return call.symbol

    line, build = open_one(keep)
    submit(line, [build("IBM"), build("BRK.B")])
    for result in collect_all(line, 2).values():
        assert result in kept
    assert sorted(kept) == ["BRK.B", "IBM"]


def test_what_keeping_finds_wrong_comes_back_as_an_error(open_one: Open) -> None:
    def keep(call: Call, fetched: Fetched) -> str:
        raise Malformed(f"{call.symbol}: nonsense")

    line, build = open_one(keep)
    submit(line, [build("IBM")])
    [error] = collect_all(line, 1).values()
    assert (type(error), str(error)) == (Malformed, "IBM: nonsense")


def test_a_vendor_that_cannot_be_reached_is_told_as_that_without_its_address(
    open_one: Open, vendor: Vendor
) -> None:
    vendor.scripts["IBM"] = hang_up
    line, build = open_one()
    submit(line, [build("IBM")])
    [error] = collect_all(line, 1).values()
    assert isinstance(error, Unreachable)
    assert "AV_BASE_URL" in str(error)
    assert "127.0.0.1" not in str(error)


def test_a_call_for_the_next_page_comes_back_as_one(open_one: Open) -> None:
    line, build = open_one(lambda call, fetched: replace(call, page="p2", number=2))
    submit(line, [build("IBM")])
    assert collect_all(line, 1) == {0: replace(build("IBM"), page="p2", number=2)}


@pytest.mark.parametrize("rate", [4, 9])
def test_the_vendor_never_counts_more_calls_in_a_second_than_it_allows(
    open_one: Open, vendor: Vendor, rate: int
) -> None:
    # the peer shares processors with other tests: it may note one call late, and the next at once
    vendor.per_second, vendor.second = rate, 0.75
    line, build = open_one(AV_CALLS_PER_SECOND=rate)
    submit(line, [build(f"S{number}") for number in range(rate + 3)])
    collect_all(line, rate + 3)
    assert (len(vendor.requests), vendor.refused) == (rate + 3, 0)


def test_no_call_leaves_while_the_queue_is_held(open_one: Open, vendor: Vendor) -> None:
    line, build = open_one()
    submit(line, [build("A")])
    collect_all(line, 1)
    line.hold(0.7)
    submit(line, [build("B")])
    collect_all(line, 1)
    first, second = (request.at for request in vendor.requests)
    assert second - first > 0.6


def test_an_answer_is_the_same_whoever_made_the_call(tmp_path: Path, open_one: Open) -> None:
    kept: list[Fetched] = []

    def keep(call: Call, fetched: Fetched) -> str:
        kept.append(fetched)
        return ""

    line, build = open_one(keep)
    submit(line, [build("IBM")])
    collect_all(line, 1)
    [fetched] = kept
    assert (fetched.status, fetched.retry_after, fetched.error) == (200, None, None)
    assert json.loads(fetched.body)["Meta Data"]["2. Symbol"] == "IBM"


def test_without_queue_url_neither_celery_nor_redis_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, etl.__main__, etl.sources.paid\n"
        "sys.exit(any(n.partition('.')[0] in ('celery', 'kombu', 'redis') for n in sys.modules))"
    )
    assert run_stage("-c", code, env={}).returncode == 0


def test_every_vendor_and_each_page_of_an_answer_goes_through_workers(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    pytest.importorskip("celery", reason="celery is not installed: make engines")
    days = [date(2026, 11, day) for day in (16, 17, 18, 19, 20)]
    bars = {name: [(day, 10.0, 12.0, 9.0, 11.0, 1000) for day in days] for name in ("IBM", "AAPL")}
    with open_vendors(bars=bars, page_size=2) as vendors:
        given = {
            "SOURCE": "alpaca,massive",
            "SYMBOLS": "IBM,AAPL",
            "QUEUE_URL": redis_server.url,
            "ALPACA_KEY_ID": KEY_ID,
            "ALPACA_SECRET_KEY": SECRET,
            "ALPACA_BASE_URL": vendors.url,
            "MASSIVE_API_KEY": MASSIVE_KEY,
            "MASSIVE_BASE_URL": vendors.url,
            "ALPACA_CALLS_PER_MINUTE": "0",
            "MASSIVE_CALLS_PER_MINUTE": "0",
            "CORPORATE_ACTIONS_DAYS": "0",
            "HTTP_TIMEOUT": "60",
        }
        env = clean_environ(tmp_path / "none", PYTHONWARNINGS="ignore", **given)
        settings = read_settings(
            Settings, {**given, "DATA_DIR": str(tmp_path)}, {}, tmp_path / "no.env"
        )
        with start_workers(1, env, tmp_path):
            assert run_extract(settings, Clock()) is None
        rows = [(row["source"], row["symbol"]) for row in read_raw(settings)]
        assert {pair: rows.count(pair) for pair in rows} == {
            (vendor, symbol): 5 for vendor in ("alpaca", "massive") for symbol in bars
        }
        assert len(vendors.requests) == 2 * 2 * 3
