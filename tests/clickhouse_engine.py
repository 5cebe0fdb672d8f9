"""ClickHouse's own engine, in process, answering by HTTP as its server does.

    python -m tests.clickhouse_engine FOLDER PORT '{"loader": ["secret", true], …}'

What a client sends goes to the engine as it is: the URL's query before the body, or the body alone.
Users are this program's own, for the engine in process has none: name → password, may it write.
One question at a time, by one thread: the engine mixes up parameters of several.
"""

import base64
import json
import re
import signal
import sys
import tempfile
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session
from clickhouse_connect.driver._backend.chdb_backend import (
    CHDB_TRANSPORT_SETTINGS,
    _decompress,
)

INSERT = re.compile(rb"\s*(INSERT INTO .+?) FORMAT (\w+)\n?", re.I | re.S)
FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*$", re.I)
READS = re.compile(r"\s*(\(*SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.I)
Users = dict[str, tuple[str, bool]]


class Engine:
    """One session, its settings put back after each question."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(str(folder))
        self.lock = threading.Lock()
        self.files = tempfile.TemporaryDirectory()

    def answer(self, sql: bytes, data: bytes, options: dict[str, str]) -> bytes:
        params = {n[6:]: v for n, v in options.items() if n.startswith("param_")}
        own = {"query", "default_format", *CHDB_TRANSPORT_SETTINGS}
        changed = {n: v for n, v in options.items() if n not in own and n[:6] != "param_"}
        with self.lock:
            try:
                if "database" in options:
                    self.session.query(f"USE `{options['database']}`")
                for name, value in changed.items():
                    self.session.query(f"SET {name} = '{value}'")
                return self.run(sql, data, params)
            finally:
                for name in changed:
                    self.session.query(f"SET {name} = DEFAULT")

    def run(self, sql: bytes, data: bytes, params: dict[str, Any]) -> bytes:
        if found := INSERT.match(sql):
            return self.insert(found[1].decode(), found[2].decode(), sql[found.end() :] + data)
        text = sql.decode()
        form = FORMAT.search(text)
        result = self.session.query(text, form[1] if form else "TabSeparated", params=params)
        return bytes(result.bytes() or b"")

    def insert(self, statement: str, form: str, data: bytes) -> bytes:
        path = Path(self.files.name) / "block"
        path.write_bytes(data)
        self.session.query(f"{statement} FROM INFILE '{path}' COMPRESSION 'none' FORMAT {form}")
        return b""


def read_form(kind: str, body: bytes) -> dict[str, str]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = part.get_payload(decode=True).decode()
    return fields


class Fault(Exception):
    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text}. ({name}) (version 26.5.1.1)")


def check_user(users: Users, header: str, sql: bytes) -> None:
    """Fault, in the words of a server, if it may not ask that."""
    name, _, password = base64.b64decode(header.partition(" ")[2]).decode().partition(":")
    known = users.get(name or "default", ("", False))
    if (name or "default") not in users or password != known[0]:
        text = f"{name}: Authentication failed: password is incorrect, or there is no such user"
        raise Fault(516, "AUTHENTICATION_FAILED", text)
    if not known[1] and not READS.match(sql.decode(errors="replace")):
        text = f"{name}: Not enough privileges. To execute this query, it's necessary to have the"
        raise Fault(497, "ACCESS_DENIED", f"{text} grant INSERT, CREATE TABLE on default.*")


def build_handler(engine: Engine, users: Users) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            body = self.read_body()
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):  # as what is long is sent
                options |= read_form(kind, body)
                body = b""
            sql = options["query"].encode() + b"\n" if "query" in options else body
            data = body if "query" in options else b""
            try:
                check_user(users, self.headers.get("Authorization", ""), sql)
                self.send(200, engine.answer(sql, data, options), {})
            except Exception as error:
                text = str(error)
                code = re.search(r"Code: (\d+)", text)
                self.send(
                    500, text.encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1"}
                )

        do_GET = do_POST

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self.read_chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            encoding = self.headers.get("Content-Encoding")
            return _decompress(body, encoding) if encoding else body

        def read_chunk(self) -> bytes:
            size = int(self.rfile.readline(), 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.send_header("X-ClickHouse-Timezone", "UTC")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main(folder: str, port: str, users: str) -> None:
    handler = build_handler(
        Engine(Path(folder)), {n: tuple(u) for n, u in json.loads(users).items()}
    )
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
