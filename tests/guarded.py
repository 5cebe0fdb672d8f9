"""What tests of callers share: a file of users, and the service with AUTH on."""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from api.callers import tokens, users
from api.main import Service, create_app
from tests.server import make_settings, serve_app

JWT_KEY = "the key that tokens of tests are signed with, long enough for each way to sign"
PASSWORD = "correct horse battery staple"
READER, CHIEF = "ann", "eve"
SCOPES = {READER: ["read"], CHIEF: ["read", "admin"]}
BARS = "/instruments/AAPL/ohlcv?limit=3"


@functools.cache
def hash_once() -> str:
    """A cheap one: what the service makes takes a fifth of a second to make and to verify."""
    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)).hash(PASSWORD)


def make_users(path: Path) -> Path:
    users.create(path)
    for name, scopes in SCOPES.items():
        users.put_user(path, name, hash_once(), scopes)
    return path


@dataclass
class Guarded:
    """A service whose callers say who they are, and its file of users."""

    app: Service
    client: httpx.Client
    path: Path

    def get(self, url: str = BARS, secret: str = "", **options: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return self.client.get(url, headers=headers, **options)  # type: ignore[arg-type]

    def ask_as(self, request_id: str, url: str, secret: str) -> httpx.Response:
        """As `get`, under a name of the request's own."""
        headers = {"Authorization": f"Bearer {secret}", "X-Request-ID": request_id}
        return self.client.get(url, headers=headers)

    def post(self, **fields: str) -> httpx.Response:
        return self.client.post("/token", data=fields)

    def sign_in(self, name: str = READER, **fields: str) -> dict[str, str]:
        """The answer to a right password."""
        answer = self.post(grant_type="password", username=name, password=PASSWORD, **fields)
        assert answer.status_code == 200, answer.text
        given: dict[str, str] = answer.json()
        return given

    def renew(self, refresh_token: str, **fields: str) -> httpx.Response:
        return self.post(grant_type="refresh_token", refresh_token=refresh_token, **fields)

    def make_token(self, name: str = READER, scopes: str = "read", seconds: int = 900) -> str:
        """An access token as POST /token gives, without a password."""
        user = users.find_user(self.path, name)
        assert user is not None
        until = int(time.time()) + seconds
        made = tokens.Token("jti", name, frozenset(scopes.split()), "sign-in", user.stamp, until)
        return tokens.sign(made, [JWT_KEY.encode()])

    def make_key(self, *scopes: str, seconds: int | None = None) -> str:
        until = None if seconds is None else int(time.time()) + seconds
        return users.add_key(self.path, "robot", scopes or ("read",), until)

    def look(self) -> None:
        """Let the service look at the file with the next request: it does twice a second."""
        admission = self.app.layers.gate.admission
        assert admission is not None
        admission.identity.watch.look_at = 0.0  # type: ignore[union-attr]


@contextmanager
def guard(data_dir: Path, folder: Path, **settings: object) -> Iterator[Guarded]:
    path = folder / "users.sqlite"
    if not path.exists():
        make_users(path)
    named = {"AUTH": "on", "JWT_KEY": JWT_KEY, "USERS_DB": str(path), "RATE_LIMIT": "off"}
    given = {**named, **settings}
    app = create_app(make_settings(data_dir, **{**given, **settings}))
    with serve_app(app) as client:
        yield Guarded(app, client, path)
