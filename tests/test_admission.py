"""What the gate asks of callers, over a server on loopback: order, scopes, headers, refusals."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import Response
from starlette.types import Scope

from api.callers import Caller, Head, RawHeaders, Spent
from api.edge.admission import Admission
from api.edge.gate import Proxies, refuse
from api.edge.route_table import LONGEST_PATH, MOST_PATHS, OTHER, RouteTable, needs_scope, weighs
from api.main import Service, create_app
from api.settings import ApiSettings
from tests.server import make_settings, serve_app

BARS = "/instruments/AAPL/ohlcv?limit=3"
RUNS = "/etl/runs"
ORIGIN = "https://desk.example"
CALLERS = {
    b"reader": Caller("ann", "user", frozenset({"read"})),
    b"chief": Caller("eve", "key", frozenset({"read", "admin"})),
}


class ByName:
    """An Identity that takes a word for a person, and remembers whom it has seen."""

    fault = None

    def __init__(self) -> None:
        self.seen: dict[bytes, Caller] = {}
        self.verified = 0

    def recall(self, scope: Scope, head: Head) -> Caller | None:
        return self.seen.get(head.get(b"authorization", b""))

    async def identify(self, scope: Scope, head: Head) -> Caller | Response:
        self.verified += 1
        word = head.get(b"authorization", b"")
        if word not in CALLERS:
            return refuse(401, "Say who you are.", {"WWW-Authenticate": "Bearer"})
        return self.seen.setdefault(word, CALLERS[word])


class Counter:
    """A Limiter of 1,000 requests, that tells what it was asked."""

    def __init__(self) -> None:
        self.spent: list[tuple[str, int]] = []
        self.most = 1_000

    def spend(self, caller: Caller, weight: int) -> Spent:
        self.spent.append((caller.name, weight))
        if len(self.spent) > self.most:
            return Spent([], refuse(429, "Ask later.", {"Retry-After": "1"}))
        headers: RawHeaders = [(b"ratelimit", str(weight).encode())]
        return Spent(headers)


class SlowCounter(Counter):
    async def spend(self, caller: Caller, weight: int) -> Spent:  # type: ignore[override]
        return super().spend(caller, weight)


Guarded = tuple[httpx.Client, ByName, Counter]


def build_guarded(settings: ApiSettings, identity: ByName | None, limiter: Counter) -> Service:
    app = create_app(settings)
    gate = app.layers.gate
    gate.admission = Admission(RouteTable(app), gate.proxies, identity, limiter)
    return app


@pytest.fixture(params=[Counter, SlowCounter])
def guarded(sample_dir: Path, request: pytest.FixtureRequest) -> Iterator[Guarded]:
    identity, limiter = ByName(), request.param()
    app = build_guarded(make_settings(sample_dir, CORS_ORIGINS=ORIGIN), identity, limiter)
    with serve_app(app) as client:
        yield client, identity, limiter


def test_one_kept_body_serves_all_who_may_read(guarded: Guarded) -> None:
    client, identity, limiter = guarded
    made = [client.get(BARS, headers={"Authorization": who}) for who in ("reader", "chief")]
    assert [answer.headers["x-cache"] for answer in made] == ["MISS", "HIT"]
    assert made[0].content == made[1].content
    assert made[0].headers["etag"] == made[1].headers["etag"]
    assert [answer.headers["ratelimit"] for answer in made] == ["1", "1"]
    assert limiter.spent == [("ann", 1), ("eve", 1)]
    client.get(BARS, headers={"Authorization": "reader"})
    assert identity.verified == 2, "who is remembered is not verified again"


@pytest.mark.parametrize("url", [BARS, RUNS, "/nowhere", "/instruments", "/udf/time"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_is_behind_it_without_a_name(guarded: Guarded, url: str, method: str) -> None:
    client, _, limiter = guarded
    answer = client.request(method, url, headers={"Origin": ORIGIN})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
    assert limiter.spent == [("127.0.0.1", 1)], "who tries names pays by the address"


@pytest.mark.parametrize("url", ["/", "/health", "/docs", "/openapi.json", "/dashboard/state.js"])
def test_what_is_open_to_all_asks_nobody(guarded: Guarded, url: str) -> None:
    client, identity, _ = guarded
    assert client.get(url).status_code == 200
    assert identity.verified == 0


def test_over_the_limit_is_told_before_anything_is_made(guarded: Guarded) -> None:
    client, _, limiter = guarded
    limiter.most = 1
    asked = {"Authorization": "reader", "Origin": ORIGIN}
    codes = [client.get(BARS, headers=asked).status_code for _ in range(2)]
    assert codes == [200, 429]
    refused = client.get(BARS, headers=asked)
    assert (refused.headers["retry-after"], refused.json()["status"]) == ("1", 429)
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert client.get(BARS, headers={"Origin": ORIGIN}).status_code == 429, "before the 401"


def test_a_preflight_asks_nobody_as_browsers_send_no_names_with_it(guarded: Guarded) -> None:
    client, identity, limiter = guarded
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    assert client.options(BARS, headers=asked).status_code == 200
    assert (identity.verified, limiter.spent) == (0, [])


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"X-Any": "x" * 9000}], ids=str)
def test_every_refusal_has_the_headers_of_cors(guarded: Guarded, headers: dict[str, str]) -> None:
    client, _, _ = guarded
    answer = client.get(BARS, headers={**headers, "Origin": ORIGIN})
    assert answer.status_code in (421, 431)
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_limit_alone_knows_callers_by_their_address(sample_dir: Path) -> None:
    limiter = Counter()
    settings = make_settings(sample_dir, TRUSTED_PROXIES="127.0.0.1")
    with serve_app(build_guarded(settings, None, limiter)) as client:
        for forwarded in ("10.0.0.7", "1.1.1.1, 10.0.0.8", "10.0.0.9, 127.0.0.1", "no address"):
            client.get(BARS, headers={"X-Forwarded-For": forwarded})
    assert [name for name, _ in limiter.spent] == ["10.0.0.7", "10.0.0.8", "10.0.0.9", "127.0.0.1"]


@pytest.mark.parametrize("forwarded", ["10.0.0.7", "::1", "127.0.0.1"])
def test_an_address_that_anyone_may_write_is_taken_of_proxies_alone(forwarded: str) -> None:
    head = {b"x-forwarded-for": forwarded.encode()}
    assert Proxies("").find_address(("192.0.2.1", 5), head) == "192.0.2.1"


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("192.0.2.7:51234", "192.0.2.7"),
        ("10.9.9.9:1, 192.0.2.7:80 ", "192.0.2.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ('"[2001:db8::7]"', "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("192.0.2.7:80, 127.0.0.1:9000", "192.0.2.7"),
        ("192.0.2.7, unknown:80", "127.0.0.1"),
    ],
)
def test_an_address_with_a_port_is_that_address(entry: str, address: str) -> None:
    proxies = Proxies("", (ipaddress.ip_network("127.0.0.1"),))
    head = {b"x-forwarded-for": entry.encode()}
    assert proxies.find_address(("127.0.0.1", 5), head) == address


def test_marks_say_what_a_route_needs_and_what_it_weighs(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path))

    @app.get("/secret/{name}")
    @needs_scope("admin")
    @weighs(20)
    async def read_secret(name: str) -> str:
        return name

    routes = RouteTable(app)
    secret = routes.find("/secret/x")
    assert (secret.template, secret.scope, secret.weight) == ("/secret/{name}", "admin", 20)
    bars = routes.find("/instruments/AAPL/ohlcv")
    assert (bars.template, bars.scope, bars.weight) == ("/instruments/{symbol}/ohlcv", "read", 1)
    assert routes.find("/nowhere/at/all") is OTHER
    assert routes.find("/openapi.json").scope is None


def test_a_scope_that_is_missing_is_a_403_that_names_it(sample_dir: Path) -> None:
    app = create_app(make_settings(sample_dir))

    @app.get("/secret")
    @needs_scope("admin")
    async def read_secret() -> str:
        return "it"

    app.layers.gate.admission = Admission(RouteTable(app), Proxies(""), ByName())
    with serve_app(app) as client:
        refused = client.get("/secret", headers={"Authorization": "reader"})
        assert (refused.status_code, refused.json()["status"]) == (403, 403)
        assert 'scope="admin"' in refused.headers["www-authenticate"]
        assert client.get("/secret", headers={"Authorization": "chief"}).status_code == 200


def test_paths_that_are_made_up_take_a_bounded_memory(tmp_path: Path) -> None:
    routes = RouteTable(create_app(make_settings(tmp_path)))
    for number in range(2 * MOST_PATHS):
        routes.find(f"/instruments/X{number}")
    routes.find("/" + "x" * LONGEST_PATH)
    assert 0 < len(routes.known) <= MOST_PATHS
    assert max(map(len, routes.known)) <= LONGEST_PATH
