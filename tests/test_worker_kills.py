"""Kill -9 of workers, run and Redis: every symbol is stored once, and no call is made unseen."""

import json
import subprocess
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from tests.conftest import query_store
from tests.queues import describe_environ, end, read_memory_mb, start, start_workers
from tests.redis_server import RedisServer, run_redis
from tests.server import wait_until
from tests.vendor import Vendor, open_vendor

pytest.importorskip("celery", reason="celery is not installed: make engines")

LAST_BAR = date(2026, 11, 20)


@dataclass
class Plant:
    """A vendor, a Redis, and what a run and its workers are started with."""

    folder: Path
    vendor: Vendor
    redis: RedisServer
    env: dict[str, str]
    runs: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def start_run(self) -> "subprocess.Popen[bytes]":
        self.runs.append(start("etl", self.env, self.folder / "run.log"))
        return self.runs[-1]

    def finish(self, run: "subprocess.Popen[bytes]") -> None:
        assert run.wait(300) == 0, (self.folder / "run.log").read_text()[-3000:]

    def await_calls(self, count: int) -> None:
        wait_until(lambda: len(self.vendor.requests) >= count)

    def check(self, symbols: int, most_calls: int) -> None:
        database = self.data_dir / "market_data.duckdb"
        [(stored, rows)] = query_store(
            database, "SELECT count(DISTINCT symbol), count(*) FROM ohlcv_data"
        )
        assert (stored, rows) == (symbols, symbols * self.vendor.bars)
        assert symbols <= len(self.vendor.requests) <= most_calls
        assert self.vendor.refused == 0
        lines = (self.data_dir / "calls.jsonl").read_text().splitlines()
        counted = sum(json.loads(line)["what"] == "call" for line in lines)
        assert counted >= len(self.vendor.requests), "each call was written down before"


@pytest.fixture
def plant(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Plant]:
    rules = {"per_day": 0, "per_second": 0, "latency": 0.3, "last_bar": LAST_BAR}
    with open_vendor(**rules) as vendor, run_redis(tmp_path, is_durable=True) as redis:
        symbols = ",".join(f"S{number}" for number in range(getattr(request, "param", 60)))
        env = describe_environ(
            tmp_path / "data", vendor, redis.url,
            SYMBOLS=symbols, AV_CALLS_PER_SECOND="20", HTTP_TIMEOUT="10", WORKER_CALLS="4",
        )  # fmt: skip
        plant = Plant(tmp_path, vendor, redis, env)
        yield plant
        for run in plant.runs:
            end(run)


IN_FLIGHT = 60  # calls that a run has handed over at most, at 20 a second


@pytest.mark.long
def test_workers_that_are_killed_in_turn_cost_the_calls_they_had(plant: Plant) -> None:
    with start_workers(3, plant.env, plant.folder) as workers:
        run = plant.start_run()
        for count, worker in zip((10, 25), workers, strict=False):
            plant.await_calls(count)
            worker.kill()
        plant.finish(run)
    plant.check(60, most_calls=60 + 2 * 4)
    [record] = [json.loads(p.read_text()) for p in (plant.data_dir / "runs").glob("*.json")]
    extract = record["stages"]["extract"]
    assert extract["failures"] == {}
    assert extract["calls"] == 60 + extract["repeated"]
    assert len(plant.vendor.requests) <= extract["calls"]


@pytest.mark.long
def test_a_run_that_is_killed_loses_no_answer_that_came(plant: Plant) -> None:
    with start_workers(2, plant.env, plant.folder):
        for count in (10, 25):
            run = plant.start_run()
            plant.await_calls(count)
            run.kill()
            run.wait()
        plant.finish(plant.start_run())
    plant.check(60, most_calls=60 + 2 * 2 * 4)


@pytest.mark.long
def test_a_redis_that_is_killed_and_comes_back_with_its_log_ends_no_run(plant: Plant) -> None:
    with start_workers(2, plant.env, plant.folder):
        run = plant.start_run()
        for count in (10, 25):
            plant.await_calls(count)
            plant.redis.kill()
            plant.redis.start()
        plant.finish(run)
    plant.check(60, most_calls=60 + IN_FLIGHT)


@pytest.mark.long
def test_a_redis_that_comes_back_empty_costs_the_calls_under_way(plant: Plant) -> None:
    plant.redis.is_durable = False
    plant.redis.kill()
    plant.redis.start()
    with start_workers(2, plant.env, plant.folder):
        run = plant.start_run()
        plant.await_calls(15)
        plant.redis.kill()
        plant.redis.start()
        plant.finish(run)
    plant.check(60, most_calls=60 + IN_FLIGHT)


@pytest.mark.long
def test_two_runs_on_two_machines_never_spend_twice(plant: Plant) -> None:
    plant.env["HTTP_TIMEOUT"] = "60"
    other = {**plant.env, "DATA_DIR": str(plant.folder / "other")}
    with start_workers(2, plant.env, plant.folder):
        run = plant.start_run()
        plant.await_calls(5)
        second = start("etl", other, plant.folder / "second.log")
        assert second.wait(120) == 1
        plant.finish(run)
    assert "another ETL decides on these calls now" in (plant.folder / "second.log").read_text()
    plant.check(60, most_calls=60)


@pytest.mark.long
@pytest.mark.parametrize("plant", [1000], indirect=True)
def test_1000_symbols_by_four_workers_keep_to_1200_calls_a_minute(plant: Plant) -> None:
    plant.vendor.per_minute = 1200
    limits = {"AV_CALLS_PER_SECOND": "0", "AV_CALLS_PER_MINUTE": "1200"}
    plant.env.update(limits, WORKER_CALLS="8", HTTP_TIMEOUT="60")
    with start_workers(4, plant.env, plant.folder) as workers:
        run = plant.start_run()
        plant.await_calls(900)
        memory = [read_memory_mb(process) for process in (run, *workers)]
        plant.finish(run)
    plant.check(1000, most_calls=1000)
    times = [request.at for request in plant.vendor.requests]
    share = (len(times) - 1) / (times[-1] - times[0]) / 20
    print(f"share of the rate {share:.3f}, MB {memory}, most in 1 s {count_most(times, 1)}")
    assert count_most(times, 60) <= 1200
    assert max(memory) < 400


def count_most(times: list[float], seconds: float) -> int:
    """The most calls in any window of so many seconds."""
    return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))
