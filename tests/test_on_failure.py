"""ON_FAILURE: who is told that a run failed, what, and that telling changes nothing of the run."""

import json
import os
import select
import shlex
import sys
from pathlib import Path

import pytest

from etl import __main__ as whole
from etl import extract, load, transform, verify
from etl.base import on_failure
from etl.settings import Settings, SettingsError, read_settings
from tests.conftest import call_stage, clean_environ, read_record, run_stage
from tests.server import PATIENCE

TELL = """
import json, os, sys
told = {name: os.environ[name] for name in sorted(os.environ) if name.startswith("ETL_")}
told["arguments"] = sys.argv[2:]
told["names"] = list(os.environ)
told["folder"] = os.getcwd()
told["input"] = sys.stdin.read()
open(sys.argv[1], "a").write(json.dumps(told) + "\\n")
"""


class Command:
    """A command that notes what it was told, a line a call."""

    def __init__(self, folder: Path) -> None:
        self.script, self.notes = folder / "tell me.py", folder / "told.jsonl"
        self.script.write_text(TELL)

    def line(self, *arguments: str) -> str:
        return shlex.join([sys.executable, str(self.script), str(self.notes), *arguments])

    def read(self) -> list[dict[str, str]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def command(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    made = Command(data_dir.parent)
    monkeypatch.setenv("ON_FAILURE", made.line())
    return made


def test_a_failed_run_is_told_with_run_stage_message_and_exit_code(
    data_dir: Path, command: Command
) -> None:
    (data_dir / "none.csv").write_text("no bars\n")
    assert call_stage(whole.main, "--source", "files", "--path", data_dir / "none.csv") == 1
    (told,) = command.read()
    assert told["ETL_STAGE"] == "extract"
    assert told["ETL_RUN_ID"] == read_record(data_dir)["run_id"]
    assert told["ETL_EXIT_CODE"] == "1"
    assert told["ETL_MESSAGE"] == read_record(data_dir)["stages"]["extract"]["error"]
    assert told["input"] == ""


@pytest.mark.parametrize(("stage", "name"), [(transform, "transform"), (load, "load")])
def test_a_stage_that_fails_alone_is_told_by_its_name(
    data_dir: Path, command: Command, stage: object, name: str
) -> None:
    assert call_stage(stage.main) == 1  # type: ignore[attr-defined]
    (told,) = command.read()
    assert (told["ETL_STAGE"], told["ETL_EXIT_CODE"]) == (name, "1")
    assert told["ETL_MESSAGE"]


def test_a_run_that_is_locked_out_is_told_before_it_has_an_id(
    data_dir: Path, command: Command
) -> None:
    from etl.base.locks import hold_lock

    with hold_lock(data_dir, "etl", False):
        assert call_stage(whole.main, "--source", "sample") == 1
    (told,) = command.read()
    assert (told["ETL_STAGE"], told["ETL_RUN_ID"]) == ("etl", "")


def test_a_run_that_a_setting_keeps_from_starting_is_told(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("START_DATE", "yesterday")
    assert call_stage(whole.main) == 2
    (told,) = command.read()
    assert told["ETL_MESSAGE"] == "START_DATE='yesterday': wanted a date like 2012-01-31"
    assert (told["ETL_STAGE"], told["ETL_EXIT_CODE"]) == ("etl", "2")


def test_nobody_is_told_of_a_run_that_ends_well_or_of_one_who_only_looks(
    data_dir: Path, command: Command
) -> None:
    assert call_stage(verify.main) == 1
    assert call_stage(whole.main, "--check", "--source", "files", "--path", data_dir / "no") == 2
    assert call_stage(extract.main, "--source", "sample") == 0
    assert command.read() == []


def test_the_words_of_the_command_reach_it_as_they_are_without_a_shell(
    data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["$HOME", "a b", "; touch made", "`id`", "*", "|", "é", ""]
    monkeypatch.setenv("ON_FAILURE", command.line(*words))
    assert call_stage(load.main) == 1
    (told,) = command.read()
    assert told["arguments"] == words
    assert not (Path(told["folder"]) / "made").exists()


def test_a_relative_command_starts_at_the_project_folder(command: Command) -> None:
    assert call_stage(load.main) == 1
    assert command.read()[0]["folder"] == str(on_failure.PROJECT_ROOT)


def test_the_command_gets_this_environment_and_no_secret_beside_it(
    data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AV_API_KEY", "hunter2hunter2")
    assert call_stage(extract.main, "--source", "files", "--path", "/no/HUNTER2hunter2.csv") == 2
    (told,) = command.read()
    assert "hunter2" not in told["ETL_MESSAGE"]
    assert "/no/***.csv" in told["ETL_MESSAGE"]
    names = {"ETL_STAGE", "ETL_RUN_ID", "ETL_MESSAGE", "ETL_EXIT_CODE"}
    assert set(told["names"]) - set(os.environ) <= names | {"LC_CTYPE"}  # Python's own


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/no/such/program hunter2", "ON_FAILURE: /no/such/program cannot be run: No such file"),
        ("/ hunter2", "ON_FAILURE: / cannot be run: Permission denied"),
        (f"{sys.executable} -c 'exit(7)' hunter2", "ended with exit code 7"),
        (f"{sys.executable} -c 'import os; os.abort()' hunter2", "ended with exit code -6"),
    ],
)
def test_a_command_that_fails_is_logged_without_its_arguments_and_changes_no_exit_code(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setenv("ON_FAILURE", line)
    assert call_stage(load.main) == 1
    log = (data_dir / "etl.log").read_text()
    assert said in log
    assert "hunter2" not in log


def test_a_command_that_does_not_end_is_ended_with_what_it_started(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = data_dir.parent / "held"
    os.mkfifo(fifo)
    script = data_dir.parent / "stay.sh"
    script.write_text(f"#!/bin/sh\nsleep 600 > {shlex.quote(str(fifo))} &\nsleep 600\n")
    script.chmod(0o755)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(on_failure, "TIME_LIMIT", 0.3)
    monkeypatch.setenv("ON_FAILURE", str(script))
    try:
        assert call_stage(load.main) == 1
        assert select.select([reader], [], [], PATIENCE)[0]
        assert os.read(reader, 1) == b""  # nobody holds the other end any more
    finally:
        os.close(reader)
    assert "was ended after 0.3 seconds" in (data_dir / "etl.log").read_text()


@pytest.mark.parametrize("text", ["'open", 'say "hunter2', "''", "''  x"])
def test_a_command_line_that_is_none_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(Settings, {}, {"ON_FAILURE": text}, Path("/nowhere/.env"))
    assert str(caught.value).startswith("ON_FAILURE=(hidden): wanted a command and its arguments")
    assert "hunter2" not in str(caught.value)


def test_a_message_becomes_one_line_that_an_environment_can_hold() -> None:
    assert on_failure.clean("a\0b\nc\udcffd\x1b[2J") == "a b c d [2J"
    assert len(on_failure.clean("x" * 10**6)) == on_failure.MESSAGE_CHARACTERS


def test_the_process_ends_with_the_code_of_the_run_and_what_the_command_says_on_its_error_stream(
    tmp_path: Path,
) -> None:
    say = shlex.join([sys.executable, "-c", "print('sent')"])
    done = run_stage("-m", "etl.load", env=clean_environ(tmp_path / "data", ON_FAILURE=say))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("sent\n")
