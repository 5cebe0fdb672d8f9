"""Who sends a request, by the token or the key in its head.

    Authorization: Bearer <access token or API key>        X-API-Key: <API key>

Whoever was verified once is remembered by the bytes that they sent, so that most requests cost one
look into a dict; until when that holds is looked at each time. The file of users is looked at twice
a second: what was revoked is forgotten by then, in every worker.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from time import time as now

from fastapi import Response
from starlette.types import Scope

from api.callers import REALM, Caller, Head, tokens
from api.callers.tokens import BadToken
from api.callers.users import KEY_KIND, NoUsers, Roster, digest, read_roster
from api.problems import build_problem

log = logging.getLogger("api")

LOOK_EVERY = 0.5  # seconds between two looks at the file
LOOK_AGAIN = 0.05  # and between two for the sake of somebody who is not in it: it may be new
LOOK_PATIENCE = 0.05  # seconds for which a look may hold up the event loop
MOST_REMEMBERED = 10_000
LONGEST = 4_096  # bytes of what is looked at
NEVER = float("inf")
NOTHING_SENT = (
    "This service wants to know who asks: send Authorization: Bearer with a token (POST /token) or"
    " an API key, or X-API-Key with a key."
)
GONE = "it was revoked, or its user is gone"

Known = tuple[float, Caller]  # until when, in seconds since 1970


class Watch:
    """The roster as the file has it now, at most LOOK_EVERY old."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.roster: Roster | None = None
        self.look_at = 0.0
        self.is_warned = False

    def look(self, now: float, patience: float = LOOK_PATIENCE) -> bool:
        """Look at the file; whether something else holds now. Nobody is known while it cannot be
        read; while another process holds it, nothing in it can have changed."""
        self.look_at = now + LOOK_EVERY
        before = self.roster
        try:
            self.roster = read_roster(self.path, before, patience)
            self.is_warned = False
        except NoUsers as fault:
            if before is None or not fault.is_busy:
                self.roster = None
            self.warn(fault)
        return self.roster is not before

    def warn(self, fault: NoUsers) -> None:
        if not self.is_warned:
            log.warning("%s cannot be read (%s): see make users", self.path, fault.__cause__)
            self.is_warned = True


class TokenIdentity:
    """The Identity of AUTH=on. `read_keys`: those that sign tokens, all that are valid."""

    def __init__(self, path: Path, read_keys: Callable[[], Sequence[bytes]]) -> None:
        self.watch = Watch(path)
        self.read_keys = read_keys
        self.keys: Sequence[bytes] = ()
        self.by_authorization: dict[bytes, Known] = {}
        self.by_api_key: dict[bytes, Known] = {}

    @property
    def fault(self) -> str | None:
        if monotonic() >= self.watch.look_at:
            self.renew()
        return None if self.watch.roster is not None else NoUsers().detail

    def recall(self, scope: Scope, head: Head) -> Caller | None:
        """Who was verified before, by the same bytes."""
        if monotonic() >= self.watch.look_at:
            self.renew()
        found = self.by_authorization.get(head.get(b"authorization", b""))
        if b"x-api-key" in head:  # both: none of them
            is_alone = b"authorization" not in head
            found = self.by_api_key.get(head[b"x-api-key"]) if is_alone else None
        return found[1] if found is not None and found[0] > now() else None

    def renew(self, patience: float = LOOK_PATIENCE) -> None:
        """Forget everybody where the file or the signing keys are not what they were."""
        keys = self.read_keys()
        if self.watch.look(monotonic(), patience) or keys != self.keys:
            self.keys = keys
            self.by_authorization.clear()
            self.by_api_key.clear()

    async def identify(self, scope: Scope, head: Head) -> Caller | Response:
        """The caller; or the refusal, as RFC 6750 has it."""
        if self.watch.roster is None:
            return refuse_everybody()
        authorization, api_key = head.get(b"authorization"), head.get(b"x-api-key")
        scheme, _, given = (authorization or b"").strip().partition(b" ")
        is_bearer = scheme.lower() == b"bearer" and given.strip() != b""
        if is_bearer and api_key is not None:
            return refuse(400, "invalid_request", "Send Authorization or X-API-Key, not both.")
        if not is_bearer and api_key is None:
            return refuse(401, "", NOTHING_SENT)
        try:
            known = self.verify(given if is_bearer else api_key or b"", is_bearer)
        except BadToken as error:
            if self.watch.roster is None:
                return refuse_everybody()
            return refuse(401, "invalid_token", f"{error}: {remedy(is_bearer)}")
        if authorization is None:
            remember(self.by_api_key, api_key or b"", known)
        elif is_bearer:
            remember(self.by_authorization, authorization, known)
        return known[1]

    def verify(self, given: bytes, may_be_token: bool) -> Known:
        """Until when it holds and whose it is; BadToken. Who was added since the last look at the
        file is found by another one."""
        try:
            return self.look_up(given, may_be_token)
        except BadToken:
            if monotonic() < self.watch.look_at - LOOK_EVERY + LOOK_AGAIN:
                raise
            self.renew(patience=0.0)  # strangers must not make all others wait
            return self.look_up(given, may_be_token)

    def look_up(self, given: bytes, may_be_token: bool) -> Known:
        roster = self.watch.roster
        if roster is None:
            raise BadToken("The file of users cannot be used")
        text = read_text(given)
        if text.startswith(KEY_KIND) or not may_be_token:
            return verify_key(text, roster)
        return verify_token(text, self.read_keys(), roster)


def read_text(given: bytes) -> str:
    text = given.strip()
    if len(text) > LONGEST or not text.isascii():
        raise BadToken("What was sent is no token")
    return text.decode("ascii")


def verify_key(text: str, roster: Roster) -> Known:
    key = roster.keys.get(digest(text))
    if key is None:
        raise BadToken("The API key is unknown, or was revoked")
    until = NEVER if key.expires_at is None else key.expires_at
    if until <= now():
        raise BadToken("The API key has expired")
    return until, Caller(key.name, "key", key.scopes)


def verify_token(text: str, keys: Sequence[bytes], roster: Roster) -> Known:
    token = tokens.read(text, keys)
    user = roster.users.get(token.user)
    if user is None or user.stamp != token.stamp or token.sign_in in roster.revoked:
        raise BadToken(f"The token is not valid any more ({GONE})")
    return token.expires_at, Caller(user.name, "user", token.scopes & user.scopes)


def remember(known: dict[bytes, Known], given: bytes, found: Known) -> None:
    """The oldest goes where there are too many."""
    if len(known) >= MOST_REMEMBERED:
        del known[next(iter(known))]
    known[given] = found


def remedy(is_bearer: bool) -> str:
    return "get another by POST /token, or by make key." if is_bearer else "make key makes another."


def refuse_everybody() -> Response:
    fault = NoUsers()
    return build_problem(503, fault.detail, fault.headers)


def refuse(status: int, error: str, detail: str) -> Response:
    """A problem body with its WWW-Authenticate: without an error where nothing was sent."""
    challenge = f'{REALM}, error="{error}", error_description="{detail}"' if error else REALM
    headers = {
        "WWW-Authenticate": challenge,
        "Cache-Control": "no-store",
        "Vary": "Authorization, X-API-Key",
    }
    return build_problem(status, detail, headers)
