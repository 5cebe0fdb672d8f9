"""How a setting gets its value, and what is said about one that cannot be used."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from etl import extract, settings
from etl.settings import Settings, SettingsError, declare, read_settings, to_integer
from tests.conftest import call_stage, clean_environ, run_stage


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
        ("SOURCE", "yahoo", "one of sample, alpha_vantage, files"),
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
