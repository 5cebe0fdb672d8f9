"""From a failed run and a burst of 5xx to Slack and back: real Prometheus, Alertmanager, exporter.

They run with the files of deploy/; only addresses, folders and waiting times are the test's own.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl import __main__ as whole
from etl.settings import PROJECT_ROOT
from tests.conftest import call_stage
from tests.daemons import find_port, find_program, run_daemon
from tests.server import HOST, connect, serve, wait_until

DEPLOY = PROJECT_ROOT / "deploy"
PROGRAMS = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
MISSING = [name for name in PROGRAMS if not find_program(name)]
# An hour of waiting in seconds; what is computed over time looks back ten seconds.
SOONER = {r"for: \w+": "for: 0s", r"\[5m\]": "[10s]"}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed"),
]


class Slack(BaseHTTPRequestHandler):
    """An incoming webhook: it takes messages, and says ok."""

    messages: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.messages.extend(body["attachments"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def listen() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a webhook, and the messages that it took."""
    messages: list[dict[str, Any]] = []
    server = ThreadingHTTPServer((HOST, 0), type("Taking", (Slack,), {"messages": messages}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/services/T/B/secret", messages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def adapt(source: Path, target: Path, **changes: str) -> None:
    """A file of deploy/ with other texts (patterns) in it; each must be there."""
    text = source.read_text()
    for old, new in changes.items():
        text, count = re.subn(old, new, text)
        assert count, f"{old} is not in {source.name}"
    target.write_text(text)


def run_alertmanager(folder: Path, webhook: str, port: int) -> Any:
    (folder / "webhook").write_text(webhook + "\n")
    changes = {
        "/etc/mds/slack_webhook": str(folder / "webhook"),
        "group_wait: 30s": "group_wait: 1s",
        "group_interval: 5m": "group_interval: 1s",
    }
    source = DEPLOY / "alertmanager" / "alertmanager.yml"
    adapt(source, folder / "alertmanager.yml", **changes)
    command = (
        *("prometheus-alertmanager", "--config.file=alertmanager.yml", "--cluster.listen-address="),
        *(f"--storage.path={folder}/alerts", f"--web.listen-address={HOST}:{port}"),
    )
    return run_daemon(command, folder, lambda: is_ready(port))


def run_prometheus(folder: Path, port: int, service: int, exporter: int, alerts: int) -> Any:
    changes = {
        "127.0.0.1:8000": f"{HOST}:{service}",
        "127.0.0.1:9100": f"{HOST}:{exporter}",
        "127.0.0.1:9093": f"{HOST}:{alerts}",
        "_interval: 15s": "_interval: 1s",
    }
    rules = DEPLOY / "prometheus"
    adapt(rules / "prometheus.yml", folder / "prometheus.yml", **changes)
    adapt(rules / "recording.yml", folder / "recording.yml", **{r"\[5m\]": "[10s]"})
    adapt(rules / "alerts.yml", folder / "alerts.yml", **SOONER)
    command = (
        *("prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"),
        f"--web.listen-address={HOST}:{port}",
    )
    return run_daemon(command, folder, lambda: is_ready(port))


def run_exporter(folder: Path, port: int) -> Any:
    command = (
        *("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile"),
        *("--collector.filesystem", f"--collector.textfile.directory={folder}"),
        f"--web.listen-address={HOST}:{port}",
    )
    return run_daemon(command, folder.parent, lambda: has_answer(port, "/metrics"))


def is_ready(port: int) -> bool:
    return has_answer(port, "/-/ready")


def has_answer(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}{path}", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


class Watched:
    """The service under watch, and what Slack was told."""

    def __init__(self, client: httpx.Client, prometheus: int, messages: list[dict[str, Any]]):
        self.client, self.prometheus, self.messages = client, prometheus, messages

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an expression, as Prometheus has them now."""
        with connect(f"http://{HOST}:{self.prometheus}") as client:
            found = client.get("/api/v1/query", params={"query": expression}).json()
        return [(row["metric"], float(row["value"][1])) for row in found["data"]["result"]]

    def wait_for(self, title: str, meanwhile: Callable[[], object] = lambda: None) -> str:
        """The text of the first message of that title."""

        def has_come() -> bool:
            meanwhile()
            return any(message["title"] == title for message in self.messages)

        wait_until(has_come)
        found = next(m for m in self.messages if m["title"] == title)
        return str(found["text"])

    def ask(self) -> None:
        """A few questions for bars, whatever comes of them."""
        for _ in range(5):
            self.client.get("/instruments/AAPL/ohlcv?limit=1")


@pytest.fixture
def watched(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Everything of deploy/ that watches, around a service that has no database yet."""
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()
    monkeypatch.setenv("METRICS_TEXTFILE", str(textfiles / "mds.prom"))
    exporter, alerts, prometheus = find_port(), find_port(), find_port()
    with ExitStack() as stack:
        webhook, messages = stack.enter_context(listen())
        client = stack.enter_context(serve(data_dir, METRICS="on"))
        stack.enter_context(run_exporter(textfiles, exporter))
        stack.enter_context(run_alertmanager(tmp_path, webhook, alerts))
        service = int(client.base_url.port or 0)
        stack.enter_context(run_prometheus(tmp_path, prometheus, service, exporter, alerts))
        yield Watched(client, prometheus, messages)


def test_a_failed_run_and_a_burst_of_5xx_reach_slack_and_resolve(
    watched: Watched, data_dir: Path
) -> None:
    bad = data_dir.parent / "IBM.csv"
    bad.write_text("no bars\n")
    assert call_stage(whole.main, "--source", "files", "--path", bad) == 1
    text = watched.wait_for("CRITICAL: MdsEtlFailed")
    assert "run make etl once it is repaired" in text
    told = {labels["job"] for labels, value in watched.query("mds_etl_last_run_success == 0")}
    assert told == {"mds", "node"}
    for name in ("node_filesystem_avail_bytes", "node_textfile_scrape_error"):
        assert watched.query(name), f"node_exporter has no {name}"

    text = watched.wait_for("CRITICAL: MdsErrors", watched.ask)  # there is no database: 503
    assert "% of the answers are errors of the service (5xx)" in text

    assert call_stage(whole.main, "--source", "sample") == 0
    watched.wait_for("RESOLVED: MdsEtlFailed", watched.ask)
    watched.wait_for("RESOLVED: MdsErrors", watched.ask)
    colors = {message["title"]: message["color"] for message in watched.messages}
    assert colors["CRITICAL: MdsErrors"] == "danger"
    assert colors["RESOLVED: MdsErrors"] == "good"
