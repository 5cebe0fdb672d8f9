"""The shipped rsyslog configuration, in a real rsyslogd, before a peer that speaks `_bulk`."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from etl.settings import PROJECT_ROOT
from tests.daemons import find_program, run_daemon
from tests.server import HOST, wait_until

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


@needs_rsyslog
def test_each_line_of_the_logs_reaches_elasticsearch_with_all_its_fields(tmp_path: Path) -> None:
    log = tmp_path / "mds-api.log"
    sent = [
        {"time": "2026-01-02T03:04:05.678Z", "level": "INFO", "message": f"line {n}", "status": n}
        for n in range(500)
    ]
    odd = {"message": 'a "quoted" \\ line, é, 日本', "nested": {"a": [1, None, True]}, "ms": 0.25}
    log.write_text("".join(json.dumps(line) + "\n" for line in (*sent, odd)))
    with listen() as (port, taken):
        command = ["rsyslogd", "-n", "-f", adapt(tmp_path, port), "-i", tmp_path / "pid"]
        with run_daemon(command, tmp_path):
            wait_until(lambda: len(taken) >= 501)
            with log.open("a") as file:  # and what is written while it runs, JSON or not
                file.write('Traceback "of" a library \\ no JSON\n{"message": "last"}\n')
            wait_until(lambda: len(taken) >= 503)
    documents = [document for _, document in taken]
    assert sorted(map(json.dumps, documents[:501])) == sorted(map(json.dumps, (*sent, odd)))
    rest = {document["message"].strip() for document in documents[501:]}
    assert rest == {'Traceback "of" a library \\ no JSON', "last"}
    assert all(re.fullmatch(r"mds-\d{4}\.\d\d\.\d\d", index) for index, _ in taken)


@pytest.mark.parametrize("name", ["alloy.config", "promtail.yml", "filebeat.yml"])
def test_a_configuration_that_was_not_run_says_so(name: str) -> None:
    head = (LOGS / name).read_text().splitlines()[1]
    assert "NOT RUN" in head
