"""Where a secret comes from, that a rotated one is seen, and what becomes of it when it is gone."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from api.main import create_app
from api.settings import ApiSettings
from etl.credentials.names import SECRETS
from etl.credentials.secret import Secret
from etl.credentials.watch import count_fallbacks, list_secrets, watch_secrets
from etl.settings import Settings, SettingsError, find_oddities, list_settings, read_settings
from tests.guarded import guard
from tests.server import make_settings, read_json, serve_app, wait_until

NO_ENV = Path("no .env")


def read(environ: dict[str, str], env_file: Path = NO_ENV) -> ApiSettings:
    return read_settings(ApiSettings, environ=environ, env_file=env_file)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_every_declared_secret_stands_in_the_one_list() -> None:
    declared = {
        name
        for kind in (Settings, ApiSettings)
        for name in (item["name"] for item in list_settings(kind) if item["parse"] is None)
    }
    assert declared == {*SECRETS, "VAULT_SECRET_ID", "VAULT_TOKEN"}


@pytest.mark.parametrize("name", ["JWT_KEY", "METRICS_TOKEN"])
def test_the_environment_beats_a_file_which_beats_the_env_file(tmp_path: Path, name: str) -> None:
    env_file = tmp_path / ".env"
    write(env_file, f"{name}=of .env\n")
    file = {f"{name}_FILE": write(tmp_path / "file", "of the file\n")}

    def find(environ: dict[str, str]) -> str:
        secrets = list_secrets(read(environ, env_file))
        return next(secret.value for secret in secrets if secret.name == name)

    assert find({name: "of the environment", **file}) == "of the environment"
    assert find(file) == "of the file"
    assert find({name: "", **file}) == "of the file"
    assert find({}) == "of .env"
    assert find({name: ""}) == ""


def test_the_path_of_a_secret_file_may_stand_in_the_env_file(tmp_path: Path) -> None:
    path = write(tmp_path / "token", "from a file")
    write(tmp_path / ".env", f"METRICS_TOKEN_FILE={path}\nMETRICS_TOKEN=of .env\n")
    (tmp_path / ".env").chmod(0o600)
    assert read({}, tmp_path / ".env").metrics_token.value == "from a file"
    assert find_oddities(Settings, tmp_path / ".env") == []


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        ({"JWT_KEY": "new\nold\n"}, ("new", "old")),
        ({"JWT_KEY": "new", "JWT_KEY_PREVIOUS": "old"}, ("new", "old")),
        ({"JWT_KEY": "same", "JWT_KEY_PREVIOUS": "same"}, ("same",)),
        ({"JWT_KEY": " a \r\n\n b ", "JWT_KEY_PREVIOUS": "c"}, ("a", "b", "c")),
        ({"JWT_KEY_PREVIOUS": "old"}, ()),
        ({}, ()),
    ],
)
def test_two_signing_keys_are_valid_at_once_the_current_one_first(
    environ: dict[str, str], lines: tuple[str, ...]
) -> None:
    key = read(environ).jwt_key
    assert (key.values, key.value, bool(key)) == (lines, "".join(lines[:1]), bool(lines))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read (No such file or directory)"),
        (lambda path: path.mkdir(), "cannot be read (Is a directory)"),
        (lambda path: path.write_text(" \n\n"), "wanted a secret a line"),
        (lambda path: path.write_text("hunter2" * 10_000), "wanted a secret a line"),
        (lambda path: path.write_bytes(b"hunter2\xff"), "is no text in UTF-8"),
    ],
    ids=["absent", "folder", "empty", "large", "no text"],
)
def test_a_file_without_a_secret_is_named_in_one_line_and_never_shown(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "key")
    settings = read({"JWT_KEY_FILE": str(tmp_path / "key")})
    with pytest.raises(SettingsError) as caught:
        settings.jwt_key.value  # noqa: B018
    assert str(caught.value).startswith(f"JWT_KEY_FILE={tmp_path / 'key'}: {said}")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rotated_secret_is_seen_by_the_next_look_and_only_a_change_is_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, "first")
    key = read({"JWT_KEY_FILE": str(path)}).jwt_key
    before = key.values
    assert not key.refresh()
    assert key.values is before
    write(path, "second\nfirst")
    assert key.refresh()
    assert key.values == ("second", "first")


def test_a_rotation_in_the_env_file_is_seen_too(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    write(env_file, "JWT_KEY=first\n")
    key = read({}, env_file).jwt_key
    assert key.value == "first"
    write(env_file, "JWT_KEY=second one\nJWT_KEY_PREVIOUS=first\n")
    assert key.refresh()
    assert key.values == ("second one", "first")


def test_where_a_secret_is_gone_its_last_value_stays_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    write(path, "first")
    settings = read({"METRICS_TOKEN_FILE": str(path)})
    assert settings.metrics_token.value == "first"
    path.unlink()
    assert [settings.metrics_token.refresh() for _ in range(3)] == [False] * 3
    assert settings.metrics_token.value == "first"
    assert count_fallbacks(settings) == 3
    fault = f"METRICS_TOKEN_FILE={path}: cannot be read (No such file or directory)"
    assert settings.metrics_token.fault == fault
    assert caplog.messages == [f"METRICS_TOKEN: its last value stays in use: {fault}"]
    write(path, "second")
    assert settings.metrics_token.refresh()
    assert settings.metrics_token.fault is None


def test_a_secret_taken_out_of_the_env_file_stays_in_use_and_is_told(tmp_path: Path) -> None:
    write(tmp_path / ".env", "JWT_KEY=first\n")
    key = read({}, tmp_path / ".env").jwt_key
    assert key.value == "first"
    write(tmp_path / ".env", "# nothing\n")
    key.refresh()
    assert (key.value, key.fault) == ("first", "JWT_KEY is no longer where it was")


def test_the_background_look_sees_a_rotation_and_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, "first")
    settings = read({"JWT_KEY_FILE": str(path)})
    assert settings.jwt_key.value == "first"
    with watch_secrets(settings, period=0.01):
        write(tmp_path / "next", "second")
        (tmp_path / "next").replace(path)
        wait_until(lambda: settings.jwt_key.value == "second")
    assert "secrets" not in [thread.name for thread in threading.enumerate()]


def test_health_says_that_a_secret_is_gone_by_its_name_alone(
    sample_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    write(path, "first")
    app = create_app(make_settings(sample_dir, METRICS_TOKEN_FILE=str(path)))
    token = app.state.settings.metrics_token
    with serve_app(app) as client:
        assert token.value == "first"
        assert read_json(client, "/health")["fallbacks"] == {}
        path.unlink()
        token.refresh()
        said = read_json(client, "/health")["fallbacks"]
    what = "the last value is in use, for file or vault gives none: the log says why"
    assert said == {"vault": f"METRICS_TOKEN: {what}"}


def test_a_token_outlives_the_key_that_signed_it_while_that_is_the_previous_one(
    sample_dir: Path, tmp_path: Path
) -> None:
    path, (first, second, third) = tmp_path / "key", ("1" * 40, "2" * 40, "3" * 40)
    write(path, first)
    with guard(sample_dir, tmp_path, JWT_KEY="", JWT_KEY_FILE=path) as guarded:
        key = guarded.app.state.settings.jwt_key
        old = guarded.sign_in()["access_token"]
        write(path, f"{second}\n{first}")
        assert key.refresh()
        guarded.look()
        new = guarded.sign_in()["access_token"]
        assert [guarded.get(secret=token).status_code for token in (old, new)] == [200, 200]
        write(path, f"{third}\n{second}")
        assert key.refresh()
        guarded.look()
        assert [guarded.get(secret=token).status_code for token in (old, new)] == [401, 200]


def test_no_thread_watches_secrets_that_cannot_change() -> None:
    with watch_secrets(read({"JWT_KEY": "x", "METRICS_TOKEN": "y"}), period=0.01):
        assert "secrets" not in [thread.name for thread in threading.enumerate()]


def test_a_secret_shows_itself_to_nobody_who_prints_the_settings() -> None:
    settings = read({"JWT_KEY": "hunter2", "METRICS_TOKEN": "hunter2"})
    assert isinstance(settings.jwt_key, Secret)
    assert settings.jwt_key.value == "hunter2"
    assert "hunter2" not in repr(settings)
