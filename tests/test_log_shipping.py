"""The shipped rsyslog configuration, in a real rsyslogd, before a peer that speaks `_bulk`."""

import json
import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etl import __main__ as whole
from etl.settings import PROJECT_ROOT
from tests.conftest import call_stage
from tests.daemons import find_program, run_daemon
from tests.server import HOST, serve_process, wait_until

LOGS = PROJECT_ROOT / "deploy" / "logs"
CONFIGURATION = (LOGS / "rsyslog.conf").read_text()


def has_rsyslog() -> bool:
    return bool(find_program("rsyslogd")) and any(
        Path("/usr/lib").glob("**/rsyslog/omelasticsearch.so")
    )


needs_rsyslog = pytest.mark.skipif(
    not has_rsyslog(), reason="rsyslogd with omelasticsearch is not installed"
)


class Bulk(BaseHTTPRequestHandler):
    """Elasticsearch's `_bulk`, as far as a shipper sees it: it takes documents and says so."""

    taken: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        lines = [json.loads(line) for line in body.splitlines() if line]
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        self.taken.extend((action["index"]["_index"], document) for action, document in pairs)
        self.answer({"errors": False, "items": [{"index": {"status": 201}} for _ in pairs]})

    def do_GET(self) -> None:
        self.answer({})

    def do_HEAD(self) -> None:
        self.answer({})

    def answer(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def listen() -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """The port of a `_bulk` peer, and what it took: index and document."""
    taken: list[tuple[str, Any]] = []
    server = ThreadingHTTPServer((HOST, 0), type("Taking", (Bulk,), {"taken": taken}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def adapt(folder: Path, port: int) -> Path:
    """The configuration with the test's folder and port instead of a machine's."""
    text = CONFIGURATION.replace("/var/log/mds/", f"{folder}/").replace("9200", str(port))
    assert str(folder) in text
    path = folder / "rsyslog.conf"
    path.write_text(f'global(workDirectory="{folder}")\n{text}')
    return path


@contextmanager
def ship(folder: Path) -> Iterator[list[tuple[str, Any]]]:
    """What reaches the peer of the logs in a folder, while rsyslogd runs with the configuration."""
    with listen() as (port, taken):
        command = ["rsyslogd", "-n", "-f", adapt(folder, port), "-i", folder / "pid"]
        with run_daemon(command, folder):
            yield taken


def sort_lines(documents: Iterable[Any]) -> list[str]:
    return sorted(json.dumps(document, sort_keys=True) for document in documents)


@needs_rsyslog
def test_the_lines_of_the_etl_and_of_the_service_arrive_with_all_their_fields(
    data_dir: Path, sample_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    (data_dir / "IBM.csv").write_text("no bars\n")
    assert call_stage(whole.main, "--source", "files", "--path", data_dir / "IBM.csv") == 1
    with serve_process(sample_dir, LOG_FORMAT="json", ACCESS_LOG="on") as client:
        client.get("/instruments/AAPL/ohlcv?limit=1")
        client.get('/instruments/"%0a\\é/ohlcv')
    folder = data_dir.parent / "logs"
    folder.mkdir()
    shutil.copy(data_dir / "etl.log", folder / "mds-etl.log")
    shutil.copy(sample_dir.parent / f"server-{client.base_url.port}.log", folder / "mds-api.log")
    texts = [path.read_text() for path in folder.glob("*.log")]
    written = [json.loads(line) for text in texts for line in text.splitlines()]
    with ship(folder) as taken:
        wait_until(lambda: len(taken) >= len(written))
    documents = [document for _, document in taken]
    assert sort_lines(documents) == sort_lines(written)
    assert {"etl", "access"} <= {document["logger"] for document in documents}
    assert any(document.get("route") == "/instruments/{symbol}/ohlcv" for document in documents)


@needs_rsyslog
def test_lines_that_are_no_json_or_come_later_or_nested_arrive_too(tmp_path: Path) -> None:
    log = tmp_path / "mds-api.log"
    odd = {"message": 'a "quoted" \\ line, é, 日本', "nested": {"a": [1, None, True]}, "ms": 0.25}
    sent = [odd, *({"message": f"line {n}"} for n in range(500))]
    log.write_text("".join(json.dumps(line) + "\n" for line in sent))
    with ship(tmp_path) as taken:
        wait_until(lambda: len(taken) >= 501)
        with log.open("a") as file:
            file.write('Traceback "of" a library \\ no JSON\n{"message": "last"}\n')
        wait_until(lambda: len(taken) >= 503)
    documents = [document for _, document in taken]
    assert sort_lines(documents[:501]) == sort_lines(sent)
    rest = {document["message"].strip() for document in documents[501:]}
    assert rest == {'Traceback "of" a library \\ no JSON', "last"}
    assert all(re.fullmatch(r"mds-\d{4}\.\d\d\.\d\d", index) for index, _ in taken)


@pytest.mark.parametrize("name", ["alloy.config", "promtail.yml", "filebeat.yml"])
def test_a_configuration_that_was_not_run_says_so(name: str) -> None:
    head = (LOGS / name).read_text().splitlines()[1]
    assert "NOT RUN" in head
