"""A service that follows another host: what it says while it waits, and who follows for it."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from api.main import create_app
from api.store.following import LastGeneration
from tests.conftest import clean_environ, run_stage
from tests.guarded import guard
from tests.replicas import Hosts
from tests.server import make_settings, serve, serve_app, serve_process, wait_until
from tests.stores import store_of
from tests.test_metrics import find, scrape

BARS = "/instruments/AAPL/ohlcv"


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    (tmp_path / "replica").mkdir()
    return Hosts(tmp_path / "source", tmp_path / "replica", f"file://{tmp_path}/remote")


def read_pid(hosts: Hosts) -> int:
    """Of who follows; 0 where nobody does yet."""
    try:
        return int((hosts.replica / "follow.lock").read_text())
    except (OSError, ValueError):
        return 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def count_bars(client: httpx.Client) -> int:
    answer = client.get(BARS)
    return int(answer.json()["count"]) if answer.status_code == 200 else 0


def test_a_service_waits_for_its_first_generation_follows_on_and_outlives_its_follower(
    hosts: Hosts,
) -> None:
    with serve_process(hosts.replica, FOLLOW_URL=hosts.url, FOLLOW_SECONDS="0.1") as client:
        wait_until(lambda: hosts.state.fault != "")
        answer = client.get("/health")
        assert answer.status_code == 503
        assert "waits for the first" in answer.json()["detail"]
        assert "has no generation yet" in answer.json()["detail"]
        hosts.load()
        wait_until(lambda: count_bars(client) == 1)
        health = client.get("/health").json()
        assert (health["status"], health["fallbacks"]) == ("ok", {})
        first = read_pid(hosts)
        os.kill(first, signal.SIGKILL)
        hosts.load()
        wait_until(lambda: count_bars(client) == 2)
        second = read_pid(hosts)
        assert second != first
        assert is_running(second)
    wait_until(lambda: not is_running(second))


@pytest.mark.long
def test_a_follower_ends_with_a_service_that_is_killed_and_one_follows_for_all_workers(
    hosts: Hosts,
) -> None:
    hosts.load()
    settings = {"FOLLOW_URL": hosts.url, "FOLLOW_SECONDS": "0.1", "API_WORKERS": "2"}
    with serve_process(hosts.replica, **settings) as client:
        wait_until(lambda: count_bars(client) == 1)
        follower = read_pid(hosts)
        status = Path(f"/proc/{follower}/status").read_text()
        service = int(status.split("PPid:")[1].split()[0])
        children = Path(f"/proc/{service}/task").glob("*/children")
        pids = [int(pid) for path in children for pid in path.read_text().split()]
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
        assert sum(b"etl.follow" in line for line in lines) == 1
        os.kill(service, signal.SIGKILL)
        wait_until(lambda: not is_running(follower))
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def test_the_last_generation_goes_on_and_health_says_why_and_since_when(
    hosts: Hosts, tmp_path: Path
) -> None:
    hosts.load()
    follower = hosts.follow()
    settings = {"FOLLOW_URL": hosts.url, "METRICS": "on"}
    with serve(hosts.replica, **settings) as client:
        assert client.get("/health").json()["fallbacks"] == {}
        (tmp_path / "remote").rename(tmp_path / "away")
        follower.look()
        follower.look()
        health = client.get("/health").json()
        assert health["status"] == "ok", "it has data, and they are whole"
        told = health["fallbacks"]["source"]
        assert told.startswith("the source (FOLLOW_URL) has no generation yet; 1-")
        assert "goes on, the newest as of 20" in told
        assert str(tmp_path) not in told
        assert count_bars(client) == 1
        found = scrape(client)
        assert find(found, "mds_fallback_in_use", what="source") == 1
        assert find(found, "mds_fallbacks_total", what="source") == 2
        assert find(found, "mds_source_fetched_bytes") == hosts.state.fetched_bytes > 0
        assert find(found, "mds_source_reached_timestamp_seconds") == hosts.state.reached_at
        (tmp_path / "away").rename(tmp_path / "remote")
        follower.look()
        assert client.get("/health").json()["fallbacks"] == {}


def test_health_says_when_nobody_follows_but_not_before_anybody_could(hosts: Hosts) -> None:
    hosts.load()
    hosts.follow()
    state = hosts.replica / "following.json"
    state.write_text(state.read_text().replace('"looked_at": 1', '"looked_at": 0'))
    app = create_app(make_settings(hosts.replica, FOLLOW_URL=hosts.url))
    with serve_app(app) as client:
        assert client.get("/health").json()["fallbacks"] == {}
        app.state.fallbacks["source"] = LastGeneration(app.state.settings, began=0)
        assert "the follower died" in client.get("/health").json()["fallbacks"]["source"]
        state.write_text("no state")
        assert "the follower died" in client.get("/health").json()["fallbacks"]["source"]


def test_where_nothing_is_followed_nothing_runs_and_nothing_is_told(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        assert client.get("/health").json()["fallbacks"] == {}
    assert not (sample_dir / "follow.lock").exists()


def test_an_instance_that_asks_for_a_name_is_followed_under_a_key(
    hosts: Hosts, tmp_path: Path
) -> None:
    hosts.load(PUBLISH_URL="")
    with guard(hosts.source, tmp_path, RATE_LIMIT="100/minute") as source:
        address = str(source.client.base_url).rstrip("/")

        def follow(key: str) -> str:
            told = {"FOLLOW_KEY": key}
            return Hosts(hosts.source, hosts.replica, address, told).follow().state.fault

        assert "HTTP 401: set FOLLOW_KEY" in follow("")
        nobody = source.make_key("admin")
        source.look()
        assert "HTTP 403: FOLLOW_KEY may not read there" in follow(nobody)
        assert not store_of(hosts.replica).exists()
        key = source.make_key("read")
        source.look()
        assert follow(key) == ""
        assert hosts.are_equal()
        assert key not in (hosts.replica / "following.json").read_text()


def test_a_key_is_not_sent_in_the_clear(hosts: Hosts) -> None:
    told = {"FOLLOW_KEY": "mdk_secret"}
    state = Hosts(hosts.source, hosts.replica, "http://data.example.com", told).follow().state
    assert "sent in the clear: https://" in state.fault


def test_make_follow_without_a_source_ends_with_the_remedy(data_dir: Path) -> None:
    done = run_stage("-m", "etl.follow", "--check", env=clean_environ(data_dir))
    assert done.returncode == 2
    assert "FOLLOW_URL is not set" in done.stderr
