"""make user, make key, make users, make revoke: what they say, and what they leave in the file."""

import io
import os
import pty
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.callers import passwords, users
from api.callers.__main__ import main, to_end
from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ
from tests.guarded import PASSWORD, hash_once


@pytest.fixture
def path(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(passwords, "hash_password", lambda password: hash_once())
    return data_dir / "users.sqlite"


def put_user(monkeypatch: pytest.MonkeyPatch, *options: str, password: str = PASSWORD) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\r\n"))
    return main(["user", *options])


def test_a_user_is_added_with_a_password_of_standard_input_and_may_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert put_user(monkeypatch, "--name=ann", "--scopes=") == 0
    assert capsys.readouterr().out == "ann is added; may: read\n"
    user = users.find_user(path, "ann")
    assert user is not None
    assert passwords.verify(PASSWORD, user.password)
    assert put_user(monkeypatch, "--name=ann", "--scopes=admin, Read") == 0
    assert capsys.readouterr().out == (
        "ann has a new password, and signs in anew; may: admin read\n"
    )


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o177])
def test_no_other_user_of_the_machine_may_read_the_file_at_any_moment(
    path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        main(["key", "--name=robot"])
        with users.change(path) as file:
            file.execute("DELETE FROM attempts")
            file.execute("INSERT INTO revoked VALUES ('x', 1)")
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert {"users.sqlite", "users.sqlite-journal"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_file_that_others_may_read_is_shut(path: Path) -> None:
    users.create(path)
    path.chmod(0o644)
    main(["key", "--name=robot"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_shown_once_and_opens_until_its_end(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "--name=robot", "--scopes=read", "--expires=90d"]) == 0
    told, key = capsys.readouterr().out.splitlines()
    assert told.startswith("This key is shown once; robot may with it until 20")
    found = users.read_roster(path, None, 1).keys[users.digest(key)]
    assert (found.name, found.scopes) == ("robot", {"read"})
    assert found.expires_at == pytest.approx(time.time() + 90 * 86_400, abs=120)
    assert len(key.split("_", 2)[2]) == 43, "32 random bytes"


def test_the_list_names_all_and_shows_no_secret(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users"]) == 0
    assert "There is no user" in capsys.readouterr().out
    put_user(monkeypatch, "--name=ann", "--scopes=read")
    users.add_key(path, "old", ["read"], 1)
    main(["key", "--name=robot", "--scopes=admin"])
    key = capsys.readouterr().out.splitlines()[-1]
    assert main(["users"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[:2] for line in told.splitlines()] == [
        *(["user", "ann"], ["key", "old"], ["key", "robot"])
    ]
    assert "(expired)" in told
    assert f"KEY={key[4:12]}" in told
    rows = sqlite3.connect(path).execute("SELECT password, stamp FROM users").fetchall()
    for secret in (key[13:], *rows[0], users.digest(key).hex()):
        assert secret not in told


def test_a_name_takes_the_user_and_the_keys_of_it_away(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_user(monkeypatch, "--name=ann")
    key, other = users.add_key(path, "ann", ["read"], None), users.add_key(path, "b", [], None)
    before = users.read_roster(path, None, 1)
    capsys.readouterr()
    assert main(["revoke", "--name=ann"]) == 0
    assert capsys.readouterr().out == f"revoked: user ann, key {key[4:12]}\n"
    after = users.read_roster(path, before, 1)
    assert (set(after.users), list(after.keys)) == (set(), [users.digest(other)])


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_key_is_taken_away_by_its_id_or_by_itself(path: Path, is_whole: bool) -> None:
    users.create(path)
    key, other = (users.add_key(path, "robot", ["read"], None) for _ in range(2))
    assert main(["revoke", f"--key={key if is_whole else key[4:12]}"]) == 0
    assert list(users.read_roster(path, None, 1).keys) == [users.digest(other)]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        *((["user", f"--name={name}"], "NAME=") for name in ("", "a b", "a\nb", "ü", "x" * 65)),
        (["user", "--name=ann", "--scopes=write"], "possible are read, admin"),
        (["user", "--name=ann"], "a password of 12 to 128 characters"),
        (["key", "--name="], "NAME="),
        *(
            (["key", "--name=robot", f"--expires={given}"], f"EXPIRES={given}")
            for given in ("soon", "2020-01-01", "0d", "2027-02-30", "1e9d")
        ),
        (["revoke"], "say whom"),
        (["revoke", "--name=ann", "--key=x"], "say whom"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_and_leaves_no_file(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    wanted: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("too short\n"))
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert wanted in told.err
    assert "too short" not in told.err
    assert not path.exists()


def test_whom_nobody_knows_is_said_and_changes_nothing(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users.create(path)
    for arguments in (["revoke", "--name=nobody"], ["revoke", "--key=12345678"]):
        assert main(arguments) == 1
        assert "make users lists them" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_said_in_one_line(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(b"x" * 5000)
    for arguments in (["users"], ["key", "--name=robot"], ["revoke", "--name=ann"]):
        assert main(arguments) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert path.read_bytes() == b"x" * 5000


def test_the_end_of_a_day_is_its_last_second_in_utc() -> None:
    assert to_end("2099-12-31") == 4_102_444_800


@contextmanager
def open_terminal(
    *command: str, env: dict[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A process whose standard streams are a terminal: the other end of it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=env, cwd=PROJECT_ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait(120)
        os.close(ours)


def read_until(terminal: int, mark: bytes) -> bytes:
    told = b""
    while mark not in told:
        told += os.read(terminal, 1000)
    return told


def test_the_terminal_is_asked_twice_and_shows_nothing_of_the_password(tmp_path: Path) -> None:
    env = clean_environ(tmp_path)
    command = [sys.executable, "-m", "api.callers", "user", "--name=ann", "--scopes=read"]
    for second, told in ((PASSWORD, b"ann is added"), ("other", b"the two are not the same")):
        with open_terminal(*command, env=env) as (terminal, process):
            shown = read_until(terminal, b"Password: ")
            os.write(terminal, f"{PASSWORD}\n".encode())
            shown += read_until(terminal, b"Once more: ")
            os.write(terminal, f"{second}\n".encode())
            shown += read_until(terminal, told)
            assert process.wait(120) == (0 if second == PASSWORD else 2)
        assert PASSWORD.encode() not in shown
