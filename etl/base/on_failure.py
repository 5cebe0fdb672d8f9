"""ON_FAILURE: a command of the user's that is run when a run of the ETL fails.

It is told what happened by its environment, and changes nothing: what it does, or fails to do, is
logged, and the exit code stays that of the run.
"""

import logging
import os
import signal
import subprocess
from dataclasses import dataclass

from etl.credentials.redaction import strike
from etl.settings import PROJECT_ROOT, OnFailure, SettingsError, read_settings

log = logging.getLogger("etl")

TIME_LIMIT = 30.0  # seconds
MESSAGE_CHARACTERS = 2_000  # a variable has room for 128 KiB, a message on a phone for less


@dataclass(frozen=True)
class Failure:
    """What the command is told. run_id: empty where the run failed before it had one."""

    stage: str
    run_id: str
    message: str
    exit_code: int


def describe_failure(error: BaseException, stage: str, message: str, exit_code: int) -> Failure:
    """`stage` is what was called; the error knows better which stage it ended, and of which run."""
    place = vars(error)
    return Failure(place.get("stage", stage), place.get("run_id", ""), message, exit_code)


def find_command() -> tuple[str, ...]:
    """The command where the other settings cannot be used; none where it is the one that cannot."""
    try:
        return read_settings(OnFailure).on_failure
    except SettingsError:
        return ()


def call_command(command: tuple[str, ...], failure: Failure) -> None:
    """Run the command, if there is one, and wait for it a bounded time."""
    if not command:
        return
    name = command[0]  # the arguments may hold a secret: they are never shown
    try:
        code = run_bounded(command, build_environ(failure))
    except OSError as error:
        log.warning("ON_FAILURE: %s cannot be run: %s", name, error.strerror)
        return
    if code is None:
        log.warning("ON_FAILURE: %s was ended after %g seconds", name, TIME_LIMIT)
    elif code:
        log.warning("ON_FAILURE: %s ended with exit code %d", name, code)


def build_environ(failure: Failure) -> dict[str, str]:
    """The environment of this process, and what happened. No secret is added to it."""
    told = {
        "ETL_STAGE": failure.stage,
        "ETL_RUN_ID": failure.run_id,
        "ETL_MESSAGE": strike(failure.message),
        "ETL_EXIT_CODE": str(failure.exit_code),
    }
    return {**os.environ, **{name: clean(text) for name, text in told.items()}}


def clean(text: str) -> str:
    """One line that an environment can hold: no NUL, no line ends, no half characters."""
    return "".join(c if c.isprintable() else " " for c in text)[:MESSAGE_CHARACTERS]


def run_bounded(command: tuple[str, ...], environ: dict[str, str]) -> int | None:
    """The command's exit code; None if it took too long, and was ended with all that it started.

    It has no input, and what it prints goes where this process prints its log.
    """
    with subprocess.Popen(  # noqa: S603 (the user's own command, and no shell)
        command,
        env=environ,
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=2,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
