"""A stream ends with its client, with its head, and with the service, whatever else was asked."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.server import serve, wait_until

ASK = "{} {} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), 30)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    got = b""
    while end not in got:
        part = connection.recv(65536)
        assert part, got
        got += part
    return got


def test_the_head_of_a_stream_ends_and_leaves_its_place_and_connection_free(
    tmp_path: Path,
) -> None:
    with serve(tmp_path, STREAMS_PER_CALLER="1") as client, connect(client) as own:
        own.sendall(ASK.format("HEAD", "/stream").encode())
        assert b" 200 " in read_until(own, b"\r\n\r\n")
        wait_until(lambda: is_free(client))
        own.sendall(ASK.format("GET", "/metrics-none").encode())
        assert b" 404 " in read_until(own, b"\r\n\r\n")


def is_free(client: httpx.Client) -> bool:
    with client.stream("GET", "/stream") as answer:
        return answer.status_code == 200


@pytest.mark.parametrize("behind", ["/health", "/stream"])
def test_the_service_ends_though_more_was_asked_behind_a_stream(
    tmp_path: Path, behind: str
) -> None:
    with socket.socket() as own, serve(tmp_path) as client:
        own.settimeout(30)
        own.connect((client.base_url.host, client.base_url.port or 80))
        own.sendall(ASK.format("GET", "/stream").encode())
        read_until(own, b"retry")
        own.sendall(ASK.format("GET", behind).encode())


def test_a_client_that_goes_is_seen_though_more_was_asked_behind_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.stream.HEARTBEAT", 0.05)
    with serve(tmp_path, STREAMS_PER_CALLER="1") as client:
        with connect(client) as own:
            own.sendall(ASK.format("GET", "/stream").encode())
            read_until(own, b"retry")
            own.sendall(ASK.format("GET", "/health").encode())
        wait_until(lambda: is_free(client))
