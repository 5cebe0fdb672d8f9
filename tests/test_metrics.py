"""GET /metrics, over servers on loopback: what is counted, under which labels; who may see it."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.counts import BOUNDS, CELLS, COUNT, MOST_ROWS, OVERFLOW, Counts
from api.edge.shared_counts import SharedCounts, read_keys
from tests.minute_data import Minutes, fill
from tests.server import connect, serve, serve_process, wait_until

BARS = "/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-01-31"
BARS_ROUTE = "/instruments/{symbol}/ohlcv"
Labels = frozenset[tuple[str, str]]
TOKEN = "t" * 40


def scrape(client: httpx.Client, **headers: str) -> dict[tuple[str, Labels], float]:
    answer = client.get("/metrics", headers=headers).raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def find(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    """The sum over the samples of a name that have these labels."""
    wanted = labels.items()
    return sum(value for (each, had), value in found.items() if each == name and wanted <= had)


def count_requests(found: dict[tuple[str, Labels], float], **labels: str) -> float:
    return find(found, "mds_http_requests_total", **labels)


@pytest.fixture
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, METRICS="on", METRICS_TOKEN=TOKEN) as client:
        yield client


def test_requests_are_counted_by_route_method_status_and_way(client: httpx.Client) -> None:
    etag = client.get(BARS).headers["etag"]
    first = client.get("/instruments/IBM/ohlcv?format=csv")
    for _ in range(3):
        client.get("/instruments/IBM/ohlcv?format=csv")
    client.get(BARS, headers={"If-None-Match": etag})
    client.get(BARS, headers={"Host": "evil.example"})
    client.head(BARS)
    client.get("/instruments/NOPE/ohlcv")
    client.get("/health")
    found = scrape(client)
    wanted = {
        ("GET", "200", "shortcut"): 1,
        ("GET", "200", "miss"): 1,
        ("GET", "200", "hit"): 3,
        ("GET", "304", "not_modified"): 1,
        ("GET", "421", "refused"): 1,
        ("HEAD", "200", "hit"): 1,
        ("GET", "404", "miss"): 1,
    }
    for (method, status, way), count in wanted.items():
        labels = {"route": BARS_ROUTE, "method": method, "status": status, "way": way}
        assert count_requests(found, **labels) == count, labels
    assert count_requests(found, route=BARS_ROUTE) == sum(wanted.values())
    assert count_requests(found, route="/health", way="uncached") == 1
    assert find(found, "mds_http_response_bytes_total") > 4 * len(first.content)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/instruments/A/B/C/D", "/etl", "/%00", "/metrics/x", "/" + "x" * 3000]
)
def test_no_label_is_a_path_that_somebody_made_up(client: httpx.Client, path: str) -> None:
    client.get(path)
    client.request("PROPFIND", path)
    found = scrape(client)
    routes = {dict(labels)["route"] for name, labels in found if name == "mds_http_requests_total"}
    assert routes <= {"other", "/metrics", "/dashboard/{name:path}"}
    assert count_requests(found, method="other") == 1


def test_the_time_of_requests_is_a_histogram_by_class(client: httpx.Client) -> None:
    for url in (BARS, BARS, "/instruments/AAPL/statistics", "/instruments", "/udf/config", "/"):
        client.get(url)
    found, name = scrape(client), "mds_http_request_duration_seconds"
    wanted = {"bars": 2, "figures": 1, "lists": 1, "protocols": 1, "page": 1}
    for group, count in wanted.items():
        assert find(found, f"{name}_count", **{"class": group}) == count
        buckets = [find(found, f"{name}_bucket", **{"class": group, "le": str(b)}) for b in BOUNDS]
        whole = find(found, f"{name}_bucket", **{"class": group, "le": "+Inf"})
        assert sorted(buckets) == buckets
        assert (whole, find(found, f"{name}_sum", **{"class": group}) > 0) == (count, True)


def test_memory_store_and_runs_are_told(client: httpx.Client, sample_dir: Path) -> None:
    client.get(BARS)
    found, health = scrape(client), client.get("/health").json()
    assert find(found, "mds_cache_answers") == 1
    assert find(found, "mds_cache_series") == 1
    assert 0 < find(found, "mds_cache_answers_bytes") < find(found, "mds_cache_answers_bound_bytes")
    assert 0 < find(found, "mds_cache_series_bytes") < find(found, "mds_cache_series_bound_bytes")
    assert find(found, "mds_http_requests_in_flight") == 1, "the scrape itself"
    assert find(found, "mds_store_question_seconds_count", phase="run") > 0
    assert find(found, "mds_store_question_seconds_count", phase="wait") > 0
    assert find(found, "mds_store_generation") == int(health["generation"].partition("-")[0])
    assert find(found, "mds_store_published_timestamp_seconds") > 1.6e9
    assert find(found, "mds_newest_bar_timestamp_seconds", exchange="XNYS") > 1.3e9
    assert (find(found, "mds_store_up"), find(found, "mds_store_degraded")) == (1, 0)
    record = json.loads(max((sample_dir / "runs").glob("*.json")).read_text())
    loaded = record["stages"]["load"]
    assert find(found, "mds_etl_rows", outcome="inserted") == loaded["inserted"]
    assert find(found, "mds_etl_last_run_success") == 1
    assert find(found, "mds_etl_stage_success") == 3
    ended = find(found, "mds_etl_last_run_timestamp_seconds")
    assert ended == find(found, "mds_etl_last_success_timestamp_seconds") > 1.6e9
    assert find(found, "mds_fallback_in_use", what="vault") == 0
    assert ("mds_fallbacks_total", frozenset({("what", "redis_cache")})) in found


def test_minutes_are_told_where_there_are_some(client: httpx.Client, tmp_path: Path) -> None:
    assert not [name for name, _ in scrape(client) if name.startswith("mds_minute")]
    generation = fill(tmp_path, Minutes())
    with serve(tmp_path, METRICS="on") as with_minutes:
        found = scrape(with_minutes)
    assert find(found, "mds_minute_store_up") == 1
    assert find(found, "mds_minute_store_bars") == 15 * 450
    assert find(found, "mds_minute_store_generation") == int(generation.partition("-")[0])
    broken = {"MINUTE_STORE": "postgresql://nobody@127.0.0.1:1/none"}
    with serve(tmp_path, METRICS="on", **broken) as without:
        assert find(scrape(without), "mds_minute_store_up") == 0


def test_without_a_store_the_rest_is_told(tmp_path: Path) -> None:
    with serve(tmp_path, METRICS="on") as client:
        found = scrape(client)
    assert find(found, "mds_store_up") == 0
    assert not [name for name, _ in found if name.startswith(("mds_etl", "mds_newest"))]


def test_a_run_that_failed_is_told_beside_the_last_that_did_not(
    client: httpx.Client, sample_dir: Path
) -> None:
    started = "2999-01-01T00:00:00.000Z"
    stage = {"status": "failed", "started_at": started, "finished_at": "2999-01-01T00:01:00.000Z"}
    extract = {**stage, "failures": {"A": "throttled: slow", "B": "throttled: x", "C": "forbidden"}}
    budget = {"calls_left": 3, "calls_per_day": 25, "calls_day_ends": "2999-01-02T05:00:00Z"}
    budget |= {"repeated": 2, "most_in_flight": 60, "queue_length": 17}
    path = sample_dir / "runs" / "29990101T000000Z-abcdef.json"
    record = {"run_id": path.stem, "stages": {"extract": {**extract, **budget}}}
    path.write_text(json.dumps(record))
    try:
        found = scrape(client)
    finally:
        path.unlink()
    assert find(found, "mds_etl_last_run_success") == 0
    assert find(found, "mds_etl_last_run_duration_seconds") == 60
    assert find(found, "mds_etl_failures", kind="throttled") == 2
    assert find(found, "mds_etl_calls_left") == 3
    assert find(found, "mds_etl_calls_repeated") == 2
    assert find(found, "mds_queue_in_flight") == 60
    assert find(found, "mds_queue_length") == 17
    last = find(found, "mds_etl_last_run_timestamp_seconds")
    assert 0 < find(found, "mds_etl_last_success_timestamp_seconds") < last


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stages": []}', '{"stages": {"extract": 5}}'])
def test_a_record_that_is_none_costs_no_scrape(
    client: httpx.Client, sample_dir: Path, text: str
) -> None:
    path = sample_dir / "runs" / "29990101T000000Z-abcdef.json"
    path.write_text(text)
    try:
        assert find(scrape(client), "mds_store_up") == 1
    finally:
        path.unlink()


# Who may see it


def test_metrics_are_off_unless_they_are_set(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        client.get(BARS)
        refused = client.get("/metrics")
        assert (refused.status_code, "METRICS=on" in refused.json()["detail"]) == (404, True)


FROM_ELSEWHERE = [{"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=x"}, {"Via": "1.1 proxy"}]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_who_comes_through_a_proxy_needs_the_token(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    refused = client.get("/metrics", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}"):
        given = {**headers, "Authorization": wrong}
        assert client.get("/metrics", headers=given).status_code == 401
    assert scrape(client, **headers, Authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize("given", ["Bearer", "bearer", "Bearer x", "x"])
def test_without_a_token_set_an_empty_one_opens_nothing(sample_dir: Path, given: str) -> None:
    with serve(sample_dir, METRICS="on") as client:
        headers = {"Authorization": given, "X-Forwarded-For": "192.0.2.7"}
        assert client.get("/metrics", headers=headers).status_code == 401


# Rows


def test_what_no_row_is_left_for_is_counted_together() -> None:
    counts = Counts()
    for number in range(MOST_ROWS + 50):
        counts.observe(("requests", str(number)), 0.003, 10)
    rows = counts.read()
    assert (len(rows), rows[OVERFLOW][COUNT]) == (MOST_ROWS, 51)
    assert sum(row[COUNT] for row in rows.values()) == MOST_ROWS + 50


@pytest.mark.parametrize("seconds", [0.0, *BOUNDS, 11.0, 1e9])
def test_a_time_falls_into_the_first_cell_that_reaches_it(seconds: float) -> None:
    counts = Counts()
    counts.observe(("requests",), seconds)
    cells = counts.read()[("requests",)][CELLS:]
    place = next((n for n, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
    assert cells == [float(number == place) for number in range(len(BOUNDS) + 1)]


# Several workers


def test_workers_counts_are_one_and_a_slot_goes_on(tmp_path: Path) -> None:
    first, second = SharedCounts(tmp_path), SharedCounts(tmp_path)
    for counts, times in ((first, 3), (second, 4)):
        for _ in range(times):
            counts.observe(("requests", "/x", 200), 0.02, 5)
        counts.set("gauge", "in_flight", value=times)
    first.add("timeouts")
    assert first.read() == second.read()
    assert first.read()[("requests", "/x", 200)][:2] == [7, pytest.approx(0.14)]
    assert first.read()[("gauge", "in_flight")][COUNT] == 7
    second.close()
    assert first.read()[("requests", "/x", 200)][COUNT] == 7
    assert first.read()[("gauge", "in_flight")][COUNT] == 3, "the dead do nothing"
    third = SharedCounts(tmp_path)
    assert third.path == second.path
    third.observe(("requests", "/y", 200), 0.02)
    third.observe(("requests", "/x", 200), 0.02)
    assert first.read()[("requests", "/x", 200)][COUNT] == 8
    assert first.read()[("gauge", "in_flight")][COUNT] == 3
    first.close()
    third.close()


def test_a_name_that_was_cut_short_is_none(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.keys"
    path.write_bytes(b'["a",1]\n["b",')
    assert read_keys(path) == [("a", 1)]
    assert read_keys(path, is_mended=True) == [("a", 1)]
    assert path.read_bytes() == b'["a",1]\n'


@pytest.mark.long
def test_no_count_of_two_workers_is_lost_when_one_is_killed(sample_dir: Path) -> None:
    with serve_process(sample_dir, METRICS="on", API_WORKERS="2") as client:
        asked = ask_workers(client, 2)
        wait_for_count(client, sum(asked.values()))
        os.kill(find_worker(client), signal.SIGKILL)
        asked_after = ask_workers(client, 3, asked)
        found = wait_for_count(client, sum(asked_after.values()))
        assert find(found, "mds_http_requests_in_flight") == 1


def wait_for_count(client: httpx.Client, asked: int) -> dict[tuple[str, Labels], float]:
    """What is counted, once it is so many. An answer is counted after it was sent, and another
    worker may tell the counts between the two."""
    found = scrape(client)

    def is_counted() -> bool:
        nonlocal found
        found = scrape(client)
        counted = count_requests(found, route=BARS_ROUTE)
        assert counted <= asked
        return counted == asked

    wait_until(is_counted)
    return found


def ask_workers(
    client: httpx.Client, least: int, before: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Ask on new connections until so many processes have answered; how often each did.

    The beginning of a request's name is that of its process.
    """
    answered = dict(before or {})

    def ask() -> bool:
        with connect(client.base_url) as other:
            try:
                answer = other.get(BARS).raise_for_status()
            except httpx.TransportError:  # its worker was killed
                return False
        name = answer.headers["x-request-id"].partition("-")[0]
        answered[name] = answered.get(name, 0) + 1
        return len(answered) >= least

    wait_until(ask)
    return answered


def find_worker(client: httpx.Client) -> int:
    """The process of a worker of the server that listens where the client asks."""
    port = f"API_PORT={client.base_url.port}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_of_server = port in path.read_bytes().split(b"\0")
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if is_of_server and b"spawn_main" in command:
            return int(path.parent.name)
    raise AssertionError("no worker")
