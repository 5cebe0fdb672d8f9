"""POST /token and /token/revoke, as OAuth 2 has them, over a server on loopback."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import jwt
import pytest
from pwdlib import PasswordHash

from api.callers import grants, passwords, users
from api.callers.grants import OF_ADDRESS, OF_USER
from api.faults import Busy
from api.models.service import TokenAnswer
from tests.guarded import CHIEF, JWT_KEY, PASSWORD, READER, Guarded, guard
from tests.server import check_answer


@pytest.fixture
def own(sample_dir: Path, tmp_path: Path) -> Iterator[Guarded]:
    with guard(sample_dir, tmp_path) as guarded:
        yield guarded


@pytest.fixture(scope="module")
def shared(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """For tests in which nobody is given a token."""
    with guard(sample_dir, tmp_path_factory.mktemp("users")) as guarded:
        yield guarded


def test_a_password_gives_tokens_that_open_what_the_user_may(own: Guarded) -> None:
    answer = own.post(grant_type="password", username=CHIEF, password=PASSWORD)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    given = answer.json()
    check_answer(given, TokenAnswer)
    assert (given["token_type"], given["scope"]) == ("bearer", "admin read")
    assert 895 <= given["expires_in"] <= 900
    claims = jwt.decode(given["access_token"], options={"verify_signature": False})
    assert set(claims) >= {"iss", "aud", "exp", "iat", "jti", "scope"}
    assert claims["exp"] - claims["iat"] == pytest.approx(900, abs=1)
    assert own.get(secret=given["access_token"]).status_code == 200
    assert own.get("/etl/runs", given["access_token"]).status_code == 200
    assert own.get(secret=given["refresh_token"]).status_code == 401, "not what it is for"


def test_a_password_of_other_letters_in_another_form_is_the_same(own: Guarded) -> None:
    hashed = passwords.hash_password(passwords.check_password("gru\u0308nes Licht"))
    users.put_user(own.path, "zoë", hashed, ["read"])
    answer = own.post(grant_type="password", username="zoë", password="grünes Licht")
    assert answer.status_code == 200


def test_fewer_scopes_can_be_asked_for_and_no_more(own: Guarded) -> None:
    given = own.sign_in(CHIEF, scope="read")
    assert given["scope"] == "read"
    assert own.get("/etl/runs", given["access_token"]).status_code == 403
    for answer in (
        own.post(grant_type="password", username=READER, password=PASSWORD, scope="admin"),
        own.renew(given["refresh_token"], scope="read admin"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert own.renew(given["refresh_token"]).status_code == 200, "not spent by what was refused"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"scope": "read"}, "invalid_request"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": READER}, "invalid_request"),
        ({"grant_type": "password", "username": "", "password": PASSWORD}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "PASSWORD", "username": READER}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": READER, "password": "wrong"}, "invalid_grant"),
        ({"grant_type": "password", "username": "no", "password": PASSWORD}, "invalid_grant"),
        ({"grant_type": "password", "username": "n'; --", "password": "\x00"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "mdr_x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "ü\n"}, "invalid_grant"),
    ],
    ids=str,
)
def test_a_refusal_is_what_oauth_2_says_in_a_problem_body(
    shared: Guarded, fields: dict[str, str], error: str
) -> None:
    answer = shared.post(**fields)
    assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["error"]) == (400, error)
    assert body["error_description"] == body["detail"] != ""
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"grant_type=password&grant_type=password", 400),
        (b"grant_type=password&username=ann&username=eve&password=x", 400),
        (b"grant_type=password&username=%ff&password=x", 400),
        (b"\xff\xfe", 400),
        (b"&".join(b"a%d=1" % number for number in range(50)), 400),
        (b"a=" + b"x" * 9000, 413),
    ],
)
def test_a_form_that_has_two_readings_or_no_end_is_refused(
    shared: Guarded, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    for path in ("/token", "/token/revoke"):
        answer = shared.client.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", ""])
def test_what_is_no_form_is_refused(shared: Guarded, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = shared.client.post("/token", content=b'{"grant_type":"password"}', headers=headers)
    assert answer.status_code == 415


def test_the_fields_are_not_taken_from_the_address(shared: Guarded) -> None:
    params = {"grant_type": "password", "username": READER, "password": PASSWORD}
    answer = shared.client.post("/token", params=params, data={"scope": "read"})
    assert answer.json()["error"] == "invalid_request"
    answer = shared.client.get("/token", params=params)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# Refresh tokens


def test_a_refresh_token_is_good_once_and_gives_the_next(own: Guarded) -> None:
    first = own.sign_in()
    second = own.renew(first["refresh_token"]).json()
    third = own.renew(second["refresh_token"]).json()
    assert len({each["refresh_token"] for each in (first, second, third)}) == 3
    assert own.get(secret=third["access_token"]).status_code == 200


def test_one_that_comes_twice_ends_its_whole_sign_in_and_no_other(own: Guarded) -> None:
    other, first = own.sign_in(), own.sign_in()
    second = own.renew(first["refresh_token"]).json()
    assert own.get(secret=second["access_token"]).status_code == 200
    assert own.renew(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert own.renew(second["refresh_token"]).json()["error"] == "invalid_grant"
    own.look()
    for given in (first, second):
        assert own.get(secret=given["access_token"]).status_code == 401
    assert own.get(secret=other["access_token"]).status_code == 200
    assert own.renew(other["refresh_token"]).status_code == 200


def test_of_many_who_send_one_refresh_token_at_once_one_gets_tokens(own: Guarded) -> None:
    refresh_token = own.sign_in()["refresh_token"]
    made: list[object] = []

    async def use() -> None:
        args = (own.path, refresh_token, "", 900)
        made.append((await anyio.to_thread.run_sync(grants.use, *args))[0])

    async def use_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(use)

    anyio.run(use_at_once)
    assert len([each for each in made if each is not None]) == 1


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
def test_signing_out_ends_the_sign_in_by_either_token(own: Guarded, kind: str) -> None:
    given, other = own.sign_in(), own.sign_in()
    assert own.get(secret=given["access_token"]).status_code == 200
    answer = own.client.post("/token/revoke", data={"token": given[kind]})
    assert (answer.status_code, answer.content) == (200, b"")
    own.look()
    assert own.get(secret=given["access_token"]).status_code == 401
    assert own.renew(given["refresh_token"]).status_code == 400
    assert own.get(secret=other["access_token"]).status_code == 200


@pytest.mark.parametrize("token", ["x", "mdr_x", "a.b.c", "mdk_x_y"])
def test_signing_out_what_is_no_token_is_no_error(shared: Guarded, token: str) -> None:
    data = {"token": token, "token_type_hint": "access_token"}
    assert shared.client.post("/token/revoke", data=data).status_code == 200


def test_a_sign_in_ends_on_its_day_however_often_it_is_renewed(own: Guarded) -> None:
    given = own.sign_in()
    with users.change(own.path) as file:
        file.execute("UPDATE refresh_tokens SET expires_at = unixepoch() + 100")
    renewed = own.renew(given["refresh_token"]).json()
    assert renewed["expires_in"] <= 100
    with users.change(own.path) as file:
        file.execute("UPDATE refresh_tokens SET expires_at = unixepoch() - 1")
    assert own.renew(renewed["refresh_token"]).status_code == 400


def test_scopes_that_a_user_loses_are_lost_to_what_was_given_before(own: Guarded) -> None:
    given = own.sign_in(CHIEF)
    with users.change(own.path) as file:
        file.execute("UPDATE users SET scopes = 'read' WHERE name = ?", (CHIEF,))
        users.renew_revision(file)
    own.look()
    assert own.get("/etl/runs", given["access_token"]).status_code == 403
    assert own.renew(given["refresh_token"]).json()["scope"] == "read"


def test_a_new_password_ends_all_sign_ins(own: Guarded) -> None:
    given = own.sign_in()
    users.put_user(own.path, READER, "hash", ["read"])
    assert own.renew(given["refresh_token"]).json()["error"] == "invalid_grant"


# Guessing


def test_passwords_are_tried_so_often_by_one_address_in_all_workers_together(
    own: Guarded, sample_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "verify", lambda password, hashed: False)
    most, seconds = OF_ADDRESS
    with guard(sample_dir, own.path.parent) as second:
        made = [
            (own, second)[number % 2].post(
                grant_type="password", username=f"u{number}", password="x"
            )
            for number in range(most + 1)
        ]
    assert [answer.status_code for answer in made] == [400] * most + [429]
    assert 1 <= int(made[-1].headers["retry-after"]) <= seconds
    assert made[-1].json()["status"] == 429
    assert own.post(grant_type="refresh_token", refresh_token="x").status_code == 400
    with users.change(own.path) as file:  # as if the time had passed
        file.execute("UPDATE attempts SET at = at - ?", (seconds,))
    assert own.post(grant_type="password", username="u", password="x").status_code == 400


def test_passwords_are_counted_by_address_whatever_key_is_sent_and_of_ipv6_by_network(
    sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "verify", lambda password, hashed: False)
    most, _ = OF_ADDRESS
    with guard(sample_dir, tmp_path, TRUSTED_PROXIES="127.0.0.1") as own:
        key = own.make_key()
        made = [
            own.client.post(
                "/token",
                data={"grant_type": "password", "username": f"u{number}", "password": "x"},
                headers={
                    "X-Forwarded-For": f"2001:db8::{number + 1:x}",
                    **({"X-API-Key": key} if number % 2 else {}),
                },
            ).status_code
            for number in range(most + 1)
        ]
    assert made == [400] * most + [429]


def test_passwords_of_one_user_are_tried_so_often_from_all_addresses_together(
    own: Guarded,
) -> None:
    most, seconds = OF_USER
    for number in range(most):
        grants.count_attempt(own.path, {f"address 10.0.0.{number}": OF_ADDRESS, "user": OF_USER})
    with pytest.raises(grants.TooOften) as caught:
        grants.count_attempt(own.path, {"address 10.0.1.1": OF_ADDRESS, "user": OF_USER})
    assert caught.value.headers is not None
    assert 1 <= int(caught.value.headers["Retry-After"]) <= seconds
    grants.count_attempt(own.path, {"address 10.0.1.1": OF_ADDRESS, "another": OF_USER})


def test_an_unknown_user_costs_the_hash_that_a_known_one_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    verify = PasswordHash.verify

    def count(self: PasswordHash, password: str, hashed: str) -> bool:
        asked.append(hashed)
        return verify(self, password, hashed)

    monkeypatch.setattr(PasswordHash, "verify", count)
    hashed = passwords.hash_password(PASSWORD)
    passwords.hash_of_nobody.cache_clear()
    passwords.verify("wrong", hashed)
    assert passwords.hash_of_nobody.cache_info().currsize == 1, "no unknown one waits for it"
    asked.clear()
    tries = [(PASSWORD, None), ("wrong", hashed), ("\ud800" * 20, hashed), ("x" * 900, hashed)]
    for password, known in tries:
        assert not anyio.run(passwords.Passwords().verify, password, known)
    assert len(asked) == len(tries)
    cost = [each.split("$")[:4] for each in asked]
    assert cost == [hashed.split("$")[:4]] * len(tries), "the same kind and cost of a hash"
    assert not passwords.verify("nobody has this password", None)


def test_few_hashes_run_at_once_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, refused = 0, 0, 0

    def hold(password: str, hashed: str | None) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
        running -= 1
        return True

    async def ask(verifier: passwords.Passwords) -> None:
        nonlocal refused
        try:
            await verifier.verify(PASSWORD, "hash")
        except Busy:
            refused += 1

    async def ask_at_once() -> None:
        verifier = passwords.Passwords()
        async with anyio.create_task_group() as group:
            for _ in range(passwords.MOST_WAITING + 5):
                group.start_soon(ask, verifier)

    monkeypatch.setattr(passwords, "verify", hold)
    anyio.run(ask_at_once)
    assert refused == 5
    assert 1 <= most <= passwords.AT_ONCE


# The file


def test_a_file_that_cannot_be_written_is_a_503_whose_cause_is_in_the_log(
    own: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    given = own.sign_in()
    with users.change(own.path) as file:
        file.execute("DROP TABLE refresh_tokens")
    for answer in (
        own.post(grant_type="password", username=READER, password=PASSWORD),
        own.renew(given["refresh_token"]),
        own.client.post("/token/revoke", data={"token": given["refresh_token"]}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert caplog.text.count("no such table") == 3
    assert own.get(secret=given["access_token"]).status_code == 200
    assert given["refresh_token"] not in caplog.text


def test_no_secret_stands_in_the_file(own: Guarded) -> None:
    key, given = own.make_key(), own.sign_in()
    own.renew(given["refresh_token"])
    content = own.path.read_bytes()
    for secret in (PASSWORD, key, key[13:], given["refresh_token"], given["access_token"], JWT_KEY):
        assert secret.encode() not in content
    rows = sqlite3.connect(own.path).execute("SELECT password FROM users").fetchall()
    assert all(hashed.startswith("$argon2id$") for (hashed,) in rows)


def test_what_is_over_leaves_the_file(own: Guarded) -> None:
    own.sign_in()
    with users.change(own.path) as file:
        file.execute("UPDATE refresh_tokens SET expires_at = 1")
        file.execute("INSERT INTO revoked VALUES ('x', 1)")
        file.execute("UPDATE attempts SET at = 1")
    own.sign_in()
    with users.connect(own.path) as file:
        for table, rows in (("refresh_tokens", 1), ("revoked", 0), ("attempts", 2)):
            assert file.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,), table
