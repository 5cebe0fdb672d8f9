"""What comes over a connection is bounded, in bytes, seconds and number; answers are whole."""

import asyncio
import logging
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from api.edge import protocol
from api.edge.cycle import Cycle
from api.edge.protocol import Connections, Protocol, build_connections, raise_descriptors
from api.main import create_app
from tests.guarded import guard
from tests.server import PATIENCE, make_settings, serve, serve_app, wait_until

GET = b"GET /instruments/AAPL HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def dial(client: httpx.Client) -> Iterator[socket.socket]:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Everything till the server hangs up."""
    parts = []
    while part := connection.recv(2**16):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


@pytest.fixture(scope="module")
def hasty(sample_dir: Path) -> Iterator[httpx.Client]:
    """A client of a service that waits for a head a short time only."""
    with serve(sample_dir, HEAD_TIMEOUT="0.05") as client:
        yield client


@pytest.fixture(autouse=True)
def linger_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER", 0.2)


@pytest.mark.parametrize("begin", [GET + b"X-Long: ", b"GET /", GET])
def test_a_head_without_end_is_refused_and_not_gathered(client: httpx.Client, begin: bytes) -> None:
    piece = b"X-Many: 1\r\n" * 6_000 if begin == GET else b"x" * 2**16
    with dial(client) as connection:
        connection.sendall(begin)
        for _ in range(64):
            connection.sendall(piece)
        answer = read_all(connection)
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert b"application/problem+json" in answer
    assert b"nosniff" in answer


def test_a_long_head_that_ends_is_refused_too(client: httpx.Client) -> None:
    with dial(client) as connection:
        connection.sendall(GET + b"X-Long: " + b"x" * 9_000 + b"\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begin", [b"G", GET, GET + b"X-Slow: a"])
def test_a_head_that_does_not_come_in_time_is_408(hasty: httpx.Client, begin: bytes) -> None:
    with dial(hasty) as connection:
        connection.sendall(begin)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not come within 0.05 s" in answer


def test_so_is_the_second_head_of_a_connection(hasty: httpx.Client) -> None:
    with dial(hasty) as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.sendall(GET)
        assert b"HTTP/1.1 408 " in read_all(connection)


def test_a_connection_that_asks_for_nothing_is_closed(hasty: httpx.Client) -> None:
    with dial(hasty) as connection:
        assert read_all(connection) == b""


def test_what_is_no_http_is_a_problem_too(client: httpx.Client) -> None:
    with dial(client) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_silent_connections_lock_nobody_out(sample_dir: Path) -> None:
    with serve(sample_dir, CLIENT_CONNECTIONS=6) as client:
        silent = []
        address = (client.base_url.host, client.base_url.port or 0)
        for number in range(40):
            silent.append(socket.create_connection(address, timeout=PATIENCE))
            if number % 2:
                silent[-1].sendall(GET)  # begun, and never ended
        assert client.get("/health").status_code == 200
        assert read_all(silent[0]) == b""  # the oldest made room
        for each in silent:
            each.close()


def test_a_client_whose_connections_are_all_busy_is_told_so(sample_dir: Path) -> None:
    app, held = create_app(make_settings(sample_dir, CLIENT_CONNECTIONS=2)), threading.Event()
    threads = app.state.database.quick.threads
    with serve_app(app) as client:
        client.get("/health")
        client.close()
        for _ in range(threads._max_workers):
            threads.submit(held.wait, PATIENCE)
        known: Connections = app.state.connections
        wait_until(lambda: known.count == 0)
        with dial(client) as one, dial(client) as two:
            for number, each in enumerate((one, two)):
                line = f"GET /instruments?limit={number + 1} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                each.sendall(line.encode())
            wait_until(
                lambda: sum(not c.is_idle() for c in known.by_client.get("127.0.0.1", ())) == 2
            )
            with dial(client) as third:
                answer = read_all(third)
            held.set()
            assert {each.recv(12) for each in (one, two)} == {b"HTTP/1.1 200"}
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer
    assert b"Too many connections" in answer


def test_a_trusted_proxy_speaks_for_many_and_has_no_bound_of_one_client(sample_dir: Path) -> None:
    with (
        serve(sample_dir, CLIENT_CONNECTIONS=2, TRUSTED_PROXIES="127.0.0.0/8") as client,
        ExitStack() as opened,
    ):
        connections = [opened.enter_context(dial(client)) for _ in range(20)]
        for each in connections:
            each.sendall(GET + b"Connection: close\r\n\r\n")
            assert read_all(each).startswith(b"HTTP/1.1 200"), "none was closed for another"


def test_no_client_may_have_more_connections_than_there_are_descriptors() -> None:
    known = build_connections(10**9)
    assert known.of_client == known.in_all < 10**9


def test_as_many_descriptors_as_the_system_allows_are_taken() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, 512)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        raise_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) >= (min(hard, 65_536), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pipelined_requests_and_answers_without_a_body_come_whole(client: httpx.Client) -> None:
    etag = client.get("/instruments/AAPL").headers["etag"].encode()
    head = GET.replace(b"GET", b"HEAD")
    with dial(client) as connection:
        connection.sendall(GET + b"\r\n" + head + b"\r\n")
        connection.sendall(GET + b"If-None-Match: " + etag + b"\r\n\r\n")
        connection.sendall(GET + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")
        connection.sendall(head + b"Connection: close\r\n\r\n")
        answer = read_all(connection)
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3] != b"100"]
    assert statuses == [b"200", b"200", b"304", b"200", b"200"]
    assert answer.count(b'{"symbol":"AAPL"') == 2


class Recorder(asyncio.Transport):
    """What a transport was told to write, each time as one."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written.append(b"".join(list_of_data))

    def close(self) -> None:
        self.written.append(b"closed")


def answer_with(method: str, *messages: dict[str, Any], is_last: bool = False) -> list[bytes]:
    """What is written of an answer that an app sends so."""
    recorder, log = Recorder(), logging.getLogger("test")
    event, scope = asyncio.Event(), {"type": "http", "method": method, "path": "/"}
    flow = FlowControl(recorder)
    cycle = Cycle(
        *(scope, recorder, flow, log, log, False, [], event, False, not is_last, lambda: None)  # type: ignore[arg-type]
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    asyncio.run(cycle.run_asgi(app))
    return recorder.written


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def piece(body: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more_body}


LENGTH = (b"content-length", b"2")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
CLOSE = (b"connection", b"close")


def test_head_and_first_piece_leave_in_one_write() -> None:
    assert answer_with("GET", start(LENGTH), piece(b"ab")) == [HEAD + b"\r\nab"]
    parts = answer_with("GET", start(LENGTH), piece(b"a", more_body=True), piece(b"b"))
    assert parts == [HEAD + b"\r\na", b"b"]


def test_a_head_without_a_body_to_wait_for_leaves_at_once() -> None:
    assert answer_with("HEAD", start(LENGTH), piece(b""))[0] == HEAD + b"\r\n"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert answer_with("GET", start(), piece(b"ab"))[0] == chunked


def test_a_connection_that_is_to_be_closed_is() -> None:
    end = HEAD + b"connection: close\r\n\r\n"
    assert answer_with("GET", start(LENGTH, CLOSE), piece(b"ab"))[:1] == [end]
    for answer in (
        answer_with("GET", start(LENGTH, CLOSE), piece(b"ab")),
        answer_with("GET", start(LENGTH), piece(b"ab"), is_last=True),
    ):
        assert answer == [end, b"ab", b"closed"]


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\x7f"])
def test_no_header_begins_a_line_of_its_own(value: bytes) -> None:
    answer = b"".join(answer_with("GET", start(LENGTH, (b"x-unknown", value)), piece(b"ab")))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert value not in answer


@pytest.mark.parametrize("body", [b"a", b"abc"])
def test_a_body_of_another_length_than_was_said_closes_the_connection(body: bytes) -> None:
    assert answer_with("GET", start(LENGTH), piece(body))[-1] == b"closed"


def test_an_answer_whose_body_never_comes_closes_the_connection() -> None:
    assert answer_with("GET", start(LENGTH)) == [b"closed"]


# Bodies.


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"Content-Length: 10000000000\r\n\r\nhello",
    ],
    ids=["short", "chunked", "without end"],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_body_where_none_belongs_is_refused_and_the_connection_closed(
    client: httpx.Client, method: bytes, rest: bytes
) -> None:
    with dial(client) as connection:
        connection.sendall(method + GET[3:] + rest)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert (b"takes no body" in answer) == (method == b"GET")


def test_a_body_of_no_bytes_is_none(client: httpx.Client) -> None:
    assert client.get("/health", headers={"Content-Length": "0"}).status_code == 200


def test_a_body_that_nobody_reads_is_not_taken_for_ever(hasty: httpx.Client) -> None:
    with dial(hasty) as connection:
        connection.sendall(b"POST" + GET[3:] + b"Content-Length: 1000\r\n\r\nslow")
        assert read_all(connection).startswith(b"HTTP/1.1 405 ")


def test_a_form_that_does_not_come_in_time_is_given_up(sample_dir: Path, tmp_path: Path) -> None:
    with guard(sample_dir, tmp_path, HEAD_TIMEOUT="0.05") as guarded, dial(guarded.client) as slow:
        kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n"
        slow.sendall(b"POST /token HTTP/1.1\r\nHost: localhost\r\n" + kind + b"grant")
        assert read_all(slow) == b""
        assert guarded.sign_in()["access_token"]


def test_two_hundred_slow_clients_do_not_stop_another(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        slow = [socket.create_connection(address, timeout=PATIENCE) for _ in range(200)]
        for number, each in enumerate(slow):
            each.sendall(GET[: 1 + number % len(GET)])
        for number in range(20):
            url = f"/instruments/AAPL/ohlcv?limit={number + 1}"
            assert client.get(url).json()["count"] == number + 1
        for each in slow:
            each.close()


class Line(asyncio.Transport):
    """A connection to an address of this machine, over which nothing is sent."""

    def __init__(self, address: str) -> None:
        super().__init__({"sockname": (address, 80), "peername": ("192.0.2.9", 5)})


@pytest.mark.parametrize(
    ("address", "auth", "is_ready"),
    [("192.0.2.5", "", False), ("127.0.0.1", "", True), ("192.0.2.5", "off", True)],
)
def test_where_the_gate_refuses_all_nothing_is_answered_before_it(
    sample_dir: Path, address: str, auth: str, is_ready: bool
) -> None:
    app = create_app(make_settings(sample_dir, AUTH=auth))
    config = uvicorn.Config(app, http=Protocol, log_config=None)
    config.load()

    async def connect() -> Protocol:
        protocol = Protocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(Line(address))
        protocol.stop_timers()
        return protocol

    assert (asyncio.run(connect()).ready is not None) == is_ready
