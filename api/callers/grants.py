"""What a password or a refresh token is exchanged for (OAuth 2: RFC 6749, 7009).

A sign-in begins with a password. Each of its refresh tokens is taken once and gives the next; one
that comes twice was copied, so that the whole sign-in ends with it, access tokens too.
"""

import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_thread
from anyio import CapacityLimiter

from api.callers import tokens, users
from api.callers.passwords import Passwords
from api.callers.tokens import BadToken, SigningKeys, Token, make_name
from api.problems import Problem
from api.settings import ApiSettings

log = logging.getLogger("api")

REFRESH_KIND = "mdr_"  # what a refresh token begins with
# Passwords that may be tried: how many in how many seconds.
OF_ADDRESS, OF_USER = (10, 60), (25, 900)
# Threads that ask the file: if another process holds it, they must not be all that there are.
AT_ONCE = 4

ReadKeys = Callable[[], Sequence[bytes]]


class Refusal(Problem):
    """400 as OAuth 2 has it: a problem body with `error` and `error_description`."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(400, detail, NO_STORE, error=error, error_description=detail)


class TooOften(Problem):
    def __init__(self, seconds: int) -> None:
        detail = f"Too many passwords were tried: wait {seconds} s."
        headers = {**NO_STORE, "Retry-After": str(seconds)}
        error = "temporarily_unavailable"
        super().__init__(429, detail, headers, error=error, error_description=detail)


NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
WRONG = "The name or the password is wrong."
SPENT = "The refresh token is not valid, or no more: sign in with name and password."


class SignIn(NamedTuple):
    """A family of refresh tokens; expires_at: of all of them, however often they are renewed."""

    name: str
    user: str
    stamp: str
    scopes: frozenset[str]
    expires_at: int


@dataclass
class Grants:
    """Gives and takes back tokens. token_seconds, sign_in_seconds: how long they are good for."""

    path: Path
    read_keys: ReadKeys
    token_seconds: int
    sign_in_seconds: int
    passwords: Passwords
    limiter: CapacityLimiter | None = None  # needs a running loop

    async def sign_in(self, name: str, password: str, scope: str, address: str) -> dict[str, Any]:
        """Tokens for a password; as slow for a user who is not there."""
        of = {f"address {address}": OF_ADDRESS, f"user {users.digest(name).hex()}": OF_USER}
        await self.run(count_attempt, of)
        user = await self.run(users.find_user, name)
        is_right = await self.passwords.verify(password, user and user.password)
        if user is None or not is_right:
            raise Refusal("invalid_grant", WRONG)
        scopes = narrow(user.scopes, scope)
        expires_at = int(time.time()) + self.sign_in_seconds
        begun = SignIn(make_name(), user.name, user.stamp, scopes, expires_at)
        return self.answer(begun, await self.run(begin, begun))

    async def renew(self, refresh_token: str, scope: str) -> dict[str, Any]:
        """Tokens for a refresh token, which is spent by it."""
        sign_in, following = await self.run(use, refresh_token, scope, self.token_seconds)
        if sign_in is None:
            raise Refusal("invalid_grant", SPENT)
        return self.answer(sign_in, following)

    async def revoke(self, token: str) -> None:
        """End the sign-in of a token of either kind; nothing where it is none (RFC 7009)."""
        sign_in: str | None = None
        if not token.startswith(REFRESH_KIND):
            try:
                sign_in = tokens.read(token, self.read_keys()).sign_in
            except BadToken:
                return
        await self.run(end, sign_in, users.digest(token), self.token_seconds)

    def answer(self, sign_in: SignIn, refresh_token: str) -> dict[str, Any]:
        until = min(int(time.time()) + self.token_seconds, sign_in.expires_at)
        token = Token(make_name(), sign_in.user, sign_in.scopes, sign_in.name, sign_in.stamp, until)
        return {
            "access_token": tokens.sign(token, self.read_keys()),
            "token_type": "bearer",
            "expires_in": until - int(time.time()),
            "refresh_token": refresh_token,
            "scope": " ".join(sorted(sign_in.scopes)),
        }

    async def run(self, act: Callable[..., Any], *args: Any) -> Any:
        """What asks the file, in a thread: another process may hold it."""
        self.limiter = self.limiter or CapacityLimiter(AT_ONCE)
        try:
            return await anyio.to_thread.run_sync(act, self.path, *args, limiter=self.limiter)
        except users.NoUsers as fault:
            log.warning("%s cannot be used: %s", self.path, fault.__cause__)
            raise


def build_grants(settings: ApiSettings) -> Grants:
    return Grants(
        settings.users_path,
        SigningKeys(settings.jwt_key),
        settings.access_minutes * 60,
        settings.sign_in_days * 86_400,
        Passwords(),
    )


def narrow(scopes: frozenset[str], scope: str) -> frozenset[str]:
    """Of the scopes those that were asked for; all where none was."""
    asked = frozenset(scope.split())
    if not asked <= scopes:
        missing = " ".join(sorted(asked - scopes))
        had = users.join_scopes(scopes)
        raise Refusal("invalid_scope", f"scope={missing} cannot be had: this user may {had}.")
    return asked or scopes


def count_attempt(path: Path, of: dict[str, tuple[int, int]]) -> None:
    """Count one more password that is tried; TooOften where that is one too many.

    In the file, so that all workers count together.
    """
    now = time.time()
    with users.change(path) as file:
        longest = max(seconds for _, seconds in of.values())
        file.execute("DELETE FROM attempts WHERE at < ? OR at > ?", (now - longest, now + 1))
        waits = [count_wait(file, name, now, *most) for name, most in of.items()]
        if not any(waits):
            file.executemany("INSERT INTO attempts VALUES (?, ?)", [(name, now) for name in of])
    if any(waits):
        raise TooOften(max(waits))


def count_wait(file: sqlite3.Connection, name: str, now: float, most: int, seconds: int) -> int:
    """Seconds until one more may be tried; 0: now."""
    query = "SELECT at FROM attempts WHERE of = ? AND at > ? ORDER BY at DESC LIMIT ?"
    found = file.execute(query, (name, now - seconds, most)).fetchall()
    return max(1, round(found[-1][0] + seconds - now)) if len(found) == most else 0


def begin(path: Path, sign_in: SignIn) -> str:
    """The first refresh token of a sign-in; those whose time is over go."""
    now = int(time.time())
    with users.change(path) as file:
        file.execute("DELETE FROM refresh_tokens WHERE expires_at <= ?", (now,))
        file.execute("DELETE FROM revoked WHERE until <= ?", (now,))
        return add(file, sign_in)


def add(file: sqlite3.Connection, sign_in: SignIn) -> str:
    text = REFRESH_KIND + secrets.token_urlsafe(32)
    scopes = users.join_scopes(sign_in.scopes)
    row = (users.digest(text), sign_in.name, sign_in.user, sign_in.stamp, scopes)
    query = "INSERT INTO refresh_tokens VALUES (?, ?, ?, ?, ?, ?, 0)"
    file.execute(query, (*row, sign_in.expires_at))
    return text


def use(path: Path, text: str, scope: str, token_seconds: int) -> tuple[SignIn | None, str]:
    """Spend a refresh token: its sign-in, with the scopes that were asked for, and the next token.

    None where it is not valid; where it was spent before, its sign-in ends.
    """
    query = """SELECT sign_in, user, t.stamp, t.scopes, u.scopes, expires_at, is_used
        FROM refresh_tokens t JOIN users u ON u.name = t.user AND u.stamp = t.stamp
        WHERE hash = ? AND expires_at > ?"""
    hashed = users.digest(text)
    with users.change(path) as file:
        found = file.execute(query, (hashed, int(time.time()))).fetchone()
        if found is None:
            return None, ""
        name, user, stamp, had, has, expires_at, is_used = found
        if is_used:
            end_in(file, name, token_seconds)
            return None, ""
        whole = users.split_scopes(had) & users.split_scopes(has)
        scopes = narrow(whole, scope)
        file.execute("UPDATE refresh_tokens SET is_used = 1 WHERE hash = ?", (hashed,))
        following = add(file, SignIn(name, user, stamp, whole, expires_at))
    return SignIn(name, user, stamp, scopes, expires_at), following


def end(path: Path, sign_in: str | None, hashed: bytes, token_seconds: int) -> None:
    """End a sign-in, named by itself or by the hash of one of its refresh tokens."""
    query = "SELECT sign_in FROM refresh_tokens WHERE hash = ?"
    with users.change(path) as file:
        found = (sign_in,) if sign_in else file.execute(query, (hashed,)).fetchone()
        if found is not None:
            end_in(file, found[0], token_seconds)


def end_in(file: sqlite3.Connection, sign_in: str, token_seconds: int) -> None:
    """Its refresh tokens go; its access tokens are named until none of them can be alive."""
    file.execute("DELETE FROM refresh_tokens WHERE sign_in = ?", (sign_in,))
    until = int(time.time()) + token_seconds
    file.execute("INSERT OR REPLACE INTO revoked VALUES (?, ?)", (sign_in, until))
    users.renew_revision(file)
