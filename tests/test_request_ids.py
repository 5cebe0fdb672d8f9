"""The name of each request: in every answer, in every error's body, in nothing that is kept."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.edge.request_ids import SANE
from tests.server import PATIENCE, serve

BARS = "/instruments/AAPL/ohlcv?limit=3"
ORIGIN = "https://desk.example"


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, CORS_ORIGINS=ORIGIN, HEAD_TIMEOUT="0.2") as client:
        yield client


@pytest.mark.parametrize("given", ["a", "7f3e-11", "x" * 128, "trace/1:2~3+4=5@b_c"])
def test_a_sane_name_is_taken(client: httpx.Client, given: str) -> None:
    assert client.get(BARS, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given",
    [
        *("", "x" * 129, "a b", 'a"b', "a\\b", "a,b", "<script>", "a;b", "ä".encode("latin-1")),
        *("mdk_1f2e3d4c_Vt-4bS_0x", "a:eyJhbGciOiJI.eyJzdWIi.rKC"),
    ],
)
def test_any_other_is_replaced_by_a_new_one(client: httpx.Client, given: str | bytes) -> None:
    headers = [(b"X-Request-ID", given if isinstance(given, bytes) else given.encode())]
    made = [client.get(BARS, headers=headers).headers["x-request-id"] for _ in range(2)]
    assert all(SANE.fullmatch(each.encode()) and each.encode() != headers[0][1] for each in made)
    assert made[0] != made[1]


def test_two_names_are_none(client: httpx.Client) -> None:
    answer = client.get(BARS, headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])
    assert answer.headers["x-request-id"] not in ("a", "b", "a,b")


CASES: dict[str, tuple[str, str, dict[str, str], int]] = {
    "bars": ("GET", BARS, {}, 200),
    "page": ("GET", "/", {}, 200),
    "docs": ("GET", "/docs/files/swagger-ui.css", {}, 200),
    "unknown symbol": ("GET", "/instruments/APPL/ohlcv", {}, 404),
    "no page": ("GET", "/nowhere", {}, 404),
    "bad parameter": ("GET", f"{BARS}&x=1", {}, 422),
    "method": ("DELETE", BARS, {}, 405),
    "host": ("GET", BARS, {"Host": "evil.example"}, 421),
    "large head": ("GET", BARS, {"X-Any": "x" * 9000}, 431),
    "part": ("GET", BARS, {"Range": "bytes=0-3"}, 206),
    "no part": ("GET", BARS, {"Range": "bytes=99999999-"}, 416),
    "unchanged": ("GET", BARS, {"If-None-Match": "*"}, 304),
    "another answer": ("GET", BARS, {"If-Match": '"other"'}, 412),
    "coding": ("GET", BARS, {"Accept-Encoding": "*;q=0"}, 406),
    "preflight": (
        "OPTIONS",
        BARS,
        {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"},
        200,
    ),
    "refused preflight": (
        "OPTIONS",
        BARS,
        {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
        400,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_head", [False, True], ids=["as asked", "HEAD"])
def test_every_answer_names_its_request_and_so_does_every_problem(
    client: httpx.Client, case: str, is_head: bool
) -> None:
    method, url, headers, status = CASES[case]
    if is_head and method == "GET" and "Range" not in headers:  # of HEAD no part is given
        whole = client.get(url, headers={**headers, "X-Request-ID": "trace-7"})
        method = "HEAD"
    answer = client.request(method, url, headers={**headers, "X-Request-ID": "trace-7"})
    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == ["trace-7"]
    if method == "HEAD":
        assert answer.headers.get("content-length") == whole.headers.get("content-length")
    elif status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == "trace-7"
        assert int(answer.headers["content-length"]) == len(answer.content)
    elif status == 200:
        assert b"trace-7" not in answer.content


def test_what_is_kept_or_shared_names_nobody(client: httpx.Client) -> None:
    url = "/instruments/IBM/ohlcv?limit=4"
    for name in ("first", "second"):
        answer = client.get(url, headers={"X-Request-ID": name})
        assert answer.headers["x-request-id"] == name
        assert b"first" not in answer.content + str(answer.headers["etag"]).encode()
    assert answer.headers["x-cache"] == "HIT"


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"GET / HTTP/1.1\r\nHost: x\r\nX", b"408"), (b"what is this\r\n\r\n", b"400")],
)
def test_a_connection_that_is_refused_gets_a_name_too(
    client: httpx.Client, sent: bytes, status: bytes
) -> None:
    assert client.base_url.port
    with socket.create_connection(("127.0.0.1", client.base_url.port), PATIENCE) as connection:
        connection.sendall(sent)
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.split()[1] == status
    name = next(
        line.partition(b": ")[2] for line in head.lower().split(b"\r\n") if b"x-request" in line
    )
    assert b'"request_id":"' + name + b'"' in body
