"""What a run and its workers share in Redis: no call is made twice, too fast, or by who may not."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from etl.base.clock import Clock
from etl.base.errors import EtlError, LockedError, NotAsked, UnknownSymbol
from etl.calls.fetch import Fetcher
from etl.calls.ledger import Ledger, open_ledger
from etl.calls.vendor import DAILY, Call, build_call
from etl.settings import Settings, SettingsError
from etl.sources import Order
from etl.sources.paid import PaidSource
from etl.sources.registry import VENDORS, find_vendors
from etl.worker import main as run_worker_command
from tests.extraction import KEY, settings_for
from tests.queues import keep_text, list_all_of_redis
from tests.redis_server import RedisServer, run_redis
from tests.rest_vendors import MASSIVE_KEY, open_vendors
from tests.vendor import Vendor, open_vendor

pytest.importorskip("celery", reason="celery is not installed: make engines")

from etl.calls.queues.lease import Lease, name_owner
from etl.calls.queues.making import Maker
from etl.calls.queues.shared import Shared, connect, name_prefix
from etl.calls.queues.tasks import build_app
from etl.calls.queues.wire import Job, read_answer, write_job
from etl.calls.queues.workers import WorkerQueue


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with run_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def empty(redis_server: RedisServer) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with open_vendor(per_day=0, per_second=0, last_bar=date(2026, 11, 20)) as vendor:
        yield vendor


Make = Callable[..., "Host"]


class Host:
    """One machine: its data folder, its ledger, its half of a queue, and a worker of its own."""

    def __init__(self, settings: Settings, longest: float) -> None:
        [self.vendor] = find_vendors(settings)
        self.settings, self.ledger = settings, open_ledger(settings.data_dir, self.vendor)
        self.client = connect(settings.queue_url)
        self.shared = Shared(self.client, name_prefix(self.vendor.name, self.ledger.key))
        self.lease = Lease(settings.queue_url, self.shared, name_owner(settings.data_dir))
        self.app = build_app(settings.queue_url, longest)
        fetcher = Fetcher(settings, self.vendor, Clock())
        self.line = WorkerQueue(
            fetcher, keep_text, self.ledger, self.shared, self.lease, self.app, longest
        )
        self.ledger.share = lambda line: self.shared.publish(line, self.lease.owner)
        self.maker = Maker(settings, self.vendor, self.client)

    def build(self, symbol: str) -> Call:
        return build_call(self.vendor, symbol, DAILY)

    def submit(self, *symbols: str) -> list[dict[str, Any]]:
        """Hand calls over; the tasks that a worker finds."""
        for number, symbol in enumerate(symbols):
            self.line.submit(number, self.build(symbol))
        jobs = [
            Job(id, self.lease.holder, self.ledger.key, call)
            for id, (_, call) in self.line.flying.items()
        ]
        return [json.loads(json.dumps(write_job(job))) for job in jobs]

    def collect(self) -> dict[int, Any]:
        return dict(self.line.collect())


@pytest.fixture
def make_host(tmp_path: Path, vendor: Vendor, empty: RedisServer) -> Iterator[Make]:
    hosts: list[Host] = []

    def make(name: str = "a", longest: float = 60, **given: Any) -> Host:
        limits = {"AV_CALLS_PER_DAY": 0, "AV_CALLS_PER_SECOND": 0, "HTTP_TIMEOUT": 60, **given}
        (tmp_path / name).mkdir(exist_ok=True)
        settings = settings_for(tmp_path / name, vendor, QUEUE_URL=empty.url, **limits)
        hosts.append(Host(settings, longest))
        return hosts[-1]

    yield make
    for host in hosts:
        host.lease.end() if host.lease.thread.is_alive() else None
        host.app.close()
        host.client.close()


def test_a_task_that_comes_twice_makes_one_call(make_host: Make, vendor: Vendor) -> None:
    host = make_host()
    host.line.open()
    [task] = host.submit("IBM")
    host.maker.make(task)
    host.maker.make(task)
    Maker(host.settings, host.vendor, host.client).make(task)
    assert vendor.symbols == ["IBM"]
    assert list(host.collect()) == [0]
    host.maker.make(task)
    assert vendor.symbols == ["IBM"]


def test_a_second_machine_is_refused_while_one_decides(make_host: Make) -> None:
    first, second = make_host("a"), make_host("b")
    first.line.open()
    with pytest.raises(LockedError, match=r"another ETL decides .*/a\): wait till it ends"):
        second.line.open()
    first.line.close()
    second.line.open()


def test_a_run_takes_over_at_once_from_one_of_its_own_folder_that_was_killed(
    make_host: Make,
) -> None:
    first, second = make_host("a"), make_host("a")
    first.line.open()
    second.line.open()  # its folder's lock is free: whoever had the lease is gone
    with pytest.raises(LockedError, match="this one was not heard of"):
        first.submit("IBM")


def test_calls_of_a_run_that_lost_its_lease_are_not_made(make_host: Make, vendor: Vendor) -> None:
    first, second = make_host("a"), make_host("a")
    first.line.open()
    [task] = first.submit("IBM")
    second.line.open()
    first.maker.make(task)
    assert vendor.symbols == []


def test_what_was_handed_over_by_a_run_that_ended_is_not_made(
    make_host: Make, vendor: Vendor
) -> None:
    host = make_host()
    host.line.open()
    [task] = host.submit("IBM")
    host.line.close()
    Maker(host.settings, host.vendor, connect(host.settings.queue_url)).make(task)
    assert vendor.symbols == []


@pytest.mark.parametrize("per_day", [1, 3])
def test_a_day_of_calls_holds_for_all_machines_together(make_host: Make, per_day: int) -> None:
    made = 0
    for name in ("a", "b", "a"):
        host = make_host(name, AV_CALLS_PER_DAY=per_day)
        host.line.open()
        now = Clock().now()
        for number in range(2):
            if host.ledger.left(now):
                host.ledger.spend(host.build(f"{name}{number}"), now)
                made += 1
        host.line.close()
        if made == per_day:
            with pytest.raises(NotAsked):
                host.ledger.spend(host.build("X"), now)
    assert made == per_day


def test_what_one_machine_was_refused_no_other_asks_again(make_host: Make) -> None:
    first, second = make_host("a"), make_host("b")
    first.line.open()
    first.ledger.learn(first.build("NOPE"), UnknownSymbol("NOPE: unknown"), Clock().now())
    first.line.close()
    second.line.open()
    assert isinstance(second.ledger.refusal(second.build("NOPE")), UnknownSymbol)
    kept = Ledger(second.ledger.path, second.ledger.limits, KEY)
    assert kept.refusal(second.build("NOPE")), "its own file is the record"
    assert second.ledger.refusal(second.build("IBM")) is None


def test_lines_of_others_are_taken_in_once(make_host: Make) -> None:
    first, second = make_host("a"), make_host("b")
    first.line.open()
    first.ledger.spend(first.build("IBM"), Clock().now())
    first.line.close()
    for _ in range(3):
        second.line.open()
        second.line.lease.end()
        second = make_host("b")
    assert len(second.ledger.calls) == 1


def test_machines_and_threads_keep_the_pace_together(make_host: Make, vendor: Vendor) -> None:
    vendor.per_second, vendor.second = 7, 0.75  # as in test_queues: a peer that notes calls late
    host = make_host(AV_CALLS_PER_SECOND=7)
    host.line.open()
    tasks = host.submit(*(f"S{number}" for number in range(16)))
    makers = [Maker(host.settings, host.vendor, connect(host.settings.queue_url)) for _ in "ab"]
    threads = [
        threading.Thread(target=makers[place % 2].make, args=(task,))
        for place, task in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (len(vendor.requests), vendor.refused) == (16, 0)
    for maker in makers:
        maker.client.close()


def test_a_call_whose_worker_died_is_told_as_lost(make_host: Make, vendor: Vendor) -> None:
    host = make_host(longest=0.05)
    host.line.open()
    [task] = host.submit("IBM")
    assert host.shared.start(task["id"], host.lease.holder, "a worker").wait == 0
    found = wait_for_lost(host)
    assert [type(error).__name__ for error in found.values()] == ["Lost"]
    assert host.line.notes["repeated"] == 1
    host.maker.make(task)
    assert vendor.symbols == [], "and the task makes no call when it comes again"


def wait_for_lost(host: Host) -> dict[int, Any]:
    host.shared.beat("a worker")
    found: dict[int, Any] = {}
    while not found:
        host.line.looked_at -= 60
        found = host.collect()
    return found


def test_a_call_that_was_not_made_is_handed_over_again_without_another_line(
    make_host: Make, vendor: Vendor
) -> None:
    host = make_host(longest=0.05)
    host.line.open()
    [task] = host.submit("IBM")
    host.shared.beat("a worker")
    while task["id"] in host.line.flying:
        host.line.looked_at -= 60
        assert host.collect() == {}
    host.maker.make(task)
    assert vendor.symbols == []
    assert len(host.line.flying) == 1
    assert host.line.notes["repeated"] == 0


def test_with_no_worker_a_run_ends_and_says_what_to_do(
    make_host: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host()
    host.line.open()
    monkeypatch.setattr("etl.calls.queues.workers.NO_WORKER", 0)
    with pytest.raises(EtlError, match="start one by make worker"):
        host.line.find_delay()


def test_an_answer_whose_run_died_is_archived_before_the_next_plan(
    make_host: Make, vendor: Vendor
) -> None:
    host = make_host(SYMBOLS="IBM")
    host.line.open()
    [task] = host.submit("IBM")
    host.maker.make(task)
    source = PaidSource(host.settings, Order(clock=Clock()), host.vendor)
    assert [entry.symbol for entry in source.archive.list_entries()] == ["IBM"]
    assert source.line.notes["left_over"] == 1
    assert source.plan.list_calls() == [] or source.plan.calls[0][1].startswith("has 2026-11-20")
    assert len(source.pending) == 1
    source.line.close()
    assert vendor.symbols == ["IBM"]


def test_answers_and_calls_in_redis_expire(make_host: Make) -> None:
    host = make_host()
    host.line.open()
    [task] = host.submit("IBM")
    host.maker.make(task)
    prefix = host.shared.prefix
    for name in (f"call:{task['id']}", f"answer:{task['id']}", "ready"):
        assert 0 < int(host.client.ttl(prefix + name)) <= 86_400, name  # type: ignore[arg-type]
    host.collect()
    assert not host.client.exists(*(prefix + f"{n}:{task['id']}" for n in ("call", "answer")))


def test_no_key_is_ever_in_redis(make_host: Make, vendor: Vendor) -> None:
    vendor.per_day, vendor.echoes_key = 1, True
    host = make_host()
    host.line.open()
    tasks = host.submit("IBM", "AAPL")
    for task in tasks:  # the second is refused in words that hold the key
        host.maker.make(task)
    everything = list_all_of_redis(host.client)
    assert b"AAPL" in everything
    assert KEY.encode() not in everything
    for task in tasks:
        answer = host.client.get(f"{host.shared.prefix}answer:{task['id']}")
        _, fetched = read_answer(answer, host.vendor, 10**6)  # type: ignore[arg-type]
        assert KEY.encode() not in fetched.body
    assert any(KEY in request.query["apikey"] for request in vendor.requests)


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "../../etc"},
        {"symbol": ""},
        {"symbol": 7},
        {"symbol": "A" * 5000},
        {"dataset": "passwords"},
        {"since": "yesterday"},
        {"number": "1"},
        {"url": "http://127.0.0.1/"},
        None,
    ],
)
def test_a_task_that_no_run_may_have_written_is_refused(
    make_host: Make, vendor: Vendor, change: dict[str, Any] | None
) -> None:
    host = make_host()
    host.line.open()
    [task] = host.submit("IBM")
    host.maker.make({**task, "call": {**task["call"], **change}} if change else ["IBM"])
    assert vendor.requests == []
    host.maker.make(task)
    assert vendor.symbols == ["IBM"]


@pytest.mark.parametrize("page", ["@{}/x", ".{}/x", "/../../x"])
def test_a_worker_speaks_to_no_address_but_its_own(
    tmp_path: Path, empty: RedisServer, page: str
) -> None:
    """Massive names the next page by its path: whatever stands there, the host stays."""
    with open_vendors() as vendors, open_vendors() as others:
        given = {"SOURCE": "massive", "MASSIVE_API_KEY": MASSIVE_KEY, "QUEUE_URL": empty.url}
        vendor = Vendor(url="")
        settings = settings_for(tmp_path, vendor, MASSIVE_BASE_URL=vendors.url, **given)
        host = Host(settings, 60)
        host.line.open()
        page = page.format(others.url.partition("//")[2])
        call = Call("IBM", DAILY, DAILY, page, 2)
        host.line.submit(0, call)
        [id] = host.line.flying
        host.maker.make(write_job(Job(id, host.lease.holder, host.ledger.key, call)))
        assert "another address" in str(host.collect()[0])
        assert vendors.requests == others.requests == []
        host.line.close()


def test_a_worker_of_another_key_makes_no_call_and_says_so(make_host: Make, vendor: Vendor) -> None:
    host = make_host()
    host.line.open()
    [task] = host.submit("IBM")
    other = settings_for(host.settings.data_dir, vendor, AV_API_KEY="ANOTHERKEY77")
    Maker(other, VENDORS["alpha_vantage"](other), host.client).make(task)
    assert "another key" in str(host.collect()[0])
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"QUEUE_URL": ""}, "wants QUEUE_URL"),
        ({"AV_API_KEY": ""}, "wants AV_API_KEY"),
        ({"SOURCE": "sample"}, "SOURCE=sample has no calls to make"),
        ({"SOURCE": "alpha_vantage,massive"}, "wants MASSIVE_API_KEY"),
        ({"QUEUE_URL": "amqp://localhost"}, "QUEUE_URL='amqp://localhost': wanted an address"),
        ({"WORKER_CALLS": "0"}, "WORKER_CALLS='0': wanted a whole number"),
    ],
)
def test_a_worker_that_cannot_work_says_why_and_does_not_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    given: dict[str, str], told: str,
) -> None:  # fmt: skip
    whole = {"QUEUE_URL": "redis://127.0.0.1:9/0", "AV_API_KEY": KEY, "SOURCE": "alpha_vantage"}
    for name, value in {**whole, **given}.items():
        monkeypatch.setenv(name, value)
    assert run_worker_command([]) == 2
    assert told in capsys.readouterr().err


def test_a_redis_that_is_not_there_is_one_line_with_the_remedy(
    tmp_path: Path, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.calls.queues.shared.TRIES", 1)
    settings = settings_for(tmp_path, vendor, QUEUE_URL="redis://127.0.0.1:9/0")
    [found] = find_vendors(settings)
    with pytest.raises(EtlError, match=r"QUEUE_URL: Redis cannot be used .*: start it"):
        PaidSource(settings, Order(clock=Clock()), found)


@pytest.mark.parametrize("missing", ["celery", "redis"])
def test_what_is_not_installed_is_named_with_the_remedy(
    tmp_path: Path, vendor: Vendor, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    settings = settings_for(tmp_path, vendor, QUEUE_URL="redis://127.0.0.1:9/0")
    [found] = find_vendors(settings)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SettingsError, match=f"QUEUE_URL wants {missing}: pip install"):
        PaidSource(settings, Order(clock=Clock()), found)


def test_a_lease_that_ran_out_is_taken_again_with_what_others_did_meanwhile(
    make_host: Make, vendor: Vendor
) -> None:
    first, second = make_host("a", AV_CALLS_PER_DAY=3), make_host("b", AV_CALLS_PER_DAY=3)
    first.line.open()
    first.client.delete(first.shared.prefix + "decider")  # nobody renewed it
    second.line.open()
    for symbol in ("X", "Y"):
        second.ledger.spend(second.build(symbol), Clock().now())
    second.line.close()
    first.shared.beat("a worker")
    first.lease.renew()
    assert first.line.find_delay() == 0
    assert first.ledger.left(Clock().now()) == 1
    [task] = first.submit("IBM")
    first.maker.make(task)
    assert vendor.symbols == ["IBM"]
