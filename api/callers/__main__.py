"""Users and keys of the service: python -m api.callers user|key|users|revoke (make user, …)."""

import argparse
import getpass
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from api.callers import passwords, users
from api.callers.users import NoUsers
from api.settings import ApiSettings, SettingsError, read_settings

DAY = 86_400


class UsageError(Exception):
    """What was asked cannot be done; the message says what can."""


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: the file cannot be used, or has no such user or key; 2: an argument is none."""
    args = build_parser().parse_args(argv)
    act: Callable[[Path, argparse.Namespace], int] = args.act
    try:
        return act(read_settings(ApiSettings).users_path, args)
    except (UsageError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NoUsers as error:
        print(f"error: the file of users cannot be used: {error.__cause__}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m api.callers", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, act, options in (
        ("user", put_user, ("name", "scopes")),
        ("key", add_key, ("name", "scopes", "expires")),
        ("users", show, ()),
        ("revoke", revoke, ("name", "key")),
    ):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        for option in options:
            command.add_argument(f"--{option}", default="")
    return parser


def put_user(path: Path, args: argparse.Namespace) -> int:
    name, scopes = to_name(args.name), to_scopes(args.scopes)
    hashed = passwords.hash_password(ask_password())
    users.create(path)
    had = users.put_user(path, name, hashed, scopes)
    done = "has a new password, and signs in anew" if had else "is added"
    print(f"{name} {done}; may: {users.join_scopes(scopes)}")
    return 0


def add_key(path: Path, args: argparse.Namespace) -> int:
    name, scopes, expires_at = to_name(args.name), to_scopes(args.scopes), to_end(args.expires)
    users.create(path)
    key = users.add_key(path, name, scopes, expires_at)
    until = f"until {tell_time(expires_at)}" if expires_at else "until it is revoked"
    print(f"This key is shown once; {name} may with it {until}: {users.join_scopes(scopes)}")
    print(key)
    return 0


def show(path: Path, args: argparse.Namespace) -> int:
    if not path.exists():
        print("There is no user and no key yet: make user NAME=… SCOPES=read")
        return 0
    with users.connect(path) as file:
        people, keys = users.list_users(file), users.list_keys(file)
    for user in people:
        scopes = users.join_scopes(user.scopes)
        print(f"user  {user.name}  {scopes}  since {tell_time(user.created_at)}")
    for key in keys:
        ending = f"until {tell_time(key.expires_at)}" if key.expires_at else "for ever"
        is_over = key.expires_at is not None and key.expires_at <= time.time()
        told = f"{ending} (expired)" if is_over else ending
        scopes = users.join_scopes(key.scopes)
        print(
            f"key   {key.name}  {scopes}  since {tell_time(key.created_at)}  {told}  KEY={key.id}"
        )
    return 0


def revoke(path: Path, args: argparse.Namespace) -> int:
    if bool(args.name) == bool(args.key):
        raise UsageError("say whom: make revoke NAME=… (user and keys of that name) or KEY=…")
    done: list[str] = []
    if args.name:
        had, keys = users.remove(path, args.name)
        done = [*([f"user {args.name}"] if had else []), *(f"key {each}" for each in keys)]
    elif name := users.remove_key(path, key_id := to_key_id(args.key)):
        done = [f"key {key_id} of {name}"]
    if not done:
        print("error: there is no such user or key: make users lists them", file=sys.stderr)
        return 1
    print(f"revoked: {', '.join(done)}")
    return 0


def ask_password() -> str:
    """From the terminal, twice and without echo; else one line of standard input."""
    if sys.stdin.isatty():
        text = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != text:
            raise UsageError("the two are not the same: nothing was changed")
    else:
        text = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    try:
        return passwords.check_password(text)
    except ValueError as error:
        raise UsageError(f"wanted {error}") from None


def to_name(text: str) -> str:
    if not users.NAME.fullmatch(text):
        raise UsageError(f"NAME={text}: wanted 1 to 64 letters, digits and . _ @ + -")
    return text


def to_scopes(text: str) -> list[str]:
    scopes = re.split(r"[\s,]+", text.strip().lower()) if text.strip() else ["read"]
    if not set(scopes) <= set(users.SCOPES):
        raise UsageError(f"SCOPES={text}: possible are {', '.join(users.SCOPES)}, parted by commas")
    return sorted({*scopes})


def to_key_id(text: str) -> str:
    """The id as make users lists it; a whole key has it too."""
    return text.removeprefix(users.KEY_KIND).partition("_")[0]


def to_end(text: str) -> int | None:
    """The end of a day like 2027-01-31 (UTC), or so many days from now, as 90d."""
    if not text:
        return None
    if days := re.fullmatch(r"([1-9][0-9]{0,4})d", text):
        return int(time.time()) + int(days[1]) * DAY
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"EXPIRES={text}: wanted a day like 2027-01-31, or 90d") from None
    if (end := int(day.timestamp()) + DAY) <= time.time():
        raise UsageError(f"EXPIRES={text} is over")
    return end


def tell_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")


if __name__ == "__main__":
    raise SystemExit(main())
