"""Publications under a running service: no request fails, and no client goes back in time."""

import asyncio
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import httpx
import pytest

from api.faults import NoDatabase
from api.store.duckdb_file.snapshots import Database
from etl import load
from tests.conftest import call_stage, clean_environ, make_bars, query_store, run_stage
from tests.server import connect, make_settings, read_json, serve, serve_process, wait_until

INSTRUMENT = "/instruments/AAPL"


def publish(data_dir: Path, close: float) -> None:
    """Publish a generation in which AAPL's last close is `close`."""
    day = "2013-03-04"
    bars = make_bars(data_dir / "bars.parquet", [("AAPL", day, close)], source="sample")
    assert call_stage(load.main, "--input", bars) == 0


def put_in_place(data_dir: Path, content: bytes) -> None:
    """Make `content` the database file, in one step."""
    next_path = data_dir / "other"
    next_path.write_bytes(content)
    next_path.replace(data_dir / "market_data.duckdb")


def read_counter(answer: httpx.Response) -> int:
    return int(answer.headers["x-data-generation"].partition("-")[0])


class Asker(threading.Thread):
    """A client that asks on and on, over new and kept connections, until it is told to stop."""

    def __init__(self, base_url: httpx.URL) -> None:
        super().__init__()
        self.base_url = base_url
        self.stopping = threading.Event()
        self.seen: list[tuple[int, float]] = []  # (counter of the generation, AAPL's last close)
        self.failures: list[str] = []

    def run(self) -> None:
        with connect(self.base_url) as kept:
            number = 0
            while not self.stopping.wait(0.01):  # leaves the loads some of the processor
                number += 1
                self.ask(kept, number)
                if number % 3 == 0:  # may reach another worker
                    with connect(self.base_url) as other:
                        self.ask(other, number)

    def ask(self, client: httpx.Client, number: int) -> None:
        try:
            for url in (INSTRUMENT, f"/instruments/IBM/ohlcv?limit={number}", "/health"):
                answer = client.get(url)
                assert answer.status_code == 200, f"{url}: {answer.text}"
                if url == INSTRUMENT:
                    self.seen.append((read_counter(answer), answer.json()["last_close"]))
        except (httpx.HTTPError, AssertionError) as error:
            self.failures.append(repr(error))


@contextmanager
def asking(client: httpx.Client) -> Iterator[Asker]:
    """A client that asks while the block runs; afterwards none of its requests may have failed."""
    asker = Asker(client.base_url)
    asker.start()
    try:
        yield asker
    finally:
        asker.stopping.set()
        asker.join()
    assert asker.failures == []
    assert asker.seen


@pytest.mark.long
@pytest.mark.parametrize(("workers", "loads"), [("1", 6), ("2", 3)])
def test_no_request_fails_and_none_goes_back_while_loads_publish(
    own_sample: Path, workers: str, loads: int
) -> None:
    with serve_process(own_sample, API_WORKERS=workers) as client, asking(client) as asker:
        for number in range(loads):
            publish(own_sample, 500.0 + number)
            # whoever asks after the publication gets it
            answer = client.get(INSTRUMENT)
            assert (read_counter(answer), answer.json()["last_close"]) == (2 + number, 500 + number)
    counters = [counter for counter, _ in asker.seen]
    assert counters == sorted(counters)
    assert len(set(counters)) > loads / 4
    # header and body are of one generation, always
    assert set(asker.seen) <= {(1, 430.47)} | {(2 + n, 500.0 + n) for n in range(loads)}


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds the workers in /proc")
def test_two_workers_never_lead_one_client_back(own_sample: Path) -> None:
    """The system chooses who takes a connection: to hear both workers, each is left alone once."""
    with serve_process(own_sample, API_WORKERS="2") as client:
        log = own_sample.parent / f"server-{client.base_url.port}.log"
        wait_until(lambda: log.read_text().count("Application startup complete") == 2)
        for number in range(3):
            publish(own_sample, 700.0 + number)
            answers = [ask_anew(client.base_url) for _ in range(8)]
            for worker in list_workers():
                with stopped(worker):
                    answers += [ask_anew(client.base_url) for _ in range(2)]
            assert {answer.json()["last_close"] for answer in answers} == {700.0 + number}
            # each worker makes the answer once for itself
            assert [answer.headers["x-cache"] for answer in answers].count("MISS") == 2


def list_workers() -> list[int]:
    """The workers of the servers that this process started."""
    parents = {int(p.parent.name): read_parent(p) for p in Path("/proc").glob("[0-9]*/status")}
    servers = {pid for pid, parent in parents.items() if parent == os.getpid()}
    return [
        pid
        for pid, parent in parents.items()
        if parent in servers and b"spawn_main" in read_now(Path(f"/proc/{pid}/cmdline"))
    ]


def read_parent(status: Path) -> int:
    found = re.search(rb"^PPid:\s+(\d+)", read_now(status), re.MULTILINE)
    return int(found[1]) if found else 0


def read_now(path: Path) -> bytes:
    """What the system tells of a process; nothing if it has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """The process stands still while the block runs."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def ask_anew(base_url: httpx.URL) -> httpx.Response:
    with connect(base_url) as client:
        return client.get(INSTRUMENT)


def test_it_starts_without_a_database_and_finds_it_when_it_is_there(data_dir: Path) -> None:
    with serve_process(data_dir) as client:
        for url in ("/health", "/instruments", INSTRUMENT):
            answer = client.get(url)
            assert answer.status_code == 503
            assert "run `make etl`" in answer.json()["detail"]
        assert client.get("/docs").status_code == 200
        done = run_stage("-m", "etl", env=clean_environ(data_dir, SOURCE="sample"))
        assert done.returncode == 0, done.stderr
        assert read_json(client, "/health")["status"] == "ok"
        assert read_json(client, INSTRUMENT)["bars"] == 3270


@pytest.mark.long
def test_the_etl_runs_while_the_service_serves(own_sample: Path) -> None:
    env = clean_environ(own_sample, SOURCE="sample", END_DATE="2013-02-28")
    with serve_process(own_sample) as client, asking(client):
        publish(own_sample, 600.0)
        assert read_json(client, INSTRUMENT)["last_close"] == 600.0
        (own_sample / "market_data.duckdb").unlink()
        done = run_stage("-m", "etl", env=env)
        assert done.returncode == 0, done.stderr
        health = read_json(client, "/health")
        assert (health["status"], health["last"]) == ("ok", "2013-02-28")
        again = run_stage("-m", "etl", env=env)  # the same bars: nothing to publish
        assert again.returncode == 0, again.stderr
        assert read_json(client, "/health")["generation"] == health["generation"]


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_one_byte(content: bytes) -> bytes:
    return content[:-1]


def spoil_head(content: bytes) -> bytes:
    return bytes(20_000) + content[20_000:]


def empty(content: bytes) -> bytes:
    return b""


def replace_by_text(content: bytes) -> bytes:
    return b"no database\n" * 5000


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        *(
            pytest.param(harm, marks=pytest.mark.long)
            for harm in (spoil_head, cut_one_byte, empty, replace_by_text)
        ),
    ],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_leaves_the_version_before_until_a_good_one_comes(
    own_sample: Path, damage: Callable[[bytes], bytes]
) -> None:
    good = (own_sample / "market_data.duckdb").read_bytes()
    with serve(own_sample) as client:
        before = client.get(f"{INSTRUMENT}/ohlcv")
        put_in_place(own_sample, damage(good))
        for _ in range(2):
            health = read_json(client, "/health")
            assert health["status"] == "degraded"
            assert "run `make etl`" in health["fault"]
            assert client.get(f"{INSTRUMENT}/ohlcv").content == before.content
            assert read_json(client, f"{INSTRUMENT}/statistics")["count"] == 3270
        put_in_place(own_sample, good)
        health = read_json(client, "/health")
        assert (health["status"], health["fault"]) == ("ok", None)
        publish(own_sample, 800.0)
        assert read_json(client, INSTRUMENT)["last_close"] == 800.0


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE mine (a INTEGER)"],
        ["CREATE TABLE generation (a INTEGER)"],
        [
            "CREATE TABLE generation"
            " (generation VARCHAR, schema_version INT, published_at TIMESTAMP)"
        ],
        [
            "CREATE TABLE generation AS SELECT '9-x' AS generation, 99 AS schema_version,"
            " TIMESTAMP '2030-01-01' AS published_at"
        ],
    ],
    ids=["no table", "other columns", "no row", "newer schema"],
)
def test_a_foreign_database_leaves_the_version_before(
    own_sample: Path, statements: list[str]
) -> None:
    foreign = own_sample / "foreign.duckdb"
    with duckdb.connect(str(foreign)) as connection:
        for statement in statements:
            connection.execute(statement)
    with serve(own_sample) as client:
        assert read_json(client, "/health")["status"] == "ok"
        put_in_place(own_sample, foreign.read_bytes())
        assert read_json(client, "/health")["status"] == "degraded"
        assert read_json(client, INSTRUMENT)["bars"] == 3270


def test_a_deleted_file_leaves_the_version_before_until_a_new_one_comes(own_sample: Path) -> None:
    database = own_sample / "market_data.duckdb"
    kept = own_sample / "kept.duckdb"
    with serve(own_sample) as client:
        before = client.get(INSTRUMENT)
        database.rename(kept)
        health = read_json(client, "/health")
        assert health["status"] == "degraded"
        assert "run `make load`" in health["fault"]
        assert client.get(INSTRUMENT).content == before.content
        assert read_json(client, "/instruments/MSFT/statistics")["count"] == 3270
        kept.rename(database)
        assert read_json(client, "/health")["status"] == "ok"
    with serve(own_sample) as client:
        database.unlink()
        assert client.get(INSTRUMENT).status_code == 503


def test_a_file_that_does_not_open_is_not_tried_again_until_it_changes(
    own_sample: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(own_sample) as client:
        client.get(INSTRUMENT)
        for number in (1, 2):
            put_in_place(own_sample, b"no database" * 1000 * number)
            for _ in range(5):
                client.get(INSTRUMENT)
            faults = [r for r in caplog.records if "does not open" in r.getMessage()]
            assert len(faults) == number


def test_a_reader_keeps_its_snapshot_while_others_are_published(own_sample: Path) -> None:
    settings = make_settings(own_sample)
    database = Database(settings.database_path, memory_mb=64, timeout=20)

    def read_close(cursor: duckdb.DuckDBPyConnection) -> float:
        query = "SELECT last_close FROM market.instruments WHERE symbol = 'AAPL'"
        found: float = cursor.execute(query).fetchall()[0][0]
        return found

    def sum_closes(cursor: duckdb.DuckDBPyConnection) -> float:
        found: float = cursor.execute("SELECT sum(close) FROM market.ohlcv_data").fetchall()[0][0]
        return found

    snapshots = [database.newest()]
    first_sum = asyncio.run(database.ask(snapshots[0], sum_closes))
    for number in range(3):
        publish(own_sample, 900.0 + number)
        snapshots.append(database.newest())
    (own_sample / "market_data.previous.duckdb").unlink()  # the oldest has no name left
    closes = [asyncio.run(database.ask(snapshot, read_close)) for snapshot in snapshots]
    assert closes == [430.47, 900.0, 901.0, 902.0]
    assert asyncio.run(database.ask(snapshots[0], sum_closes)) == first_sum
    assert len({snapshot.generation for snapshot in snapshots}) == 4


def test_one_version_is_opened_once(own_sample: Path) -> None:
    database = Database(make_settings(own_sample).database_path, memory_mb=64, timeout=1)
    first = database.newest()
    assert database.newest() is first
    publish(own_sample, 1000.0)
    second = database.newest()
    assert second is not first
    assert database.newest() is second


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts handles in /proc")
def test_a_version_that_no_request_reads_is_let_go(own_sample: Path) -> None:
    with serve(own_sample) as client:
        for number in range(6):
            publish(own_sample, 1100.0 + number)
            assert client.get(INSTRUMENT).json()["last_close"] == 1100.0 + number
            assert len(list_open_files(own_sample)) == 1


def list_open_files(data_dir: Path) -> list[str]:
    """The database files in a folder, deleted ones too, that this process holds open."""
    links = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(handle.readlink()))
        except OSError:  # closed meanwhile
            continue
    return [link for link in links if str(data_dir) in link and "market_data" in link]


def test_a_request_sees_one_generation_though_another_is_published_meanwhile(
    own_sample: Path,
) -> None:
    """A page that began before a publication is of the generation that its header names."""
    with serve(own_sample) as client:
        generation = read_json(client, "/health")["generation"]
        database = own_sample / "market_data.duckdb"
        assert query_store(database, "SELECT generation FROM generation") == [(generation,)]
        publish(own_sample, 1200.0)
        answer = client.get(f"{INSTRUMENT}/ohlcv?start=2013-03-01")
        stored = query_store(database, "SELECT generation FROM generation")[0][0]
        assert answer.headers["x-data-generation"] == stored != generation
        assert [bar["close"] for bar in answer.json()["data"]] == [430.47, 1200.0]


def test_a_touched_file_changes_no_answer(own_sample: Path) -> None:
    with serve(own_sample) as client:
        before = client.get(INSTRUMENT)
        os.utime(own_sample / "market_data.duckdb", (time.time(), time.time() - 5))
        again = client.get(INSTRUMENT, headers={"If-None-Match": before.headers["etag"]})
        assert again.status_code == 304
        shutil.copyfile(own_sample / "market_data.duckdb", own_sample / "copy")
        (own_sample / "copy").replace(own_sample / "market_data.duckdb")
        again = client.get(INSTRUMENT, headers={"If-None-Match": before.headers["etag"]})
        assert again.status_code == 304


def test_without_a_file_there_is_no_snapshot(data_dir: Path) -> None:
    database = Database(data_dir / "market_data.duckdb", memory_mb=64, timeout=1)
    with pytest.raises(NoDatabase, match="There is no database yet"):
        database.newest()


def test_a_wal_of_another_version_is_not_replayed_into_answers(own_sample: Path) -> None:
    database = own_sample / "market_data.duckdb"
    wal = database.with_name("market_data.duckdb.wal")
    wal.touch()
    os.utime(wal, (1_500_000_000, 1_500_000_000))
    with serve(own_sample) as client:
        refused = client.get(INSTRUMENT)
        assert (refused.status_code, "make load" in refused.text) == (503, True)


# A file that opens and is damaged inside.


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def blank(content: bytes, at: int) -> bytes:
    return content[:at] + bytes(min(4096, len(content) - at)) + content[at + 4096 :]


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


Answers = dict[str, tuple[int, bytes]]
Version = tuple[bytes, Answers]  # a file, and what is answered from it
URLS = [
    *("/instruments", INSTRUMENT, "/instruments/IBM/ohlcv?limit=9", "/instruments/FB/statistics"),
    *("/coverage", "/screen", "/ohlcv?symbols=MSFT,GOOG&limit=9&quality=strict"),
    *("/instruments/MSFT/revisions", "/instruments/AAPL/ohlcv?as_of=2030-01-01T00:00:00Z&limit=9"),
]


def ask_all(client: httpx.Client) -> Answers:
    answers = {url: client.get(url) for url in URLS}
    return {url: (answer.status_code, answer.content) for url, answer in answers.items()}


@pytest.fixture(scope="module")
def two_versions(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A published file and the one before it."""
    folder = tmp_path_factory.mktemp("two") / "data"
    shutil.copytree(sample_dir, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        publish(folder, 650.0)
    names = ("market_data.duckdb", "market_data.previous.duckdb")
    newest, previous = ((folder / name).read_bytes() for name in names)
    found = []
    for content in (newest, previous):
        put_in_place(folder, content)
        with serve(folder) as client:
            found.append((content, ask_all(client)))
    return found[0], found[1]


@pytest.mark.parametrize("is_in_place", [False, True], ids=["at the start", "in place"])
@pytest.mark.parametrize("damage", [flip, blank, cut])
@pytest.mark.parametrize("place", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])
def test_a_damaged_file_gives_the_right_answer_that_of_the_version_before_or_503(
    data_dir: Path,
    two_versions: tuple[Version, Version],
    is_in_place: bool,
    damage: Callable[[bytes, int], bytes],
    place: int,
) -> None:
    (newest, expected), (previous, before) = two_versions
    database = data_dir / "market_data.duckdb"
    (data_dir / "market_data.previous.duckdb").write_bytes(previous)
    chance = random.Random(f"{place} {damage.__name__}")
    bad = damage(newest, chance.randrange(20_000 if place == 0 else len(newest)))
    database.write_bytes(newest if is_in_place else bad)
    with serve(data_dir) as client:
        if is_in_place:
            assert read_json(client, "/health")["status"] == "ok"
            database.write_bytes(bad)
        answers = [ask_all(client) for _ in range(2)]
        health = read_json(client, "/health")
    for url in URLS:
        for status, body in (answers[0][url], answers[1][url]):
            assert status == 503 or (status, body) in (expected[url], before[url]), url
        assert answers[1][url][0] == 200 or health["status"] == "degraded"
    if 503 in [status for status, _ in answers[0].values()]:
        assert health["status"] == "degraded"
        assert {status for status, _ in answers[1].values()} == {200}


def test_without_a_version_before_what_is_damaged_is_503_and_the_rest_is_served(
    data_dir: Path, two_versions: tuple[Version, Version]
) -> None:
    newest, _ = two_versions[0]
    for at in range(3 * 4096 + 100, len(newest), 262_144):  # in each block, till one is read
        put_in_place(data_dir, blank(newest, at))
        with serve(data_dir) as client:
            statuses = {client.get(url).status_code for url in URLS}
            told = client.get("/health").json()
        if statuses == {200, 503}:
            break
    assert statuses == {200, 503}
    assert (told["status"], "make rollback" in told["fault"]) == ("degraded", True)
