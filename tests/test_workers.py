"""Blocking work: what waits is not timed as if it ran, and neither goes on without bound."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pytest

from api.faults import Busy, OutOfMemory, QueryTimeout
from api.main import create_app
from api.problems import as_problem
from api.store.duckdb_file.snapshots import Database
from api.store.workers import MOST_WAITING, Job, Workers
from tests.server import (
    PATIENCE,
    connect_async,
    make_settings,
    serve,
    serve_app,
    wait_until,
)

HOUR = 3600.0


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What the jobs of a test wait for; set at its end, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def hold(event: threading.Event) -> Job[str]:
    """A job that goes on until the event is set, or it is interrupted."""
    return Job(lambda: "held" if event.wait(PATIENCE) else "given up", event.set, HOUR)


async def start(workers: Workers, job: Job[str]) -> asyncio.Task[str]:
    """The job under way, as far as there is a thread for it."""
    task = asyncio.create_task(workers.run(job))
    await asyncio.sleep(0)
    return task


def test_the_clock_of_a_job_starts_when_a_thread_takes_it_up(held: threading.Event) -> None:
    async def check() -> str:
        workers, interrupted = Workers(1, "test", patience=2 * HOUR), []
        first = await start(workers, hold(held))
        job: Job[str] = Job(lambda: "done", lambda: interrupted.append(1), timeout=1.0)
        second = await start(workers, job)
        job.asked_at -= HOUR  # it has waited long
        job.watch(workers.patience)
        held.set()
        assert await first == "held"
        assert not interrupted
        return await second

    assert asyncio.run(check()) == "done"


def test_who_has_waited_too_long_is_told_to_come_again(held: threading.Event) -> None:
    async def check() -> None:
        workers = Workers(1, "test", patience=HOUR)
        first, job = await start(workers, hold(held)), hold(held)
        second = await start(workers, job)
        job.asked_at -= 2 * HOUR
        job.watch(workers.patience)
        with pytest.raises(Busy) as told:
            await second
        problem = as_problem(told.value)
        assert (problem.status, problem.headers) == (503, {"Retry-After": "5"})
        held.set()
        assert (await first, workers.waiting) == ("held", 0)

    asyncio.run(check())


def test_no_more_than_a_bounded_number_wait(held: threading.Event) -> None:
    async def check() -> None:
        workers = Workers(1, "test", patience=HOUR)
        tasks = [await start(workers, hold(held)) for _ in range(MOST_WAITING)]
        with pytest.raises(Busy):
            await workers.run(hold(held))
        held.set()
        assert set(await asyncio.gather(*tasks)) == {"held"}

    asyncio.run(check())


def test_a_job_that_nobody_waits_for_is_interrupted_or_never_begun(held: threading.Event) -> None:
    async def check() -> None:
        workers, begun = Workers(1, "test", patience=HOUR), threading.Event()
        first = await start(workers, hold(held))
        second = await start(workers, Job(lambda: str(begun.set()), lambda: None, HOUR))
        for task in (second, first):
            task.cancel()
        for task in (second, first):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert held.is_set()  # by its interrupt
        third = await start(workers, Job(lambda: "free again", lambda: None, HOUR))
        assert (await third, begun.is_set()) == ("free again", False)

    asyncio.run(check())


def test_a_query_that_nobody_waits_for_is_stopped(sample_dir: Path) -> None:
    heavy = "SELECT count(*) FROM range(100_000_000_000) a WHERE hash(a.range) % 7 = 8"
    running = threading.Event()

    def question(cursor: duckdb.DuckDBPyConnection) -> None:
        running.set()
        cursor.execute(heavy)

    async def check() -> int:
        database = Database(sample_dir / "market_data.duckdb", memory_mb=64, timeout=HOUR)
        database.quick = Workers(1, "test", HOUR)
        task = asyncio.create_task(database.ask(None, question))
        await asyncio.to_thread(running.wait, PATIENCE)
        task.cancel()
        # the only thread is free again, or this would never end
        rows: list[tuple[int]] = await database.ask(
            None, lambda c: c.execute("SELECT 7").fetchall()
        )
        return rows[0][0]

    assert asyncio.run(check()) == 7


def test_a_slow_question_still_ends_at_its_time_limit(sample_dir: Path) -> None:
    heavy = "SELECT count(*) FROM range(100_000_000_000) a WHERE hash(a.range) % 7 = 8"

    async def check() -> None:
        database = Database(sample_dir / "market_data.duckdb", memory_mb=64, timeout=0.05)
        database.quick = Workers(1, "test", HOUR)
        asked = [database.ask(None, lambda c: c.execute(heavy)) for _ in range(3)]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, QueryTimeout)

    asyncio.run(check())


def test_a_query_without_enough_memory_is_503_with_the_remedy(sample_dir: Path) -> None:
    big = "SELECT list(a.range) FROM range(100_000_000) a"

    async def check() -> None:
        database = Database(sample_dir / "market_data.duckdb", memory_mb=32, timeout=HOUR)
        with pytest.raises(OutOfMemory, match="or raise DB_MEMORY_MB") as told:
            await database.ask(None, lambda cursor: cursor.execute(big).fetchall())
        assert as_problem(told.value).status == 503

    asyncio.run(check())


def test_a_request_in_a_full_queue_is_503_with_retry_after(
    sample_dir: Path, held: threading.Event
) -> None:
    app = create_app(make_settings(sample_dir))
    with serve_app(app) as client:
        database: Database = app.state.database
        database.wide.patience = 0.01
        for _ in range(database.wide.threads._max_workers):
            database.wide.threads.submit(held.wait, PATIENCE)
        answer = client.get("/screen")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "wait for their turn" in answer.json()["detail"]
        assert client.get("/instruments").status_code == 200  # the quick ones have their own
        held.set()
        wait_until(lambda: client.get("/screen").status_code == 200)


def test_sixty_scans_at_once_are_all_answered(sample_dir: Path) -> None:
    async def ask(base_url: httpx.URL) -> list[httpx.Response]:
        async with connect_async(base_url) as client:
            urls = [f"/screen?min_bars={number}" for number in range(60)]
            return await asyncio.gather(*map(client.get, urls))

    with serve(sample_dir) as client:
        answers = asyncio.run(ask(client.base_url))
    assert {answer.status_code for answer in answers} == {200}


def test_requests_of_clients_that_are_gone_hold_up_nobody(
    sample_dir: Path, held: threading.Event
) -> None:
    app = create_app(make_settings(sample_dir))
    database: Database = app.state.database
    with serve_app(app) as client:
        client.get("/health")
        for _ in range(database.wide.threads._max_workers):
            database.wide.threads.submit(held.wait, PATIENCE)
        address = (client.base_url.host, client.base_url.port or 0)
        gone = [socket.create_connection(address) for _ in range(80)]
        for number, each in enumerate(gone):
            line = f"GET /screen?min_bars={number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            each.sendall(line.encode())
        wait_until(lambda: database.wide.waiting == 80)
        for each in gone:
            each.close()
        wait_until(lambda: database.wide.waiting == 0)
        held.set()
        assert client.get("/screen").status_code == 200
