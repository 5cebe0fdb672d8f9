"""Keep this host's database the newest generation that FOLLOW_URL has.

Looks every FOLLOW_SECONDS, fetches the blocks that are not here, and puts the file in its place as
load does. `python -m api.main` starts it by itself where FOLLOW_URL is set.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import os
import sys
import threading

from etl.base import command
from etl.credentials.watch import watch_secrets
from etl.settings import Settings, SettingsError
from etl.store.replicas.follower import Follower, hold_alone


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.follow", __doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="only say whether FOLLOW_URL is set")
    how.add_argument("--once", action="store_true", help="look once")
    how.add_argument(
        "--beside", action="store_true", help="end with who holds the other end of standard input"
    )
    return command.main(parser, "follow", follow, argv, is_reading=lambda args: True)


def follow(settings: Settings, args: argparse.Namespace) -> None:
    """Look, again and again. SettingsError where there is nothing to follow."""
    if not settings.follow_url:
        raise SettingsError(
            "FOLLOW_URL is not set: the PUBLISH_URL of another host (s3://bucket/path), or the"
            " address of another instance (https://data.example.com)"
        )
    if args.check:
        return
    if args.beside:
        threading.Thread(target=end_with_parent, daemon=True).start()
    is_over = threading.Event()
    with watch_secrets(settings):
        while not hold_alone(settings.data_dir) and not is_over.wait(settings.follow_seconds):
            pass
        follower = Follower(settings)
        follower.look()
        while not args.once and not is_over.wait(settings.follow_seconds):
            follower.look()


def end_with_parent() -> None:
    """However it ends: a kill of the service closes the pipe too."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
