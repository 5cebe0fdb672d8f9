"""The one file of users and keys: SQLite, of mode 0600, never in the store.

A password is kept as its Argon2 hash, a key and a refresh token as the SHA-256 of 32 random bytes.
Each change that takes something from a caller gives the file a new revision, by which every worker
sees within a second that what it remembers is out of date.
"""

import hashlib
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from api.problems import Problem

SCOPES = ("read", "admin")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
KEY_KIND = "mdk_"  # what an API key begins with
PATIENCE = 5.0  # seconds to wait for another process that writes
MODE = 0o600

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, scopes TEXT NOT NULL,
    stamp TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash BLOB PRIMARY KEY, sign_in TEXT NOT NULL, user TEXT NOT NULL, stamp TEXT NOT NULL,
    scopes TEXT NOT NULL, expires_at INTEGER NOT NULL, is_used INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS sign_ins ON refresh_tokens (sign_in);
CREATE TABLE IF NOT EXISTS revoked (id TEXT PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (of TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_of ON attempts (of, at);
CREATE INDEX IF NOT EXISTS attempts_at ON attempts (at);
CREATE TABLE IF NOT EXISTS revision (value TEXT NOT NULL);
INSERT INTO revision SELECT hex(randomblob(8)) WHERE NOT EXISTS (SELECT * FROM revision);
"""


class NoUsers(Problem):
    """The file cannot be used; is_busy: another process holds it, so that it is worth waiting."""

    def __init__(self, is_busy: bool = False) -> None:
        detail = "The file of users cannot be used, so nobody can be let in: see the server's log."
        super().__init__(503, detail, {"Retry-After": "5"})
        self.is_busy = is_busy


class User(NamedTuple):
    name: str
    password: str  # its hash
    scopes: frozenset[str]
    stamp: str
    created_at: int


class Key(NamedTuple):
    """expires_at: seconds since 1970; None: never."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None


@dataclass(frozen=True)
class Roster:
    """All that a worker needs to know a caller; revoked: of tokens and of sign-ins."""

    revision: str
    users: dict[str, User]
    keys: dict[bytes, Key]
    revoked: frozenset[str]


def create(path: Path) -> None:
    """Make the file where there is none, for no other user of the machine to read at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        path.chmod(MODE)
    else:
        os.fchmod(handle, MODE)  # a umask may have taken more than it should
        os.close(handle)
    with connect(path) as file:
        file.executescript(SCHEMA)


@contextmanager
def connect(path: Path, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
    """A connection to the file that is there; NoUsers for what goes wrong with it."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = None
    try:
        connection = sqlite3.connect(address, patience, isolation_level=None, uri=True)
        yield connection
    except sqlite3.Error as error:
        raise NoUsers("locked" in str(error)) from error
    finally:
        if connection is not None:
            connection.close()


@contextmanager
def change(path: Path) -> Iterator[sqlite3.Connection]:
    """One change that no other writes into: all of it, or nothing where something is raised."""
    with connect(path) as file:
        file.execute("BEGIN IMMEDIATE")
        try:
            yield file
        except BaseException:
            file.execute("ROLLBACK")
            raise
        file.execute("COMMIT")


def renew_revision(file: sqlite3.Connection) -> None:
    """Let all workers read the file again."""
    file.execute("UPDATE revision SET value = ?", (secrets.token_hex(8),))


def read_roster(path: Path, known: Roster | None, patience: float) -> Roster:
    """The file's content; `known` itself where that is still true."""
    with connect(path, patience) as file:
        file.execute("BEGIN")
        found = file.execute("SELECT value FROM revision").fetchone()
        if found is None:
            raise sqlite3.DatabaseError("it has no revision")
        revision: str = found[0]
        if known is not None and revision == known.revision:
            return known
        now = int(time.time())
        hashes = file.execute("SELECT id, hash FROM keys").fetchall()
        keys = {key.id: key for key in list_keys(file)}
        revoked = file.execute("SELECT id FROM revoked WHERE until > ?", (now,)).fetchall()
        return Roster(
            revision,
            {user.name: user for user in list_users(file)},
            {hashed: keys[name] for name, hashed in hashes},
            frozenset(name for (name,) in revoked),
        )


def list_users(file: sqlite3.Connection) -> list[User]:
    rows = file.execute("SELECT name, password, scopes, stamp, created_at FROM users ORDER BY 1")
    return [User(row[0], row[1], split_scopes(row[2]), row[3], row[4]) for row in rows]


def list_keys(file: sqlite3.Connection) -> list[Key]:
    rows = file.execute("SELECT id, name, scopes, created_at, expires_at FROM keys ORDER BY 2, 4")
    return [Key(row[0], row[1], split_scopes(row[2]), row[3], row[4]) for row in rows]


def find_user(path: Path, name: str) -> User | None:
    with connect(path) as file:
        return next((user for user in list_users(file) if user.name == name), None)


def put_user(path: Path, name: str, password: str, scopes: Iterable[str]) -> bool:
    """Add a user, or give one another password and scopes, which ends all sign-ins; whether there
    was one. password: its hash."""
    with change(path) as file:
        had = file.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0
        file.execute("DELETE FROM refresh_tokens WHERE user = ?", (name,))
        row = (name, password, join_scopes(scopes), secrets.token_hex(8), int(time.time()))
        file.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?)", row)
        renew_revision(file)
    return had


def add_key(path: Path, name: str, scopes: Iterable[str], expires_at: int | None) -> str:
    """A new key, as text: it is told here and never again."""
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{KEY_KIND}{key_id}_{secret}"
    row = (key_id, name, digest(key), join_scopes(scopes), int(time.time()), expires_at)
    with change(path) as file:
        file.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)", row)
        renew_revision(file)
    return key


def remove(path: Path, name: str) -> tuple[bool, list[str]]:
    """Take away the user of that name and the keys of that name: whether there was one, and the
    keys' ids."""
    with change(path) as file:
        had = file.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0
        file.execute("DELETE FROM refresh_tokens WHERE user = ?", (name,))
        rows = file.execute("DELETE FROM keys WHERE name = ? RETURNING id", (name,)).fetchall()
        renew_revision(file)
    return had, [key_id for (key_id,) in rows]


def remove_key(path: Path, key_id: str) -> str | None:
    """Take away one key: the name that it had."""
    with change(path) as file:
        rows = file.execute("DELETE FROM keys WHERE id = ? RETURNING name", (key_id,)).fetchall()
        renew_revision(file)
    return rows[0][0] if rows else None


def digest(secret: str) -> bytes:
    """Of what is random enough to need no salt and no slowness."""
    return hashlib.sha256(secret.encode()).digest()


def join_scopes(scopes: Iterable[str]) -> str:
    return " ".join(sorted(scopes))


def split_scopes(text: str) -> frozenset[str]:
    return frozenset(text.split())
