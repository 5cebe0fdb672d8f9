"""How a setting gets its value, and what is said about one that cannot be used."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.settings import ApiSettings
from etl import extract, load, settings
from etl.credentials.redaction import strike
from etl.settings import Settings, SettingsError, declare, read_settings, to_integer
from tests.conftest import call_stage, clean_environ, read_record, run_stage


def write_env(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text)
    return path


def read(environ: dict[str, str], env_file: Path = Path("/nowhere/.env")) -> Settings:
    return read_settings(Settings, environ=environ, env_file=env_file)


def test_the_environment_beats_the_env_file_which_beats_the_default(tmp_path: Path) -> None:
    env_file = write_env(tmp_path, "HTTP_TIMEOUT=7\nLOG_LEVEL=debug\n")
    found = read({"HTTP_TIMEOUT": "9"}, env_file)
    assert (found.http_timeout, found.log_level, found.av_outputsize) == (9, "DEBUG", "compact")


def test_an_option_beats_the_environment(tmp_path: Path) -> None:
    given = {"SYMBOLS": "ibm", "SOURCE": None}
    found = read_settings(
        Settings, given, {"SYMBOLS": "AAPL", "SOURCE": "files"}, tmp_path / ".env"
    )
    assert (found.symbols, found.source) == (("IBM",), "files")


def test_an_empty_value_in_the_environment_hides_the_env_file(tmp_path: Path) -> None:
    env_file = write_env(tmp_path, "AV_API_KEY=abc\n")
    assert read({}, env_file).source == "alpha_vantage"
    assert read({"AV_API_KEY": ""}, env_file).source == "sample"


def test_the_env_file_stands_in_the_project_root() -> None:
    assert Path(settings.__file__).parents[1] / ".env" == settings.ENV_FILE


def test_an_env_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: "):
        read({}, path)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("SOURCE", "yahoo", "one of sample, alpha_vantage, alpaca, massive, files"),
        ("SOURCE_ADJUSTMENT", "all", "one of raw, split"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("AV_OUTPUTSIZE", "big", "one of compact, full"),
        ("START_DATE", "31.1.2012", "a date like 2012-01-31"),
        ("END_DATE", "2012-02-30", "a date like 2012-01-31"),
        ("AV_CALLS_PER_SECOND", "-1", "a number of 0 or more"),
        ("AV_CALLS_PER_SECOND", "nan", "a number of 0 or more"),
        ("HTTP_TIMEOUT", "soon", "a number of 0.1 or more seconds"),
        ("HTTP_TIMEOUT", "inf", "a number of 0.1 or more seconds"),
        ("ETL_MEMORY_MB", "1", "a whole number from 64"),
        ("ETL_MEMORY_MB", "1e3", "a whole number from 64"),
        ("MINUTE_STORE", "mysql://host/db", "an address like clickhouse://user@127.0.0.1:8123/"),
        ("SYMBOLS", "AAPL,I B M", "symbols like AAPL,BRK.B,^GSPC parted by commas"),
        ("DATA_DIR", "~no-such-user/data", "a path"),
        ("DATA_DIR", "what?/data", "a path without ?"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_key_value_and_wanted_type(
    name: str, value: str, wanted: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read({name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: wanted {wanted}")


def test_the_password_in_an_address_is_never_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read({"MINUTE_STORE": "mysql://me:hunter2@host/db"})
    assert str(caught.value).startswith("MINUTE_STORE=(hidden): wanted an address like")
    read({"MINUTE_STORE": "postgresql://me:swordfish%21@host/db"})
    assert "swordfish" not in strike("it said swordfish! and no more")


@dataclass(frozen=True)
class WithSecret:
    some_key: int = declare("SOME_KEY", "1", "a secret that must be a number", to_integer(1))


def test_the_value_of_a_secret_is_never_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(WithSecret, environ={"SOME_KEY": "hunter2"}, env_file=Path("/nowhere"))
    assert str(caught.value).startswith("SOME_KEY=(hidden): wanted a whole number")


def test_a_relative_path_in_a_setting_starts_at_the_project_root() -> None:
    found = read({"DATA_DIR": "some/where", "SOURCE_PATH": "bars.csv"})
    assert found.data_dir == settings.PROJECT_ROOT / "some" / "where"
    assert found.source_path == settings.PROJECT_ROOT / "bars.csv"
    assert read({}).database_path == settings.PROJECT_ROOT / "data" / "market_data.duckdb"


def test_a_relative_path_on_a_command_line_starts_at_the_current_folder(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "IBM.csv").write_text("Date,Open,High,Low,Close\n2012-01-03,1,2,1,2\n")
    monkeypatch.chdir(tmp_path)
    assert call_stage(extract.main, "--source", "files", "--path", "IBM.csv") == 0
    assert (data_dir / "raw_data.parquet").exists()


@pytest.mark.parametrize(
    ("environ", "source", "symbols"),
    [
        ({}, "sample", ("AAPL", "GOOG", "IBM", "MSFT", "FB")),
        ({"AV_API_KEY": "k"}, "alpha_vantage", ("AAPL", "GOOGL", "IBM", "MSFT", "META")),
        ({"AV_API_KEY": "k", "SOURCE": "Sample"}, "sample", ("AAPL", "GOOG", "IBM", "MSFT", "FB")),
        ({"SOURCE": "files"}, "files", None),
        ({"SOURCE": "files", "SYMBOLS": " brk.b, ^gspc,BRK.B,"}, "files", ("BRK.B", "^GSPC")),
        ({"SYMBOLS": "NA,ON,TRUE"}, "sample", ("NA", "ON", "TRUE")),
    ],
)
def test_source_and_symbols_follow_from_the_key_unless_they_are_set(
    environ: dict[str, str], source: str, symbols: tuple[str, ...] | None
) -> None:
    found = read(environ)
    assert (found.source, found.symbols) == (source, symbols)


def test_a_bad_setting_ends_a_stage_with_2_and_one_line(tmp_path: Path) -> None:
    env = clean_environ(tmp_path / "data", START_DATE="yesterday")
    done = run_stage("-m", "etl.transform", env=env)
    wanted = "error: START_DATE='yesterday': wanted a date like 2012-01-31\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)


def test_an_unknown_option_ends_a_stage_with_2(tmp_path: Path) -> None:
    done = run_stage("-m", "etl.load", "--sauce", "x", env=clean_environ(tmp_path / "data"))
    assert done.returncode == 2
    assert "unrecognized arguments: --sauce x" in done.stderr


# .env


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("AV_APIKEY", "AV_API_KEY"), ("av_api_key", "AV_API_KEY"), ("API_KEY", "AV_API_KEY")),
        *(("ALPHAVANTAGE_API_KEY", "AV_API_KEY"), ("SYMBOL", "SYMBOLS"), ("DATADIR", "DATA_DIR")),
        *(("START-DATE", "START_DATE"), ("LOGLEVEL", "LOG_LEVEL")),
    ],
)
def test_a_misspelt_name_in_the_env_file_is_named_with_what_was_meant(
    tmp_path: Path, name: str, meant: str
) -> None:
    path = write_env(tmp_path, f"{name}=hunter2\nPOSTGRES_PASSWORD=hunter2\nTZ=UTC\n")
    path.chmod(0o600)
    wanted = f".env: {name} is no setting: did you mean {meant}?"
    assert settings.find_oddities(Settings, path) == [wanted]


def test_no_setting_of_one_half_is_taken_for_a_misspelt_one_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text((settings.PROJECT_ROOT / ".env.example").read_text())
    for kind in (Settings, ApiSettings):
        assert settings.find_oddities(kind, path) == []


def test_a_stage_says_what_is_misspelt_and_goes_on(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_env(data_dir.parent, "SYMBOLES=IBM\nAV_API_KEY=hunter2\n")
    path.chmod(0o644)
    monkeypatch.setattr(settings, "ENV_FILE", path)
    assert call_stage(load.main) == 1
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first == "WARNING .env: SYMBOLES is no setting: did you mean SYMBOLS?"
    assert second == f"WARNING .env holds a key and others may read it: chmod 600 {path}"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_env_file_that_is_no_file_is_named_at_once(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".env")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: it is no file"):
        read({}, tmp_path / ".env")


# Symbols


@pytest.mark.parametrize("text", ["AAPL;MSFT", "AAPL|MSFT", "'AAPL'", '"AAPL"', "[AAPL]", "A*"])
def test_symbols_parted_by_anything_but_commas_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"symbols like .* parted by commas"):
        read({"SYMBOLS": text})


@pytest.mark.parametrize(
    "body",
    [b"", b"hunter2=1 2\n", b"IBM\nhunter2: x y\n", b"hunter2\xff\xfe", b"A" * (5 << 20)],
    ids=["empty", "environment", "second line", "no text", "large"],
)
def test_a_file_that_holds_no_symbols_is_named_and_never_shown(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "symbols.txt"
    path.write_bytes(body)
    with pytest.raises(SettingsError) as caught:
        read({"SYMBOLS": f"@{path}"})
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value).lower()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("path", ["/proc/self/environ", "/dev/zero", "/dev/null", "/"])
def test_what_is_no_real_file_is_not_read_for_symbols(path: str) -> None:
    with pytest.raises(SettingsError, match=f"{path} is empty, no file, or over"):
        read({"SYMBOLS": f"@{path}"})


def test_a_file_of_symbols_starts_at_the_current_folder_on_a_command_line_alone(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("FB # one\n\nMSFT, IBM\n")
    monkeypatch.chdir(tmp_path)
    assert call_stage(extract.main, "--source", "sample", "--symbols", "@mine.txt") == 0
    assert read_record(data_dir)["stages"]["extract"]["symbols"] == 3
    with pytest.raises(SettingsError, match=str(settings.PROJECT_ROOT / "mine.txt")):
        read({"SYMBOLS": "@mine.txt"})
