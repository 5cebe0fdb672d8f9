"""Secrets out of a vault, on a real OpenBao server: rotated, sealed, gone, refused."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.main import main
from api.settings import ApiSettings
from etl.credentials import redaction, vault
from etl.settings import SettingsError, read_settings
from tests.bao import ROOT, Bao, run_bao
from tests.conftest import clean_environ, run_stage

FIRST, SECOND = "first-signing-key-of-32-bytes-....", "second-signing-key-of-32-bytes-..."


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with run_bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look asks the vault, however short ago the last one was."""
    monkeypatch.setattr(vault, "FRESH", 0.0)


def read(environ: dict[str, str], env_file: Path = Path("no .env")) -> ApiSettings:
    return read_settings(ApiSettings, environ=environ, env_file=env_file)


def test_an_approle_opens_the_vault_and_a_rotated_key_is_seen_with_the_one_before(bao: Bao) -> None:
    bao.write(JWT_KEY=FIRST)
    key = read(bao.make_role()).jwt_key
    assert key.values == (FIRST,)
    bao.write(JWT_KEY=f"{SECOND}\n{FIRST}")
    assert key.refresh()
    assert key.values == (SECOND, FIRST)
    bao.write(JWT_KEY=SECOND, JWT_KEY_PREVIOUS=FIRST)
    assert not key.refresh(), "two lines and two names say the same"


def test_a_token_opens_the_vault_and_may_stand_in_a_file(bao: Bao, tmp_path: Path) -> None:
    bao.write(METRICS_TOKEN="of the vault")
    (tmp_path / "token").write_text(f"{ROOT}\n")
    for given in ({"VAULT_TOKEN": ROOT}, {"VAULT_TOKEN_FILE": str(tmp_path / "token")}):
        assert read({**bao.settings, **given}).metrics_token.value == "of the vault"


def test_the_secret_of_the_approle_may_stand_in_a_file(bao: Bao, tmp_path: Path) -> None:
    bao.write(METRICS_TOKEN="of the vault")
    given = bao.make_role()
    (tmp_path / "id").write_text(given.pop("VAULT_SECRET_ID"))
    settings = read({**given, "VAULT_SECRET_ID_FILE": str(tmp_path / "id")})
    assert settings.metrics_token.value == "of the vault"


def test_environment_and_file_beat_the_vault_which_beats_the_env_file(
    bao: Bao, tmp_path: Path
) -> None:
    bao.write(METRICS_TOKEN="of the vault")
    (tmp_path / ".env").write_text("METRICS_TOKEN=of .env\nJWT_KEY=of .env\n")
    (tmp_path / "file").write_text("of the file")
    role = bao.make_role()
    file = {"METRICS_TOKEN_FILE": str(tmp_path / "file")}

    def find(environ: dict[str, str]) -> str:
        return read({**role, **environ}, tmp_path / ".env").metrics_token.value

    assert find({"METRICS_TOKEN": "of the environment", **file}) == "of the environment"
    assert find(file) == "of the file"
    assert find({}) == "of the vault"
    assert read(role, tmp_path / ".env").jwt_key.value == "of .env", "the vault has none"


def test_the_key_of_the_vendor_is_found_by_what_others_call_it(bao: Bao) -> None:
    from etl.settings import Settings

    bao.write(ALPHAVANTAGE_API_KEY="OTHERNAME12345")
    settings = read_settings(Settings, environ=bao.make_role(), env_file=Path("no .env"))
    assert (settings.av_api_key.value, settings.source) == ("OTHERNAME12345", "alpha_vantage")


def test_a_token_whose_lease_is_over_costs_one_more_login_and_nothing_else(bao: Bao) -> None:
    bao.write(JWT_KEY=FIRST)
    key = read(bao.make_role()).jwt_key
    assert key.value == FIRST
    opened = key.origins.vault
    assert opened is not None
    bao.client.auth.token.revoke(opened.client.token)
    bao.write(JWT_KEY=SECOND)
    assert key.refresh()
    assert (key.value, key.fault) == (SECOND, None)


def test_a_lease_of_a_second_ends_and_the_key_is_had_all_the_same(bao: Bao) -> None:
    bao.write(JWT_KEY=FIRST)
    key = read(bao.make_role(token_ttl="1s")).jwt_key
    assert key.value == FIRST
    opened = key.origins.vault
    assert opened is not None
    old = opened.client.token
    wait_until_gone(bao, old)
    bao.write(JWT_KEY=SECOND)
    assert key.refresh()
    assert opened.client.token != old


def wait_until_gone(bao: Bao, token: str) -> None:
    import hvac

    from tests.server import wait_until

    def is_gone() -> bool:
        try:
            bao.client.auth.token.lookup(token)
        except hvac.exceptions.VaultError:
            return True
        return False

    wait_until(is_gone)


def test_while_the_vault_is_sealed_or_gone_the_last_value_stays_and_no_log_tells_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run_bao(tmp_path) as bao:
        bao.write(JWT_KEY=FIRST)
        role = bao.make_role()
        key = read(role).jwt_key
        assert key.value == FIRST
        bao.client.sys.seal()
        assert [key.refresh(), key.refresh(), key.value] == [False, False, FIRST]
        assert key.fault
        assert "(VaultDown): it is sealed: unseal it" in key.fault
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        bao.client.sys.submit_unseal_key(bao.unseal_key)
        key.refresh()
        assert key.fault is None
        bao.stop()
        assert [key.refresh(), key.value] == [False, FIRST]
        assert key.fault
        assert "(ConnectionError): it cannot be reached" in key.fault
        bao.start()  # empty: even the role is another
        assert [key.refresh(), key.value, key.fallbacks] == [False, FIRST, 4]
        for hidden in (bao.address, role["VAULT_SECRET_ID"], role["VAULT_ROLE_ID"], FIRST):
            assert hidden not in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"VAULT_ADDR": "http://127.0.0.1:9"}, "(ConnectionError): it cannot be reached"),
        ({"VAULT_PATH": "secret/other"}, "(Forbidden): "),
        ({"VAULT_SECRET_ID": "wrong"}, "(InvalidRequest): VAULT_ROLE_ID or VAULT_SECRET_ID"),
        ({"VAULT_ROLE_ID": "", "VAULT_TOKEN": "wrong"}, "(Forbidden): "),
        ({"VAULT_ROLE_ID": "", "VAULT_TOKEN": ""}, "(Forbidden): "),
        ({"VAULT_ROLE_ID": "", "VAULT_TOKEN": ROOT, "VAULT_PATH": "secret/none"}, "(InvalidPath)"),
        ({"VAULT_ADDR": ""}, "VAULT_PATH wants VAULT_ADDR too"),
        ({"VAULT_PATH": "secret"}, "VAULT_PATH='secret': wanted mount/path"),
        ({"VAULT_ADDR": "127.0.0.1:1"}, "VAULT_ADDR='127.0.0.1:1': wanted an address like"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_keeps_the_vault_shut_at_the_start_is_one_line_with_the_remedy(
    bao: Bao, change: dict[str, str], said: str
) -> None:
    bao.write(JWT_KEY=FIRST)
    with pytest.raises(SettingsError) as caught:
        read({**bao.make_role(), **change}).jwt_key.value  # noqa: B018
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_value_that_is_no_text_is_refused_without_being_shown(bao: Bao) -> None:
    bao.write(JWT_KEY={"hunter2": 1})
    with pytest.raises(SettingsError, match=r"\(TypeError\)") as caught:
        read(bao.make_role()).jwt_key.value  # noqa: B018
    assert "hunter2" not in str(caught.value)


def test_without_a_path_no_vault_is_asked_and_hvac_is_not_imported() -> None:
    code = "import api.main, sys; sys.exit('hvac' in sys.modules)"
    assert run_stage("-c", code, env=clean_environ(Path("data"))).returncode == 0
    settings = read({"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "x"})
    assert settings.jwt_key.values == ()


def test_a_vault_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.setitem(sys.modules, "hvac.exceptions", None)
    key = read({"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_PATH": "a/b"}).jwt_key
    with pytest.raises(SettingsError, match="VAULT_PATH wants the package hvac: install it by"):
        key.value  # noqa: B018


def test_an_etl_without_its_vault_ends_with_2_and_one_line(tmp_path: Path) -> None:
    pytest.importorskip("hvac", reason="hvac is not installed: make engines")
    given = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_PATH": "secret/market-data"}
    done = run_stage("-m", "etl.extract", env=clean_environ(tmp_path / "data", **given))
    said = "the vault (VAULT_ADDR) gives no secrets (ConnectionError): it cannot be reached"
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("uses", ["AUTH", "METRICS"])
def test_a_service_whose_secrets_cannot_be_had_ends_with_2_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uses: str
) -> None:
    pytest.importorskip("hvac", reason="hvac is not installed: make engines")
    given = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_PATH": "secret/market-data", uses: "on"}
    for name, value in clean_environ(tmp_path, **given).items():
        monkeypatch.setenv(name, value)
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the vault (VAULT_ADDR) gives no secrets (ConnectionError): ")


def test_what_opened_the_vault_is_struck_from_what_is_written(bao: Bao) -> None:
    bao.write(JWT_KEY=FIRST)
    role = bao.make_role()
    key = read(role).jwt_key
    assert key.value == FIRST
    opened = key.origins.vault
    assert opened is not None
    hidden = [FIRST, role["VAULT_SECRET_ID"], opened.client.token]
    struck = redaction.strike(json.dumps({"message": hidden}))
    assert struck == '{"message": ["***", "***", "***"]}'
