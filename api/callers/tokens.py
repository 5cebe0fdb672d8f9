"""Access tokens: signed claims (JWT, HS256) that a worker can check without asking any file.

iss aud      this service; sub: the user's name; scope: what it may do, parted by spaces
iat exp jti  when, until when, and a name of its own, by which it can be revoked
sid          the sign-in (family of refresh tokens) that it comes from
stamp        of the user when it was made: a new password makes another, and ends all tokens
"""

import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jwt

from api.settings import LEAST_KEY_BYTES
from etl.credentials.secret import Secret

log = logging.getLogger("api")
ISSUER = AUDIENCE = "market-data-service"
ALGORITHM = "HS256"
REQUIRED = ["iss", "aud", "exp", "iat", "jti", "sub", "scope", "sid", "stamp"]
TEXTS = ("jti", "sub", "scope", "sid", "stamp")
SKEW = 30  # seconds by which another worker's clock may be ahead of this one's
LONGEST = 2_048  # characters; ours have about 350


class SigningKeys:
    """The keys as they are now: the first signs, each of them is valid. A new one that can be
    guessed is not taken, and those before it stay."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self.seen: Sequence[str] | None = None
        self.keys: tuple[bytes, ...] = ()

    def __call__(self) -> tuple[bytes, ...]:
        values = self.secret.values
        if values is not self.seen:
            self.seen = values
            keys = tuple(value.encode() for value in values)
            self.keys = tuple(key for key in keys if len(key) >= LEAST_KEY_BYTES) or self.keys
            if len(self.keys) != len(keys):
                log.warning("a JWT_KEY of less than %d bytes is not used", LEAST_KEY_BYTES)
        return self.keys


class Token(NamedTuple):
    """What an access token says; expires_at in seconds since 1970."""

    jti: str
    user: str
    scopes: frozenset[str]
    sign_in: str
    stamp: str
    expires_at: int


class BadToken(Exception):
    """A token that is not taken; the message says why and holds nothing of the token."""


def sign(token: Token, keys: Sequence[bytes]) -> str:
    """The token as text, signed with the first of the keys."""
    claims = {
        **{"iss": ISSUER, "aud": AUDIENCE, "iat": int(time.time()), "exp": token.expires_at},
        **{"jti": token.jti, "sub": token.user, "scope": " ".join(sorted(token.scopes))},
        **{"sid": token.sign_in, "stamp": token.stamp},
    }
    return jwt.encode(claims, keys[0], ALGORITHM)


def read(text: str, keys: Sequence[bytes]) -> Token:
    """The token that one of the keys has signed and whose time has not run out; else BadToken."""
    claims = decode(text, keys)
    if not all(isinstance(claims[name], str) for name in TEXTS):
        raise BadToken("The token cannot be read")
    token = Token(
        claims["jti"],
        claims["sub"],
        frozenset(claims["scope"].split()),
        claims["sid"],
        claims["stamp"],
        int(claims["exp"]),
    )
    if token.expires_at <= time.time():  # no leeway here
        raise BadToken("The token has expired")
    return token


def decode(text: str, keys: Sequence[bytes]) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise BadToken("The token cannot be read")
    for key in keys:
        try:
            return jwt.decode(
                text,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=SKEW,
                options={"require": REQUIRED},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise BadToken("The token has expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            break
    raise BadToken("The token was not made by this service, or is damaged")


def make_name() -> str:
    """A random name that nobody guesses, of tokens and sign-ins."""
    return secrets.token_urlsafe(16)
