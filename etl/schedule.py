"""Run the ETL now, and then after each close of the exchanges of its symbols: instead of cron.

Holidays, early closes and summer time are those of the exchange's calendar. CLOSE_DELAY_MINUTES
says how long after the close the vendor has the bars. A run that failed is tried again after an
hour.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from etl.base import command
from etl.base.clock import Clock
from etl.base.secret_log import log_to_terminal
from etl.market.timetable import Due, find_exchanges, list_due
from etl.settings import PROJECT_ROOT, Settings, SettingsError, read_settings

log = logging.getLogger("etl")

AGAIN = timedelta(hours=1)  # after a run that failed
NAP = 60.0  # seconds: the clock may be set, or the machine sleep
STOP_SECONDS = 120

Run = Callable[[], int]  # the exit code
Read = Callable[[], Settings]


class Stopped(Exception):
    """By a signal."""


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.schedule", __doc__)
    parser.add_argument("--show", action="store_true", help="print the next ten runs, and end")
    args = parser.parse_args(argv)
    try:
        settings = read_settings(Settings)
        exchanges = find_exchanges(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.show:
        for due in list_due(exchanges, Clock().now(), find_delay(settings), 10):
            print(due)
        return 0
    log_to_terminal(settings)
    signal.signal(signal.SIGTERM, stop)
    try:
        follow(lambda: read_settings(Settings), Clock(), run_etl)
    except (Stopped, KeyboardInterrupt):
        log.info("schedule: stopped")
    except SettingsError as error:  # changed meanwhile
        log.error("%s", error)
        return 2
    return 0


def stop(*_: Any) -> None:
    raise Stopped


def find_delay(settings: Settings) -> timedelta:
    return timedelta(minutes=settings.close_delay_minutes)


def follow(read: Read, clock: Clock, run: Run) -> None:
    """Run, tell when it runs next, wait, and so on; the settings are read anew each time."""
    while True:
        began = clock.now()
        code = run()
        due = find_next(read(), began)
        again = clock.now() + AGAIN
        if code and again < due.at:
            log.warning("schedule: the run ended with exit code %s", code)
            due = due._replace(at=again)
        log.info("schedule: the next run is at %s", due)
        wait_until(due.at, clock)


def find_next(settings: Settings, began: datetime) -> Due:
    """The first that is due after the start of the last one: what closed meanwhile is not passed
    over."""
    return list_due(find_exchanges(settings), began, find_delay(settings), 1)[0]


def wait_until(instant: datetime, clock: Clock) -> None:
    while (left := (instant - clock.now()).total_seconds()) > 0:
        clock.sleep(min(left, NAP))


def run_etl() -> int:
    """As `make etl`, in a process of its own: its memory is free again afterwards."""
    with subprocess.Popen([sys.executable, "-m", "etl"], cwd=PROJECT_ROOT) as process:
        try:
            return process.wait()
        except (Stopped, KeyboardInterrupt):
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)
            raise


if __name__ == "__main__":
    raise SystemExit(main())
