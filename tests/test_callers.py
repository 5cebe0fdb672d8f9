"""Who is let in, over a server on loopback: tokens, keys, scopes, forged and revoked ones."""

import base64
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
from fastapi.routing import iter_route_contexts

from api.callers import identity, tokens, users
from api.callers.identity import LOOK_EVERY, MOST_REMEMBERED, remember
from api.edge.route_table import SCOPE_MARK
from api.main import Service, create_app
from api.settings import SettingsError, check_guard
from tests.conftest import clean_environ, run_stage
from tests.guarded import BARS, CHIEF, JWT_KEY, READER, Guarded, guard, hash_once, make_users
from tests.server import make_settings, serve_app, serve_process, wait_until

ORIGIN = "https://desk.example"
OPEN = {
    *("/", "/dashboard/{name:path}", "/docs", "/docs/files/{name}", "/openapi.json"),
    *("/health", "/token", "/token/revoke"),
    "/metrics",  # asks by itself who may: METRICS_TOKEN, this machine, the scope admin
}


@pytest.fixture(scope="module")
def shared(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """For tests that take nothing from anyone."""
    with guard(sample_dir, tmp_path_factory.mktemp("users"), CORS_ORIGINS=ORIGIN) as guarded:
        yield guarded


@pytest.fixture
def own(sample_dir: Path, tmp_path: Path) -> Iterator[Guarded]:
    with guard(sample_dir, tmp_path) as guarded:
        yield guarded


def list_paths(app: Service) -> dict[str, str]:
    """Every path of the app as declared → one that can be asked."""
    return {route.path: fill(route.path) for route in iter_route_contexts(app.routes) if route.path}


def fill(path: str) -> str:
    for name, value in {"symbol": "AAPL", "name": "main.js", "run_id": "x", "feed": "iex"}.items():
        path = path.replace(f"{{{name}}}", value).replace(f"{{{name}:path}}", value)
    assert "{" not in path
    return path


# Nothing behind it


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PURGE"])
def test_no_route_answers_without_a_token_but_those_that_are_open(
    shared: Guarded, method: str
) -> None:
    paths = list_paths(shared.app)
    assert len(paths) > 40
    told = {path: shared.client.request(method, asked).status_code for path, asked in paths.items()}
    assert {path for path, status in told.items() if status != 401} == OPEN


def test_open_are_the_routes_whose_function_says_so(shared: Guarded) -> None:
    marked = {
        route.path
        for route in iter_route_contexts(shared.app.routes)
        if getattr(route.endpoint, SCOPE_MARK, "read") is None
    }
    assert marked == OPEN


@pytest.mark.parametrize(
    "url",
    [
        *("/nowhere", "/health/", "/instruments/..%2Fhealth", "/%68ealth/x"),
        *("/instruments/AAPL/ohlcv%3Fx=/docs", "/docs/../instruments", "/dashboard", "/token/x"),
    ],
)
def test_a_path_that_only_looks_open_is_not(shared: Guarded, url: str) -> None:
    assert shared.client.get(url).status_code == 401


@pytest.mark.parametrize("path", ["dashboard/..%2F..%2Fsettings.py", "docs/files/..%2Fopenapi.py"])
def test_what_is_open_gives_no_other_file(shared: Guarded, path: str) -> None:
    assert shared.client.get(f"/{path}").status_code in (401, 404)


@pytest.mark.parametrize("name", ["access_token", "token", "api_key", "X-API-Key", "authorization"])
def test_no_secret_is_taken_from_an_address(shared: Guarded, name: str) -> None:
    for secret in (shared.make_token(), shared.make_key()):
        assert shared.client.get(BARS, params={name: secret}).status_code == 401
        assert shared.client.get(BARS, headers={"Cookie": f"{name}={secret}"}).status_code == 401


# Ways to say who asks


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_a_token_and_a_key_are_taken_as_bearer(shared: Guarded, scheme: str) -> None:
    for secret in (shared.make_token(), shared.make_key()):
        shared.look()
        for _ in range(2):  # the second one is remembered
            answer = shared.client.get(BARS, headers={"Authorization": scheme + secret})
            assert answer.status_code == 200, answer.text


def test_a_key_is_taken_by_its_own_header_beside_the_name_that_a_proxy_asks_for(
    shared: Guarded,
) -> None:
    headers = {"X-API-Key": shared.make_key()}
    shared.look()
    for more in ({}, {}, {"Authorization": "Basic YTpi"}):
        assert shared.client.get(BARS, headers=headers | more).status_code == 200


def test_two_ways_at_once_are_one_too_many(shared: Guarded) -> None:
    key = shared.make_key()
    shared.look()
    headers = {"X-API-Key": key, "Authorization": f"Bearer {key}"}
    for _ in range(2):
        answer = shared.client.get(BARS, headers=headers)
        assert answer.status_code == 400
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]
        shared.get(secret=key)


def test_a_token_is_no_key_and_is_not_taken_in_its_place(shared: Guarded) -> None:
    token = shared.make_token()
    assert shared.get(secret=token).status_code == 200
    for given in (token, f"Bearer {token}"):
        assert shared.client.get(BARS, headers={"X-API-Key": given}).status_code == 401


def ask_raw(client: httpx.Client, *lines: str) -> int:
    """The status of GET BARS with these header lines, as they stand."""
    url = client.base_url
    head = "\r\n".join([f"GET {BARS} HTTP/1.1", f"Host: {url.host}", *lines, "Connection: close"])
    with socket.create_connection((url.host, url.port or 80), 60) as peer:
        peer.sendall(f"{head}\r\n\r\n".encode("latin-1"))
        answer = peer.makefile("rb").read()
    return int(answer.split(b" ", 2)[1])


def test_a_header_that_is_sent_twice_names_nobody(shared: Guarded) -> None:
    token, key = shared.make_token(), shared.make_key()
    shared.look()
    assert ask_raw(shared.client, f"Authorization: Bearer {token}") == 200
    for line in (f"Authorization: Bearer {token}", f"X-API-Key: {key}"):
        assert ask_raw(shared.client, line, line) == 401
    other = f"Authorization: Bearer {shared.make_token(CHIEF)}"
    assert ask_raw(shared.client, f"Authorization: Bearer {token}", other) == 401


@pytest.mark.parametrize(
    ("header", "error"),
    [
        *((header, "") for header in ("", "Bearer", "Basic YTpi", "Digest x", "Bearers x")),
        *((f"Bearer {given}", "invalid_token") for given in ("x", "a.b.c", "mdk_", "..", "mdr_x")),
        ("Bearer " + "x" * 7000, "invalid_token"),
        ("Bearer grünes-Licht", "invalid_token"),
        ("Bearer a b", "invalid_token"),
    ],
)
def test_what_is_no_token_is_refused_with_the_challenge_of_rfc_6750(
    shared: Guarded, header: str, error: str
) -> None:
    sent = {"Authorization": header.encode("latin-1"), "Origin": ORIGIN}
    answer = shared.client.get(BARS, headers=sent)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer realm=")
    assert ("error=" in challenge) == bool(error)
    assert error in challenge
    assert (answer.headers["cache-control"], answer.headers["vary"]) == (
        "no-store",
        "Authorization, X-API-Key, Origin",
    )
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_preflight_may_name_the_headers_of_callers(shared: Guarded) -> None:
    for method, header in (
        ("GET", "authorization"),
        ("GET", "x-api-key"),
        ("POST", "content-type"),
    ):
        asked = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": header,
        }
        answer = shared.client.options("/token", headers=asked)
        assert answer.status_code == 200
        assert header in answer.headers["access-control-allow-headers"]


# What is forged


def forge(guarded: Guarded, key: str = JWT_KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """A token that is right but for what is given; None takes a claim out."""
    real = jwt.decode(guarded.make_token(), options={"verify_signature": False})
    forged = {name: value for name, value in {**real, **claims}.items() if value is not None}
    return jwt.encode(forged, key, algorithm)


PAST, FUTURE = 1_600_000_000, 4_102_444_800


def test_what_is_forged_but_for_nothing_is_taken(shared: Guarded) -> None:
    assert shared.get(secret=forge(shared)).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        *({name: None} for name in tokens.REQUIRED),
        *({"iss": "x"}, {"aud": "x"}, {"aud": ["x"]}, {"sub": "nobody"}),
        *({"exp": PAST}, {"exp": 0}, {"exp": -1}, {"exp": "soon"}, {"exp": 1e400}),
        *({"iat": FUTURE}, {"nbf": FUTURE}, {"iat": "x"}),
        *({"stamp": "x"}, {"stamp": 5}, {"scope": 5}, {"scope": ["read"]}, {"sid": 5}, {"jti": 5}),
        {"key": "another key of 32 bytes and some more"},
        *({"algorithm": "HS512"}, {"algorithm": "HS384"}),
    ],
    ids=str,
)
def test_a_forged_token_is_refused(shared: Guarded, claims: dict[str, Any]) -> None:
    answer = shared.get(secret=forge(shared, **claims))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def encode_part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_token_without_a_signature_or_with_half_of_one_is_refused(shared: Guarded) -> None:
    head, claims, signature = shared.make_token().split(".")
    made = [
        *(f"{encode_part({'alg': alg, 'typ': 'JWT'})}.{claims}." for alg in ("none", "None", "")),
        *(f"{encode_part({'alg': 'none'})}.{claims}.{signature}", f"{head}.{claims}."),
        *(
            f"{head}.{claims}",
            f"{head}.{claims}.{signature[:-4]}",
            f"{head}.{claims}.{signature}.x",
        ),
        f"{head}.{encode_part({'sub': CHIEF, 'scope': 'admin'})}.{signature}",
        f"{encode_part([])}.{claims}.{signature}",
        f"{head}.{encode_part([[[[]]]])}.{signature}",
    ]
    assert [shared.get(secret=each).status_code for each in made] == [401] * len(made)


def test_a_clock_that_is_a_little_ahead_makes_no_token_bad(shared: Guarded) -> None:
    assert shared.get(secret=forge(shared, iat=int(time.time()) + 20)).status_code == 200


def test_a_scope_that_the_user_has_not_is_not_had_by_signing_it_into_a_token(
    shared: Guarded,
) -> None:
    assert shared.get("/etl/runs", shared.make_token(READER, "read admin")).status_code == 403
    assert shared.get("/etl/runs", shared.make_token(CHIEF, "read")).status_code == 403
    assert shared.get("/etl/runs", shared.make_token(CHIEF, "read admin")).status_code == 200


def test_a_missing_scope_is_named(shared: Guarded) -> None:
    answer = shared.get("/etl/runs", shared.make_token())
    assert (answer.status_code, answer.json()["status"]) == (403, 403)
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="market-data-service", error="insufficient_scope"')
    assert 'scope="admin"' in challenge
    assert answer.headers["cache-control"] == "no-store"


def test_who_is_refused_is_counted_by_reason(own: Guarded) -> None:
    key = own.make_key()
    reader, both = own.make_token(), {"Authorization": f"Bearer {key}", "X-API-Key": key}
    own.get(), own.get(secret="x"), own.get("/etl/runs", reader), own.get("/health")
    own.client.get(BARS, headers=both)
    counted = {key: row[0] for key, row in own.app.state.counts.rows.items()}
    reasons = {key[1]: count for key, count in counted.items() if key[0] == "auth_refused"}
    assert reasons == {"missing": 1, "invalid": 1, "scope": 1, "ambiguous": 1}


# Answers


def test_no_body_depends_on_who_asks_and_one_kept_body_serves_all(shared: Guarded) -> None:
    secrets = [
        shared.make_token(CHIEF, "read admin"),
        shared.make_token(),
        shared.make_key("read", "admin"),
    ]
    shared.look()
    needed: dict[str, str | None] = {
        **dict.fromkeys(("/ohlcv", "/ohlcv/latest"), "?symbols=AAPL,MSFT"),
        **dict.fromkeys(("/statistics/correlation", "/statistics/covariance"), "?symbols=IBM,FB"),
        "/instruments/{symbol}/indicators": "?names=sma:20",
        **dict.fromkeys(("/udf/time", "/stream"), None),  # of the clock, or without an end
    }
    compared = 0
    for path, asked in list_paths(shared.app).items():
        query = needed.get(path, "")
        if path in OPEN or query is None or path.startswith("/generations/"):  # files, not kept
            continue
        made = [shared.ask_as("same", asked + query, secret) for secret in secrets]
        good = [answer for answer in made if answer.status_code != 403]
        assert len({answer.status_code for answer in good}) == 1, path
        if good[0].status_code == 200:  # a problem body has the id of its request
            assert len({answer.content for answer in good}) == 1, path
            assert len({answer.headers["etag"] for answer in good}) == 1, path
            assert [answer.headers["x-cache"] for answer in good[1:]] == ["HIT"] * (len(good) - 1)
            compared += 1
    assert compared > 20


def test_no_cache_that_others_share_may_keep_an_answer(shared: Guarded) -> None:
    first = shared.get(secret=shared.make_token())
    again = {"Authorization": f"Bearer {shared.make_token(CHIEF)}", "Range": "bytes=0-9"}
    unchanged = {**again, "If-None-Match": first.headers["etag"]}
    partial, none = (shared.client.get(BARS, headers=each) for each in (again, unchanged))
    assert [answer.status_code for answer in (first, partial, none)] == [200, 206, 304]
    for answer in (first, partial, none):
        assert {"private", "no-cache"} <= set(answer.headers["cache-control"].split(", "))
        vary = set(answer.headers["vary"].split(", "))
        assert {"Accept", "Accept-Encoding", "Authorization", "X-API-Key"} <= vary


def test_files_that_are_open_to_all_may_be_kept_by_all(shared: Guarded) -> None:
    assert "private" not in shared.client.get("/docs").headers["cache-control"]


def test_health_tells_who_may_read_more(shared: Guarded) -> None:
    for secret in ("", "x", "mdk_x"):
        answer = shared.get("/health", secret)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    answer = shared.get("/health", shared.make_token())
    assert (answer.json()["status"], answer.json()["symbols"]) == ("ok", 5)


def test_metrics_are_for_who_has_the_scope_admin_where_they_come_from_elsewhere(
    sample_dir: Path, tmp_path: Path
) -> None:
    with guard(sample_dir, tmp_path, METRICS="on", METRICS_TOKEN="m" * 40) as guarded:
        secrets = {
            guarded.make_token(CHIEF, "read admin"): 200,
            guarded.make_key("admin"): 200,
            "m" * 40: 200,
            guarded.make_token(CHIEF, "read"): 403,
            guarded.make_token(READER, "read admin"): 403,
            guarded.make_key("read"): 403,
            "m" * 39: 401,
        }
        guarded.look()
        for secret, status in secrets.items():
            headers = {"X-Forwarded-For": "192.0.2.7", "Authorization": f"Bearer {secret}"}
            answer = guarded.client.get("/metrics", headers=headers)
            assert answer.status_code == status, (secret, answer.text)
            assert answer.headers["cache-control"] == "no-store"
            assert "mds_http_requests_total" in answer.text or "www-authenticate" in answer.headers
        assert guarded.client.get("/metrics").status_code == 200, "this machine asks for itself"


# What is taken back


@pytest.mark.parametrize("way", ["Authorization: Bearer ", "X-API-Key: "])
def test_a_revoked_key_is_refused_by_every_worker_though_it_was_remembered(
    own: Guarded, sample_dir: Path, way: str
) -> None:
    assert LOOK_EVERY < 1
    name, scheme = way.split(": ")
    key, other = own.make_key(), own.make_key()

    def ask(worker: Guarded, key: str) -> int:
        return worker.client.get(BARS, headers={name: f"{scheme}{key}"}).status_code

    with guard(sample_dir, own.path.parent) as second:
        for worker in (own, second):
            assert [ask(worker, key) for _ in range(5)] == [200] * 5
        assert users.remove_key(own.path, key[4:12]) == "robot"
        for worker in (own, second):
            wait_until(lambda worker=worker: ask(worker, key) == 401)
            assert ask(worker, other) == 200


def test_a_revoked_user_and_a_new_password_end_what_is_under_way(own: Guarded) -> None:
    token, chief = own.make_token(), own.make_token(CHIEF)
    assert own.get(secret=token).status_code == own.get(secret=chief).status_code == 200
    users.remove(own.path, READER)
    users.put_user(own.path, CHIEF, "new hash", ["read"])
    own.look()
    assert own.get(secret=token).status_code == own.get(secret=chief).status_code == 401
    users.put_user(own.path, READER, "hash", ["read"])  # one of that name who comes later
    own.look()
    assert own.get(secret=token).status_code == 401
    assert own.get(secret=own.make_token()).status_code == 200


def test_the_end_of_a_token_and_of_a_key_holds_though_they_are_remembered(own: Guarded) -> None:
    for make in (own.make_token, own.make_key):
        secret = make(seconds=2)
        own.look()
        assert own.get(secret=secret).status_code == 200
        wait_until(lambda secret=secret: own.get(secret=secret).status_code == 401)
        assert "has expired" in own.get(secret=secret).json()["detail"]


def test_those_who_are_remembered_are_bounded_and_the_oldest_goes() -> None:
    known: dict[bytes, identity.Known] = {}
    for number in range(MOST_REMEMBERED + 5):
        remember(known, b"%d" % number, (0.0, identity.Caller("x", "key")))
    assert len(known) == MOST_REMEMBERED
    assert next(iter(known)) == b"5"


# The file


def test_nobody_is_let_in_while_the_file_is_away_and_all_are_when_it_is_back(own: Guarded) -> None:
    token = own.make_token()
    assert own.get(secret=token).status_code == 200
    away = own.path.rename(own.path.with_suffix(".away"))
    own.look()
    answer = own.get(secret=token)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(own.path.parent) not in answer.text
    assert own.post(grant_type="refresh_token", refresh_token="mdr_x").status_code == 503
    health = own.client.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "degraded"})
    assert not own.path.exists(), "the service makes none of its own"
    away.rename(own.path)
    own.look()
    assert own.get(secret=token).status_code == 200


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_nobody_is_let_in_by_a_file_that_is_damaged(own: Guarded, content: bytes) -> None:
    token = own.make_token()
    assert own.get(secret=token).status_code == 200
    own.path.write_bytes(content)
    own.look()
    assert own.client.get("/health").json() == {"status": "degraded"}, "without being asked before"
    assert own.get(secret=token).status_code == 503


def test_a_file_that_another_process_holds_stops_nobody_who_is_known(own: Guarded) -> None:
    known, new = own.make_token(), own.make_token(CHIEF)
    assert own.get(secret=known).status_code == 200
    holder = sqlite3.connect(own.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    own.look()
    assert own.get(secret=known).status_code == 200
    assert own.get(secret=new).status_code == 200
    holder.execute("ROLLBACK")
    holder.close()


def test_a_copy_that_is_put_in_the_place_of_the_file_counts_at_once(own: Guarded) -> None:
    token = own.make_token()
    before = own.path.read_bytes()
    users.remove(own.path, READER)
    own.look()
    assert own.get(secret=token).status_code == 401
    copy = own.path.with_suffix(".copy")
    copy.write_bytes(before)
    copy.replace(own.path)
    own.look()
    assert own.get(secret=token).status_code == 200


# Start


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"API_HOST": "0.0.0.0"}, "AUTH=on"),
        ({"API_HOST": "::"}, "AUTH=off"),
        ({"API_HOST": "data.example.com"}, "AUTH=on"),
        ({"API_HOST": "192.168.1.5"}, "AUTH=on"),
        ({"AUTH": "on"}, "JWT_KEY"),
        ({"AUTH": "on", "JWT_KEY": "x" * 31}, "32 bytes"),
    ],
)
def test_a_service_that_is_neither_guarded_nor_said_to_be_open_does_not_start(
    tmp_path: Path, settings: dict[str, str], wanted: str
) -> None:
    with pytest.raises(SettingsError, match=wanted) as caught:
        check_guard(make_settings(tmp_path, **settings))
    assert "\n" not in str(caught.value)
    assert "x" * 31 not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        *({"API_HOST": host} for host in ("127.0.0.1", "::1", "[::1]", "localhost", "127.1.2.3")),
        {"API_HOST": "0.0.0.0", "AUTH": "off"},
        {"API_HOST": "0.0.0.0", "AUTH": "on", "JWT_KEY": "x" * 32},
    ],
)
def test_one_on_loopback_or_of_which_it_is_said_starts(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    check_guard(make_settings(tmp_path, **settings))


@pytest.mark.parametrize(
    ("server", "auth", "status"),
    [
        ("192.0.2.5", "", 403),
        ("[2001:db8::5]", "", 403),
        ("192.0.2.5", "off", 200),
        *(
            (own, "", 200)
            for own in ("127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "test")
        ),
    ],
)
def test_another_server_that_listens_to_others_opens_nothing_that_is_not_said_to_be_open(
    sample_dir: Path, server: str, auth: str, status: int
) -> None:
    app = create_app(make_settings(sample_dir, AUTH=auth))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{server}") as client:
            return await client.get(BARS, headers={"Host": "localhost"})

    answer = anyio.run(ask)
    assert answer.status_code == status
    assert status == 200 or "AUTH=off" in answer.json()["detail"]


def test_the_refusal_to_start_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_stage("-m", "api.main", env=clean_environ(tmp_path, API_HOST="0.0.0.0"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: API_HOST=0.0.0.0 lets other machines ask: set AUTH=on")


def test_an_app_is_not_made_with_a_key_that_can_be_guessed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="JWT_KEY"):
        create_app(make_settings(tmp_path, AUTH="on", JWT_KEY="short"))


def test_without_auth_nothing_of_it_is_loaded_or_made(sample_dir: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from api.main import create_app; create_app();"
        "print([n for n in ('jwt', 'argon2', 'pwdlib', 'sqlite3') if n in sys.modules])"
    )
    done = run_stage("-c", code, env=clean_environ(tmp_path))
    assert done.stdout == "[]\n", done.stderr
    with serve_app(create_app(make_settings(sample_dir))) as client:
        assert client.post("/token").status_code == 404
        answer = client.get(BARS)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert client.get("/health").json()["symbols"] == 5
    assert not (sample_dir / "users.sqlite").exists()


# Rotation of the signing key


def test_a_new_signing_key_counts_without_a_restart_and_the_one_before_still_opens(
    sample_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "jwt_key"
    keys = [f"the {number} key that tokens of this test are signed with" for number in range(3)]
    file.write_text(keys[0])
    with guard(sample_dir, tmp_path, JWT_KEY="", JWT_KEY_FILE=str(file)) as own:
        token = own.sign_in()["access_token"]
        assert own.get(secret=token).status_code == 200
        secret = own.app.state.settings.jwt_key
        file.write_text(f"{keys[1]}\n{keys[0]}\n")
        assert secret.refresh()  # as a thread of the service does now and then
        own.look()
        assert is_signed(own.sign_in()["access_token"], keys[1])
        assert own.get(secret=token).status_code == 200
        file.write_text(f"{keys[2]}\n{keys[1]}\n")
        assert secret.refresh()
        own.look()
        assert own.get(secret=token).status_code == 401, "though it was remembered"


def test_who_is_new_is_known_at_once_and_strangers_cause_few_looks_at_the_file(
    sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LOOK_EVERY", 1_000.0)
    file = tmp_path / "jwt_key"
    file.write_text(JWT_KEY)
    with guard(sample_dir, tmp_path, JWT_KEY="", JWT_KEY_FILE=str(file)) as own:
        assert own.get(secret="mdk_x").status_code == 401
        key = own.make_key()
        monkeypatch.setattr(identity, "LOOK_AGAIN", 1_000.0)
        assert own.get(secret=key).status_code == 401
        monkeypatch.setattr(identity, "LOOK_AGAIN", 0.0)
        assert own.get(secret=key).status_code == 200
        users.put_user(own.path, "new", hash_once(), ["read"])
        assert own.get(secret=own.sign_in("new")["access_token"]).status_code == 200
        monkeypatch.setattr(identity, "LOOK_AGAIN", 1_000.0)
        file.write_text(f"{JWT_KEY[::-1]}\n{JWT_KEY}\n")
        assert own.app.state.settings.jwt_key.refresh()
        assert own.get(secret=own.sign_in()["access_token"]).status_code == 200


def test_a_new_signing_key_that_can_be_guessed_is_not_used() -> None:
    class Given:
        values: tuple[str, ...] = ("x" * 32,)

    keys = tokens.SigningKeys(Given())  # type: ignore[arg-type]
    assert keys() == (b"x" * 32,)
    Given.values = ("short",)
    assert keys() == (b"x" * 32,)
    Given.values = ("short", "y" * 32)
    assert keys() == (b"y" * 32,)


def is_signed(token: str, key: str) -> bool:
    try:
        tokens.read(token, [key.encode()])
    except tokens.BadToken:
        return False
    return True


@pytest.mark.long
def test_every_process_forgets_what_is_revoked(sample_dir: Path, tmp_path: Path) -> None:
    path = make_users(tmp_path / "users.sqlite")
    settings = {"AUTH": "on", "JWT_KEY": JWT_KEY, "USERS_DB": str(path), "RATE_LIMIT": "off"}
    key, other = (users.add_key(path, "robot", ["read"], None) for _ in range(2))

    def ask(client: httpx.Client, key: str) -> set[int]:
        """The statuses of many new connections, which all workers take part in."""
        close = {"X-API-Key": key, "Connection": "close"}
        return {client.get(BARS, headers=close).status_code for _ in range(40)}

    with serve_process(sample_dir, API_WORKERS="3", **settings) as client:
        assert ask(client, key) == {200}
        users.remove_key(path, key[4:12])
        wait_until(lambda: ask(client, key) == {401})
        assert ask(client, other) == {200}
