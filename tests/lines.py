"""Connections that are written to and read from byte by byte, where a client would tidy up."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from api.main import Service
from tests.server import HOST, PATIENCE, serve_app

OWN = (b"date", b"x-request-id", b"x-cache")  # headers that two answers may differ in
Answer = tuple[bytes, dict[bytes, bytes], bytes]


class Line:
    """A connection, and the answers that came over it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def ask(self, request: bytes) -> Answer:
        self.connection.sendall(request)
        return self.read(has_body=not request.startswith(b"HEAD"))

    def read(self, has_body: bool = True) -> Answer:
        status, headers = self.file.readline().split()[1], {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.rstrip().partition(b": ")
            headers[name] = value
        length = int(headers.get(b"content-length", b"0")) if has_body and status != b"304" else 0
        return status, headers, self.file.read(length)


@contextmanager
def dial(app: Service) -> Iterator[Line]:
    with serve_app(app) as client:
        address = HOST, client.base_url.port or 0
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            yield Line(connection)


def compare(answer: Answer) -> Answer:
    """What must be the same."""
    status, headers, body = answer
    return status, {n: v for n, v in headers.items() if n not in OWN}, body
