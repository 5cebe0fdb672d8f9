"""What a request meets first: bounded headers, its Host, CORS; and what every answer carries."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.edge.gate import SECURITY, build_hosts
from api.settings import SettingsError
from tests.server import make_settings, serve

BARS = "/instruments/AAPL/ohlcv?limit=3"
ORIGIN = "https://desk.example"


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, CORS_ORIGINS=ORIGIN) as client:
        yield client


@pytest.mark.parametrize("name", ["Accept", "Cookie", "X-Any", "If-None-Match", "Range"])
def test_long_headers_are_refused_and_not_given_back(client: httpx.Client, name: str) -> None:
    answer = client.get(BARS, headers={name: "text/odd" * 1100})
    assert (answer.status_code, answer.json()["title"]) == (
        431,
        "Request Header Fields Too Large",
    )
    assert "send at most 8192" in answer.json()["detail"]
    assert len(answer.content) < 400
    assert client.get(BARS, headers={name: "text/odd" * 900}).status_code in (200, 406, 412)


def test_many_short_headers_count_as_one_long_one(client: httpx.Client) -> None:
    headers = {f"X-Header-{number}": "v" * 60 for number in range(120)}
    assert client.get(BARS, headers=headers).status_code == 431


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "desk.localhost", "127.0.0.1:9", "[::1]:8000", "::1"]
)
def test_loopback_is_always_known(client: httpx.Client, host: str) -> None:
    asked = {"Host": host}
    assert client.get(BARS, headers=asked).status_code == (200 if host != "::1" else 421)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("127.0.0.1:8000,evil.example", "localhost, localhost"),  # of several none is the name
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("path", ["/", "/health", BARS])
def test_a_name_that_another_may_point_here_is_refused(
    client: httpx.Client, host: str, method: str, path: str
) -> None:
    answer = client.request(method, path, headers={"Host": host, "Origin": ORIGIN})
    assert answer.status_code == 421
    if method != "HEAD":
        assert "ALLOWED_HOSTS" in answer.json()["detail"]


def test_names_that_are_set_are_known_and_all_with_a_star() -> None:
    hosts = build_hosts("192.168.1.5", ["data.example.com", "*.corp.example"])
    known = ("data.example.com", "a.corp.example:80", "192.168.1.5:8000", "DATA.example.com.")
    assert all(hosts.allow(host.encode()) for host in known)
    unknown = ("example.com", "corp.example", "192.168.1.6", "evilcorp.example", "")
    assert not any(hosts.allow(host.encode()) for host in unknown)
    assert build_hosts("127.0.0.1", ["*"]).allow(b"any.example")


def test_who_serves_on_every_address_is_known_by_any_address_but_not_by_any_name() -> None:
    hosts = build_hosts("::", [])
    assert hosts.allow(b"10.1.2.3:8000")
    assert hosts.allow(b"[fe80::1]:8000")
    assert not hosts.allow(b"evil.example")


@pytest.mark.parametrize("text", ["http://a.example", "a b", "*a.example", "a@b"])
def test_a_host_that_is_none_is_refused_as_a_setting(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_HOSTS"):
        make_settings(tmp_path, ALLOWED_HOSTS=text)


@pytest.mark.parametrize(
    "url",
    [
        *("/", "/health", "/docs", "/openapi.json", "/docs/files/swagger-ui.css", BARS),
        *("/nowhere", "/instruments/APPL", f"{BARS}&x=1", "/udf/time", "/udf/symbols?symbol=ZZ"),
        *("/dashboard/none.js", "/instruments/"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_answer_keeps_a_browser_careful(client: httpx.Client, url: str, method: str) -> None:
    answer = client.request(method, url)
    for name, _ in SECURITY:
        assert len(answer.headers.get_list(name.decode())) == 1, answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": "*"},
        {"If-Match": '"other"'},
        {"Range": "bytes=99999999-"},
        {"Range": "bytes=0-3"},
        {"Accept-Encoding": "*;q=0"},
        {"Host": "evil.example"},
        {"X-Any": "x" * 9000},
    ],
    ids=str,
)
def test_so_does_every_other_status(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get(BARS, headers=headers)
    assert answer.status_code != 200
    for name, value in SECURITY:
        assert answer.headers.get_list(name.decode()) == [value.decode()]


@pytest.mark.parametrize(
    ("origin", "method", "said"),
    [
        ("https://evil.example", "GET", "(origin)"),
        (ORIGIN, "DELETE", "(method)"),
        ("https://evil.example", "PUT", "(origin, method)"),
    ],
)
def test_a_preflight_is_refused_in_the_one_error_body(
    client: httpx.Client, origin: str, method: str, said: str
) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    answer = client.options(BARS, headers=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["status"] == 400
    assert said in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers or origin == ORIGIN
    assert int(answer.headers["content-length"]) == len(answer.content)
